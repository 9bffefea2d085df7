package ovs

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// inside runs something in the namespace of a container: sockets made there stay there.
func (c *container) inside(tb testing.TB, do func() error) error {
	tb.Helper()
	ns, err := openNamespace(nsPath(c.ns))
	if err != nil {
		tb.Fatal(err)
	}
	defer ns.close()
	return ns.do(do)
}

// serve answers over TCP on port 8080 and UDP on port 5353, both families, with the container's name and what it was
// sent, until the test ends.
func (c *container) serve(t *testing.T) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	if err := c.inside(t, func() (err error) {
		if tcp, err = net.Listen("tcp", ":8080"); err == nil {
			udp, err = net.ListenPacket("udp", ":5353")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
	name := c.port.ID.ContainerID + " "
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { _ = conn.Close() })
			go func() {
				defer conn.Close() //nolint:errcheck // a test
				buf := make([]byte, 4096)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, name+string(buf[:n])); err != nil {
						return
					}
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(append([]byte(name), buf[:n]...), from)
		}
	}()
}

const askTimeout = 400 * time.Millisecond

// open connects from a container.
func (c *container) open(t *testing.T, network, to string) (conn net.Conn, err error) {
	t.Helper()
	err = c.inside(t, func() (err error) {
		conn, err = net.DialTimeout(network, to, askTimeout)
		return err
	})
	return conn, err
}

