package pipeline

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/policy/policytest"
	"github.com/contiv/contiv/ofnet/protocol"
)

// bridge is what a switch would have after the diffs.
type bridge struct {
	flows  map[openflow.Key]openflow.Flow
	groups map[uint32]openflow.Group
	meters map[uint32]openflow.Meter
}

func (b *bridge) apply(t *testing.T, d Diff) {
	t.Helper()
	for _, g := range d.Groups {
		b.groups[g.ID] = g
	}
	for _, f := range d.Flows {
		b.flows[f.Key()] = f
	}
	for _, k := range d.DropFlows {
		if _, there := b.flows[k]; !there {
			t.Fatalf("drops a flow that is not there: %v", k)
		}
		delete(b.flows, k)
	}
	for _, m := range d.Meters {
		b.meters[m.ID] = m
	}
	for _, id := range d.DropMeters {
		if _, there := b.meters[id]; !there {
			t.Fatalf("drops a meter that is not there: %d", id)
		}
		delete(b.meters, id)
	}
	for _, id := range d.DropGroups {
		if _, there := b.groups[id]; !there {
			t.Fatalf("drops a group that is not there: %d", id)
		}
		delete(b.groups, id)
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// randomChanges draws from few values, so that addresses, ports and numbers collide often.
func randomChanges(r *rand.Rand) Changes {
	var c Changes
	hosts := []string{"h1", "h2", "h3", "h4"}
	for range 1 + r.IntN(3) {
		switch r.IntN(20) {
		case 16, 17, 18:
			key, s := randomService(r)
			set(&c.Services, key, s)
		case 19:
			last := 1 + r.IntN(12)
			set(&c.Backends, Backend{"red", netip.AddrFrom4([4]byte{10, 1, 0, byte(last)})}, uint32(pick(r, -last, 100, 200, 300)+last))
			set(&c.Backends, Backend{"red", netip.MustParseAddr(fmt.Sprintf("fd00::%x", last))}, uint32(pick(r, -last, 400, 500, 600)+last))
		case 15:
			g := &protocol.Group{Tenant: "red", Name: fmt.Sprint("g", r.IntN(2)), RateKbps: uint32(r.IntN(3)), BurstKbit: uint32(r.IntN(2)), DSCP: uint8(r.IntN(2))}
			key := g.Key()
			if r.IntN(4) == 0 {
				g = nil
			}
			set(&c.Groups, key, g)
		case 0:
			c.Global = pick(r, &protocol.Global{ForwardMode: "bridge", ARPMode: "proxy"}, &protocol.Global{ForwardMode: "bridge", ARPMode: "flood"},
				&protocol.Global{ForwardMode: "bridge", ARPMode: "proxy", MTUVXLAN: 1450}, &protocol.Global{ForwardMode: "routing", ARPMode: "proxy"},
				&protocol.Global{ForwardMode: "routing", ARPMode: "proxy", PrivateSubnet: pick(r, "172.19.0.0/16", "172.20.0.0/16", "nonsense")})
			c.NoGlobal = r.IntN(10) == 0
		case 1:
			if r.IntN(3) == 0 {
				port := uint32(pick(r, 0, 100, 3))
				c.TunnelPort = &port
			}
			if r.IntN(3) == 0 {
				port := uint32(pick(r, 0, 2, 4))
				c.HostPort = &port
			}
		case 2, 3:
			name := fmt.Sprint("n", r.IntN(4))
			n := &protocol.Network{Tenant: "red", Name: name, ID: uint16(r.IntN(4)), VRF: 1, Encap: pick(r, "vxlan", "vxlan", "vxlan", "vlan"), VNI: uint32(r.IntN(4)),
				Type: pick(r, "data", "data", "infra")}
			if r.IntN(3) == 0 {
				n.Subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(6)), 0, 0}), 16)
			}
			if r.IntN(4) == 0 {
				n = nil
			}
			set(&c.Networks, "red:"+name, n)
			if r.IntN(2) == 0 {
				set(&c.Zones, "red:"+name, uint16(r.IntN(8)))
			}
		case 4:
			name := pick(r, hosts...)
			h := &protocol.Host{Name: name}
			if r.IntN(4) > 0 {
				h.VTEP = netip.AddrFrom4([4]byte{172, 31, 0, byte(1 + r.IntN(4))})
			}
			if r.IntN(3) == 0 {
				h.VTEP6 = netip.MustParseAddr(fmt.Sprintf("fd31::%d", 1+r.IntN(4)))
			}
			if r.IntN(5) == 0 {
				h = nil
			}
			set(&c.Hosts, name, h)
		case 12, 13, 14:
			rule := policytest.Rule(r)
			rule.ID = uint32(r.IntN(12)) // 0 is refused, and ids collide
			if r.IntN(4) == 0 {
				rule = nil
			}
			set(&c.Rules, fmt.Sprint("red:p:", r.IntN(12)), rule)
		case 5, 6:
			set(&c.Ports, id(pick(r, "h1", "h1", "h2"), fmt.Sprint(r.IntN(6))), uint32(r.IntN(6)))
		default:
			who := id(pick(r, hosts...), fmt.Sprint(r.IntN(6)))
			e := &protocol.Endpoint{ID: who, Tenant: "red", Network: fmt.Sprint("n", r.IntN(4)), Identity: uint16(r.IntN(3)), MAC: fmt.Sprintf("02:00:00:00:00:%02x", r.IntN(12))}
			for g := range r.IntN(3) {
				e.Groups = append(e.Groups, fmt.Sprint("g", g))
			}
			if r.IntN(5) > 0 {
				e.IPv4 = netip.AddrFrom4([4]byte{10, 1, 0, byte(r.IntN(12))})
			}
			if r.IntN(3) == 0 {
				e.IPv6 = netip.MustParseAddr(fmt.Sprintf("fd00::%x", 1+r.IntN(12)))
			}
			if r.IntN(4) == 0 {
				e = nil
			}
			set(&c.Endpoints, who, e)
		}
	}
	return c
}

