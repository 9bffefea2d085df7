package ovs

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// rule changes a rule in the world and answers the change; nil takes it out.
func (w *world) rule(key string, r *protocol.Rule) drivers.Update {
	w.revision++
	ref := drivers.Ref{Kind: protocol.KindRule, Key: key}
	if r == nil {
		delete(w.set, ref)
		return drivers.Update{Position: w.position(), Gone: []drivers.Ref{ref}}
	}
	w.set[ref] = r
	return drivers.Update{Position: w.position(), Set: map[drivers.Ref]protocol.Body{ref: r}}
}

// stream is packets over UDP that a server sends to a client who asked once and says nothing any more.
type stream struct{ received atomic.Int64 }

func startStream(t *testing.T, client, server *container, network, clientAddr, serverAddr string) *stream {
	t.Helper()
	s := &stream{}
	listen := func(c *container, addr, port string) net.PacketConn {
		ns, err := openNamespace(nsPath(c.ns))
		if err != nil {
			t.Fatal(err)
		}
		defer ns.close()
		var conn net.PacketConn
		if err := ns.do(func() (err error) {
			conn, err = net.ListenPacket(network, net.JoinHostPort(addr, port))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	in, out := listen(client, clientAddr, "0"), listen(server, serverAddr, "5000")
	ctx, stop := context.WithCancel(context.Background())
	serverDone, clientDone := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		stop()
		_ = in.Close()
		_ = out.Close()
		<-serverDone
		<-clientDone
	})
	at, err := net.ResolveUDPAddr(network, net.JoinHostPort(serverAddr, strconv.Itoa(5000)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteTo([]byte("send"), at); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(serverDone)
		_, to, err := out.ReadFrom(make([]byte, 100))
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for err == nil && ctx.Err() == nil {
			<-ticker.C
			_, err = out.WriteTo([]byte("data"), to)
		}
	}()
	go func() {
		defer close(clientDone)
		for {
			if _, _, err := in.ReadFrom(make([]byte, 100)); err != nil {
				return
			}
			s.received.Add(1)
		}
	}()
	return s
}

// flows waits until the stream does, or does not.
func (s *stream) flows(t *testing.T, what string, want bool) {
	t.Helper()
	waitFor(t, 5*time.Second, what, func() bool {
		before := s.received.Load()
		deadline := time.After(100 * time.Millisecond)
		<-deadline
		return s.received.Load() > before == want
	})
}

// TestRulesReachStreams: a deny ends a stream of which only the server sends, on the way of the client's packets; without
// the rule it goes on. IPv4 and IPv6, on one host and across two.
func TestRulesReachStreams(t *testing.T) {
	t.Parallel()
	underlay := newUnderlay(t)
	h1, h2 := newHost(t, underlay, 1), newHost(t, underlay, 2)
	d1, d2 := newDriver(t, h1), newDriver(t, h2)
	w := newWorld(h1, h2)
	client, near, far := newContainer(t, h1, "blue", 1), newContainer(t, h1, "blue", 2), newContainer(t, h2, "blue", 3)
	identity := func(c *container, identity uint16) {
		w.add(&c.port)
		ref, body := endpointOf(&c.port)
		body.Identity = identity
		w.set[ref] = body
	}
	identity(client, 10)
	identity(near, 20)
	identity(far, 20)
	both := func(u drivers.Update) {
		apply(t, d1, u)
		apply(t, d2, u)
	}
	both(w.all())
	attach(t, d1, client)
	attach(t, d1, near)
	attach(t, d2, far)
	mustPing(t, client, near)
	mustPing(t, client, far)
	var streams []*stream
	for _, server := range []*container{near, far} {
		streams = append(streams, startStream(t, client, server, "udp4", client.ip(), server.ip()), startStream(t, client, server, "udp6", client.ip6(), server.ip6()))
	}
	all := func(what string, want bool) {
		t.Helper()
		for _, s := range streams {
			s.flows(t, what, want)
		}
	}
	all("the stream to come", true)
	deny := &protocol.Rule{ID: 7, Priority: 5, Action: protocol.ActionDeny, Src: protocol.Peer{Any: true},
		Dst: protocol.Peer{Identities: []uint16{20}}, Protocols: []uint8{policy.UDP}, PortFirst: 5000, PortLast: 5000}
	both(w.rule("blue:p:7", deny))
	all("the stream to end", false)
	both(w.rule("blue:p:7", nil))
	all("the stream to go on", true)
	allow := *deny
	allow.ID, allow.Priority, allow.Action = 8, 6, protocol.ActionAllow
	both(w.rule("blue:p:8", &allow))
	both(w.rule("blue:p:7", deny))
	all("the stream to go on under an allow", true)
	both(w.rule("blue:p:8", nil))
	all("the stream to end without the allow", false)
}
