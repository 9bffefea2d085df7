// Package check looks for what must never be in the cluster store: numbers and addresses that are leaked or given
// twice, records without their counterpart, networks that overlap. It reads the raw store, not the ledger's model, and
// works on any store at rest. It is for tests and for operators in doubt.
package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// Store checks everything in a store and returns what is wrong with it, sorted; nothing if all is well.
func Store(ctx context.Context, store objdb.Store) ([]string, error) {
	kvs, _, err := store.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("reading the store to check: %w", err)
	}
	return Records(kvs), nil
}

// Records checks the contents of a store.
func Records(kvs []objdb.KV) []string {
	c := newContents()
	for _, kv := range kvs {
		c.read(kv)
	}
	c.checkTenants()
	c.checkNetworks()
	c.checkGroups()
	c.checkEndpoints()
	c.checkGroupSets()
	c.checkIntent()
	c.checkAllocations()
	slices.Sort(c.wrong)
	return c.wrong
}

type contents struct {
	wrong       []string
	tenants     map[string]*state.Tenant
	networks    map[string]*state.Network
	groups      map[string]*state.EndpointGroup
	tenantState map[string]*state.TenantState
	netState    map[string]*state.NetworkState
	groupState  map[string]*state.GroupState
	groupSets   map[string]*state.GroupSet
	endpoints   map[string]*state.Endpoint
	hosts       map[string]*state.Host
	allocations map[string]*state.Allocation
	held        map[string]string // key of an allocation -> key of the record that says it has it
	intent
}

func newContents() *contents {
	return &contents{
		tenants: map[string]*state.Tenant{}, networks: map[string]*state.Network{}, groups: map[string]*state.EndpointGroup{},
		tenantState: map[string]*state.TenantState{}, netState: map[string]*state.NetworkState{},
		groupState: map[string]*state.GroupState{}, groupSets: map[string]*state.GroupSet{}, endpoints: map[string]*state.Endpoint{},
		hosts: map[string]*state.Host{}, allocations: map[string]*state.Allocation{}, held: map[string]string{}, intent: newIntent(),
	}
}

func (c *contents) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *contents) read(kv objdb.KV) {
	key, isAllocation := strings.CutPrefix(kv.Key, state.AllocationPrefix)
	if isAllocation {
		a, err := state.ParseAllocationKey(kv.Key)
		if err == nil {
			err = state.Decode(kv.Value, &a)
		}
		if err != nil {
			c.fail("allocation %s: %v", key, err)
			return
		}
		c.allocations[kv.Key] = &a
		return
	}
	_ = keep(c, kv, state.TenantPrefix, new(state.Tenant), c.tenants) ||
		keep(c, kv, state.NetworkPrefix, new(state.Network), c.networks) ||
		keep(c, kv, state.EndpointGroupPrefix, new(state.EndpointGroup), c.groups) ||
		keep(c, kv, state.TenantStatePrefix, new(state.TenantState), c.tenantState) ||
		keep(c, kv, state.NetworkStatePrefix, new(state.NetworkState), c.netState) ||
		keep(c, kv, state.GroupStatePrefix, new(state.GroupState), c.groupState) ||
		keep(c, kv, state.GroupSetPrefix, new(state.GroupSet), c.groupSets) ||
		keep(c, kv, state.EndpointPrefix, new(state.Endpoint), c.endpoints) ||
		keep(c, kv, state.HostPrefix, new(state.Host), c.hosts) ||
		c.readIntent(kv)
}

// keep reads a record below the prefix into its map, by the rest of its key.
func keep[T state.Record](c *contents, kv objdb.KV, prefix string, record T, into map[string]T) bool {
	key, ok := strings.CutPrefix(kv.Key, prefix)
	if !ok {
		return false
	}
	if err := state.Decode(kv.Value, record); err != nil {
		c.fail("%s: %v", kv.Key, err)
		return true
	}
	if record.StoreKey() != kv.Key {
		c.fail("%s: the record names itself %s", kv.Key, record.StoreKey())
	}
	into[key] = record
	return true
}

