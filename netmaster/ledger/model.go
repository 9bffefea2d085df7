package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// Model is every record of the store as of one revision, indexed. It is read inside View, ViewCached, a plan or a
// subscriber only; the records it hands out are shared and must not be changed, but may be kept.
//
// Invariants: rows has exactly the records that could be read; every row is in the indexes that indexesOf names, and in
// intent if its key begins so; the
// pools hold exactly the allocations among the rows, and beside them what is being written.
type Model struct {
	revision int64
	rows     map[string]*row
	index    map[Index]map[*row]struct{}
	intent   *rowTree
	pools    map[state.Pool]*pool
	spans    map[string]*spans // address ranges of networks, by tenant
	problems map[string]Problem
}

// row is a record at a revision. It is never changed.
type row struct {
	key      string
	revision int64
	record   state.Record
}

// Problem is a record of the store with which something is wrong.
type Problem struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Reason   string `json:"reason"`
	// Kept: the model has the record all the same, because it can be read but holds a value that is not valid here (what
	// a later version wrote must not vanish from an earlier one); or, of an allocation, its number stays taken. Else it
	// cannot be read and is left out.
	Kept bool `json:"kept,omitempty"`

	readable bool // so that plans may go by it
}

func newModel() *Model {
	return &Model{
		rows:     make(map[string]*row),
		index:    make(map[Index]map[*row]struct{}),
		intent:   newRowTree(),
		pools:    make(map[state.Pool]*pool),
		spans:    make(map[string]*spans),
		problems: make(map[string]Problem),
	}
}

// Revision is the store revision that the model is at.
func (m *Model) Revision() int64 { return m.revision }

// RevisionOf is the revision in which a record was last written, 0 if there is none with that store key.
func (m *Model) RevisionOf(storeKey string) int64 {
	if r := m.rows[storeKey]; r != nil {
		return r.revision
	}
	return 0
}

