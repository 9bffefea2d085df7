package ovs

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// datagrams sends count UDP datagrams of size bytes from one socket.
func datagrams(tb testing.TB, from, to *container, port uint16, count, size int) {
	tb.Helper()
	ns, err := openNamespace(nsPath(from.ns))
	if err != nil {
		tb.Fatal(err)
	}
	defer ns.close()
	target := net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.port.IPv4.Addr(), port))
	if err := ns.do(func() error {
		conn, err := net.ListenPacket("udp4", ":0") // not connected: a refusal would eat the next one
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing is awaited
		for range count {
			if _, err := conn.WriteTo(make([]byte, size), target); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
}

// counts waits until rules and drops have exactly these packets.
func counts(t *testing.T, d *Driver, rules map[string]uint64, drops map[string]uint64) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		all, err := d.Statistics(t.Context())
		gotRules, gotDrops := map[string]uint64{}, map[string]uint64{}
		for _, r := range all.Rules {
			gotRules[r.Key] = r.Packets
		}
		for _, r := range all.Drops {
			if r.Packets > 0 {
				gotDrops[r.Reason] = r.Packets
			}
		}
		diff := cmp.Diff(rules, gotRules) + cmp.Diff(drops, gotDrops)
		if err == nil && diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v; (-want +got):\n%s", err, diff)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// withIdentity puts an endpoint with an identity into the world.
func (w *world) withIdentity(c *container, identity uint16) drivers.Update {
	u := w.add(&c.port)
	ref, body := endpointOf(&c.port)
	body.Identity = identity
	w.set[ref], u.Set[ref] = body, body
	return u
}

// TestCounters: rules and reasons of drops count each packet once, whatever becomes of flows, agent and switch.
func TestCounters(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	for _, c := range []*container{a, b} { // IPv6 would talk by itself
		c.port.IPv6 = netip.Prefix{}
		run(t, "ip", "netns", "exec", c.ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
	}
	w.withIdentity(a, 10)
	w.withIdentity(b, 20)
	udp := func(id uint32, priority uint8, action string, ports ...uint16) *protocol.Rule {
		return &protocol.Rule{
			ID: id, Priority: priority, Action: action, Src: protocol.Peer{Identities: []uint16{10, 11}},
			Dst: protocol.Peer{Identities: []uint16{20, 21, 22}}, Protocols: []uint8{policy.UDP}, PortFirst: ports[0], PortLast: ports[1],
		}
	}
	w.rule("blue:p:1", udp(1, 5, protocol.ActionAllow, 1000, 1006)) // a conjunction
	w.rule("blue:p:2", udp(2, 5, protocol.ActionDeny, 2000, 2000))
	w.rule("blue:p:3", udp(3, 5, protocol.ActionAllow, 3000, 3000))
	apply(t, d, w.all())
	attach(t, d, a)
	attach(t, d, b)
	run(t, "ip", "-n", a.ns, "neigh", "replace", b.ip(), "lladdr", b.port.MAC, "dev", "eth0")
	run(t, "ip", "-n", b.ns, "neigh", "replace", a.ip(), "lladdr", a.port.MAC, "dev", "eth0")

	datagrams(t, a, b, 1001, 7, 100)
	datagrams(t, a, b, 1004, 3, 100)
	datagrams(t, a, b, 2000, 11, 100)
	run(t, "ip", "-n", a.ns, "addr", "add", "10.1.0.77/32", "dev", "eth0")
	ping(t, a.ns, b.ip(), "-c", "2", "-i", "0.01", "-I", "10.1.0.77")
	counts(t, d, map[string]uint64{"blue:p:1": 10, "blue:p:2": 11}, map[string]uint64{"policy": 11, "spoof": 2})
	all, err := d.Statistics(t.Context())
	if err != nil || all.Rules[0].Bytes != 10*(100+8+20+14) {
		t.Errorf("bytes of ten datagrams of 100: %+v, %v", all.Rules, err)
	}

	// Another agent, the same flows: the switch has gone on counting.
	_ = d.Close()
	datagrams(t, a, b, 1001, 5, 100)
	d = newDriver(t, h)
	apply(t, d, w.all())
	datagrams(t, a, b, 1001, 1, 100)
	counts(t, d, map[string]uint64{"blue:p:1": 16, "blue:p:2": 11}, map[string]uint64{"policy": 11, "spoof": 2})

	// Other flows of the same rule.
	apply(t, d, w.rule("blue:p:2", udp(2, 6, protocol.ActionDeny, 2000, 2001)))
	datagrams(t, a, b, 2001, 4, 100)
	counts(t, d, map[string]uint64{"blue:p:1": 16, "blue:p:2": 15}, map[string]uint64{"policy": 15, "spoof": 2})

	// A rule that is gone counts nothing, and begins anew when it comes back.
	apply(t, d, w.rule("blue:p:1", nil))
	counts(t, d, map[string]uint64{"blue:p:2": 15}, map[string]uint64{"policy": 15, "spoof": 2})
	apply(t, d, w.rule("blue:p:1", udp(1, 5, protocol.ActionAllow, 1000, 1006)))
	datagrams(t, a, b, 1001, 2, 100)
	counts(t, d, map[string]uint64{"blue:p:1": 2, "blue:p:2": 15}, map[string]uint64{"policy": 15, "spoof": 2})

	// Another switch: its flows begin anew, the totals do not.
	h.killSwitch()
	h.startSwitch()
	waitFor(t, 10*time.Second, "the flows to be back", func() bool { return d.Status().Realised == w.position() })
	run(t, "ip", "-n", a.ns, "neigh", "replace", b.ip(), "lladdr", b.port.MAC, "dev", "eth0")
	waitFor(t, 10*time.Second, "the ports to be open", func() bool { return ping(t, a.ns, b.ip(), "-c", "1", "-W", "0.1") == 1 })
	datagrams(t, a, b, 2000, 6, 100)
	datagrams(t, a, b, 1001, 1, 100)
	counts(t, d, map[string]uint64{"blue:p:1": 3, "blue:p:2": 21}, map[string]uint64{"policy": 21, "spoof": 2})
}

// TestCountersTake: a total takes over what a flow that is made anew counts, and nothing twice.
func TestCountersTake(t *testing.T) {
	t.Parallel()
	var c counters
	cookie := func(category, object, round uint64) uint64 { return round<<48 | 2<<44 | 2<<40 | category<<32 | object }
	flow := func(cookie uint64, table uint8, packets uint64) openflow.FlowStat {
		return openflow.FlowStat{Table: table, Priority: 20, Cookie: cookie, Packets: packets, Bytes: 100 * packets}
	}
	names := map[uint32]string{7: "r7", 8: "r8"}
	for i, step := range []struct {
		flows []openflow.FlowStat
		r7    uint64
		spoof uint64
	}{
		{[]openflow.FlowStat{flow(cookie(4, 7, 1), 50, 5), flow(cookie(5, 1, 1), 12, 2), flow(cookie(4, 0, 1), 51, 9)}, 5, 2},
		{[]openflow.FlowStat{flow(cookie(4, 7, 2), 50, 5), flow(cookie(5, 1, 2), 12, 3)}, 5, 3}, // another round
		{[]openflow.FlowStat{flow(cookie(4, 7, 2), 50, 1), flow(cookie(5, 1, 2), 12, 3)}, 6, 3}, // made anew
		{nil, 6, 3},
		{[]openflow.FlowStat{flow(cookie(4, 7, 2), 50, 1), flow(cookie(4, 7, 2), 51, 1), flow(cookie(4, 9, 2), 52, 1)}, 8, 3},
		{[]openflow.FlowStat{flow(cookie(4, 8, 2), 50, 4)}, 8, 3}, // another rule has the flow now
	} {
		c.take(step.flows, func(id uint32) string { return names[id] })
		rules, drops := c.totals()
		if rules[0].Key != "r7" || rules[0].Packets != step.r7 || rules[0].Bytes != 100*step.r7 || drops[0].Packets != step.spoof {
			t.Errorf("step %d: rules %+v, drops %+v", i, rules, drops)
		}
	}
	// Counted by r8: 4 less the 1 that r7 had counted.
	if rules, _ := c.totals(); len(rules) != 2 || rules[1].Packets != 3 {
		t.Errorf("the flow that changed hands: %+v", rules)
	}
	c.forget("r7")
	if rules, _ := c.totals(); len(rules) != 1 {
		t.Errorf("after forgetting: %+v", rules)
	}
}
