package consul

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

const (
	minTTL = 10 * time.Second // of a session of Consul
	maxTTL = 24 * time.Hour
)

// lease implements objdb.Lease with a session. Its keys are held by the session, which deletes them when it ends.
type lease struct {
	store   *Store
	session string
	ttl     time.Duration
	stop    context.CancelFunc // ends renewal
	done    chan struct{}      // closed when it was lost

	mu     sync.Mutex
	closed bool
}

// Grant implements objdb.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (objdb.Lease, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	ttl = min(max(ttl, minTTL), maxTTL)
	request := map[string]any{
		"Name": "contiv", "TTL": ttl.String(), "Behavior": api.SessionBehaviorDelete,
		"LockDelay": "0s",       // the client would leave 0 out, and Consul take 15 s
		"Checks":    []string{}, // it lives as long as it is renewed, whatever becomes of the agent
	}
	var answer struct{ ID string }
	err := s.agents.write(ctx, func(ctx context.Context, client *api.Client) error {
		_, err := client.Raw().Write("/v1/session/create", request, &answer, (&api.WriteOptions{}).WithContext(ctx))
		return err //nolint:wrapcheck // wrapped by write
	})
	if err != nil {
		return nil, fmt.Errorf("granting a lease: %w", err)
	}
	l := &lease{store: s, session: answer.ID, ttl: ttl, done: make(chan struct{})}
	renewing, stop := context.WithCancel(s.stopped)
	l.stop = stop
	s.running.Go(func() { l.renew(renewing) })
	return l, nil
}

// renew renews the lease until the context ends or Consul knows it no more. While Consul is away the lease does not
// end: its servers count anew when they come back.
func (l *lease) renew(ctx context.Context) {
	every := time.NewTicker(l.ttl / 4)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		attempt, cancel := context.WithTimeout(ctx, l.ttl/4)
		lost := false
		_ = l.store.agents.read(attempt, func(ctx context.Context, client *api.Client) error {
			found, _, err := client.Session().Renew(l.session, (&api.WriteOptions{}).WithContext(ctx))
			lost = err == nil && found == nil
			return err //nolint:wrapcheck // not shown
		}) // tried again at the next tick
		cancel()
		if lost && ctx.Err() == nil {
			close(l.done)
			return
		}
	}
}

// over tells whether the lease ended as far as this process knows.
func (l *lease) over() bool {
	select {
	case <-l.done:
		return true
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
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
	err := l.store.agents.read(ctx, func(ctx context.Context, client *api.Client) error {
		_, err := client.Session().Destroy(l.session, (&api.WriteOptions{}).WithContext(ctx))
		return err //nolint:wrapcheck // wrapped by read
	})
	if err != nil {
		return fmt.Errorf("closing a lease: %w", err)
	}
	l.closed = true
	return nil
}
