package nameserver

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Limits of DNS over TCP.
const (
	maxStacks        = 128 // endpoints that speak TCP at the same time
	maxConnections   = 8   // of an endpoint
	streamIdle       = 10 * time.Second
	maxStreamQueries = 64 // of a connection
	stackIdle        = 30 * time.Second
	streamMTU        = 1280
	streamQueue      = 64 // packets on their way to the switch
)

// streams terminates the TCP connections that endpoints make to servers that are none: each endpoint has a TCP/IP stack of
// its own, since endpoints of two tenants may have the same address, for as long as it uses it. Safe for concurrent use.
type streams struct {
	answer func(from *drivers.DNSPacket, message []byte) []byte
	log    *logrus.Entry

	mu     sync.Mutex
	closed bool
	stacks map[protocol.EndpointID]*peer
}

// peer is the stack of one endpoint.
type peer struct {
	streams *streams
	stack   *stack.Stack
	link    *channel.Endpoint
	cancel  context.CancelFunc
	owned   sync.WaitGroup

	mu   sync.Mutex
	last drivers.DNSPacket // without its bytes: whom to answer, and how
	used time.Time
	open int // connections
}

func newStreams(answer func(*drivers.DNSPacket, []byte) []byte, log *logrus.Entry) *streams {
	return &streams{answer: answer, log: log, stacks: map[protocol.EndpointID]*peer{}}
}

// take hands a packet to the stack of its endpoint.
func (s *streams) take(p *drivers.DNSPacket) {
	to := s.peer(p)
	if to == nil {
		return
	}
	number := header.IPv4ProtocolNumber
	if p.IP[0]>>4 == 6 {
		number = header.IPv6ProtocolNumber
	}
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p.IP)})
	defer packet.DecRef()
	to.link.InjectInbound(number, packet)
}

// peer finds or makes the stack for a packet; nil if there are too many.
func (s *streams) peer(p *drivers.DNSPacket) *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	to := s.stacks[p.Endpoint]
	if to == nil {
		if len(s.stacks) >= maxStacks {
			return nil
		}
		var err tcpip.Error
		if to, err = newPeer(s); err != nil {
			s.log.WithField("error", err).Warn("DNS over TCP is not answered")
			return nil
		}
		s.stacks[p.Endpoint] = to
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.last, to.used = *p, time.Now()
	to.last.IP = nil
	return to
}

const nic = 1

func newPeer(s *streams) (*peer, tcpip.Error) {
	st := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	p := &peer{streams: s, stack: st, link: channel.New(streamQueue, streamMTU, "")}
	for _, step := range []func() tcpip.Error{
		func() tcpip.Error { return st.CreateNIC(nic, p.link) },
		func() tcpip.Error { return st.SetPromiscuousMode(nic, true) }, // takes what is sent to any address
		func() tcpip.Error { return st.SetSpoofing(nic, true) },        // answers as any address
	} {
		if err := step(); err != nil {
			st.Destroy()
			return nil, err
		}
	}
	st.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	forward := tcp.NewForwarder(st, 0, maxConnections, p.accept)
	st.SetTransportProtocolHandler(tcp.ProtocolNumber, forward.HandlePacket)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.owned.Add(1)
	go p.run(ctx)
	return p, nil
}

// run sends what the stack says to the endpoint, until the stack has been idle for a while.
func (p *peer) run(ctx context.Context) {
	defer p.owned.Done()
	for {
		bound, cancel := context.WithTimeout(ctx, stackIdle)
		packet := p.link.ReadContext(bound)
		cancel()
		if packet != nil {
			p.send(packet)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if p.retire() {
			p.owned.Add(1)
			go func() { defer p.owned.Done(); p.stack.Destroy() }()
			return
		}
	}
}

func (p *peer) send(packet *stack.PacketBuffer) {
	defer packet.DecRef()
	view := packet.ToView()
	defer view.Release()
	p.mu.Lock()
	reply := p.last.Reply
	p.mu.Unlock()
	if err := reply(view.AsSlice()); err != nil {
		p.streams.log.WithError(err).Debug("answering over TCP")
	}
}

// retire takes an idle stack out of use.
func (p *peer) retire() bool {
	s := p.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open > 0 || time.Since(p.used) < stackIdle || s.stacks[p.last.Endpoint] != p {
		return false
	}
	delete(s.stacks, p.last.Endpoint)
	return true
}

// accept takes a new connection.
func (p *peer) accept(request *tcp.ForwarderRequest) {
	p.mu.Lock()
	full := p.open >= maxConnections
	if !full {
		p.open++
	}
	p.mu.Unlock()
	if full {
		request.Complete(true)
		return
	}
	var queue waiter.Queue
	end, err := request.CreateEndpoint(&queue)
	request.Complete(err != nil)
	if err != nil {
		p.done()
		return
	}
	p.serve(gonet.NewTCPConn(&queue, end))
}

func (p *peer) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// serve answers the messages of a connection, each behind its length in two bytes.
func (p *peer) serve(conn *gonet.TCPConn) {
	defer p.done()
	defer conn.Close() //nolint:errcheck // nothing is awaited
	for range maxStreamQueries {
		_ = conn.SetDeadline(time.Now().Add(streamIdle))
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		p.mu.Lock()
		from := p.last
		p.mu.Unlock()
		reply := p.streams.answer(&from, message)
		if reply == nil {
			return
		}
		out := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply))) //nolint:gosec // a DNS message
		if _, err := conn.Write(append(out, reply...)); err != nil {
			return
		}
	}
}

// close ends all connections.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	all := s.stacks
	s.stacks = map[protocol.EndpointID]*peer{}
	s.mu.Unlock()
	for _, p := range all {
		p.cancel()
		p.stack.Destroy()
		p.owned.Wait()
	}
}
