package ovs

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// tracked counts the connections of UDP in the zones of a network, or tenant.
func tracked(t *testing.T, d *Driver, zones ...uint16) (n int) {
	t.Helper()
	list, err := d.control.connections(t.Context(), DatapathNetdev)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		for _, zone := range zones {
			if list[i].Zone == zone && list[i].Protocol == policy.UDP {
				n++
			}
		}
	}
	return n
}

// speak sends a datagram from one address of two containers to another, and tells whether it arrives.
func speak(t *testing.T, from, to *container, source, destination string) bool {
	t.Helper()
	listen := func(c *container, addr string) net.PacketConn {
		ns, err := openNamespace(nsPath(c.ns))
		if err != nil {
			t.Fatal(err)
		}
		defer ns.close()
		var conn net.PacketConn
		waitFor(t, 5*time.Second, addr+" to be free", func() bool { // a process just forked may hold the socket of before
			return ns.do(func() (err error) { conn, err = net.ListenPacket("udp4", addr); return err }) == nil
		})
		return conn
	}
	in, out := listen(to, destination), listen(from, source)
	defer in.Close()  //nolint:errcheck // a test
	defer out.Close() //nolint:errcheck // a test
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(destination))
	if _, err := out.WriteTo([]byte("x"), at); err != nil {
		t.Fatal(err)
	}
	if err := in.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _, err := in.ReadFrom(make([]byte, 10))
	return err == nil
}

// household is two containers of a tenant whose addresses are those of every other household.
type household struct {
	tenant  string
	network protocol.Network
	a, b    *container
}

func newHousehold(t *testing.T, h *labHost, tenant string, id, vrf uint16) *household {
	t.Helper()
	home := &household{tenant: tenant, a: newContainer(t, h, tenant, 1), b: newContainer(t, h, tenant, 2)}
	home.network = protocol.Network{
		Tenant: tenant, Name: "net", Type: "data", ID: id, VRF: vrf, Encap: protocol.EncapVXLAN, VNI: 100 + uint32(id),
		Subnet: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.255.254"),
	}
	for _, c := range []*container{home.a, home.b} {
		c.port.IPv6 = netip.Prefix{}
	}
	return home
}

// refs are the household's records, and the rule that keeps b from beginning anything.
func (home *household) refs() map[drivers.Ref]protocol.Body {
	out := map[drivers.Ref]protocol.Body{{Kind: protocol.KindNetwork, Key: home.network.Key()}: &home.network}
	for i, c := range []*container{home.a, home.b} {
		ref, body := endpointOf(&c.port)
		body.Identity = uint16(i+1) + 10*home.network.ID
		out[ref] = body
	}
	out[drivers.Ref{Kind: protocol.KindRule, Key: home.tenant + ":p:1"}] = &protocol.Rule{
		ID: uint32(home.network.ID), Priority: 1, Action: protocol.ActionDeny, Src: protocol.Peer{Identities: []uint16{2 + 10*home.network.ID}},
		Dst: protocol.Peer{Any: true}, Protocols: []uint8{policy.UDP},
	}
	return out
}

