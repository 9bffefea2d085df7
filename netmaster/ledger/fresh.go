package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/contiv/contiv/objdb"
)

const (
	// answerTime is how long the store may take for a question.
	answerTime = 2 * time.Second
	// awayPatience is how long a reader waits for a store that left the last question unanswered: long enough to notice
	// that it is back, short enough for a check of health.
	awayPatience = 500 * time.Millisecond
)

// freshness asks the store for its revision on behalf of many readers. A reader is served by a question that was asked
// after the reader came: while one is under way, all that come share the next.
type freshness struct {
	ask func() (int64, error)

	mu      sync.Mutex
	running *question
	next    *question
	away    bool // the last question that ended got no answer
}

type question struct {
	done     chan struct{}
	revision int64
	err      error
}

func newFreshness(ask func() (int64, error)) *freshness { return &freshness{ask: ask} }

// revision returns a revision that the store had at some moment after the call began.
func (f *freshness) revision(ctx context.Context) (int64, error) {
	q, away := f.join()
	if away {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, awayPatience)
		defer cancel()
	}
	select {
	case <-q.done:
		return q.revision, q.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", objdb.ErrUnavailable, ctx.Err())
	}
}

func (f *freshness) join() (q *question, away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = &question{done: make(chan struct{})}
	}
	q = f.next
	if f.running == nil {
		f.start()
	}
	return q, f.away
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
		f.mu.Lock()
		defer f.mu.Unlock()
		f.away = q.err != nil
		close(q.done)
		f.start()
	}()
}
