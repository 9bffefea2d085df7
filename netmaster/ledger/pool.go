package ledger

import (
	"time"

	"github.com/google/btree"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/state"
)

// pool is what is known of one pool, beside its records.
type pool struct {
	// taken is what cannot simply be given: everything with a record, and everything being written.
	taken *alloc.Set
	// used is what has an owner or is reserved, by the records alone: what reports show.
	used *alloc.Set
	// resting is the released records, the longest released first.
	resting *btree.BTreeG[rest]
	// flights are writes to records of the pool that are under way, by store key.
	flights map[string]*flight
}

type rest struct {
	at    time.Time
	value alloc.Value
}

func newPool() *pool {
	return &pool{
		taken: alloc.NewSet(), used: alloc.NewSet(), flights: make(map[string]*flight),
		resting: btree.NewG(16, func(a, b rest) bool {
			if a.at.Equal(b.at) {
				return a.value.Less(b.value)
			}
			return a.at.Before(b.at)
		}),
	}
}

func (p *pool) empty() bool { return p.taken.Len() == 0 && len(p.flights) == 0 }

func valueOf(a *state.Allocation) alloc.Value {
	if a.Addr.IsValid() {
		return alloc.Address(a.Addr)
	}
	return alloc.Number(a.Number)
}

func (p *pool) add(a *state.Allocation) {
	v := valueOf(a)
	p.taken.Add(v)
	if a.Released != nil {
		p.resting.ReplaceOrInsert(rest{a.Released.At, v})
		return
	}
	p.used.Add(v)
}

// drop forgets a record; what is being written stays taken.
func (p *pool) drop(a *state.Allocation) {
	v := valueOf(a)
	if p.flights[a.StoreKey()] == nil {
		p.taken.Remove(v)
	}
	if a.Released != nil {
		p.resting.Delete(rest{a.Released.At, v})
		return
	}
	p.used.Remove(v)
}

// begin marks an allocation as being written by the flight.
func (p *pool) begin(key string, a *state.Allocation, f *flight) {
	p.flights[key] = f
	p.taken.Add(valueOf(a))
}

// end takes the mark away; recorded says whether the pool has a record of the allocation now.
func (p *pool) end(key string, a *state.Allocation, recorded bool) {
	delete(p.flights, key)
	if !recorded {
		p.taken.Remove(valueOf(a))
	}
}
