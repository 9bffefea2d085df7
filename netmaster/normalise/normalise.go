// Package normalise turns what the store holds into what hosts need: from the records of package state it makes those
// of ofnet/protocol, with the scopes that say which hosts get them. Pure: the outcome depends on the model alone, so
// that any leader makes the same.
//
// The revision of a protocol record is the newest of the stored records it is made from; that of a rule or a service is
// the model's, see touched.go. What cannot be made whole (a network whose numbers are not there, a subnet that does not
// parse) is not made at all: hosts get nothing rather than half of it. What cannot be read opens nothing, see unread.go.
package normalise

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// All makes every record there is.
func All(m *ledger.Model) []index.ScopedRecord {
	out := []index.ScopedRecord{global(m)}
	for _, n := range m.Networks("") {
		out = append(out, network(m, n.Key()))
	}
	for _, g := range m.Groups("") {
		out = append(out, group(m, g.Key()))
	}
	for _, e := range m.Endpoints() {
		out = append(out, endpoint(m, e.EndpointID))
	}
	for _, h := range m.Hosts() {
		out = append(out, host(m, h.Name))
	}
	for _, r := range m.RulesIn(ledger.AllRules()) {
		out = append(out, rule(m, r.Key()))
	}
	for _, g := range m.Groups("") {
		out = append(out, defaults(m, g.Key())...)
	}
	for _, lost := range m.Unreadable(state.EndpointGroupPrefix) {
		out = append(out, defaults(m, strings.TrimPrefix(lost, state.EndpointGroupPrefix))...)
	}
	for _, s := range m.Services("") {
		out = append(out, service(m, s.Key()))
	}
	kept := out[:0]
	for i := range out {
		if out[i].Body != nil {
			kept = append(kept, out[i])
		}
	}
	return kept
}

// Changes makes the records that a change of the model touches, in the form they have after it; those that went
// without a body, as of the change's revision. They may be the same as before.
func Changes(m *ledger.Model, change ledger.Change) []index.ScopedRecord {
	if change.Initial {
		return All(m)
	}
	c := collector{model: m, revision: change.Revision, done: map[index.Ref]bool{}}
	for _, delta := range change.Records {
		c.delta(delta)
		c.policyDelta(delta)
	}
	return c.out
}

// collector gathers touched records, each once.
type collector struct {
	model    *ledger.Model
	revision int64
	done     map[index.Ref]bool
	out      []index.ScopedRecord
}

func (c *collector) delta(delta ledger.Delta) {
	record := delta.New
	if record == nil {
		record = delta.Old
	}
	switch r := record.(type) {
	case *state.TenantState:
		for _, n := range c.model.Networks(r.TenantName) {
			c.network(n.Key())
		}
	case *state.Network:
		c.network(r.Key())
	case *state.NetworkState:
		c.network(state.ModelKey(r.TenantName, r.NetworkName))
	case *state.EndpointGroup:
		c.group(r.Key())
	case *state.GroupState:
		c.group(state.ModelKey(r.TenantName, r.GroupName))
	case *state.Endpoint:
		c.add(endpoint(c.model, r.EndpointID))
	case *state.Host:
		c.add(host(c.model, r.Name))
		c.addGlobal(delta)
	case *state.Global:
		c.add(global(c.model))
		if modeOf(delta.Old) != modeOf(delta.New) {
			// The forward mode decides the scope of everything.
			for _, all := range All(c.model) {
				c.add(all)
			}
		}
	}
}

// addGlobal adds the global record after a change of a host. A host whose MTU no longer counts leaves no trace in the
// record's sources, so that the change itself gives the revision.
func (c *collector) addGlobal(delta ledger.Delta) {
	record := global(c.model)
	if record.Body != nil && underlay(delta.New) > underlay(delta.Old) {
		record.Revision = max(record.Revision, c.revision)
	}
	c.add(record)
}

// network and group add what comes of two stored records, mostly changed together, once.
func (c *collector) network(key string) {
	if !c.has(protocol.KindNetwork, key) {
		c.add(network(c.model, key))
	}
}

func (c *collector) group(key string) {
	if !c.has(protocol.KindGroup, key) {
		c.add(group(c.model, key))
	}
}

// has tells whether a record was added already.
func (c *collector) has(kind protocol.Kind, key string) bool {
	return c.done[index.Ref{Kind: kind, Key: key}]
}

func (c *collector) add(record index.ScopedRecord) {
	ref := index.Ref{Kind: record.Kind, Key: record.Key}
	if c.done[ref] {
		return
	}
	c.done[ref] = true
	if record.Body == nil {
		record.Revision = c.revision
	}
	c.out = append(c.out, record)
}

