package objdb

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Receiver is told the contents of a prefix and every change of it, from one goroutine. It must not modify the values
// and should return soon: while it works, changes are merged.
type Receiver interface {
	// Reset replaces everything: kvs are all keys of the prefix, sorted, as of the revision. It comes first, and
	// again whenever the change log broke off, so that what is missing from kvs was deleted meanwhile.
	Reset(kvs []KV, revision int64)
	// Apply adds what changed since the last call; batch.Events may be empty.
	Apply(batch Batch)
}

// Follow keeps the receiver up to date with the keys below the prefix until the context ends, and returns the
// context's error then. While the store is away it tries again and again, at most two seconds apart.
func Follow(ctx context.Context, store Store, prefix string, r Receiver) error {
	wait := newBackoff(2 * time.Second)
	for {
		kvs, revision, err := store.List(ctx, prefix)
		if err == nil {
			wait.Reset()
			r.Reset(kvs, revision)
			err = deliver(ctx, store, prefix, revision, r)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, ErrCompacted) {
			pause(ctx, wait.NextBackOff())
		}
	}
}

// deliver watches until the watch fails and says why it did.
func deliver(ctx context.Context, store Store, prefix string, after int64, r Receiver) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := store.Watch(ctx, prefix, after)
	for batch := range w.Batches() {
		r.Apply(batch)
	}
	return w.Err()
}

func newBackoff(most time.Duration) *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2, MaxInterval: most,
	}
	b.Reset()
	return b
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