func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// track keeps a plain State along, as slow and obvious as can be.
func track(s *State, c Changes) {
	if c.Global != nil {
		s.Global = c.Global
	}
	if c.NoGlobal {
		s.Global = nil
	}
	if c.TunnelPort != nil {
		s.TunnelPort = *c.TunnelPort
	}
	if c.HostPort != nil {
		s.HostPort = *c.HostPort
	}
	put(s.Networks, c.Networks)
	put(s.Hosts, c.Hosts)
	put(s.Endpoints, c.Endpoints)
	put(s.Rules, c.Rules)
	put(s.Groups, c.Groups)
	put(s.Services, c.Services)
	for k, n := range c.Backends {
		if delete(s.Backends, k); n != 0 {
			s.Backends[k] = n
		}
	}
	for k, z := range c.Zones {
		if delete(s.Zones, k); z != 0 {
			s.Zones[k] = z
		}
	}
	for k, p := range c.Ports {
		if delete(s.Ports, k); p != 0 {
			s.Ports[k] = p
		}
	}
}

func put[K comparable, V any](into map[K]V, from map[K]*V) {
	for k, v := range from {
		if delete(into, k); v != nil {
			into[k] = *v
		}
	}
}

func TestUpdateEqualsCompile(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := New("h1")
		state := newView("h1").State
		start := c.Program()
		sw := &bridge{maps.Clone(start.Flows), maps.Clone(start.Groups), maps.Clone(start.Meters)}
		for step := range 400 {
			changes := randomChanges(r)
			sw.apply(t, c.Update(changes))
			track(&state, changes)
			want := Compile(state)
			if !maps.Equal(sw.flows, want.Flows) || !maps.EqualFunc(sw.groups, want.Groups, func(a, b openflow.Group) bool { return a.Equal(&b) }) ||
				!maps.Equal(sw.meters, want.Meters) {
				mirror := Program{Flows: sw.flows, Groups: sw.groups, Meters: sw.meters}
				t.Fatalf("seed %d step %d: switch differs (-want +got)\n%s", seed, step, cmp.Diff(want.text(), mirror.text()))
			}
			if got := c.NotRealised(); !slices.Equal(got, want.NotRealised) {
				t.Fatalf("seed %d step %d: not realised (-want +got)\n%s", seed, step, cmp.Diff(want.NotRealised, got))
			}
			checkOneOwner(t, &state, &want)
		}
		got := c.Program()
		want := Compile(state)
		if got.text() != want.text() {
			t.Fatalf("seed %d: Program differs\n%s", seed, cmp.Diff(want.text(), got.text()))
		}
	}
}

