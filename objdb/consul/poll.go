package consul

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

// pollTime is how long a blocking query waits at most, and so about how long an agent can be silently dead before
// another one is asked.
const pollTime = 5 * time.Second

// poller follows the change records for all watches of a store.
type poller struct {
	store *Store

	mu      sync.Mutex
	latest  *view
	changed chan struct{} // closed and replaced with every view
}

func newPoller(s *Store, first look, begin int64) *poller {
	return &poller{store: s, latest: newView(readTrail(first.kvs), begin), changed: make(chan struct{})}
}

// look is a prefix as it was at Consul's index for it.
type look struct {
	kvs   []objdb.KV
	index uint64
}

// list reads a prefix, linearizable, waiting until its index is past the given one or pollTime is over.
func (s *Store) list(ctx context.Context, prefix string, past uint64) (look, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime+pollTime/2)
	defer cancel()
	var seen look
	err := s.agents.read(ctx, func(ctx context.Context, client *api.Client) error {
		options := api.QueryOptions{RequireConsistent: true, WaitIndex: past, WaitTime: pollTime}
		found, meta, err := client.KV().List(s.root+prefix, options.WithContext(ctx))
		if err != nil {
			return err //nolint:wrapcheck // wrapped by read
		}
		seen = look{kvs: make([]objdb.KV, 0, len(found)), index: meta.LastIndex}
		for _, one := range found {
			seen.kvs = append(seen.kvs, s.kv(one))
		}
		return nil
	})
	if err != nil {
		return look{}, fmt.Errorf("listing %q: %w", prefix, err)
	}
	return seen, nil
}

// run follows until the context ends. While Consul is away it tries again and again.
func (p *poller) run(ctx context.Context) {
	wait := newBackoff()
	past := uint64(0)
	for ctx.Err() == nil {
		seen, err := p.store.list(ctx, nowPrefix, past)
		if err == nil {
			err = p.take(ctx, seen)
		}
		if err != nil {
			sleep(ctx, wait.NextBackOff())
			continue
		}
		wait.Reset()
		past = seen.index
	}
}

// take makes the next view of a look. If the records of some commits were overwritten already, the long ring has them.
func (p *poller) take(ctx context.Context, seen look) error {
	v, _ := p.view()
	t := readTrail(seen.kvs)
	if v.misses(t) {
		long, err := p.store.list(ctx, logPrefix, 0)
		if err != nil {
			return err
		}
		t = t.completed(readTrail(long.kvs))
	}
	next := v.next(t, int64(seen.index)) //nolint:gosec // a Raft index
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = next
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// view returns what is known now, and what is closed when more is.
func (p *poller) view() (*view, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest, p.changed
}

// await returns a view that knows everything up to the revision, or what errors the context has.
func (p *poller) await(ctx context.Context, revision int64) (*view, error) {
	v, changed := p.view()
	for begin := v.epoch; v.index < revision && v.epoch == begin; v, changed = p.view() {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return v, nil
}

func newBackoff() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2, MaxInterval: 250 * time.Millisecond,
	}
	b.Reset()
	return b
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
