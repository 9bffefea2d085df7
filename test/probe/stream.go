package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// StreamResult is what became of a stream.
type StreamResult struct {
	Bytes      int
	LongestGap time.Duration // without a byte
	// Err is why the connection ended by itself, or that nothing came through it any more; nil: it lived to the end.
	Err error
}

func (r StreamResult) String() string {
	if r.Err != nil {
		return fmt.Sprintf("broken after %d bytes: %v", r.Bytes, r.Err)
	}
	return fmt.Sprintf("%d bytes, longest gap %.1f ms", r.Bytes, float64(r.LongestGap.Microseconds())/1000)
}

// Stream is a running TCP connection that carries a little all the time: it shows whether connections live.
type Stream struct {
	near, far net.Conn
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu    sync.Mutex
	got   int
	last  time.Time
	gap   time.Duration
	ended error
}

const (
	streamPort = 7008
	streamIdle = 15 * time.Second // after which a silent connection is dead: TCP tries again within this
)

// StartStream connects from one namespace to addr in the other, where it also listens, and sends a kilobyte every
// interval.
func StartStream(ctx context.Context, from, to Inside, addr netip.Addr, interval time.Duration) (*Stream, error) {
	target := netip.AddrPortFrom(addr, streamPort).String()
	var listener net.Listener
	if err := to(func() (err error) { listener, err = net.Listen("tcp", target); return err }); err != nil {
		return nil, fmt.Errorf("listening for a stream on %s: %w", target, err)
	}
	defer listener.Close() //nolint:errcheck // nothing else is accepted
	s := &Stream{last: time.Now()}
	if err := from(func() (err error) { s.near, err = net.DialTimeout("tcp", target, 10*time.Second); return err }); err != nil {
		return nil, fmt.Errorf("connecting a stream to %s: %w", target, err)
	}
	far, err := listener.Accept()
	if err != nil {
		_ = s.near.Close()
		return nil, fmt.Errorf("accepting a stream on %s: %w", target, err)
	}
	s.far = far
	ctx, s.cancel = context.WithCancel(ctx)
	s.wg.Add(2)
	go s.send(ctx, interval)
	go s.receive()
	return s, nil
}

func (s *Stream) send(ctx context.Context, interval time.Duration) {
	defer s.wg.Done()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	buffer := make([]byte, 1024)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := s.near.Write(buffer); err != nil {
				s.end(err)
				return
			}
		}
	}
}

func (s *Stream) receive() {
	defer s.wg.Done()
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.far.Read(buffer)
		if err != nil {
			s.end(err)
			return
		}
		s.mu.Lock()
		now := time.Now()
		s.got, s.gap, s.last = s.got+n, max(s.gap, now.Sub(s.last)), now
		s.mu.Unlock()
	}
}

func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = err
	}
}

// Stop waits until something that was sent after now arrived, or nothing did for too long, and ends the stream.
func (s *Stream) Stop() StreamResult {
	result := s.wait()
	s.cancel()
	_ = s.near.Close()
	_ = s.far.Close()
	s.wg.Wait()
	return result
}

func (s *Stream) wait() StreamResult {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	begin := time.Now()
	for {
		s.mu.Lock()
		result, last := StreamResult{s.got, s.gap, s.ended}, s.last
		s.mu.Unlock()
		if result.Err != nil || last.After(begin.Add(50*time.Millisecond)) {
			return result
		}
		if time.Since(begin) > streamIdle {
			result.Err = errors.New("nothing comes through any more")
			return result
		}
		<-poll.C
	}
}
