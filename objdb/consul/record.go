package consul

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/contiv/contiv/objdb"
)

// Where the driver keeps its own keys, and how much.
const (
	nowPrefix    = objdb.ReservedPrefix + "now/" // change records that everybody follows, markers of leases
	markerPrefix = nowPrefix + "lease-"          // followed by the session and a hash
	logPrefix    = objdb.ReservedPrefix + "log/" // more change records, for who fell behind
	floorName    = "floor"                       // in both: a record without keys, which says what was forgotten
	nowSlots     = 16                            // records of one client
	logSlots     = 512                           // records of one client
	maxNames     = 8 << 10                       // bytes of keys in one record
)

// record is what a transaction leaves for watchers. Its own revision is that of its key.
type record struct {
	// Keys that the transaction wrote. A watcher reads them to know what has become of them.
	Keys []string `json:"keys,omitempty"`
	// Markers that the transaction left for its leases. One that is gone by the time the record is read tells that the
	// lease has ended already.
	Markers []string `json:"markers,omitempty"`
	// All: too many keys to be named. Watchers list again.
	All bool `json:"all,omitempty"`
	// Forgets is the revision of the record whose place this one took: of what was up to then, nobody who reads the
	// ring can know everything.
	Forgets int64 `json:"forgets,omitempty"`
}

// newRecord names the keys if there is room for them.
func newRecord(ops []objdb.Op, markers []string) record {
	r := record{Markers: markers}
	size := 0
	for _, op := range ops {
		r.Keys = append(r.Keys, op.Key)
		size += len(op.Key)
	}
	for _, marker := range markers {
		size += len(marker)
	}
	if size > maxNames {
		return record{All: true}
	}
	return r
}

func (r record) encode(forgets int64) []byte {
	r.Forgets = forgets
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encoding a change record: %v", err)) // strings and numbers only
	}
	return text
}

// trail is what one reading of a ring says: all changes after the revisions forgotten and cut, by rising revision.
type trail struct {
	changes   []change
	forgotten int64               // by places that were used again
	cut       int64               // on purpose, or because there were too many keys to be named
	markers   map[string][]string // keys by marker; none if there were too many
}

// change is one revision and the keys that may have changed with it.
type change struct {
	revision int64
	keys     []string
	markers  []string
	ending   bool // noticed because a marker vanished, so that it came at the revision or before
}

// newest is the revision of the newest record; 0 if there is none.
func (t trail) newest() int64 {
	if len(t.changes) == 0 {
		return 0
	}
	return t.changes[len(t.changes)-1].revision
}

func (t trail) has(marker string) bool {
	_, ok := t.markers[marker]
	return ok
}

// readTrail reads one ring of all clients, in any order. A record that cannot be read, or that forgets what comes
// after it (because somebody imported it from another cluster), cuts off everything before.
func readTrail(kvs []objdb.KV) trail {
	t := trail{markers: make(map[string][]string)}
	for _, kv := range kvs {
		var r record
		bad := json.Unmarshal(kv.Value, &r) != nil
		switch {
		case strings.HasPrefix(kv.Key, markerPrefix):
			t.markers[kv.Key] = r.Keys
			continue
		case bad, r.All, r.Forgets >= kv.Revision:
			t.cut = max(t.cut, kv.Revision)
		case isFloor(kv.Key):
			t.cut = max(t.cut, r.Forgets)
		default:
			t.forgotten = max(t.forgotten, r.Forgets)
		}
		if !isFloor(kv.Key) {
			t.changes = append(t.changes, change{revision: kv.Revision, keys: r.Keys, markers: r.Markers})
		}
	}
	t.forgotten = max(t.forgotten, t.cut)
	sortChanges(t.changes)
	return t
}

func isFloor(key string) bool { return key == nowPrefix+floorName || key == logPrefix+floorName }

// ring hands out the places of one client's records. Each is used by one transaction at a time, so that the next one
// knows the revision of what it overwrites.
type ring struct {
	prefix string // of the keys of places
	size   int

	mu    sync.Mutex
	named int     // places that were ever made
	lost  int     // of these, those that are not used again
	free  []place // the longest unused first
}

// place is a key for a record, and the revision of the record that it holds.
type place struct {
	key   string
	holds int64
}

func newRing(prefix string, size int) *ring { return &ring{prefix: prefix, size: size} }

// take gives a place, that which was given back longest ago if there are enough.
func (r *ring) take() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) == 0 || r.free[0].holds != 0 && r.named-r.lost < r.size {
		r.named++
		return place{key: fmt.Sprintf("%s-%d", r.prefix, r.named)}
	}
	p := r.free[0]
	r.free = r.free[1:]
	return p
}

// give takes a place back, with the revision of what it now holds.
func (r *ring) give(p place, holds int64) {
	p.holds = holds
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, p)
}

// back is give for a place that was not written.
func (r *ring) back(p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = slices.Insert(r.free, 0, p)
}

// lose is give for a place of which it is not known what it holds or will hold.
func (r *ring) lose(place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
}

// completed is the trail with the records that the longer ring still has of the time up to its newest.
func (t trail) completed(long trail) trail {
	newest := t.newest()
	t.changes, t.forgotten, t.cut = nil, long.forgotten, max(t.cut, long.cut)
	for _, c := range long.changes {
		if c.revision <= newest {
			t.changes = append(t.changes, c)
		}
	}
	return t
}
