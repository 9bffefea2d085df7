package ledger

import (
	"errors"
	"fmt"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// ErrUnreadable says that a record that the plan needs is in the store but cannot be read, so nothing may be decided about it.
var ErrUnreadable = errors.New("a record in the store cannot be read")

// Tx is what a plan sees and says. Reading by key makes the transaction depend on the record being as it was read.
//
// Beside the model there are the flights: transactions that are being written and may still fail. A plan never builds
// on one: when it reads a record that a flight writes, or comes to an outcome because of one (a match only a flight
// has, a number only a flight holds), it is run again after the flight has ended. A plan that merely keeps out of the
// way of flights goes ahead. Every number and record of a flight counts as there, old form and new, for Find, Count
// and LowestFree; so of two plans that exclude each other the later one sees the earlier, whichever way round.
//
// A plan must be a pure function of what the Tx tells it: it may be run any number of times.
type Tx struct {
	l        *Ledger
	term     int64
	compares map[string]int64
	writes   map[string]write
	order    []string // keys of writes
	waits    map[*flight]bool
	err      error
}

// write is one operation: a put of next, or a delete if it is nil. old is what it replaces.
type write struct {
	old, next state.Record
}

func newTx(l *Ledger, term int64) *Tx {
	compares := map[string]int64{barrierKey: l.model.RevisionOf(barrierKey)}
	return &Tx{l: l, term: term, compares: compares, writes: make(map[string]write), waits: make(map[*flight]bool)}
}

// Term is the leadership that the transaction is written under: the revision of its record, larger with each.
func (tx *Tx) Term() int64 { return tx.term }

// Revision of the model.
func (tx *Tx) Revision() int64 { return tx.l.model.revision }

// RevisionOf a record, by its store key; 0 if there is none.
func (tx *Tx) RevisionOf(storeKey string) int64 { return tx.l.model.RevisionOf(storeKey) }

// Pin makes the transaction depend on a record, by its store key, and gives its revision; 0 if there is none.
func (tx *Tx) Pin(storeKey string) int64 {
	tx.depend(storeKey)
	return tx.l.model.RevisionOf(storeKey)
}

// Tenant is a tenant by name.
func (tx *Tx) Tenant(name string) *state.Tenant {
	return read[*state.Tenant](tx, state.TenantPrefix+name)
}

// Network is a network by model key.
func (tx *Tx) Network(key string) *state.Network {
	return read[*state.Network](tx, state.NetworkPrefix+key)
}

// Group is an endpoint group by model key.
func (tx *Tx) Group(key string) *state.EndpointGroup {
	return read[*state.EndpointGroup](tx, state.EndpointGroupPrefix+key)
}

// Global is the global object.
func (tx *Tx) Global() *state.Global {
	return read[*state.Global](tx, state.GlobalPrefix+state.GlobalName)
}

// TenantState is what was decided for a tenant.
func (tx *Tx) TenantState(name string) *state.TenantState {
	return read[*state.TenantState](tx, state.TenantStatePrefix+name)
}

// NetworkState is what was decided for a network.
func (tx *Tx) NetworkState(key string) *state.NetworkState {
	return read[*state.NetworkState](tx, state.NetworkStatePrefix+key)
}

// GroupState is what was decided for an endpoint group.
func (tx *Tx) GroupState(key string) *state.GroupState {
	return read[*state.GroupState](tx, state.GroupStatePrefix+key)
}

// Endpoint is an endpoint by id.
func (tx *Tx) Endpoint(id state.EndpointID) *state.Endpoint {
	return read[*state.Endpoint](tx, state.EndpointPrefix+id.String())
}

// Host is a host by name.
func (tx *Tx) Host(name string) *state.Host {
	return read[*state.Host](tx, state.HostPrefix+name)
}

// Allocation is the record of a number or address, nil if it is free. Only pool and number or address of the argument
// count.
func (tx *Tx) Allocation(of state.Allocation) *state.Allocation {
	return read[*state.Allocation](tx, of.StoreKey())
}

// Schema is the layout number that the store is marked with, 0 if it is not.
func (tx *Tx) Schema() int {
	if s := read[*schema](tx, state.SchemaKey); s != nil {
		return s.version
	}
	return 0
}

// PutSchema marks the store with a layout number.
func (tx *Tx) PutSchema(version int) { tx.Put(&schema{version: version}) }

// read gives a record and makes the transaction depend on it.
func read[T state.Record](tx *Tx, key string) T {
	tx.depend(key)
	return get[T](tx.l.model, key)
}

func (tx *Tx) depend(key string) {
	if problem, bad := tx.l.model.problems[key]; bad && !problem.readable {
		tx.err = fmt.Errorf("%w: %s", ErrUnreadable, problem.Reason)
	}
	if f := tx.l.flights[key]; f != nil {
		tx.waits[f] = true
	}
	tx.compares[key] = tx.l.model.RevisionOf(key)
}

// Put writes a record, which must not be changed afterwards. A record that was read must be copied before it is changed.
func (tx *Tx) Put(record state.Record) { tx.write(record.StoreKey(), record) }

// Delete removes a record.
func (tx *Tx) Delete(record state.Record) { tx.write(record.StoreKey(), nil) }

// Discard removes a record that cannot be read, by its store key, if it is still the one that was found so. False, and
// nothing is removed: there is none.
func (tx *Tx) Discard(key string) bool {
	problem, bad := tx.l.model.problems[key]
	if !bad || problem.Kept {
		return false
	}
	if f := tx.l.flights[key]; f != nil {
		tx.waits[f] = true
	}
	tx.compares[key] = problem.Revision
	tx.order = append(tx.order, key)
	tx.writes[key] = write{}
	return true
}

func (tx *Tx) write(key string, next state.Record) {
	tx.depend(key)
	if _, again := tx.writes[key]; !again {
		tx.order = append(tx.order, key)
	}
	var old state.Record
	if r := tx.l.model.rows[key]; r != nil {
		old = r.record
	}
	tx.writes[key] = write{old, next}
}

// Room is how many more writes and compares of new keys the transaction can take before it is refused as too large.
// One compare is kept for the leadership record, and what is left of both stays below objdb.MaxTxnSteps.
func (tx *Tx) Room() int {
	return objdb.MaxTxnSteps/2 - max(len(tx.compares), len(tx.writes))
}

// Find gives a record of the index that matches, nil if none does.
func (tx *Tx) Find(in Index, match func(state.Record) bool) state.Record {
	for r := range tx.l.model.index[in] {
		if tx.l.flights[r.key] == nil && match(r.record) {
			return r.record
		}
	}
	var found state.Record
	for key, f := range tx.l.byIndex[in] {
		for _, record := range f.forms(key) {
			if inIndex(record, in) && match(record) {
				tx.waits[f] = true
				found = record
			}
		}
	}
	return found
}

// Possible gives every record that is or may come to be in the index, in no order: for keeping out of the way of all.
func (tx *Tx) Possible(in Index) []state.Record {
	var out []state.Record
	for r := range tx.l.model.index[in] {
		out = append(out, r.record)
	}
	for key, f := range tx.l.byIndex[in] {
		if next := f.writes[key].next; next != nil && inIndex(next, in) {
			out = append(out, next)
		}
	}
	return out
}

// Settle makes the plan wait for everybody who writes to the index: its outcome rests on the index as a whole.
func (tx *Tx) Settle(in Index) {
	for _, f := range tx.l.byIndex[in] {
		tx.waits[f] = true
	}
}

// Any gives a record of the index, nil if it is empty.
func (tx *Tx) Any(in Index) state.Record {
	return tx.Find(in, func(state.Record) bool { return true })
}

// Count is the number of records in the index; only whether it is zero is exact while others write.
func (tx *Tx) Count(in Index) int {
	settled := len(tx.l.model.index[in])
	for key := range tx.l.byIndex[in] {
		if _, there := tx.l.model.index[in][tx.l.model.rows[key]]; there {
			settled--
		}
	}
	if settled == 0 {
		for _, f := range tx.l.byIndex[in] {
			tx.waits[f] = true
		}
	}
	return settled
}

// List gives the records of the index, sorted by key, that nobody is writing. It is empty only if nothing is in the
// index and nobody is adding to it.
func (tx *Tx) List(in Index) []state.Record {
	if tx.Count(in) == 0 {
		return nil
	}
	var out []state.Record
	for _, r := range tx.l.model.sortedRows(in) {
		if tx.l.flights[r.key] == nil {
			out = append(out, r.record)
		}
	}
	return out
}

// Overlapping gives a network of the tenant that claims an address of the range, nil if none does.
func (tx *Tx) Overlapping(tenant string, in alloc.Range) *state.Network {
	for _, key := range tx.l.model.spans[tenant].overlapping(in) {
		if tx.l.flights[key] == nil {
			return get[*state.Network](tx.l.model, key)
		}
	}
	var found *state.Network
	for key, f := range tx.l.byIndex[NetworksOfTenant(tenant)] {
		for _, record := range f.forms(key) {
			if n, ok := record.(*state.Network); ok && claims(n, in) {
				tx.waits[f] = true
				found = n
			}
		}
	}
	return found
}

func claims(n *state.Network, in alloc.Range) bool {
	for _, r := range rangesOf(n) {
		if r.Overlaps(in) {
			return true
		}
	}
	return false
}

func inIndex(record state.Record, in Index) bool {
	for _, other := range indexesOf(record) {
		if other == in {
			return true
		}
	}
	return false
}

// LowestFree gives the lowest value of a pool's range that has no record and that nobody is taking, outside the ranges
// to avoid.
func (tx *Tx) LowestFree(name state.Pool, in alloc.Range, avoid ...alloc.Range) (alloc.Value, bool) {
	p := tx.l.model.poolToRead(name)
	for _, w := range tx.writes {
		if a, ok := w.next.(*state.Allocation); ok && a.Pool == name {
			v := valueOf(a)
			avoid = append(avoid, alloc.Range{First: v, Last: v})
		}
	}
	v, ok := p.taken.LowestFree(in, avoid...)
	if !ok {
		tx.waitForPool(p, in)
	}
	return v, ok
}

// LongestResting gives the released record of a pool's range that rests longest, outside the ranges to avoid; nil if
// none rests there.
func (tx *Tx) LongestResting(name state.Pool, in alloc.Range, avoid ...alloc.Range) *state.Allocation {
	p := tx.l.model.poolToRead(name)
	var found *state.Allocation
	p.resting.Ascend(func(r rest) bool {
		if !in.Contains(r.value) || contained(r.value, avoid) {
			return true
		}
		key := keyOf(name, r.value)
		if p.flights[key] != nil {
			return true
		}
		found = read[*state.Allocation](tx, key)
		return found == nil
	})
	if found == nil {
		tx.waitForPool(p, in)
	}
	return found
}

// waitForPool makes the plan wait for what others are writing in the range.
func (tx *Tx) waitForPool(p *pool, in alloc.Range) {
	for key, f := range p.flights {
		for _, record := range f.forms(key) {
			if a, ok := record.(*state.Allocation); ok && in.Contains(valueOf(a)) {
				tx.waits[f] = true
			}
		}
	}
}

func contained(v alloc.Value, ranges []alloc.Range) bool {
	for _, r := range ranges {
		if r.Contains(v) {
			return true
		}
	}
	return false
}

// UsedIn gives an allocation of the pool's range that has an owner or is reserved, or that somebody is taking; nil if
// there is none.
func (tx *Tx) UsedIn(name state.Pool, in alloc.Range) *state.Allocation {
	p := tx.l.model.poolToRead(name)
	for run := range p.used.Runs(in) {
		for v := range run.Values() {
			if key := keyOf(name, v); p.flights[key] == nil {
				return get[*state.Allocation](tx.l.model, key)
			}
		}
	}
	var found *state.Allocation
	for key, f := range p.flights {
		for _, record := range f.forms(key) {
			a, ok := record.(*state.Allocation)
			if ok && a.Released == nil && in.Contains(valueOf(a)) {
				tx.waits[f] = true
				found = a
			}
		}
	}
	return found
}

// Usage is what is used of a pool's range by the records, without what is being written. For messages.
func (tx *Tx) Usage(name state.Pool, in alloc.Range) alloc.Usage { return tx.l.model.Usage(name, in) }

func keyOf(name state.Pool, v alloc.Value) string {
	a := state.Allocation{Pool: name, Number: v.Int()}
	if name.IsAddresses() {
		a.Number, a.Addr = 0, v.Addr()
	}
	return a.StoreKey()
}
