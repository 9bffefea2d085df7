package ovs

import (
	"context"
	"fmt"
	"sync"

	"github.com/contiv/contiv/ofnet/protocol"
)

// endpointLocks lets one call at a time work on an endpoint.
type endpointLocks struct {
	mu   sync.Mutex
	held map[protocol.EndpointID]*endpointLock
}

type endpointLock struct {
	token chan struct{} // holds one value while the lock is free
	users int           // holding or waiting; at zero the lock is dropped
}

// lock waits for the endpoint until the context ends. unlock must be called if there is no error.
func (l *endpointLocks) lock(ctx context.Context, id protocol.EndpointID) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[protocol.EndpointID]*endpointLock{}
	}
	lock := l.held[id]
	if lock == nil {
		lock = &endpointLock{token: make(chan struct{}, 1)}
		lock.token <- struct{}{}
		l.held[id] = lock
	}
	lock.users++
	l.mu.Unlock()

	select {
	case <-lock.token:
		return func() {
			lock.token <- struct{}{}
			l.leave(id, lock)
		}, nil
	case <-ctx.Done():
		l.leave(id, lock)
		return nil, fmt.Errorf("waiting for another call about endpoint %s: %w", id, ctx.Err())
	}
}

func (l *endpointLocks) leave(id protocol.EndpointID, lock *endpointLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lock.users--; lock.users == 0 {
		delete(l.held, id)
	}
}
