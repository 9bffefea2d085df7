package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/state"
)

// forwardModes of clusters, for tests that hold in both.
var forwardModes = []string{state.ForwardBridge, state.ForwardRouting}

func (w *town) person(name string) *person {
	for _, p := range w.people {
		if p.name == name {
			return p
		}
	}
	w.t.Fatalf("there is no %s", name)
	return nil
}

// stream is a connection whose client hears from the server all the time.
type stream struct {
	what string
	last atomic.Int64 // when the client heard something, in nanoseconds since 1970
}

const streamPace = 5 * time.Millisecond

// silence is for how long nothing was heard.
func (s *stream) silence() time.Duration { return time.Since(time.Unix(0, s.last.Load())) }

func (s *stream) listen(conn net.Conn) {
	buffer := make([]byte, 1500)
	for {
		if _, err := conn.Read(buffer); err != nil {
			return // closed at the end
		}
		s.last.Store(time.Now().UnixNano())
	}
}

// tcp opens a connection over which both sides talk.
func (w *town) tcp(from, to string, addr netip.Addr, port int) *stream {
	w.t.Helper()
	s := &stream{what: fmt.Sprintf("TCP of %s to %s (%s)", from, to, addr)}
	var listener net.Listener
	target := netip.AddrPortFrom(addr, uint16(port)).String() //nolint:gosec // a port
	w.must(w.Inside(to, func() (err error) { listener, err = net.Listen("tcp", target); return err }))
	w.t.Cleanup(func() { _ = listener.Close() })
	var client net.Conn
	w.must(w.Inside(from, func() (err error) { client, err = net.DialTimeout("tcp", target, 5*time.Second); return err }))
	server, err := listener.Accept()
	w.must(err)
	for _, conn := range []net.Conn{client, server} {
		w.t.Cleanup(func() { _ = conn.Close() })
		go talk(w.t.Context(), func() { _, _ = conn.Write([]byte("still here")) })
	}
	go s.listen(client)
	go (&stream{}).listen(server)
	return s
}

// udp has the server send on and on after one packet of the client.
func (w *town) udp(from, to string, addr netip.Addr, port int) *stream {
	w.t.Helper()
	s := &stream{what: fmt.Sprintf("one-way UDP to %s from %s (%s)", from, to, addr)}
	target := netip.AddrPortFrom(addr, uint16(port)) //nolint:gosec // a port
	var server net.PacketConn
	w.must(w.Inside(to, func() (err error) { server, err = net.ListenPacket("udp", target.String()); return err }))
	w.t.Cleanup(func() { _ = server.Close() })
	var client net.Conn
	w.must(w.Inside(from, func() (err error) { client, err = net.Dial("udp", target.String()); return err }))
	w.t.Cleanup(func() { _ = client.Close() })
	_, err := client.Write([]byte("begin"))
	w.must(err)
	w.must(server.SetReadDeadline(time.Now().Add(5 * time.Second)))
	_, who, err := server.ReadFrom(make([]byte, 16))
	w.must(err)
	go talk(w.t.Context(), func() { _, _ = server.WriteTo([]byte("still here"), who) })
	go s.listen(client)
	return s
}

// talk says something at a pace until the test ends.
func talk(ctx context.Context, say func()) {
	ticker := time.NewTicker(streamPace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			say()
		}
	}
}

// stops and goes wait until every stream is silent, or is heard again.
func (w *town) stops(limit time.Duration, streams ...*stream) {
	w.t.Helper()
	const silent = 300 * time.Millisecond
	for _, s := range streams {
		w.eventually(limit+silent, s.what+" stops", func() bool { return s.silence() > silent })
	}
}

func (w *town) goes(limit time.Duration, streams ...*stream) {
	w.t.Helper()
	for _, s := range streams {
		w.eventually(limit, s.what+" goes on", func() bool { return s.silence() < 100*time.Millisecond })
	}
}

// TestRulesReachConnections: a deny ends connections that are there, also those whose packets all go in the direction of
// the answers; without it they go on.
func TestRulesReachConnections(t *testing.T) {
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) {
			w := newTown(t, mode)
			var tcp, udp, others []*stream
			port := 9000
			for _, to := range []string{"b1", "b3"} {
				for _, addr := range w.person(to).addrs {
					port++
					tcp = append(tcp, w.tcp("a1", to, addr, port))
					udp = append(udp, w.udp("a1", to, addr, port))
					others = append(others, w.tcp("n3", to, addr, port+100), w.udp("n3", to, addr, port+100))
				}
			}
			all := append(append([]*stream{}, tcp...), udp...)
			w.goes(5*time.Second, append(all, others...)...)
			w.do("attach t b p")
			for _, step := range []struct {
				lines []string
				deny  bool
			}{
				{[]string{"rule t p 1 in deny group=a"}, true},
				{[]string{"unrule t p 1"}, false},
				{[]string{"attach t a q", "rule t q 1 out deny ip=10.1.1.0/24", "rule t q 2 out deny network=web"}, true},
				{[]string{"rule t q 3 out allow group=b priority=2"}, false},
				{[]string{"unrule t q 3"}, true},
				{[]string{"attach t a"}, false},
				{[]string{"deny t group a out"}, true},
				{[]string{"deny t group a none"}, false},
			} {
				began := time.Now()
				w.do(step.lines...)
				if step.deny {
					w.stops(time.Second, all...)
				} else {
					w.goes(10*time.Second, all...)
				}
				w.goes(time.Second, others...)
				t.Logf("%v: %v", step.lines, time.Since(began).Round(time.Millisecond))
			}
		})
	}
}

