package consul

import (
	"cmp"
	"slices"
)

// maxChanges is how many changes a view remembers.
const maxChanges = 2048

// view is what the poller knows of the changes of late. It is pure, and not modified once it was handed out.
//
// Invariants: changes holds, by rising revision, every change after floor and up to index, and none else. index never
// falls within an epoch.
type view struct {
	epoch   int // rises when the store went back in time, as after a restore
	floor   int64
	index   int64
	changes []change

	newest  int64               // revision of the newest record that was taken in
	markers map[string][]string // keys by marker of a lease that lives
}

// newView begins with what a first look at the ring showed and the revision of a commit made after it. Nothing can be
// told of what came before the commit.
func newView(first trail, begin int64) *view {
	return &view{floor: begin, newest: first.newest(), markers: first.markers}
}

// misses tells whether the trail lacks records that the view has not seen.
func (v *view) misses(t trail) bool { return t.forgotten > v.newest && t.newest() > v.newest }

// vanished tells whether the newest record that the view has seen is not there any more, nor any that took its place.
// No client does that: somebody restored an older store.
func (v *view) vanished(t trail) bool {
	return t.forgotten < v.newest && !slices.ContainsFunc(t.changes, func(c change) bool { return c.revision == v.newest })
}

// next takes in what a later look at the ring showed. Index is Consul's for that look: it is also raised by what
// vanished from the ring.
func (v *view) next(t trail, index int64) *view {
	index = max(index, t.newest())
	if v.vanished(t) {
		return &view{epoch: v.epoch + 1, floor: index, index: index, newest: t.newest(), markers: t.markers}
	}
	n := &view{
		epoch: v.epoch, floor: max(v.floor, t.cut), index: max(v.index, index), newest: t.newest(), markers: t.markers,
	}
	var fresh []change
	for _, c := range t.changes {
		switch {
		case c.revision <= v.newest:
			continue
		case c.revision <= v.floor:
			// It came between the first look and our commit, and a lease of it may have ended after that.
			c.revision = n.index
		}
		fresh = append(fresh, c)
		if slices.ContainsFunc(c.markers, func(marker string) bool { return !t.has(marker) }) {
			fresh = append(fresh, change{revision: n.index, keys: c.keys, ending: true})
		}
	}
	for marker, keys := range v.markers {
		if !t.has(marker) {
			fresh = append(fresh, change{revision: n.index, keys: keys, ending: true})
		}
	}
	if v.misses(t) || slices.ContainsFunc(fresh, func(c change) bool { return c.ending && len(c.keys) == 0 }) {
		n.floor = n.index // nobody can go on from before this look
	}
	sortChanges(fresh)
	n.changes = append(slices.Clip(v.changes), fresh...)
	if excess := len(n.changes) - maxChanges; excess > 0 {
		n.floor = max(n.floor, n.changes[excess-1].revision)
	}
	n.changes = n.after(n.floor)
	return n
}

// after returns the changes after a revision.
func (v *view) after(revision int64) []change {
	first, _ := slices.BinarySearchFunc(v.changes, revision+1, func(c change, r int64) int { return cmp.Compare(c.revision, r) })
	return v.changes[first:]
}

// named tells the keys that changed after one revision and up to another, and when last. What vanished with a lease is
// among them even if the view noticed it later: it may have been earlier.
func (v *view) named(after, until int64, wanted func(key string) bool) map[string]int64 {
	keys := make(map[string]int64)
	for _, c := range v.after(after) {
		if c.revision > until && !c.ending {
			continue
		}
		for _, key := range c.keys {
			if wanted(key) {
				keys[key] = min(c.revision, until)
			}
		}
	}
	return keys
}

// touched tells whether a commit after one revision and up to another named one of the keys.
func (v *view) touched(after, until int64, keys []string) bool {
	for _, c := range v.after(after) {
		if c.revision <= until && !c.ending && slices.ContainsFunc(c.keys, func(key string) bool { return slices.Contains(keys, key) }) {
			return true
		}
	}
	return false
}

// stale tells the keys whose value of one revision need not be that of a later one.
func (v *view) stale(from, to int64) map[string]int64 {
	return v.named(from, to, func(string) bool { return true })
}

func sortChanges(changes []change) {
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.revision, b.revision) })
}
