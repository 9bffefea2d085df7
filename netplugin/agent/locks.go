package agent

import (
	"context"
	"fmt"
	"sync"

	"github.com/contiv/contiv/ofnet/protocol"
)

// locks are mutexes by endpoint, made when wanted and gone when unused. The zero value is ready.
type locks struct {
	mu  sync.Mutex
	all map[protocol.EndpointID]*lock
}

type lock struct {
	held  chan struct{} // holds one element while the lock is held
	users int           // that hold it or wait for it
}

// acquire locks an endpoint and answers its unlock, or the context's error if that ends first.
func (l *locks) acquire(ctx context.Context, id protocol.EndpointID) (release func(), err error) {
	l.mu.Lock()
	one := l.all[id]
	if one == nil {
		if l.all == nil {
			l.all = make(map[protocol.EndpointID]*lock)
		}
		one = &lock{held: make(chan struct{}, 1)}
		l.all[id] = one
	}
	one.users++
	l.mu.Unlock()

	select {
	case one.held <- struct{}{}:
		return func() {
			<-one.held
			l.leave(id, one)
		}, nil
	case <-ctx.Done():
		l.leave(id, one)
		return nil, fmt.Errorf("waiting for another call about endpoint %s: %w", id, ctx.Err())
	}
}

func (l *locks) leave(id protocol.EndpointID, one *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one.users--
	if one.users == 0 {
		delete(l.all, id)
	}
}
