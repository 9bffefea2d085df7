package pipeline

import (
	"reflect"
	"slices"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Compile makes the whole program of a state. It does not keep the state's maps.
func Compile(s State) Program {
	v := newView(s.Host)
	v.State = s
	for key, n := range s.Networks {
		v.networkClaims.add(networkClaims(&n), key)
	}
	for id, e := range s.Endpoints {
		v.endpointClaims.add(endpointClaims(&e, s.Ports[id]), id)
	}
	for key, one := range s.Services {
		v.serviceClaims.add(serviceClaims(&one), key)
	}
	p := newProgram()
	p.take(v.base(), protocol.KindGlobal, "global")
	floods := map[string]*flood{}
	for key := range s.Networks {
		floods[key] = newFlood()
	}
	for id := range s.Endpoints {
		u := v.endpointUnit(id)
		p.take(u, protocol.KindEndpoint, id.String())
		if u.member.network != "" {
			floods[u.member.network].count(u.member, 1)
		}
	}
	for key := range s.Networks {
		p.take(v.networkUnit(key, floods[key]), protocol.KindNetwork, key)
	}
	for key := range s.Services {
		p.take(v.serviceUnit(key), protocol.KindService, key)
	}
	rules := newRuleTable()
	for key, r := range s.Rules {
		rules.set(key, &r)
	}
	rules.compile(newDiffer())
	rules.program(&p)
	sortNotRealised(p.NotRealised)
	return p
}

func newProgram() Program {
	return Program{Flows: map[openflow.Key]openflow.Flow{}, Groups: map[uint32]openflow.Group{}, Meters: map[uint32]openflow.Meter{}}
}

func (p *Program) take(u *unit, kind protocol.Kind, key string) {
	for _, f := range u.flows {
		p.Flows[f.Key()] = f
	}
	for _, g := range u.groups {
		p.Groups[g.ID] = g
	}
	for _, m := range u.meters {
		p.Meters[m.ID] = m
	}
	if u.why != "" {
		p.NotRealised = append(p.NotRealised, protocol.NotRealised{Kind: kind, Key: key, Reason: string(u.why)})
	}
}

// networkUnit is what a network contributes, with the flood groups of its members.
func (v *view) networkUnit(key string, f *flood) *unit {
	n, why := v.network(key)
	if why != "" {
		return &unit{why: why}
	}
	u := &unit{flows: v.networkFlows(n)}
	if !v.routed() {
		u.groups = v.floodGroups(n, f)
	}
	return u
}

// endpointUnit is what an endpoint contributes.
func (v *view) endpointUnit(id protocol.EndpointID) *unit {
	e, why := v.resolve(id)
	if why != "" {
		return &unit{why: why}
	}
	u := v.endpointFlows(e)
	u.member = member{network: e.networkKey, port: e.port, vtep: e.vtep}
	return u
}

// Compiler keeps the program of a state that changes. It is not safe for concurrent use.
type Compiler struct {
	view
	base      *unit
	networks  map[string]*unit
	endpoints map[protocol.EndpointID]*unit
	floods    map[string]*flood // by network
	byNetwork index
	byHost    index
	byGroup   index // by key of the group
	services  map[string]*unit
	// The services of a network, by its key, and those that a provider serves.
	byServiceNetwork usage[string]
	byBackend        usage[Backend]
	rules            *ruleTable
	refused          map[record]refusal
}

// record names a record that is not realised.
type record struct {
	kind protocol.Kind
	key  string
}

// index finds endpoints by a property of theirs.
type index map[string]map[protocol.EndpointID]struct{}

func (x index) add(key string, id protocol.EndpointID) {
	if x[key] == nil {
		x[key] = map[protocol.EndpointID]struct{}{}
	}
	x[key][id] = struct{}{}
}

func (x index) remove(key string, id protocol.EndpointID) {
	if delete(x[key], id); len(x[key]) == 0 {
		delete(x, key)
	}
}

// New makes the compiler of a host about which nothing is known. What Program answers then is already worth installing:
// it drops everything.
func New(host string) *Compiler {
	c := &Compiler{
		view: *newView(host), networks: map[string]*unit{}, endpoints: map[protocol.EndpointID]*unit{},
		floods: map[string]*flood{}, byNetwork: index{}, byHost: index{}, byGroup: index{},
		services: map[string]*unit{}, byServiceNetwork: usage[string]{}, byBackend: usage[Backend]{},
		rules: newRuleTable(), refused: map[record]refusal{},
	}
	c.base = c.view.base()
	return c
}

// Program is all there is now. It costs as much as the host is big; Update answers differences.
func (c *Compiler) Program() Program {
	p := newProgram()
	p.take(c.base, protocol.KindGlobal, "global")
	for key, u := range c.networks {
		p.take(u, protocol.KindNetwork, key)
	}
	for id, u := range c.endpoints {
		p.take(u, protocol.KindEndpoint, id.String())
	}
	for key, u := range c.services {
		p.take(u, protocol.KindService, key)
	}
	c.rules.program(&p)
	sortNotRealised(p.NotRealised)
	return p
}

// NotRealised names the records that are not realised, sorted.
func (c *Compiler) NotRealised() []protocol.NotRealised {
	var out []protocol.NotRealised
	if c.base.why != "" {
		out = append(out, protocol.NotRealised{Kind: protocol.KindGlobal, Key: "global", Reason: string(c.base.why)})
	}
	out = append(out, c.rules.notRealised()...)
	for r, why := range c.refused {
		out = append(out, protocol.NotRealised{Kind: r.kind, Key: r.key, Reason: string(why)})
	}
	sortNotRealised(out)
	return out
}

// dirty are the units to compile again.
type dirty struct {
	all       bool
	networks  map[string]struct{}
	endpoints map[protocol.EndpointID]struct{}
	services  map[string]struct{}
}

// Update changes the state and answers what that means for the bridge. The records are copied.
func (c *Compiler) Update(changes Changes) Diff {
	d := &dirty{networks: map[string]struct{}{}, endpoints: map[protocol.EndpointID]struct{}{}, services: map[string]struct{}{}}
	c.changeSettings(&changes, d)
	for key, n := range changes.Networks {
		c.changeNetwork(key, n, d)
	}
	for key, zone := range changes.Zones {
		c.changeZone(key, zone, d)
	}
	for key, r := range changes.Rules {
		c.changeRule(key, r)
	}
	for name, h := range changes.Hosts {
		c.changeHost(name, h, d)
	}
	for key, g := range changes.Groups {
		c.changeGroup(key, g, d)
	}
	c.changeServices(&changes, d)
	for id, e := range changes.Endpoints {
		c.changeEndpoint(id, e, d)
	}
	for id, port := range changes.Ports {
		c.changePort(id, port, d)
	}
	return c.compile(d)
}

func (c *Compiler) changeSettings(changes *Changes, d *dirty) {
	switch {
	case changes.NoGlobal:
		d.all = d.all || c.Global != nil
		c.Global = nil
	case changes.Global != nil && (c.Global == nil || *c.Global != *changes.Global):
		global := *changes.Global
		d.all = d.all || c.Global == nil || c.Global.ForwardMode != global.ForwardMode || c.Global.ARPMode != global.ARPMode ||
			c.Global.PrivateSubnet != global.PrivateSubnet
		c.Global = &global
	}
	if changes.TunnelPort != nil && *changes.TunnelPort != c.TunnelPort {
		c.TunnelPort = *changes.TunnelPort
		d.all = true
	}
	if changes.HostPort != nil && *changes.HostPort != c.HostPort {
		c.HostPort = *changes.HostPort
		d.all = true
	}
}

func (c *Compiler) changeNetwork(key string, n *protocol.Network, d *dirty) {
	old, had := c.Networks[key]
	if n == nil && !had || n != nil && had && *n == old {
		return
	}
	if had {
		c.dirtyRivals(networkClaims(&old), key, d)
		c.networkClaims.remove(networkClaims(&old), key)
		delete(c.Networks, key)
	}
	if n != nil {
		c.Networks[key] = *n
		c.networkClaims.add(networkClaims(n), key)
		c.dirtyRivals(networkClaims(n), key, d)
	}
	c.dirtyNetwork(key, d)
}

func (c *Compiler) changeZone(key string, zone uint16, d *dirty) {
	if c.Zones[key] == zone {
		return
	}
	if delete(c.Zones, key); zone != 0 {
		c.Zones[key] = zone
	}
	c.dirtyNetwork(key, d)
}

func (c *Compiler) changeGroup(key string, g *protocol.Group, d *dirty) {
	old, had := c.Groups[key]
	if g == nil && !had || g != nil && had && *g == old {
		return
	}
	if delete(c.Groups, key); g != nil {
		c.Groups[key] = *g
	}
	for id := range c.byGroup[key] {
		d.endpoints[id] = struct{}{}
	}
}

func (c *Compiler) changeRule(key string, r *protocol.Rule) {
	old, had := c.Rules[key]
	if r == nil && !had || r != nil && had && reflect.DeepEqual(*r, old) {
		return
	}
	if delete(c.Rules, key); r != nil {
		c.Rules[key] = *r
	}
	c.rules.set(key, r)
}

// dirtyRivals marks the networks whose number another gains or gives up.
func (c *Compiler) dirtyRivals(what []claim, key string, d *dirty) {
	for _, w := range what {
		for _, rival := range c.networkClaims.holders[w] {
			if rival != key {
				c.dirtyNetwork(rival, d)
			}
		}
	}
}

func (c *Compiler) dirtyNetwork(key string, d *dirty) {
	d.networks[key] = struct{}{}
	for id := range c.byNetwork[key] {
		d.endpoints[id] = struct{}{}
	}
	c.byServiceNetwork.mark(key, d)
}

func (c *Compiler) changeHost(name string, h *protocol.Host, d *dirty) {
	old, had := c.Hosts[name]
	if h == nil && !had || h != nil && had && *h == old {
		return
	}
	if delete(c.Hosts, name); h != nil {
		c.Hosts[name] = *h
	}
	if name == c.Host {
		d.all = true // which family peers are reached by
		return
	}
	for id := range c.byHost[name] {
		d.endpoints[id] = struct{}{}
	}
}

func (c *Compiler) changeEndpoint(id protocol.EndpointID, e *protocol.Endpoint, d *dirty) {
	old, had := c.Endpoints[id]
	if e == nil && !had || e != nil && had && sameEndpoint(&old, e) {
		return
	}
	if had {
		c.unclaim(endpointClaims(&old, c.Ports[id]), id, d)
		c.byNetwork.remove(old.NetworkKey(), id)
		c.byHost.remove(id.Host, id)
		for _, g := range old.Groups {
			c.byGroup.remove(old.Tenant+":"+g, id)
		}
		delete(c.Endpoints, id)
	}
	if e != nil {
		c.Endpoints[id] = *e
		c.byNetwork.add(e.NetworkKey(), id)
		c.byHost.add(id.Host, id)
		for _, g := range e.Groups {
			c.byGroup.add(e.Tenant+":"+g, id)
		}
		c.claim(endpointClaims(e, c.Ports[id]), id, d)
	}
	d.endpoints[id] = struct{}{}
}

// sameEndpoint compares what flows follow from.
func sameEndpoint(a, b *protocol.Endpoint) bool {
	return a.Tenant == b.Tenant && a.Network == b.Network && a.Identity == b.Identity && a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6 &&
		a.MAC == b.MAC && slices.Equal(a.Groups, b.Groups) && a.Name == b.Name
}

func (c *Compiler) changePort(id protocol.EndpointID, port uint32, d *dirty) {
	if c.Ports[id] == port {
		return
	}
	e, known := c.Endpoints[id]
	if known {
		c.unclaim(endpointClaims(&e, c.Ports[id]), id, d)
	}
	if delete(c.Ports, id); port != 0 {
		c.Ports[id] = port
	}
	if known {
		c.claim(endpointClaims(&e, port), id, d)
		d.endpoints[id] = struct{}{}
	}
}

func (c *Compiler) claim(what []claim, id protocol.EndpointID, d *dirty) {
	c.endpointClaims.add(what, id)
	c.dirtyHolders(what, d)
}

func (c *Compiler) unclaim(what []claim, id protocol.EndpointID, d *dirty) {
	c.dirtyHolders(what, d)
	c.endpointClaims.remove(what, id)
}

func (c *Compiler) dirtyHolders(what []claim, d *dirty) {
	for _, w := range what {
		for _, id := range c.endpointClaims.holders[w] {
			d.endpoints[id] = struct{}{}
		}
	}
}

// compile makes the dirty units again and answers the difference.
func (c *Compiler) compile(d *dirty) Diff {
	if d.all {
		for key := range c.Networks {
			d.networks[key] = struct{}{}
		}
		for id := range c.Endpoints {
			d.endpoints[id] = struct{}{}
		}
		for key := range c.Services {
			d.services[key] = struct{}{}
		}
	}
	diff := newDiffer()
	if d.all {
		old := c.base
		c.base = c.view.base()
		diff.unit(old, c.base)
	}
	for id := range d.endpoints {
		c.compileEndpoint(id, d, diff)
	}
	for key := range d.networks {
		c.compileNetwork(key, diff)
	}
	for key := range d.services {
		c.compileService(key, diff)
	}
	c.rules.compile(diff)
	return diff.result()
}

func (c *Compiler) compileEndpoint(id protocol.EndpointID, d *dirty, diff *differ) {
	old, now := c.endpoints[id], (*unit)(nil)
	if _, there := c.Endpoints[id]; there {
		now = c.endpointUnit(id)
	}
	was, is := memberOf(old), memberOf(now)
	if was != is {
		c.recount(was, -1, d)
		c.recount(is, 1, d)
	}
	diff.unit(old, now)
	if refused(old) || refused(now) {
		c.refuse(record{protocol.KindEndpoint, id.String()}, now)
	}
	if delete(c.endpoints, id); now != nil {
		c.endpoints[id] = now
	}
}

func memberOf(u *unit) member {
	if u == nil {
		return member{}
	}
	return u.member
}

func refused(u *unit) bool { return u != nil && u.why != "" }

func (c *Compiler) refuse(r record, now *unit) {
	if delete(c.refused, r); refused(now) {
		c.refused[r] = now.why
	}
}

// recount changes a network's flood members and marks it if that matters.
func (c *Compiler) recount(m member, by int, d *dirty) {
	if m.network == "" {
		return
	}
	f := c.floods[m.network]
	if f == nil {
		f = newFlood()
		c.floods[m.network] = f
	}
	before := len(f.ports) + len(f.vteps)
	f.count(m, by)
	if after := len(f.ports) + len(f.vteps); after != before {
		d.networks[m.network] = struct{}{}
	}
	if len(f.ports)+len(f.vteps) == 0 {
		delete(c.floods, m.network)
	}
}

func (c *Compiler) compileNetwork(key string, diff *differ) {
	old, now := c.networks[key], (*unit)(nil)
	if _, there := c.Networks[key]; there {
		f := c.floods[key]
		if f == nil {
			f = newFlood()
		}
		now = c.networkUnit(key, f)
	}
	diff.unit(old, now)
	c.refuse(record{protocol.KindNetwork, key}, now)
	if delete(c.networks, key); now != nil {
		c.networks[key] = now
	}
}