// talk says something of so many bytes and answers who heard it.
func talk(conn net.Conn, size int) (who string, err error) {
	said := strings.Repeat("x", size)
	if err := conn.SetDeadline(time.Now().Add(2 * askTimeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, said); err != nil {
		return "", err
	}
	buf, got := make([]byte, 4096), ""
	for !strings.HasSuffix(got, said) {
		n, err := conn.Read(buf)
		if err != nil {
			return "", err
		}
		got += string(buf[:n])
	}
	who, _, _ = strings.Cut(got, " ")
	return who, nil
}

// ask opens a connection of its own for one talk.
func (c *container) ask(t *testing.T, network, to string) (who string, err error) {
	t.Helper()
	conn, err := c.open(t, network, to)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // a test
	return talk(conn, 10)
}

// meets asks until all of these have answered, and nobody else for some time: the switch looks at flows in use again a
// moment after they changed.
func (c *container) meets(t *testing.T, network, to string, who ...string) {
	t.Helper()
	met, answers := map[string]bool{}, 0
	waitFor(t, 20*time.Second, fmt.Sprintf("%s to meet %v at %s", c.port.ID.ContainerID, who, to), func() bool {
		name, err := c.ask(t, network, to)
		if err != nil || !slices.Contains(who, name) {
			met, answers = map[string]bool{}, 0
			return false
		}
		met[name] = true
		answers++
		return len(met) == len(who) && answers >= 8
	})
}

// meetsNobody waits until nobody answers.
func (c *container) meetsNobody(t *testing.T, network, to string) {
	t.Helper()
	waitFor(t, 5*time.Second, fmt.Sprintf("%s to meet nobody at %s", c.port.ID.ContainerID, to), func() bool {
		_, err := c.ask(t, network, to)
		return err != nil
	})
}

// service puts a service of the world's network into it and answers the change.
func (w *world) service(s protocol.Service, providers ...*container) drivers.Update {
	n := w.set[drivers.Ref{Kind: protocol.KindNetwork, Key: s.Tenant + ":net"}].(*protocol.Network)
	s.Network, s.VRF = "net", n.VRF
	for _, c := range providers {
		s.Providers = append(s.Providers, protocol.Provider{Network: "net", IPv4: c.port.IPv4.Addr(), IPv6: c.port.IPv6.Addr(), MAC: c.port.MAC})
	}
	w.revision++
	ref := drivers.Ref{Kind: protocol.KindService, Key: s.Key()}
	w.set[ref] = &s
	return drivers.Update{Position: w.position(), Set: map[drivers.Ref]protocol.Body{ref: &s}}
}

// TestServices sends real packets to services: both forward modes, both families, TCP and UDP, providers here and on
// another host.
func TestServices(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{protocol.ForwardBridge, protocol.ForwardRouting} {
		t.Run(mode, func(t *testing.T) { testServices(t, mode) })
	}
}

func testServices(t *testing.T, mode string) {
	t.Helper()
	underlay := newUnderlay(t)
	h1, h2 := newHost(t, underlay, 1), newHost(t, underlay, 2)
	d1, d2 := newDriver(t, h1), newDriver(t, h2)
	w, newOne := newWorld(h1, h2), newContainer
	if mode == protocol.ForwardRouting {
		w, newOne = routingWorld(h1, h2), newRoutedContainer
	}
	client, near, far := newOne(t, h1, "blue", 1), newOne(t, h1, "blue", 2), newOne(t, h2, "blue", 3)
	redClient, redServer := newOne(t, h1, "red", 1), newOne(t, h2, "red", 2)
	for _, c := range []*container{client, near, far, redClient, redServer} {
		w.add(&c.port)
	}
	both := func(u drivers.Update) {
		t.Helper()
		apply(t, d1, u)
		apply(t, d2, u)
	}
	web := protocol.Service{
		Tenant: "blue", Name: "web", ID: 21, VIP: netip.MustParseAddr("10.1.0.200"), VIP6: netip.MustParseAddr("fd01::200"),
		Ports: []protocol.ServicePort{{Protocol: policy.TCP, Port: 80, ProviderPort: 8080}, {Protocol: policy.UDP, Port: 53, ProviderPort: 5353}},
	}
	w.service(web, near, far)
	red := web
	red.Tenant, red.ID = "red", 22
	w.service(red, redServer)
	both(w.all())
	for _, c := range []*container{client, near, redClient} {
		attach(t, d1, c)
	}
	for _, c := range []*container{far, redServer} {
		attach(t, d2, c)
	}
	for _, c := range []*container{near, far, redServer} {
		c.serve(t)
	}
	mustPing(t, client, far)
	mustPing(t, redClient, redServer)
	nearName, farName, redName := near.port.ID.ContainerID, far.port.ID.ContainerID, redServer.port.ID.ContainerID
	for _, vip := range []string{"10.1.0.200", "[fd01::200]"} {
		client.meets(t, "tcp", vip+":80", nearName, farName)
		client.meets(t, "udp", vip+":53", nearName, farName)
		near.meets(t, "tcp", vip+":80", nearName, farName) // itself too
		near.meets(t, "udp", vip+":53", nearName, farName)
		redClient.meets(t, "tcp", vip+":80", redName)
		client.meetsNobody(t, "tcp", vip+":81")
		client.meetsNobody(t, "udp", vip+":80")
	}
	testLongConnections(t, client, func(providers ...*container) { both(w.service(web, providers...)) }, near, far)
	sticky := web
	sticky.Name, sticky.ID, sticky.Affinity = "sticky", 23, 60
	sticky.VIP, sticky.VIP6 = netip.MustParseAddr("10.1.0.201"), netip.MustParseAddr("fd01::201")
	both(w.service(sticky, near, far))
	for _, vip := range []string{"10.1.0.201", "[fd01::201]"} {
		for network, port := range map[string]string{"tcp": ":80", "udp": ":53"} {
			first := ""
			waitFor(t, 5*time.Second, "an answer of "+vip, func() (ok bool) {
				who, err := client.ask(t, network, vip+port)
				first = who
				return err == nil
			})
			for range 12 {
				if who, err := client.ask(t, network, vip+port); err != nil || who != first {
					t.Errorf("%s%s, %s: %q, then %q, %v", vip, port, network, first, who, err)
				}
			}
		}
	}
	testServiceStatistics(t, h1, d1, client, func(s protocol.Service) { both(w.service(s, far)) }, web, w)
}

// testLongConnections: connections stay with their provider, packet by packet, when others come and go; and a service
// that has none answers nobody.
func testLongConnections(t *testing.T, client *container, provide func(...*container), near, far *container) {
	t.Helper()
	long := map[string]net.Conn{}
	waitFor(t, 20*time.Second, "connections to both providers", func() bool {
		for _, vip := range []string{"10.1.0.200", "[fd01::200]"} {
			conn, err := client.open(t, "tcp", vip+":80")
			if err != nil {
				continue
			}
			t.Cleanup(func() { _ = conn.Close() })
			if who, err := talk(conn, 1000); err == nil {
				long[vip+" "+who] = conn
			}
		}
		return len(long) == 4
	})
	stay := func(when string) {
		t.Helper()
		for key, conn := range long {
			for range 20 {
				who, err := talk(conn, 1000)
				if err != nil || !strings.HasSuffix(key, " "+who) {
					t.Fatalf("%s: the connection to %s: %q, %v", when, key, who, err)
				}
			}
		}
	}
	stay("with both")
	provide(far)
	client.meets(t, "tcp", "10.1.0.200:80", far.port.ID.ContainerID)
	client.meets(t, "udp", "[fd01::200]:53", far.port.ID.ContainerID)
	stay("with one")
	provide()
	client.meetsNobody(t, "tcp", "10.1.0.200:80")
	client.meetsNobody(t, "udp", "10.1.0.200:53")
	stay("with none")
	provide(near, far)
	client.meets(t, "tcp", "10.1.0.200:80", near.port.ID.ContainerID, far.port.ID.ContainerID)
	stay("with both again")
}

// testServiceStatistics: what is counted is what was sent, also for an agent that is started anew.
func testServiceStatistics(t *testing.T, h *labHost, d *Driver, client *container, provide func(protocol.Service), s protocol.Service, w *world) {
	t.Helper()
	s.Name, s.ID, s.VIP, s.VIP6 = "counted", 24, netip.MustParseAddr("10.1.0.202"), netip.MustParseAddr("fd01::202")
	provide(s)
	const talks, size = 37, 100
	for _, vip := range []string{"10.1.0.202", "[fd01::202]"} {
		if _, err := client.ask(t, "udp", vip+":54"); err == nil { // has the address resolved
			t.Error("a port that is not there answers")
		}
		conn, err := client.open(t, "udp", vip+":53")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // a test
		for range talks {
			if _, err := talk(conn, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	counted := func(d *Driver) (out []protocol.ServiceCounters) {
		statistics, err := d.Statistics(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, c := range statistics.Services {
			if c.Service == "blue:counted" {
				out = append(out, c)
			}
		}
		return out
	}
	reply := len("blue-c3 ") + size
	var want []protocol.ServiceCounters
	for _, six := range []bool{false, true} {
		c := protocol.ServiceCounters{Service: "blue:counted", PacketsIn: talks, PacketsOut: talks, Client: netip.MustParseAddr("10.1.0.1"), Provider: netip.MustParseAddr("10.1.0.3")}
		header := 14 + 20 + 8
		if six {
			c.Client, c.Provider = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd01::3")
			header += 20
		}
		c.BytesIn, c.BytesOut = uint64(talks*(reply+header)), uint64(talks*(size+header))
		want = append(want, c)
	}
	var last []protocol.ServiceCounters
	waitFor(t, 10*time.Second, fmt.Sprintf("counters %+v", want), func() bool {
		now := counted(d)
		if !slices.Equal(now, last) {
			t.Logf("%+v", now)
		}
		last = now
		return slices.Equal(now, want)
	})
	statistics, _ := d.Statistics(t.Context())
	if !slices.ContainsFunc(statistics.Drops, func(c protocol.DropCounter) bool { return c.Reason == "no service" && c.Packets >= 2 }) {
		t.Errorf("drops: %+v", statistics.Drops)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := newDriver(t, h)
	apply(t, again, w.all())
	if now := counted(again); !slices.Equal(now, want) {
		t.Errorf("after a restart: %+v, want %+v", now, want)
	}
}

// TestLives: totals survive the end of counters, however it is learned.
func TestLives(t *testing.T) {
	began := time.Unix(1000, 0)
	f := pipeline.ServiceFlow{Service: 1, Backend: 2, Client: netip.MustParseAddr("10.1.0.1")}
	at := func(packets uint64, began time.Time) life { return life{tally{packets, packets * 100}, began} }
	var x lives
	check := func(what string, want uint64) {
		t.Helper()
		if got := x.totals()[f]; got != (tally{want, want * 100}) {
			t.Errorf("%s: %+v, want %d", what, got, want)
		}
	}
	x.read(map[pipeline.ServiceFlow]life{f: at(5, began)})
	check("read", 5)
	x.read(map[pipeline.ServiceFlow]life{f: at(7, began.Add(20*time.Millisecond))})
	check("read again", 7)
	x.ended(f, at(8, began))
	check("ended", 8)
	x.read(nil)
	check("gone", 8)
	x.read(map[pipeline.ServiceFlow]life{f: at(1, began.Add(time.Hour))})
	check("learned again", 9)
	x.read(map[pipeline.ServiceFlow]life{f: at(2, began.Add(2*time.Hour))})
	check("an end that was not told", 11)
	x.read(nil)
	check("a switch that was restarted", 11)
	x.forget(func(pipeline.ServiceFlow) bool { return false })
	check("forgotten", 0)
}

// TestBackends: numbers stay while a service has the provider, over a restart too, and are not given again.
func TestBackends(t *testing.T) {
	service := func(addrs ...string) *protocol.Service {
		s := &protocol.Service{Tenant: "blue", Name: "s"}
		for _, a := range addrs {
			s.Providers = append(s.Providers, protocol.Provider{IPv4: netip.MustParseAddr(a)})
		}
		return s
	}
	b := func(addr string) pipeline.Backend {
		return pipeline.Backend{Tenant: "blue", Addr: netip.MustParseAddr(addr)}
	}
	var x backends
	notes := map[string]string{}
	set := func(key string, old, now *protocol.Service) map[pipeline.Backend]uint32 {
		changes := map[pipeline.Backend]uint32{}
		x.set(key, old, now, changes)
		more, drop := x.unsaved()
		for k, v := range more {
			notes[k] = v
		}
		for _, k := range drop {
			delete(notes, k)
		}
		return changes
	}
	one, two := service("10.1.0.1", "10.1.0.2"), service("10.1.0.2", "10.1.0.3")
	if got := set("s", nil, one); got[b("10.1.0.1")] != 1 || got[b("10.1.0.2")] != 2 {
		t.Errorf("%v", got)
	}
	if got := set("other", nil, two); got[b("10.1.0.2")] != 2 || got[b("10.1.0.3")] != 3 {
		t.Errorf("%v", got)
	}
	if got := set("other", two, nil); len(got) != 1 || got[b("10.1.0.3")] != 0 {
		t.Errorf("%v", got)
	}
	x = backends{}
	notes[keyBackend+"blue/nonsense"] = "4"
	x.load(notes)
	if got := set("s", nil, two); got[b("10.1.0.2")] != 2 || got[b("10.1.0.3")] != 4 {
		t.Errorf("after a restart: %v", got)
	}
	x.tidy()
	if _, drop := x.unsaved(); !slices.Equal(drop, []string{keyBackend + "blue/10.1.0.1"}) {
		t.Errorf("drops %v", drop)
	}
}