// pairs checks that intent and decisions come together.
func pairs[A, B any](c *contents, what string, intent map[string]A, decided map[string]B) {
	for key := range intent {
		if _, ok := decided[key]; !ok {
			c.fail("%s %s has no numbers", what, key)
		}
	}
	for key := range decided {
		if _, ok := intent[key]; !ok {
			c.fail("%s %s is gone, its numbers are not", what, key)
		}
	}
}

// holds notes that a record says it has an allocation.
func (c *contents) holds(owner string, a state.Allocation) {
	key := a.StoreKey()
	if other, twice := c.held[key]; twice {
		c.fail("%s is given twice: to %s and %s", key, other, owner)
	}
	c.held[key] = owner
}

func (c *contents) checkTenants() {
	pairs(c, "tenant", c.tenants, c.tenantState)
	for _, t := range c.tenantState {
		c.holds(t.StoreKey(), state.Allocation{Pool: state.PoolVRF, Number: t.VRF})
	}
}

func (c *contents) checkNetworks() {
	pairs(c, "network", c.networks, c.netState)
	for _, n := range c.netState {
		c.holds(n.StoreKey(), state.Allocation{Pool: state.PoolNetwork, Number: n.ID})
		if n.VLAN != 0 {
			c.holds(n.StoreKey(), state.Allocation{Pool: state.PoolVLAN, Number: n.VLAN})
		}
		if n.VNI != 0 {
			c.holds(n.StoreKey(), state.Allocation{Pool: state.PoolVNI, Number: n.VNI})
		}
		if (n.VLAN == 0) == (n.VNI == 0) {
			c.fail("network %s has VLAN %d and VNI %d", n.StoreKey(), n.VLAN, n.VNI)
		}
	}
	claimed := map[string][]claim{}
	for key, n := range c.networks {
		if c.tenants[n.TenantName] == nil {
			c.fail("network %s has no tenant", key)
		}
		if c.groups[key] != nil {
			c.fail("network %s and a group share a name", key)
		}
		for _, subnet := range subnets(n) {
			for _, other := range claimed[n.TenantName] {
				if other.Overlaps(subnet.AddrRange) {
					c.fail("networks %s and %s overlap", key, other.owner)
				}
			}
			claimed[n.TenantName] = append(claimed[n.TenantName], claim{subnet.AddrRange, key})
		}
	}
}

type claim struct {
	state.AddrRange
	owner string
}

func subnets(n *state.Network) []state.Subnet {
	var out []state.Subnet
	if s, err := state.ParseSubnet(n.Subnet); err == nil {
		out = append(out, s)
	}
	if s, err := state.ParseSubnet6(n.IPv6Subnet); err == nil {
		out = append(out, s)
	}
	return out
}

func (c *contents) checkGroups() {
	pairs(c, "group", c.groups, c.groupState)
	for _, g := range c.groupState {
		c.holds(g.StoreKey(), state.Allocation{Pool: state.PoolGroup, Number: g.ID})
		c.holds(g.StoreKey(), state.Allocation{Pool: state.PoolIdentity, Number: g.Identity})
		if g.VLAN != 0 {
			c.holds(g.StoreKey(), state.Allocation{Pool: state.PoolVLAN, Number: g.VLAN})
		}
	}
	claimed := map[string][]claim{}
	for key, g := range c.groups {
		network := state.ModelKey(g.TenantName, g.NetworkName)
		if c.networks[network] == nil {
			c.fail("group %s has no network", key)
			continue
		}
		pool, err := state.ParsePool(g.IPPool)
		if err != nil {
			continue
		}
		for _, other := range claimed[network] {
			if other.Overlaps(pool) {
				c.fail("pools of groups %s and %s overlap", key, other.owner)
			}
		}
		claimed[network] = append(claimed[network], claim{pool, key})
	}
	for key, e := range c.endpoints {
		for _, pool := range claimed[state.ModelKey(e.TenantName, e.NetworkName)] {
			inGroup := slices.ContainsFunc(e.Groups, func(g string) bool { return state.ModelKey(e.TenantName, g) == pool.owner })
			if pool.Contains(e.IPv4) != inGroup {
				c.fail("endpoint %s with address %s: is it in the pool %s of group %s? it should be: %v", key, e.IPv4, pool, pool.owner, inGroup)
			}
		}
	}
}

