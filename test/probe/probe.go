// Package probe measures what a disturbance costs: it sends numbered UDP datagrams at a fixed pace between two
// workloads of a sandbox, both ways (an echo), and counts what did not come back and the longest silence.
package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Inside runs a function in a network namespace; sockets made there stay there.
type Inside func(f func() error) error

// Result of a probe.
type Result struct {
	Sent, Lost int
	LongestGap time.Duration // between two answers, or from the last one to the end
}

func (r Result) String() string {
	return fmt.Sprintf("%d sent, %d lost, longest gap %.1f ms", r.Sent, r.Lost, float64(r.LongestGap.Microseconds())/1000)
}

// Probe is a running measurement.
type Probe struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	client net.PacketConn
	server net.PacketConn

	mu       sync.Mutex
	sent     int
	received int
	last     time.Time
	gap      time.Duration
}

const port = 7007

// Start sends a datagram every interval from one namespace to addr in the other, where Start also listens. It returns
// after the first answer, so that what address resolution takes is not counted.
func Start(ctx context.Context, from, to Inside, addr netip.Addr, interval time.Duration) (*Probe, error) {
	p := &Probe{}
	target := netip.AddrPortFrom(addr, port)
	if err := to(func() (err error) { p.server, err = net.ListenPacket("udp", target.String()); return err }); err != nil {
		return nil, fmt.Errorf("listening for probes on %s: %w", target, err)
	}
	if err := from(func() (err error) { p.client, err = net.ListenPacket("udp", ":0"); return err }); err != nil {
		_ = p.server.Close()
		return nil, fmt.Errorf("opening the socket of the probe: %w", err)
	}
	p.wg.Add(1)
	go p.echo()
	if err := p.warmUp(ctx, net.UDPAddrFromAddrPort(target)); err != nil {
		_ = p.client.Close()
		_ = p.server.Close()
		p.wg.Wait()
		return nil, err
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.last = time.Now()
	p.wg.Add(2)
	go p.receive()
	go p.send(ctx, net.UDPAddrFromAddrPort(target), interval)
	return p, nil
}

// warmUp sends until an answer comes, at most 5 s.
func (p *Probe) warmUp(ctx context.Context, target *net.UDPAddr) error {
	var buffer [8]byte
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		_, _ = p.client.WriteTo(buffer[:], target) // an error shows as no answer
		_ = p.client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, _, err := p.client.ReadFrom(buffer[:]); err == nil {
			return p.drain()
		}
	}
	return fmt.Errorf("no answer from %s within 5 s", target)
}

// drain throws away late answers of the warm-up.
func (p *Probe) drain() error {
	var buffer [8]byte
	for {
		_ = p.client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := p.client.ReadFrom(buffer[:]); err != nil {
			return p.client.SetReadDeadline(time.Time{})
		}
	}
}

func (p *Probe) echo() {
	defer p.wg.Done()
	buffer := make([]byte, 64)
	for {
		n, from, err := p.server.ReadFrom(buffer)
		if err != nil {
			return // closed by Stop
		}
		_, _ = p.server.WriteTo(buffer[:n], from) // a lost answer is what is measured
	}
}

func (p *Probe) send(ctx context.Context, target *net.UDPAddr, interval time.Duration) {
	defer p.wg.Done()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var buffer [8]byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.mu.Lock()
			p.sent++
			binary.BigEndian.PutUint64(buffer[:], uint64(p.sent))
			p.mu.Unlock()
			_, _ = p.client.WriteTo(buffer[:], target) // counts as lost
		}
	}
}

func (p *Probe) receive() {
	defer p.wg.Done()
	buffer := make([]byte, 64)
	seen := make(map[uint64]bool)
	for {
		n, _, err := p.client.ReadFrom(buffer)
		if err != nil {
			return // closed by Stop
		}
		number := binary.BigEndian.Uint64(buffer[:8])
		if n != 8 || number == 0 || seen[number] {
			continue
		}
		seen[number] = true
		now := time.Now()
		p.mu.Lock()
		p.received++
		p.gap = max(p.gap, now.Sub(p.last))
		p.last = now
		p.mu.Unlock()
	}
}

// Stop ends the probe; answers still on the way have 200 ms.
func (p *Probe) Stop() Result {
	p.cancel()
	deadline := time.NewTimer(200 * time.Millisecond)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for waiting := true; waiting; {
		p.mu.Lock()
		waiting = p.received < p.sent
		p.mu.Unlock()
		select {
		case <-deadline.C:
			waiting = false
		case <-poll.C:
		}
	}
	_ = p.client.Close()
	_ = p.server.Close()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Result{Sent: p.sent, Lost: p.sent - p.received, LongestGap: max(p.gap, time.Since(p.last)-200*time.Millisecond)}
}