func (home *household) leave(t *testing.T, d *Driver, w *world) drivers.Update {
	t.Helper()
	w.revision++
	u := drivers.Update{Position: w.position()}
	for ref := range home.refs() {
		delete(w.set, ref)
		u.Gone = append(u.Gone, ref)
	}
	for _, c := range []*container{home.a, home.b} {
		if err := d.RemovePort(t.Context(), c.port.ID); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

func (home *household) enter(t *testing.T, d *Driver, w *world) drivers.Update {
	t.Helper()
	w.revision++
	u := drivers.Update{Position: w.position(), Set: home.refs()}
	for ref, body := range u.Set {
		w.set[ref] = body
	}
	for _, c := range []*container{home.a, home.b} {
		attach(t, d, c)
	}
	return u
}

const (
	askAddr    = "10.1.0.1:4000"
	answerAddr = "10.1.0.2:5000"
)

func (home *household) addresses(t *testing.T) {
	t.Helper()
	if home.a.ip() != "10.1.0.1" || home.b.ip() != "10.1.0.2" {
		t.Fatalf("addresses %s, %s", home.a.ip(), home.b.ip())
	}
}

// settle makes a connection from a to b, whose answers pass although b may not begin any.
func (home *household) settle(t *testing.T) {
	t.Helper()
	home.addresses(t)
	waitFor(t, 5*time.Second, home.tenant+" to speak", func() bool { return speak(t, home.a, home.b, askAddr, answerAddr) })
	waitFor(t, 5*time.Second, home.tenant+" to answer", func() bool { return speak(t, home.b, home.a, answerAddr, askAddr) })
}

// TestZoneServesAnother: what was a connection of a network is none of the network, or tenant, that gets its number.
func TestZoneServesAnother(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{protocol.ForwardBridge, protocol.ForwardRouting} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "", 1)
			d := newDriver(t, h)
			w := newWorld(h)
			for ref := range w.set {
				if ref.Kind == protocol.KindNetwork {
					delete(w.set, ref)
				}
			}
			w.set[drivers.Ref{Kind: protocol.KindGlobal, Key: "global"}] = &protocol.Global{ForwardMode: mode, ARPMode: protocol.ARPProxy, MTUVXLAN: 1450}
			apply(t, d, w.all())
			zones := []uint16{0x4001, 0x6001}
			if mode == protocol.ForwardRouting {
				zones = []uint16{0x1007, 0x2007}
			}
			zone := zones[0]
			reuse := func(d *Driver) { // as if all others were in use
				d.mu.Lock()
				defer d.mu.Unlock()
				d.zones.last = 0
			}

			first := newHousehold(t, h, "first", 1, 7)
			apply(t, d, first.enter(t, d, w))
			first.settle(t)
			if tracked(t, d, zone) != 1 {
				t.Fatalf("%d connections in zone %#x, want 1", tracked(t, d, zone), zone)
			}

			// A restart of the agent keeps it.
			_ = d.Close()
			d = newDriver(t, h)
			apply(t, d, w.all())
			if tracked(t, d, zone) != 1 || !speak(t, first.b, first.a, answerAddr, askAddr) {
				t.Error("a restart of the agent ended a connection")
			}

			// In one life of the agent.
			apply(t, d, first.leave(t, d, w))
			if tracked(t, d, zone) != 1 {
				t.Error("the connection went by itself: the test shows nothing")
			}
			reuse(d)
			second := newHousehold(t, h, "second", 2, 7)
			apply(t, d, second.enter(t, d, w))
			second.addresses(t)
			if n := tracked(t, d, zones...); n != 0 || speak(t, second.b, second.a, answerAddr, askAddr) {
				t.Errorf("%d connections of the network before", n)
			}
			second.settle(t)

			// While the agent is away.
			second.leave(t, d, w)
			_ = d.Close()
			if tracked(t, d, zone) != 1 {
				t.Error("the connection went by itself: the test shows nothing")
			}
			d = newDriver(t, h)
			reuse(d)
			third := newHousehold(t, h, "third", 3, 7)
			third.enter(t, d, w)
			apply(t, d, w.all())
			if mode == protocol.ForwardBridge { // the number was in use when the third came: it has another
				if got, _ := d.compiler.Zone(third.network.Key()); got == zone {
					t.Errorf("the third has zone %#x while the second's flows may be there", got)
				}
			}
			if mode == protocol.ForwardRouting && tracked(t, d, zones...) != 0 || speak(t, third.b, third.a, answerAddr, askAddr) {
				t.Error("a connection of the network before")
			}
			third.settle(t)

			// While the switch does not answer.
			apply(t, d, third.leave(t, d, w))
			if err := syscall.Kill(h.vswPID, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			d.mu.Lock()
			d.zones.last = 1 // the third had 2
			d.mu.Unlock()
			fourth := newHousehold(t, h, "fourth", 4, 7)
			w.revision++
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			update := drivers.Update{Position: w.position(), Set: fourth.refs()}
			if _, err := d.Apply(short, update); err == nil {
				t.Error("applied by a switch that does not answer")
			}
			if err := syscall.Kill(h.vswPID, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			attach(t, d, fourth.a)
			attach(t, d, fourth.b)
			waitFor(t, 10*time.Second, "all to be realised", func() bool { return d.Status().Realised == w.position() })
			if mode == protocol.ForwardBridge {
				zone = 0x4002
			}
			if n := tracked(t, d, zone); n != 0 || speak(t, fourth.b, fourth.a, answerAddr, askAddr) {
				t.Errorf("%d connections of the network before", n)
			}
			fourth.settle(t)
		})
	}
}
