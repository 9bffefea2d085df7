package ledger

import (
	"context"
	"fmt"
	"sync"

	"github.com/contiv/contiv/objdb"
)

// freshness asks the store for its revision on behalf of many readers. A reader is served by a question that was asked
// after the reader came: while one is under way, all that come share the next.
type freshness struct {
	ask func() (int64, error)

	mu      sync.Mutex
	running *question
	next    *question
}

type question struct {
	done     chan struct{}
	revision int64
	err      error
}

func newFreshness(ask func() (int64, error)) *freshness { return &freshness{ask: ask} }

// revision returns a revision that the store had at some moment after the call began.
func (f *freshness) revision(ctx context.Context) (int64, error) {
	q := f.join()
	select {
	case <-q.done:
		return q.revision, q.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", objdb.ErrUnavailable, ctx.Err())
	}
}

func (f *freshness) join() *question {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = &question{done: make(chan struct{})}
	}
	q := f.next
	if f.running == nil {
		f.start()
	}
	return q
}

// start asks the next question, if there is one; the lock is held.
func (f *freshness) start() {
	q := f.next
	f.running, f.next = q, nil
	if q == nil {
		return
	}
	go func() {
		q.revision, q.err = f.ask()
		close(q.done)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.start()
	}()
}
