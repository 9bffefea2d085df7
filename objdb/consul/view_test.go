package consul

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contiv/contiv/objdb"
)

// cluster is a simulated Consul with clients that write change records.
type cluster struct {
	random *rand.Rand
	index  int64
	short  map[string]objdb.KV // with markers
	long   map[string]objdb.KV
	rings  [][2]*ring
	truth  []change // what really happened, endings at their true revision
	leases map[string][]string
	gone   int64 // index of the newest thing that vanished from the short ring
}

func newCluster(seed uint64) *cluster {
	c := &cluster{
		random: rand.New(rand.NewPCG(seed, 3)), index: 10, //nolint:gosec // a simulation
		short: make(map[string]objdb.KV), long: make(map[string]objdb.KV), leases: make(map[string][]string),
	}
	for i := range 3 {
		c.rings = append(c.rings, [2]*ring{
			newRing(fmt.Sprint(nowPrefix, i), 3), newRing(fmt.Sprint(logPrefix, i), 12),
		})
	}
	return c
}

func (c *cluster) put(in map[string]objdb.KV, key string, r record, forgets int64) {
	in[key] = objdb.KV{Key: key, Value: r.encode(forgets), Revision: c.index}
}

// step does one thing that can happen in a cluster.
func (c *cluster) step() {
	c.index += 1 + c.random.Int64N(3)
	var markers []string
	names := []string{fmt.Sprint("k", c.random.IntN(20)), fmt.Sprint("k", c.random.IntN(20))}
	switch what := c.random.IntN(20); {
	case what == 0 && len(c.leases) > 0:
		c.end()
		return
	case what == 1:
		marker := fmt.Sprint(markerPrefix, c.index)
		c.put(c.short, marker, record{Keys: names}, 0)
		c.leases[marker], markers = names, []string{marker}
	case what == 2 && c.random.IntN(10) == 0:
		// Somebody prunes.
		upTo := c.index - c.random.Int64N(30)
		c.put(c.short, nowPrefix+floorName, record{}, upTo)
		return
	}
	rings := c.rings[c.random.IntN(len(c.rings))]
	now, log := rings[0].take(), rings[1].take()
	c.put(c.short, now.key, record{Keys: names, Markers: markers}, now.holds)
	c.put(c.long, log.key, record{Keys: names, Markers: markers}, log.holds)
	if c.random.IntN(20) == 0 {
		rings[0].lose(now)
		rings[1].lose(log)
	} else {
		rings[0].give(now, c.index)
		rings[1].give(log, c.index)
	}
	c.truth = append(c.truth, change{revision: c.index, keys: names})
}

func (c *cluster) end() {
	marker := slices.Sorted(maps.Keys(c.leases))[0]
	c.truth = append(c.truth, change{revision: c.index, keys: c.leases[marker]})
	delete(c.leases, marker)
	delete(c.short, marker)
	c.gone = c.index
}

// look is what a poll answers.
func (c *cluster) look() (trail, int64) {
	index := c.gone
	for _, kv := range c.short {
		index = max(index, kv.Revision)
	}
	return readTrail(slices.Collect(maps.Values(c.short))), index
}

// TestViewNamesEverything: in random histories a view that lets a watcher go on from a revision names every key that
// changed since, and one that does not has a reason.
func TestViewNamesEverything(t *testing.T) {
	refused, polls := 0, 0
	for seed := range uint64(300) {
		c := newCluster(seed)
		for range 30 {
			c.step()
		}
		first, _ := c.look()
		for range c.random.IntN(4) {
			c.step()
		}
		for before := c.index; c.truth[len(c.truth)-1].revision <= before || len(c.truth) == 0; { // our own commit
			c.step()
		}
		v := newView(first, c.truth[len(c.truth)-1].revision)
		positions := []int64{v.floor}
		for range 60 {
			for range c.random.IntN(12) {
				c.step()
			}
			tr, index := c.look()
			if v.misses(tr) {
				tr = tr.completed(readTrail(slices.Collect(maps.Values(c.long))))
			}
			v = v.next(tr, index)
			polls++
			if v.epoch != 0 || v.index < index {
				t.Fatalf("seed %d: epoch %d, index %d of %d", seed, v.epoch, v.index, index)
			}
			for _, after := range positions {
				if after < v.floor {
					refused++
					continue
				}
				mustName(t, seed, c, v, after)
			}
			positions = []int64{positions[0], v.index - c.random.Int64N(5), v.index}
		}
	}
	t.Logf("%d of %d positions refused", refused, 3*polls)
}

func mustName(t *testing.T, seed uint64, c *cluster, v *view, after int64) {
	t.Helper()
	named := v.named(after, v.index, func(string) bool { return true })
	for _, change := range c.truth {
		if change.revision <= after || change.revision > v.index {
			continue
		}
		for _, key := range change.keys {
			if at, ok := named[key]; !ok || at < change.revision {
				t.Fatalf("seed %d: after %d up to %d, %q changed at %d, the view says %d", seed, after, v.index, key, change.revision, at)
			}
		}
	}
}

func TestRestoredStoreIsNoticed(t *testing.T) {
	at := func(revisions ...int64) trail {
		var tr trail
		for _, revision := range revisions {
			tr.changes = append(tr.changes, change{revision: revision})
		}
		return tr
	}
	v := newView(at(5), 6).next(at(5, 6, 9), 9)
	for name, test := range map[string]struct {
		trail trail
		reset bool
	}{
		"one more":                 {at(5, 6, 9, 12), false},
		"all overwritten but that": {trail{changes: at(12).changes, forgotten: 9}, false},
		"older":                    {at(5, 6), true},
		"older, and written again": {at(5, 6, 30), true},
		"empty":                    {at(), true},
	} {
		if n := v.next(test.trail, 40); (n.epoch != v.epoch) != test.reset || test.reset && n.floor != 40 {
			t.Errorf("%s: epoch %d, floor %d", name, n.epoch, n.floor)
		}
	}
}

// TestForeignRecords: what cannot be read or came from another cluster makes watchers list again, and only once.
func TestForeignRecords(t *testing.T) {
	kvs := []objdb.KV{
		{Key: nowPrefix + "a-1", Value: record{Keys: []string{"x"}}.encode(3), Revision: 7},
		{Key: nowPrefix + "b-1", Value: record{Keys: []string{"y"}}.encode(5000), Revision: 8}, // imported
		{Key: nowPrefix + "c-1", Value: []byte("{"), Revision: 9},
	}
	tr := readTrail(kvs)
	if tr.cut != 9 || tr.forgotten != 9 || len(tr.changes) != 3 {
		t.Errorf("trail %+v", tr)
	}
}

// TestRingKeepsTheNewest: commits that fail do not use up the places of those that did not.
func TestRingKeepsTheNewest(t *testing.T) {
	const size = 8
	r := newRing("x", size)
	for i := range int64(100) {
		for range i % 5 {
			r.back(r.take())
		}
		p := r.take()
		if want := max(0, i-size+1); p.holds != want {
			t.Fatalf("commit %d overwrites that of %d, want %d", i+1, p.holds, want)
		}
		r.give(p, i+1)
	}
}