// Problems are the records with which something is wrong, by key.
func (m *Model) Problems() []Problem {
	return slices.SortedFunc(maps.Values(m.problems), func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
}

// Unreadable are the store keys with the prefix whose records cannot be read and are left out, sorted.
func (m *Model) Unreadable(prefix string) []string {
	var out []string
	for key := range m.problems {
		if strings.HasPrefix(key, prefix) && m.isUnreadable(key) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

func (m *Model) isUnreadable(key string) bool {
	problem, bad := m.problems[key]
	return bad && !problem.Kept
}

// Tenant, Network, ... give one record, nil if there is none. Keys are model keys ("tenant:name").

// Tenant is a tenant by name.
func (m *Model) Tenant(name string) *state.Tenant {
	return get[*state.Tenant](m, state.TenantPrefix+name)
}

// Network is a network by model key.
func (m *Model) Network(key string) *state.Network {
	return get[*state.Network](m, state.NetworkPrefix+key)
}

// Group is an endpoint group by model key.
func (m *Model) Group(key string) *state.EndpointGroup {
	return get[*state.EndpointGroup](m, state.EndpointGroupPrefix+key)
}

// Global is the global object.
func (m *Model) Global() *state.Global {
	return get[*state.Global](m, state.GlobalPrefix+state.GlobalName)
}

// TenantState is what was decided for a tenant.
func (m *Model) TenantState(name string) *state.TenantState {
	return get[*state.TenantState](m, state.TenantStatePrefix+name)
}

// NetworkState is what was decided for a network.
func (m *Model) NetworkState(key string) *state.NetworkState {
	return get[*state.NetworkState](m, state.NetworkStatePrefix+key)
}

// GroupState is what was decided for an endpoint group.
func (m *Model) GroupState(key string) *state.GroupState {
	return get[*state.GroupState](m, state.GroupStatePrefix+key)
}

// Endpoint is an endpoint by id.
func (m *Model) Endpoint(id state.EndpointID) *state.Endpoint {
	return get[*state.Endpoint](m, state.EndpointPrefix+id.String())
}

// Host is a host by name.
func (m *Model) Host(name string) *state.Host {
	return get[*state.Host](m, state.HostPrefix+name)
}

// Allocation is the record of a number or address, nil if it is free. Only pool and number or address of the argument
// count.
func (m *Model) Allocation(of state.Allocation) *state.Allocation {
	return get[*state.Allocation](m, of.StoreKey())
}

// Tenants, Networks, ... give records sorted by key.

// Tenants are all tenants.
func (m *Model) Tenants() []*state.Tenant { return list[*state.Tenant](m, AllTenants()) }

// Networks are the networks of a tenant, or of all for "".
func (m *Model) Networks(tenant string) []*state.Network {
	return list[*state.Network](m, NetworksOfTenant(tenant))
}

// Groups are the endpoint groups of a tenant, or of all for "".
func (m *Model) Groups(tenant string) []*state.EndpointGroup {
	return list[*state.EndpointGroup](m, GroupsOfTenant(tenant))
}

// GroupsOfNetwork are the groups of a network by its model key.
func (m *Model) GroupsOfNetwork(key string) []*state.EndpointGroup {
	return list[*state.EndpointGroup](m, GroupsOfNetwork(key))
}

// Endpoints are all endpoints.
func (m *Model) Endpoints() []*state.Endpoint { return list[*state.Endpoint](m, AllEndpoints()) }

// EndpointsOf are the endpoints in an index such as EndpointsOfNetwork(key) or EndpointsOfHost(name).
func (m *Model) EndpointsOf(in Index) []*state.Endpoint { return list[*state.Endpoint](m, in) }

// Hosts are all hosts, dead ones too.
func (m *Model) Hosts() []*state.Host { return list[*state.Host](m, AllHosts()) }

// Allocations are the records of a pool.
func (m *Model) Allocations(pool state.Pool) []*state.Allocation {
	return list[*state.Allocation](m, AllocationsOf(pool))
}

// AllocationsIn are the allocations in an index such as Unowned or ReservationsOf.
func (m *Model) AllocationsIn(in Index) []*state.Allocation { return list[*state.Allocation](m, in) }

// EachAllocation calls visit with the allocations in an index and the revisions they were written in, in no order,
// until it returns false.
func (m *Model) EachAllocation(in Index, visit func(a *state.Allocation, revision int64) bool) {
	for r := range m.index[in] {
		if a, ok := r.record.(*state.Allocation); ok && !visit(a, r.revision) {
			return
		}
	}
}

// Count is the number of records in an index.
func (m *Model) Count(in Index) int { return len(m.index[in]) }

// Schema is the layout number that the store is marked with, 0 if it is not.
func (m *Model) Schema() int {
	if s := get[*schema](m, state.SchemaKey); s != nil {
		return s.version
	}
	return 0
}

// Usage divides a range of a pool into what is used (owned or reserved) and what is free; blocks count as used, what
// rests counts as free.
func (m *Model) Usage(of state.Pool, in alloc.Range, blocks ...alloc.Range) alloc.Usage {
	if p := m.pools[of]; p != nil {
		return alloc.UsageOf(in, p.used, blocks...)
	}
	return alloc.UsageOf(in, alloc.NewSet(), blocks...)
}

// Used is how many numbers or addresses of a pool are owned or reserved.
func (m *Model) Used(of state.Pool) int {
	if p := m.pools[of]; p != nil {
		return p.used.Len()
	}
	return 0
}

func get[T state.Record](m *Model, key string) T {
	if r := m.rows[key]; r != nil {
		if record, ok := r.record.(T); ok {
			return record
		}
	}
	var none T
	return none
}

func list[T state.Record](m *Model, in Index) []T {
	rows := m.sortedRows(in)
	out := make([]T, 0, len(rows))
	for _, r := range rows {
		if record, ok := r.record.(T); ok {
			out = append(out, record)
		}
	}
	return out
}

func (m *Model) sortedRows(in Index) []*row {
	return slices.SortedFunc(maps.Keys(m.index[in]), func(a, b *row) int { return cmp.Compare(a.key, b.key) })
}

// arrival is the newest form of a key, read but not yet in the model.
type arrival struct {
	key      string
	revision int64
	record   state.Record // nil: deleted, not readable, or not the model's
	problem  error
	request  string // id of the request that wrote it, if this process knows
}

func arrive(event objdb.Event) arrival {
	a := arrival{key: event.Key, revision: event.Revision}
	if !event.Deleted {
		a.record, a.problem = decode(event.Key, event.Value)
	}
	return a
}

// arriveAll reads many records, which takes most of the time of a start, on all processors.
func arriveAll(kvs []objdb.KV) []arrival {
	arrivals := make([]arrival, len(kvs))
	var readers sync.WaitGroup
	part := len(kvs)/runtime.GOMAXPROCS(0) + 1
	for first := 0; first < len(kvs); first += part {
		readers.Go(func() {
			for i := first; i < min(first+part, len(kvs)); i++ {
				arrivals[i] = arrive(objdb.Event{KV: kvs[i]})
			}
		})
	}
	readers.Wait()
	return arrivals
}

// set takes an arrival into the model and tells what changed, nil if nothing did.
func (m *Model) set(a arrival) *Delta {
	old := m.rows[a.key]
	if old != nil && old.revision >= a.revision {
		return nil
	}
	unread := m.isUnreadable(a.key)
	delete(m.problems, a.key)
	if a.problem != nil {
		_, placeholder := a.record.(*state.Allocation) // see decodeAllocation
		m.problems[a.key] = Problem{
			Key: a.key, Revision: a.revision, Reason: a.problem.Error(),
			Kept: a.record != nil, readable: a.record != nil && !placeholder,
		}
	}
	unread = unread || m.isUnreadable(a.key)
	if old == nil && a.record == nil && !unread {
		return nil
	}
	delta := &Delta{Key: a.key, Revision: a.revision, New: a.record, Unread: unread}
	if old != nil {
		delta.Old = old.record
	}
	var next *row
	if a.record != nil {
		next = &row{a.key, a.revision, a.record}
	}
	m.replace(a.key, old, next)
	return delta
}

func (m *Model) replace(key string, old, next *row) {
	if old != nil {
		for _, in := range indexesOf(old.record) {
			m.dropFrom(in, old)
		}
		switch r := old.record.(type) {
		case *state.Allocation:
			m.pool(r.Pool).drop(r)
			m.tidyPool(r.Pool)
		case *state.Network:
			m.spansOf(r.TenantName).drop(key, r)
			if m.spans[r.TenantName].tree.Len() == 0 {
				delete(m.spans, r.TenantName)
			}
		}
		delete(m.rows, key)
		if next == nil && strings.HasPrefix(key, intentPrefix) {
			m.intent.Delete(old)
		}
	}
	if next == nil {
		return
	}
	m.rows[key] = next
	if strings.HasPrefix(key, intentPrefix) {
		m.intent.ReplaceOrInsert(next)
	}
	for _, in := range indexesOf(next.record) {
		if m.index[in] == nil {
			m.index[in] = make(map[*row]struct{})
		}
		m.index[in][next] = struct{}{}
	}
	switch r := next.record.(type) {
	case *state.Allocation:
		m.pool(r.Pool).add(r)
	case *state.Network:
		m.spansOf(r.TenantName).add(key, r)
	}
}

func (m *Model) dropFrom(in Index, old *row) {
	delete(m.index[in], old)
	if len(m.index[in]) == 0 {
		delete(m.index, in)
	}
}

func (m *Model) spansOf(tenant string) *spans {
	s := m.spans[tenant]
	if s == nil {
		s = newSpans()
		m.spans[tenant] = s
	}
	return s
}

func (m *Model) pool(name state.Pool) *pool {
	p := m.pools[name]
	if p == nil {
		p = newPool()
		m.pools[name] = p
	}
	return p
}

// poolToRead is a pool that is not made if there is none.
func (m *Model) poolToRead(name state.Pool) *pool {
	if p := m.pools[name]; p != nil {
		return p
	}
	return newPool()
}

// tidyPool forgets a pool that nothing is known of: names of networks, and so pools, come and go.
func (m *Model) tidyPool(name state.Pool) {
	if p := m.pools[name]; p != nil && p.empty() {
		delete(m.pools, name)
	}
}

// kinds are the records that the model keeps, by prefix of their keys.
var kinds = []struct {
	prefix string
	make   func() state.Record
}{
	{state.TenantPrefix, func() state.Record { return new(state.Tenant) }},
	{state.NetworkPrefix, func() state.Record { return new(state.Network) }},
	{state.EndpointGroupPrefix, func() state.Record { return new(state.EndpointGroup) }},
	{state.GlobalPrefix, func() state.Record { return new(state.Global) }},
	{state.TenantStatePrefix, func() state.Record { return new(state.TenantState) }},
	{state.NetworkStatePrefix, func() state.Record { return new(state.NetworkState) }},
	{state.GroupStatePrefix, func() state.Record { return new(state.GroupState) }},
	{state.GroupSetPrefix, func() state.Record { return new(state.GroupSet) }},
	{state.EndpointPrefix, func() state.Record { return new(state.Endpoint) }},
	{state.HostPrefix, func() state.Record { return new(state.Host) }},
	{state.PolicyPrefix, func() state.Record { return new(state.Policy) }},
	{state.GoingPolicyPrefix, func() state.Record { return new(state.GoingPolicy) }},
	{state.RulePrefix, func() state.Record { return new(state.Rule) }},
	{state.NetprofilePrefix, func() state.Record { return new(state.Netprofile) }},
	{state.ServiceLBPrefix, func() state.Record { return new(state.ServiceLB) }},
	{state.ServiceStatePrefix, func() state.Record { return new(state.ServiceState) }},
	{state.BgpPrefix, func() state.Record { return new(state.Bgp) }},
	{state.AciGwPrefix, func() state.Record { return new(state.AciGw) }},
	{state.GatewayProfilePrefix, func() state.Record { return new(state.GatewayProfile) }},
	{state.AppProfilePrefix, func() state.Record { return new(state.AppProfile) }},
	{state.ExtContractsGroupPrefix, func() state.Record { return new(state.ExtContractsGroup) }},
}

// unreadable owns allocations whose record cannot be read: their number stays taken until somebody repairs them.
const unreadable = "(unreadable record)"

// decode reads a stored value. It gives nothing for keys that are not the model's; beside an error it gives what counts
// all the same, see Problem.Kept.
func decode(key string, value []byte) (state.Record, error) {
	if strings.HasPrefix(key, state.AllocationPrefix) {
		return decodeAllocation(key, value)
	}
	switch key {
	case state.SchemaKey:
		return decodeSchema(value)
	case barrierKey:
		return new(barrier), nil // whatever it holds: its revision counts
	}
	for _, kind := range kinds {
		if strings.HasPrefix(key, kind.prefix) {
			return decodeAs(kind.make(), key, value)
		}
	}
	return nil, nil
}

func decodeAllocation(key string, value []byte) (state.Record, error) {
	a, err := state.ParseAllocationKey(key)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", key, err)
	}
	record, err := decodeAs(&a, key, value)
	if err != nil {
		return &state.Allocation{Pool: a.Pool, Number: a.Number, Addr: a.Addr, Owner: unreadable}, err
	}
	return record, nil
}

func decodeAs(record state.Record, key string, value []byte) (state.Record, error) {
	if err := state.Decode(value, record); err != nil {
		return nil, fmt.Errorf("reading %q: %w", key, err)
	}
	if own := record.StoreKey(); own != key {
		return nil, fmt.Errorf("reading %q: the record names itself %q", key, own)
	}
	if intent, ok := record.(interface{ Validate() error }); ok {
		if err := intent.Validate(); err != nil {
			return record, fmt.Errorf("reading %q: %w", key, err)
		}
	}
	return record, nil
}
