// Package mesh finds out who reaches whom: stations in network namespaces send many packets to each other at once, of TCP,
// UDP, ICMP and SCTP, and it is noted which arrived and which were answered. A hundred take a few milliseconds, and
// what is not to arrive is waited for only once.
package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/test/probe"
)

// Protocols of a Shot.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
	SCTP   = 132
)

// Shot is one question: does a packet of a new connection get to an address, and its answer back?
type Shot struct {
	From     int // number of the station
	To       netip.Addr
	Protocol int
	Port     int   // of TCP and UDP: one that the stations listen on; of SCTP any
	Type     uint8 // of ICMP: an echo request, or 13, which is answered as well
}

// Outcome of a shot.
type Outcome struct {
	Arrived  bool // seen by some station; of TCP: only if Answered
	At       int  // which station, if it arrived
	Answered bool
}

// Mesh is a number of stations. Volley is not safe for concurrent use.
type Mesh struct {
	stations []*station
	count    atomic.Uint32
	current  atomic.Pointer[volley]
	wg       sync.WaitGroup
}

// volley is what is under way.
type volley struct {
	number uint32
	shots  []Shot
	marks  []mark
}

type mark struct {
	at       atomic.Int32 // number of the station and one; 0: nowhere
	answered atomic.Bool
}

// station is the sockets of a namespace.
type station struct {
	number  int
	inside  probe.Inside
	closers []interface{ Close() error }
	raw     map[int]*net.IPConn // by protocol, of IPv6 negative
}

// New makes a station of each namespace. They listen on the ports, of TCP and of UDP.
func New(namespaces []probe.Inside, ports ...int) (*Mesh, error) {
	m := &Mesh{}
	for i, inside := range namespaces {
		s := &station{number: i, inside: inside, raw: map[int]*net.IPConn{}}
		m.stations = append(m.stations, s)
		if err := inside(func() error { return m.open(s, ports) }); err != nil {
			return nil, errors.Join(fmt.Errorf("station %d: %w", i, err), m.Close())
		}
	}
	return m, nil
}

// Close ends all stations.
func (m *Mesh) Close() error {
	var errs []error
	for _, s := range m.stations {
		for _, c := range s.closers {
			errs = append(errs, c.Close())
		}
	}
	m.wg.Wait()
	return errors.Join(errs...)
}

func (m *Mesh) open(s *station, ports []int) error {
	for _, port := range ports {
		address := fmt.Sprintf(":%d", port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, listener)
		m.wg.Go(func() { accept(listener) })
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, udp)
		m.wg.Go(func() { m.echo(s, udp) })
	}
	for protocol, network := range map[int]string{ICMP: "ip4:1", -ICMPv6: "ip6:58", SCTP: "ip4:132", -SCTP: "ip6:132"} {
		listen := "0.0.0.0"
		if protocol < 0 {
			listen = "::"
		}
		conn, err := net.ListenPacket(network, listen)
		if err != nil {
			return err
		}
		raw := conn.(*net.IPConn)
		s.raw[protocol] = raw
		s.closers = append(s.closers, raw)
		receive := m.icmp
		if protocol == SCTP || protocol == -SCTP {
			receive = m.sctp
		}
		m.wg.Go(func() { receive(s, raw) })
	}
	return nil
}

// accept holds connections until the other side ends them.
func accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer conn.Close() //nolint:errcheck // nothing was written
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Read(make([]byte, 1)) // until it ends
		}()
	}
}

// token marks packets with the volley and the shot.
func token(volley uint32, shot int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, volley), uint32(shot)) //nolint:gosec // few
}

// find gives the mark that a token is for, nil if it is of an earlier volley or none.
func (m *Mesh) find(payload []byte) *mark {
	v := m.current.Load()
	if v == nil || len(payload) < 8 || binary.BigEndian.Uint32(payload) != v.number {
		return nil
	}
	shot := binary.BigEndian.Uint32(payload[4:])
	if int(shot) >= len(v.marks) {
		return nil
	}
	return &v.marks[shot]
}

func (k *mark) arrived(at *station) {
	if k != nil {
		k.at.CompareAndSwap(0, int32(at.number+1)) //nolint:gosec // few
	}
}

