package api

import (
	"sort"
	"strings"
	"sync"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// defaultHistory is how many changes are kept for those who watch.
const defaultHistory = 8192

// history is the latest changes of the objects that REST shows, for all who watch. Nobody who reads it holds up who
// writes to it: a reader who falls behind finds that changes are gone, and begins anew.
type history struct {
	collections map[string]*collection // by prefix of the store keys

	mu       sync.Mutex
	kept     []*happening // number n is at n % len
	first    int64        // number of the oldest that is kept
	next     int64        // number of the next to come
	revision int64        // of the model
	floor    int64        // of the newest that is gone: what came after it is all here
	arrived  chan struct{}
}

// happening is the change of one object. It is not changed itself.
type happening struct {
	collection *collection
	key        string // model key
	revision   int64  // in which the object was written or deleted
	old, new   state.Record
	upTo       int64         // revision that the model got to with it
	last       bool          // to that revision
	encode     func() []byte // the object as an event; the same for all who watch
}

func newHistory(collections []collection, size int) *history {
	h := &history{collections: make(map[string]*collection), kept: make([]*happening, size)}
	for i := range collections {
		if collections[i].prefix != "" {
			h.collections[collections[i].prefix] = &collections[i]
		}
	}
	return h
}

// collectionOf finds the collection that a store key is of, nil if it is of none.
func (h *history) collectionOf(storeKey string) *collection {
	return h.collections[storeKey[:strings.LastIndexByte(storeKey, '/')+1]]
}

// note takes what changed from the ledger; encode makes the event of an object.
func (h *history) note(change ledger.Change, encode func(*happening) []byte) {
	var news []*happening
	for _, delta := range change.Records {
		c := h.collectionOf(delta.Key)
		if c == nil {
			continue
		}
		news = append(news, &happening{
			collection: c, key: delta.Key[len(c.prefix):], revision: delta.Revision, old: delta.Old, new: delta.New, upTo: change.Revision,
		})
	}
	if len(news) > 0 {
		news[len(news)-1].last = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision = change.Revision
	if change.Initial {
		h.floor = change.Revision
	}
	for _, n := range news {
		n.encode = sync.OnceValue(func() []byte { return encode(n) })
		h.append(n)
	}
	if len(news) > 0 && h.arrived != nil {
		close(h.arrived)
		h.arrived = nil
	}
}

// append keeps one more, in the place of the oldest; the lock is held.
func (h *history) append(n *happening) {
	place := &h.kept[h.next%int64(len(h.kept))]
	if *place != nil {
		h.floor = (*place).upTo
		h.first++
	}
	*place = n
	h.next++
}

// after finds the number of the first change after a revision; false if it may be gone, or the revision never was.
func (h *history) after(revision int64) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision < h.floor || revision > h.revision {
		return 0, false
	}
	n := sort.Search(int(h.next-h.first), func(i int) bool { return h.at(h.first+int64(i)).upTo > revision })
	return h.first + int64(n), true
}

// end is the number of the next change to come, and the revision that all before it lead to.
func (h *history) end() (number, revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next, h.revision
}

func (h *history) at(number int64) *happening { return h.kept[number%int64(len(h.kept))] }

// read gives the changes from a number on, at most so many. If there are none it gives the revision that nothing
// happened up to, and what is closed when something does. It is false if the change of that number is gone.
func (h *history) read(number int64, most int) (found []*happening, revision int64, arrived <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if number < h.first {
		return nil, 0, nil, false
	}
	for ; number < h.next && len(found) < most; number++ {
		found = append(found, h.at(number))
	}
	if h.arrived == nil {
		h.arrived = make(chan struct{})
	}
	return found, h.revision, h.arrived, true
}