func (c *contents) checkEndpoints() {
	macs := map[string]string{}
	for key, e := range c.endpoints {
		network := state.ModelKey(e.TenantName, e.NetworkName)
		n := c.networks[network]
		if n == nil {
			c.fail("endpoint %s has no network", key)
			continue
		}
		if h := c.hosts[e.Host]; h == nil {
			c.fail("endpoint %s has no host", key)
		}
		mac := network + " " + e.MAC
		if other, twice := macs[mac]; twice {
			c.fail("endpoints %s and %s share the MAC %s", key, other, e.MAC)
		}
		macs[mac] = key
		for _, name := range e.Groups {
			g := c.groupState[state.ModelKey(e.TenantName, name)]
			if g == nil || len(e.Groups) == 1 && g.Identity != e.Identity {
				c.fail("endpoint %s has identity %d, which is not that of its group %s", key, e.Identity, name)
			}
		}
		for i, a := range []netip.Addr{e.IPv4, e.IPv6} {
			c.checkAddress(e, n, a, i)
		}
	}
}

// checkGroupSets: a set of several groups is there exactly as long as an endpoint is in it, and each endpoint has its
// identity.
func (c *contents) checkGroupSets() {
	used := map[string]bool{}
	for key, e := range c.endpoints {
		if len(e.Groups) < 2 {
			continue
		}
		set := state.GroupSetKey(e.TenantName, e.Groups)
		used[set] = true
		if found := c.groupSets[set]; found == nil || found.Identity != e.Identity {
			c.fail("endpoint %s has identity %d, which is not that of its groups %s", key, e.Identity, set)
		}
		for _, name := range e.Groups {
			if g := c.groups[state.ModelKey(e.TenantName, name)]; g == nil || g.NetworkName != e.NetworkName {
				c.fail("endpoint %s of network %s is in the group %s, which is not of it", key, e.NetworkName, name)
			}
		}
	}
	for key, set := range c.groupSets {
		c.holds(set.StoreKey(), state.Allocation{Pool: state.PoolIdentity, Number: set.Identity})
		if !used[key] {
			c.fail("the set of groups %s is left without an endpoint", key)
		}
	}
}

func (c *contents) checkAddress(e *state.Endpoint, n *state.Network, a netip.Addr, family int) {
	all := subnets(n)
	if !a.IsValid() {
		if family < len(all) {
			c.fail("endpoint %s lacks an address in %s", e.EndpointID, all[family].Prefix)
		}
		return
	}
	c.holds(e.StoreKey(), state.Allocation{Pool: state.AddressPool(n.Key()), Addr: a})
	if family >= len(all) || !all[family].Usable().Contains(a) {
		c.fail("endpoint %s has address %s outside its network", e.EndpointID, a)
	}
	if a.String() == n.Gateway || n.IPv6Gateway != "" && a == netip.MustParseAddr(n.IPv6Gateway) {
		c.fail("endpoint %s has the gateway's address %s", e.EndpointID, a)
	}
}

// checkAllocations compares the allocations with what the records say they have.
func (c *contents) checkAllocations() {
	for key, a := range c.allocations {
		states := 0
		for _, is := range []bool{a.Owner != "", a.Reserved != nil, a.Released != nil} {
			if is {
				states++
			}
		}
		if states != 1 {
			c.fail("%s is in %d states at once: owner %q, reserved %v, released %v", key, states, a.Owner, a.Reserved, a.Released)
		}
		if a.Owner != "" && c.held[key] != a.Owner {
			c.fail("%s is leaked: its owner %s does not have it", key, a.Owner)
		}
	}
	for key, owner := range c.held {
		if a := c.allocations[key]; a == nil || a.Owner != owner {
			c.fail("%s is held by %s without being allocated to it", key, owner)
		}
	}
}