// underlay is the MTU that a host counts with, a large number if it does not.
func underlay(record state.Record) int {
	if h, ok := record.(*state.Host); ok && h != nil && !h.Dead && h.MTU > 0 {
		return h.MTU
	}
	return 1 << 16
}

func modeOf(record state.Record) string {
	if g, ok := record.(*state.Global); ok && g != nil {
		return forwardMode(g)
	}
	return state.ForwardBridge
}

func forwardMode(g *state.Global) string {
	if g != nil && g.FwdMode == state.ForwardRouting {
		return state.ForwardRouting
	}
	return state.ForwardBridge
}

// scope is what the hosts with endpoints on a network need: the network's records, or in routing mode the tenant's.
func scope(m *ledger.Model, tenant, network string) index.Scope {
	if forwardMode(m.Global()) == state.ForwardRouting {
		return index.Scope("tenant/" + tenant)
	}
	return index.Scope("network/" + state.ModelKey(tenant, network))
}

func scopes(m *ledger.Model, tenant, network string) []index.Scope {
	return []index.Scope{scope(m, tenant, network)}
}

// made finishes a record; the encoding of our own types does not fail.
func made(key string, revision int64, body protocol.Body, scoped index.ScopedRecord) index.ScopedRecord {
	record, err := protocol.NewRecord(key, revision, body)
	if err != nil {
		return gone(scoped.Kind, key)
	}
	scoped.Record = record
	return scoped
}

func gone(kind protocol.Kind, key string) index.ScopedRecord {
	return index.ScopedRecord{Record: protocol.Record{Kind: kind, Key: key}}
}

func global(m *ledger.Model) index.ScopedRecord {
	g := m.Global()
	if g == nil {
		return gone(protocol.KindGlobal, state.GlobalName)
	}
	mtus, revision := mtus(m)
	body := protocol.Global{
		ForwardMode: forwardMode(g), ARPMode: protocol.ARPProxy, PrivateSubnet: g.PvtSubnet,
		MTUVXLAN: mtus.vxlan, MTUVLAN: mtus.vlan,
	}
	if g.ArpMode == state.ARPFlood {
		body.ARPMode = protocol.ARPFlood
	}
	revision = max(revision, m.RevisionOf(g.StoreKey()))
	return made(state.GlobalName, revision, &body, index.ScopedRecord{Everyone: true})
}

func network(m *ledger.Model, key string) index.ScopedRecord {
	n, numbers := m.Network(key), m.NetworkState(key)
	if n == nil || numbers == nil {
		return gone(protocol.KindNetwork, key)
	}
	tenant := m.TenantState(n.TenantName)
	body, ok := networkBody(n, numbers, tenant)
	if !ok {
		return gone(protocol.KindNetwork, key)
	}
	revision := max(m.RevisionOf(n.StoreKey()), m.RevisionOf(numbers.StoreKey()), m.RevisionOf(tenant.StoreKey()))
	return made(key, revision, body, index.ScopedRecord{
		Everyone: n.NwType == state.NetworkInfra, // every host is an endpoint of it
		Catalog:  true, Scopes: scopes(m, n.TenantName, n.NetworkName),
	})
}

func networkBody(n *state.Network, numbers *state.NetworkState, tenant *state.TenantState) (*protocol.Network, bool) {
	if tenant == nil || !fits16(numbers.ID) || !fits16(tenant.VRF) || numbers.VLAN < 0 || numbers.VLAN > 4095 ||
		numbers.VNI < 0 || numbers.VNI >= 1<<24 {
		return nil, false
	}
	body := protocol.Network{
		Tenant: n.TenantName, Name: n.NetworkName, Type: n.NwType, Encap: n.Encap, Tag: n.CfgdTag,
		ID: uint16(numbers.ID), VRF: uint16(tenant.VRF), VLAN: uint16(numbers.VLAN), VNI: uint32(numbers.VNI), //nolint:gosec // checked
	}
	if body.Tag == "" {
		body.Tag = n.NetworkName + "." + n.TenantName
	}
	if numbers.Docker != nil {
		body.DockerNetworkID, body.DockerHost = numbers.Docker.NetworkID, numbers.Docker.Host
	}
	subnet, err := state.ParseSubnet(n.Subnet)
	if err != nil {
		return nil, false
	}
	body.Subnet = subnet.Prefix
	if n.IPv6Subnet != "" {
		subnet, err := state.ParseSubnet6(n.IPv6Subnet)
		if err != nil {
			return nil, false
		}
		body.Subnet6 = subnet.Prefix
	}
	var ok, ok6 bool
	body.Gateway, ok = address(n.Gateway)
	body.Gateway6, ok6 = address(n.IPv6Gateway)
	return &body, ok && ok6
}

