// Package endpointlock lets one call at a time work on an endpoint: the agent and the drivers each keep a set of their
// own. Pure memory.
package endpointlock

import (
	"context"
	"fmt"
	"sync"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Set holds a lock per endpoint, made when wanted and gone when unused. The zero value is ready. Safe for concurrent use.
type Set struct {
	mu  sync.Mutex
	all map[protocol.EndpointID]*lock
}

type lock struct {
	held  chan struct{} // holds one element while the lock is held
	users int           // that hold it or wait for it
}

// Acquire waits for an endpoint's lock and answers its release, to be called once, or the context's error, wrapped, if
// that ends first. Who holds the lock must not acquire it again.
func (s *Set) Acquire(ctx context.Context, id protocol.EndpointID) (release func(), err error) {
	s.mu.Lock()
	one := s.all[id]
	if one == nil {
		if s.all == nil {
			s.all = make(map[protocol.EndpointID]*lock)
		}
		one = &lock{held: make(chan struct{}, 1)}
		s.all[id] = one
	}
	one.users++
	s.mu.Unlock()

	select {
	case one.held <- struct{}{}:
		return func() {
			<-one.held
			s.leave(id, one)
		}, nil
	case <-ctx.Done():
		s.leave(id, one)
		return nil, fmt.Errorf("waiting for another call about endpoint %s: %w", id, ctx.Err())
	}
}

func (s *Set) leave(id protocol.EndpointID, one *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.all, id)
	}
}
