package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/contiv/contiv/objdb"
)

// lease implements objdb.Lease.
type lease struct {
	store *Store
	id    clientv3.LeaseID
	stop  context.CancelFunc // ends renewal
	done  chan struct{}

	mu     sync.Mutex
	closed bool
}

// Grant implements objdb.Store. The time to live is rounded up to whole seconds and to what etcd grants at least,
// one and a half of its election timeouts.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (objdb.Lease, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	granted, err := s.client.Grant(ctx, int64(max(1, math.Ceil(ttl.Seconds()))))
	if err != nil {
		return nil, fmt.Errorf("granting a lease: %w", classify(err))
	}
	renewing, stop := context.WithCancel(s.stopped)
	renewals, err := s.client.KeepAlive(renewing, granted.ID)
	if err != nil {
		stop()
		return nil, fmt.Errorf("renewing a lease: %w", classify(err))
	}
	l := &lease{store: s, id: granted.ID, stop: stop, done: make(chan struct{})}
	s.watches.Add(1)
	go func() {
		defer s.watches.Done()
		defer stop()
		for range renewals { // closed when the lease ran out or renewing ended
		}
		if renewing.Err() == nil {
			close(l.done)
		}
	}()
	return l, nil
}

// Done implements objdb.Lease.
func (l *lease) Done() <-chan struct{} { return l.done }

// Close implements objdb.Lease.
func (l *lease) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.stop()
	ctx, cancel := limit(ctx)
	defer cancel()
	if _, err := l.store.client.Revoke(ctx, l.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("closing a lease: %w", classify(err))
	}
	l.closed = true
	return nil
}