func (k *mark) answer() {
	if k != nil {
		k.answered.Store(true)
	}
}

// echo is a server of UDP.
func (m *Mesh) echo(s *station, conn net.PacketConn) {
	buffer := make([]byte, 64)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		m.find(buffer[:n]).arrived(s)
		_, _ = conn.WriteTo(buffer[:n], from) // a lost answer is what is to be found out
	}
}

// answers reads what comes back to the socket of a volley.
func (m *Mesh) answers(conn net.PacketConn) {
	buffer := make([]byte, 64)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		m.find(buffer[:n]).answer()
	}
}

// icmp reads requests, which the kernel answers, and answers. Echo messages carry the token behind the header of 8 bytes;
// a timestamp request is known by number and sequence.
func (m *Mesh) icmp(s *station, conn *net.IPConn) {
	buffer := make([]byte, 256)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		if n < 8 {
			continue
		}
		switch buffer[0] {
		case 8, 128:
			m.find(buffer[8:n]).arrived(s)
		case 0, 129:
			m.find(buffer[8:n]).answer()
		case 13:
			m.find(stamped(buffer)).arrived(s)
		case 14:
			m.find(stamped(buffer)).answer()
		}
	}
}

func stamped(message []byte) []byte {
	return token(uint32(binary.BigEndian.Uint16(message[4:])), int(binary.BigEndian.Uint16(message[6:])))
}

func icmpMessage(kind uint8, volley uint32, shot int) []byte {
	message := append([]byte{kind, 0, 0, 0}, token(volley, shot)...)
	message[4], message[5], message[6], message[7] = byte(volley>>8), byte(volley), byte(shot>>8), byte(shot) //nolint:gosec // cut on purpose
	if kind == 13 {
		message = append(message[:8], make([]byte, 12)...)
	} else {
		message = append(message[:8], token(volley, shot)...)
	}
	sum := uint32(0)
	for i := 0; i < len(message); i += 2 {
		sum += uint32(message[i])<<8 | uint32(message[i+1])
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum)) //nolint:gosec // folded
	return message                                        // over IPv6 the kernel fills the sum in
}

// Chunks of SCTP that open an association: there is no SCTP in many kernels, so that both sides are played here.
const (
	sctpInit    = 1
	sctpInitAck = 2
)

// sctpPacket is a header and an INIT or INIT ACK, with the token as initiate tag and first sequence number.
func sctpPacket(chunk uint8, from, to uint16, tag uint32, token []byte) []byte {
	p := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), to)
	p = binary.BigEndian.AppendUint32(p, tag)
	p = append(p, 0, 0, 0, 0, chunk, 0, 0, 20)
	p = append(p, token[:4]...)
	p = append(p, 0, 1, 0, 0, 0, 1, 0, 1)
	p = append(p, token[4:]...)
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}

func (m *Mesh) sctp(s *station, conn *net.IPConn) {
	buffer := make([]byte, 256)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		if n < 32 {
			continue
		}
		shot := append(append([]byte{}, buffer[16:20]...), buffer[28:32]...)
		switch buffer[12] {
		case sctpInit:
			m.find(shot).arrived(s)
			answer := sctpPacket(sctpInitAck, binary.BigEndian.Uint16(buffer[2:]), binary.BigEndian.Uint16(buffer), binary.BigEndian.Uint32(shot), shot)
			_, _ = conn.WriteTo(answer, from) // as above
		case sctpInitAck:
			m.find(shot).answer()
		}
	}
}

