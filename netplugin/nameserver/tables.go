package nameserver

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// class of a name, in the order in which they are looked at.
type class uint8

const (
	classService class = iota
	classGroup
	classContainer
	classes // their number
)

// String is the word of inspect.
func (c class) String() string { return [classes]string{"service", "group", "container"}[c] }

// Tables are the names of all tenants that this host knows. Safe for concurrent use.
//
// Invariants: facts has exactly the records that say something of names, and each of its entries is in exactly the lists
// that its fields name; no list and no tenant is empty.
type Tables struct {
	mu      sync.RWMutex
	synced  bool // a complete state was applied
	facts   map[drivers.Ref]*fact
	tenants map[string]*tenant
}

type tenant struct {
	names [classes]map[string][]*fact
	addrs map[netip.Addr][]*fact
}

// fact is what a record says of names: that they have these addresses. Never changed.
type fact struct {
	tenant, network string
	name            string // of the service or the container as it is shown; empty: it has none
	names           [classes][]string
	addrs           []netip.Addr
}

// NewTables makes empty ones.
func NewTables() *Tables {
	return &Tables{facts: map[drivers.Ref]*fact{}, tenants: map[string]*tenant{}}
}

// Apply takes a change of the desired state.
func (t *Tables) Apply(update drivers.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if update.Replace {
		t.synced = true
		clear(t.facts)
		clear(t.tenants)
	}
	for _, ref := range update.Gone {
		t.forget(ref)
	}
	for ref, body := range update.Set {
		t.forget(ref)
		if f := factOf(body); f != nil {
			t.learn(ref, f)
		}
	}
}

// Synced tells whether a complete state was applied.
func (t *Tables) Synced() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.synced
}

// factOf is what a record says of names, nil for nothing.
func factOf(body protocol.Body) *fact {
	var f *fact
	switch b := body.(type) {
	case *protocol.Endpoint:
		f = containerFact(b.Tenant, b.Network, b.Name, b.Groups, b.IPv4, b.IPv6)
	case *protocol.Service:
		f = &fact{tenant: b.Tenant, network: b.Network, name: b.Name, addrs: valid(b.VIP, b.VIP6)}
		f.names[classService] = []string{fold(b.Name)}
	}
	if f == nil || len(f.addrs) == 0 {
		return nil
	}
	return f
}

func containerFact(tenant, network, name string, groups []string, addrs ...netip.Addr) *fact {
	f := &fact{tenant: tenant, network: network, name: strings.TrimPrefix(name, "/"), addrs: valid(addrs...)}
	if f.name != "" {
		f.names[classContainer] = []string{fold(f.name)}
	}
	for _, group := range groups {
		f.names[classGroup] = append(f.names[classGroup], fold(group))
	}
	return f
}

func valid(addrs ...netip.Addr) (out []netip.Addr) {
	for _, a := range addrs {
		if a.IsValid() && !a.IsUnspecified() {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// fold makes names equal that differ in the case of ASCII letters only, as DNS has it.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

func (t *Tables) learn(ref drivers.Ref, f *fact) {
	of := t.tenants[f.tenant]
	if of == nil {
		of = &tenant{addrs: map[netip.Addr][]*fact{}}
		for c := range of.names {
			of.names[c] = map[string][]*fact{}
		}
		t.tenants[f.tenant] = of
	}
	t.facts[ref] = f
	for c, names := range f.names {
		for _, name := range names {
			of.names[c][name] = append(of.names[c][name], f)
		}
	}
	for _, a := range f.addrs {
		of.addrs[a] = append(of.addrs[a], f)
	}
}

func (t *Tables) forget(ref drivers.Ref) {
	f := t.facts[ref]
	if f == nil {
		return
	}
	delete(t.facts, ref)
	of := t.tenants[f.tenant]
	for c, names := range f.names {
		for _, name := range names {
			removeFrom(of.names[c], name, f)
		}
	}
	for _, a := range f.addrs {
		removeFrom(of.addrs, a, f)
	}
	if len(of.addrs) == 0 {
		delete(t.tenants, f.tenant)
	}
}

func removeFrom[K comparable](lists map[K][]*fact, key K, f *fact) {
	list := lists[key]
	at := slices.Index(list, f)
	if at < 0 {
		return
	}
	last := len(list) - 1
	list[at], list[last] = list[last], nil
	if lists[key] = list[:last]; last == 0 {
		delete(lists, key)
	}
}

// Asker is who asks.
type Asker struct{ Tenant, Network string }

// answer is what the tables have of a name.
type answer struct {
	class class
	// near are addresses in the asker's network, far all others; none twice.
	near, far []netip.Addr
}

// find looks a name up; ok is false for one that is unknown. The first class that has the name answers.
func (t *Tables) find(who Asker, name string) (found answer, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	of := t.tenants[who.Tenant]
	if of == nil {
		return answer{}, false
	}
	for c := range of.names {
		list := of.names[c][name]
		if len(list) == 0 {
			continue
		}
		found.class = class(c)
		seen := make(map[netip.Addr]bool, len(list))
		for _, f := range list {
			for _, a := range f.addrs {
				switch {
				case seen[a]:
				case f.network == who.Network:
					found.near = append(found.near, a)
				default:
					found.far = append(found.far, a)
				}
				seen[a] = true
			}
		}
		return found, true
	}
	return answer{}, false
}

// namesOf are those of whoever has an address in a tenant; known is false if nobody has it.
func (t *Tables) namesOf(tenant string, a netip.Addr) (names []string, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	of := t.tenants[tenant]
	if of == nil {
		return nil, false
	}
	list := of.addrs[a.Unmap()]
	for _, f := range list {
		if f.name != "" && !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return names, len(list) > 0
}