// checkOneOwner: units never make the same flow or group twice.
func checkOneOwner(t *testing.T, s *State, p *Program) {
	t.Helper()
	c := New(s.Host)
	all := Changes{Global: s.Global, TunnelPort: &s.TunnelPort, HostPort: &s.HostPort, Networks: map[string]*protocol.Network{}, Hosts: map[string]*protocol.Host{},
		Endpoints: map[protocol.EndpointID]*protocol.Endpoint{}, Ports: s.Ports, Zones: s.Zones, Groups: map[string]*protocol.Group{}, Services: map[string]*protocol.Service{}, Backends: s.Backends}
	for k, v := range s.Networks {
		all.Networks[k] = &v
	}
	for k, v := range s.Hosts {
		all.Hosts[k] = &v
	}
	for k, v := range s.Groups {
		all.Groups[k] = &v
	}
	for k, v := range s.Endpoints {
		all.Endpoints[k] = &v
	}
	for k, v := range s.Services {
		all.Services[k] = &v
	}
	c.Update(all)
	count := len(c.base.flows)
	for _, u := range c.networks {
		count += len(u.flows)
	}
	for _, u := range c.endpoints {
		count += len(u.flows)
	}
	groups := 0
	for _, u := range c.services {
		count += len(u.flows)
		groups += len(u.groups)
	}
	for _, u := range c.networks {
		groups += len(u.groups)
	}
	if groups != len(p.Groups) {
		t.Fatalf("%d groups of all units, %d different ones", groups, len(p.Groups))
	}
	for k := range p.Flows {
		if p.Flows[k].Cookie&CookieCategoryMask>>32 == categoryPolicy {
			count++
		}
	}
	if count != len(p.Flows) {
		owners := map[openflow.Key]string{}
		note := func(who string, u *unit) {
			for _, f := range u.flows {
				if old := owners[f.Key()]; old != "" {
					t.Errorf("%s and %s: %v", old, who, f.String())
				}
				owners[f.Key()] = who
			}
		}
		note("base", c.base)
		for k, u := range c.networks {
			note(k, u)
		}
		for k, u := range c.endpoints {
			note(k.String(), u)
		}
		for k, u := range c.services {
			note(k, u)
		}
		t.Fatalf("%d flows of all units, %d different ones", count, len(p.Flows))
	}
}

func bigNetwork(remote, hosts int) Changes {
	port := uint32(100)
	c := Changes{Global: &protocol.Global{ForwardMode: "bridge", ARPMode: "proxy"}, TunnelPort: &port}
	set(&c.Networks, "red:net", &protocol.Network{Tenant: "red", Name: "net", ID: 3, VRF: 1, Encap: "vxlan", VNI: 1003})
	set(&c.Zones, "red:net", 1)
	for i := range hosts {
		name := fmt.Sprint("peer", i)
		set(&c.Hosts, name, &protocol.Host{Name: name, VTEP: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})})
	}
	for i := range remote {
		who := id(fmt.Sprint("peer", i%hosts), fmt.Sprint(i))
		set(&c.Endpoints, who, &protocol.Endpoint{ID: who, Tenant: "red", Network: "net", Identity: 1, MAC: fmt.Sprintf("02:02:00:%02x:%02x:%02x", i>>16, i>>8&255, i&255),
			IPv4: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	return c
}

// TestCostOfOneEndpoint: in a network of 20 000, one more endpoint touches its own flows only.
func TestCostOfOneEndpoint(t *testing.T) {
	c := New("h1")
	c.Update(bigNetwork(20000, 50))
	for _, test := range []struct {
		who    protocol.EndpointID
		port   uint32
		flows  int
		groups int
	}{{id("peer7", "new"), 0, 4, 0}, {id("h1", "new"), 5, 9, 2}} {
		e := &protocol.Endpoint{ID: test.who, Tenant: "red", Network: "net", MAC: fmt.Sprintf("02:02:ff:00:00:0%d", test.port), IPv4: netip.AddrFrom4([4]byte{10, 200, 0, byte(1 + test.port)})}
		changes := Changes{Endpoints: map[protocol.EndpointID]*protocol.Endpoint{test.who: e}, Ports: map[protocol.EndpointID]uint32{test.who: test.port}}
		d := c.Update(changes)
		if len(d.Flows) != test.flows || len(d.Groups) != test.groups || len(d.DropFlows)+len(d.DropGroups) != 0 {
			t.Errorf("%v: %d flows, %d groups, %d+%d dropped", test.who, len(d.Flows), len(d.Groups), len(d.DropFlows), len(d.DropGroups))
		}
		if again := c.Update(changes); !again.Empty() {
			t.Errorf("%v: the same change twice is a change: %+v", test.who, again)
		}
	}
}

func BenchmarkCompile20000(b *testing.B) {
	changes := bigNetwork(20000, 50)
	for b.Loop() {
		New("h1").Update(changes)
	}
}

func BenchmarkUpdateOneOf20000(b *testing.B) {
	c := New("h1")
	c.Update(bigNetwork(20000, 50))
	who := id("peer7", "new")
	e := &protocol.Endpoint{ID: who, Tenant: "red", Network: "net", MAC: "02:02:ff:00:00:01", IPv4: netip.MustParseAddr("10.200.0.1")}
	for b.Loop() {
		c.Update(Changes{Endpoints: map[protocol.EndpointID]*protocol.Endpoint{who: e}})
		c.Update(Changes{Endpoints: map[protocol.EndpointID]*protocol.Endpoint{who: nil}})
	}
}