// Volley fires all shots. It returns when those that are wanted were answered and settle has passed since, or after
// patience. Shots that cannot even be sent count as not answered.
func (m *Mesh) Volley(ctx context.Context, shots []Shot, wanted []bool, settle, patience time.Duration) ([]Outcome, error) {
	v := &volley{number: m.count.Add(1), shots: shots, marks: make([]mark, len(shots))}
	m.current.Store(v)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var pending pending
	defer pending.close()
	errs := make(chan error, len(m.stations))
	for _, s := range m.stations {
		go func() { errs <- s.inside(func() error { return m.fire(s, v, &pending) }) }()
	}
	for range m.stations {
		if err := <-errs; err != nil {
			return nil, fmt.Errorf("sending: %w", err)
		}
	}
	m.await(ctx, v, wanted, settle, &pending)
	out := make([]Outcome, len(shots))
	for i := range out {
		at := int(v.marks[i].at.Load())
		out[i] = Outcome{Arrived: at > 0, At: at - 1, Answered: v.marks[i].answered.Load()}
		out[i].Arrived = out[i].Arrived || out[i].Answered
	}
	return out, nil
}

// await polls connections under way and the marks of all others.
func (m *Mesh) await(ctx context.Context, v *volley, wanted []bool, settle time.Duration, pending *pending) {
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-settled:
			pending.poll(v)
			return
		case <-poll.C:
		}
		pending.poll(v)
		complete := settled == nil
		for i := range v.marks {
			complete = complete && (!wanted[i] || v.marks[i].answered.Load())
		}
		if complete {
			timer := time.NewTimer(settle)
			defer timer.Stop()
			settled = timer.C
		}
	}
}

// pending are the sockets of a volley.
type pending struct {
	mu    sync.Mutex
	conns []net.PacketConn
	tcp   map[int]int // shot by socket
}

func (p *pending) add(conn net.PacketConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conn)
}

func (p *pending) connect(fd, shot int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tcp == nil {
		p.tcp = map[int]int{}
	}
	p.tcp[fd] = shot
}

// poll looks which connections are there, or were refused by the other side.
func (p *pending) poll(v *volley) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fds []unix.PollFd
	for fd := range p.tcp {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}) //nolint:gosec // a file descriptor
	}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return
	}
	for _, f := range fds {
		if f.Revents == 0 {
			continue
		}
		fd := int(f.Fd)
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if errno := unix.Errno(code); err == nil && (errno == 0 || errno == unix.ECONNREFUSED || errno == unix.ECONNRESET) { //nolint:gosec // an errno
			v.marks[p.tcp[fd]].answer()
		}
		drop(fd)
		delete(p.tcp, fd)
	}
}

// drop resets a connection, which leaves nothing behind on either side.
func drop(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

func (p *pending) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	for fd := range p.tcp {
		drop(fd)
	}
}

// fire sends the shots of a station, in its namespace.
func (m *Mesh) fire(s *station, v *volley, pending *pending) error {
	udp, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	pending.add(udp)
	go m.answers(udp)
	for i, shot := range v.shots {
		if shot.From != s.number {
			continue
		}
		switch shot.Protocol {
		case TCP:
			if err := connect(i, shot, pending); err != nil {
				return err
			}
		case UDP:
			_, _ = udp.WriteTo(token(v.number, i), net.UDPAddrFromAddrPort(netip.AddrPortFrom(shot.To, uint16(shot.Port)))) //nolint:gosec // a port
		default:
			s.sendRaw(i, shot, v.number)
		}
	}
	return nil
}

// sendRaw sends what has no sockets of its own. What cannot be sent is not answered.
func (s *station) sendRaw(i int, shot Shot, volley uint32) {
	key := shot.Protocol
	if shot.To.Is6() {
		key = -key
	}
	message := icmpMessage(shot.Type, volley, i)
	if shot.Protocol == SCTP {
		message = sctpPacket(sctpInit, 40000+uint16(volley%20000), uint16(shot.Port), 0, token(volley, i)) //nolint:gosec // a port
	}
	if raw := s.raw[key]; raw != nil {
		_, _ = raw.WriteTo(message, &net.IPAddr{IP: shot.To.AsSlice()})
	}
}

// connect begins a connection. An address that there is no way to is no error here: it does not answer.
func connect(i int, shot Shot, pending *pending) error {
	family := unix.AF_INET
	var to unix.Sockaddr
	if shot.To.Is4() {
		to = &unix.SockaddrInet4{Port: shot.Port, Addr: shot.To.As4()}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: shot.Port, Addr: shot.To.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return unix.Close(fd)
	}
	pending.connect(fd, i)
	return nil
}