// received reads how many IP packets, of IPv4 and IPv6, the network stack of a workload has received.
func (c *cluster) received(workload string) (four, six string) {
	c.t.Helper()
	c.must(c.Inside(workload, func() error {
		data, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		rows := strings.Split(string(data), "\n") // names, then values
		four = strings.Fields(rows[1])[3]
		if data, err = os.ReadFile("/proc/thread-self/net/snmp6"); err != nil {
			return err
		}
		for row := range strings.Lines(string(data)) {
			if words := strings.Fields(row); words[0] == "Udp6InDatagrams" || words[0] == "Udp6NoPorts" {
				six += words[1]
			}
		}
		return nil
	}))
	return four, six
}

// flood sends a datagram to each address, round and round, until the end of the context. The namespace may come later.
func (c *cluster) flood(ctx context.Context, workload string, to ...netip.Addr) {
	var conn net.PacketConn
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
			return
		case <-ticker.C:
		}
		if conn == nil {
			_ = c.Inside(workload, func() (err error) { conn, err = net.ListenPacket("udp", ":0"); return err }) // it will come
			continue
		}
		_, _ = conn.WriteTo([]byte("who is there?"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to[i%len(to)], 7777)))
	}
}

// TestFirstPacketOfNewEndpoint attaches workloads again and again while others send to the addresses that they will get,
// and while they themselves send as soon as they can: what is denied is never let through, not one packet.
func TestFirstPacketOfNewEndpoint(t *testing.T) {
	const rounds = 12
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) {
			w := newTown(t, mode)
			// Nobody may send to group b, and b may send to nobody, by UDP.
			w.do("attach t b p", "rule t p 1 in deny udp", "rule t p 2 out deny udp", "rule t p 3 in allow icmp", "rule t p 4 in deny 41")
			w.matches("before")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var coming []netip.Addr
			for i := range rounds + 1 {
				coming = append(coming, netip.AddrFrom4([4]byte{10, 1, 1, byte(7 + i)}), netip.MustParseAddr(fmt.Sprintf("fd00:0:0:1::%x", 7+i)))
			}
			for _, from := range []string{"a1", "a2", "n3"} {
				for i, a := range coming { // what nobody has is not resolved, and asking again takes a second
					mac := fmt.Sprintf("02:02:0a:01:01:%02x", 7+i/2)
					if out, err := w.exec(from, "ip", "neigh", "add", a.String(), "lladdr", mac, "dev", "eth0", "nud", "permanent"); err != nil {
						t.Fatal(err, out)
					}
				}
				go w.flood(ctx, from, coming...)
			}
			before4, before6 := w.received("n3")
			w.eventually(2*time.Second, "the matrix is over", func() bool { // resets of its connections may be on the way
				was4, was6 := before4, before6
				before4, before6 = w.received("n3")
				return was4 == before4 && was6 == before6
			})
			for i := range rounds {
				name := fmt.Sprint("late", i)
				sending, end := context.WithCancel(ctx)
				go w.flood(sending, name, w.person("n3").addrs...)
				status := w.run(sandbox.Workload{Name: name, Host: 1 + i%3, Tenant: "t", Network: "web", Group: "b"})
				if status.Addresses[0] != coming[2*i].String() {
					t.Fatalf("%s has %v, want %v: nobody sent to it", name, status.Addresses, coming[2*i])
				}
				<-time.After(50 * time.Millisecond)
				end()
				if four, six := w.received(name); four != "0" || six != "00" {
					t.Errorf("%s received %s IPv4 and %s UDP over IPv6 packets that are denied", name, four, six)
				}
			}
			if four, six := w.received("n3"); four != before4 || six != before6 {
				t.Errorf("n3 received packets of new endpoints that may not send: %s and %s before, %s and %s now", before4, before6, four, six)
			}
			w.do("attach t b")
			w.matches("after")
			w.run(sandbox.Workload{Name: "control", Host: 2, Tenant: "t", Network: "web", Group: "b"})
			w.eventually(time.Second, "the flood arrives when nothing denies it", func() bool {
				four, six := w.received("control")
				return four != "0" && six != "00"
			})
		})
	}
}