// address reads an address that may be empty.
func address(text string) (netip.Addr, bool) {
	if text == "" {
		return netip.Addr{}, true
	}
	addr, err := netip.ParseAddr(text)
	return addr, err == nil
}

func fits16(n int) bool { return n > 0 && n <= 65535 }

func group(m *ledger.Model, key string) index.ScopedRecord {
	g, numbers := m.Group(key), m.GroupState(key)
	if g == nil || numbers == nil || !fits16(numbers.ID) {
		return gone(protocol.KindGroup, key)
	}
	body := protocol.Group{
		Tenant: g.TenantName, Name: g.GroupName, Network: g.NetworkName, Tag: g.CfgdTag,
		ID: uint16(numbers.ID), //nolint:gosec // checked
	}
	if body.Tag == "" {
		body.Tag = g.GroupName + "." + g.TenantName
	}
	revision := max(m.RevisionOf(g.StoreKey()), m.RevisionOf(numbers.StoreKey()), profile(m, g, &body))
	return made(key, revision, &body, index.ScopedRecord{Catalog: true, Scopes: scopes(m, g.TenantName, g.NetworkName)})
}

func endpoint(m *ledger.Model, id state.EndpointID) index.ScopedRecord {
	e := m.Endpoint(id)
	if e == nil || e.Identity < 0 || e.Identity > 65535 {
		return gone(protocol.KindEndpoint, id.String())
	}
	body := protocol.Endpoint{
		ID: protocol.EndpointID(e.EndpointID), Tenant: e.TenantName, Network: e.NetworkName, Groups: e.Groups,
		Identity: uint16(e.Identity), IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC, Name: e.ContainerName, //nolint:gosec // checked
	}
	scoped := index.ScopedRecord{Scopes: scopes(m, e.TenantName, e.NetworkName), Member: e.Host}
	if body.Identity != 0 {
		scoped.Interests = []index.Scope{identityScope(body.Identity)}
	}
	return made(id.String(), m.RevisionOf(e.StoreKey()), &body, scoped)
}

func host(m *ledger.Model, name string) index.ScopedRecord {
	h := m.Host(name)
	if h == nil || h.Dead {
		return gone(protocol.KindHost, name)
	}
	body := protocol.Host{Name: h.Name, VTEP: h.VTEP, VTEP6: h.VTEP6, VXLANPort: h.VXLANPort}
	return made(name, m.RevisionOf(h.StoreKey()), &body, index.ScopedRecord{Host: h.Name})
}

// The functions below make single records, for the answers of calls.

// ForEndpoint makes the records that the host of an endpoint needs to plug it in: the endpoint, its network, its
// groups and the global record; and if the host has no other endpoint of its identity, the rules about that: so a deny
// holds from the first packet. Nil if the endpoint does not exist.
func ForEndpoint(m *ledger.Model, id state.EndpointID) []protocol.Record {
	e := m.Endpoint(id)
	if e == nil {
		return nil
	}
	scoped := []index.ScopedRecord{global(m), network(m, state.ModelKey(e.TenantName, e.NetworkName))}
	for _, name := range e.Groups {
		scoped = append(scoped, group(m, state.ModelKey(e.TenantName, name)))
	}
	scoped = append(scoped, rulesFor(m, e)...)
	return plain(append(scoped, endpoint(m, id)))
}

// rulesFor makes the rules about the identity of an endpoint, unless its host has another one and so has them.
func rulesFor(m *ledger.Model, e *state.Endpoint) []index.ScopedRecord {
	if e.Identity == 0 || slices.ContainsFunc(m.EndpointsOf(ledger.EndpointsOfHost(e.Host)), func(other *state.Endpoint) bool {
		return other.Identity == e.Identity && other.EndpointID != e.EndpointID
	}) {
		return nil
	}
	c := collector{model: m, revision: m.Revision(), done: map[index.Ref]bool{}}
	for _, name := range e.Groups {
		c.membersOf(state.ModelKey(e.TenantName, name))
	}
	return c.out
}

// ForNetwork makes the record of a network, by its model key. Nil if it does not exist.
func ForNetwork(m *ledger.Model, key string) []protocol.Record {
	return plain([]index.ScopedRecord{network(m, key)})
}

func plain(scoped []index.ScopedRecord) []protocol.Record {
	var out []protocol.Record
	for i := range scoped {
		if scoped[i].Body != nil {
			out = append(out, scoped[i].Record)
		}
	}
	return out
}
