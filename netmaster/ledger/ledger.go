// Package ledger is netmaster's model of the cluster store and the only way to write to it.
//
// Reading: View runs a function on a consistent Model that is not older than any write answered before, by any
// netmaster. Subscribers get every change in order.
//
// Writing: Commit runs a plan, a pure function on the model that says what to put and delete, and writes the outcome in
// one transaction. Plans run one after the other and see what earlier ones are still writing, so that transactions can
// be under way together without meeting; see Tx. Only the leader writes: every transaction compares the leadership
// record.
//
// Lock order: Ledger.mu is the only lock of the package that is held while other code (plans, views, subscribers) runs;
// such code must not call the Ledger.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/objdb"
)

// ErrNotLeader: this netmaster does not lead, so it must not write.
var ErrNotLeader = errors.New("not the leader")

// Fence gives the compare on the leadership record that holds as long as this process leads, false while it does not.
// It must not block. The method of objdb.Election is one.
type Fence func() (objdb.Compare, bool)

// Ledger follows one store. All methods may be called at once.
type Ledger struct {
	store objdb.Store
	fence Fence
	log   *logrus.Entry
	fresh *freshness

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu          sync.RWMutex
	model       *Model
	flights     map[string]*flight // by key being written
	byIndex     map[Index]map[string]*flight
	landed      []*flight // committed, not yet in the model
	waiting     []waiter
	subscribers map[int]func(*Model, Change)
	nextID      int
}

type waiter struct {
	revision int64
	done     chan struct{}
}

// Open reads the store and begins to follow it; it returns when the model is complete. A nil fence makes a ledger that
// cannot write. The store stays the caller's.
func Open(ctx context.Context, store objdb.Store, fence Fence, log *logrus.Entry) (*Ledger, error) {
	if fence == nil {
		fence = func() (objdb.Compare, bool) { return objdb.Compare{}, false }
	}
	l := &Ledger{
		store: store, fence: fence, log: log, model: newModel(),
		flights: make(map[string]*flight), byIndex: make(map[Index]map[string]*flight),
		subscribers: make(map[int]func(*Model, Change)),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.fresh = newFreshness(func() (int64, error) { return store.Revision(l.ctx) })
	complete := make(chan struct{})
	l.running.Add(1)
	go func() {
		defer l.running.Done()
		_ = objdb.Follow(l.ctx, store, "", &receiver{ledger: l, first: complete}) // it ends with l.ctx only
	}()
	select {
	case <-complete:
		return l, nil
	case <-ctx.Done():
		l.Close()
		return nil, fmt.Errorf("reading the store: %w: %w", objdb.ErrUnavailable, ctx.Err())
	}
}

// Close stops following. Writes under way end by themselves in the store; their callers are answered with an error.
func (l *Ledger) Close() {
	l.cancel()
	l.running.Wait()
}

// View runs read on the model, at a revision that is not older than the store was when View began. It returns
// objdb.ErrUnavailable (wrapped) if the store cannot be asked. Changes wait for read: it should copy what it needs.
func (l *Ledger) View(ctx context.Context, read func(*Model)) error {
	revision, err := l.fresh.revision(ctx)
	if err != nil {
		return fmt.Errorf("asking the store for its revision: %w", err)
	}
	if err := l.waitFor(ctx, revision); err != nil {
		return err
	}
	l.ViewCached(read)
	return nil
}

// ViewCached runs read on the model as it is now, without asking the store.
func (l *Ledger) ViewCached(read func(*Model)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	read(l.model)
}

// StoreID is the id of the store that the revisions belong to.
func (l *Ledger) StoreID() string { return l.store.ID() }

// waitFor waits until the model has the revision.
func (l *Ledger) waitFor(ctx context.Context, revision int64) error {
	l.mu.Lock()
	if l.model.revision >= revision {
		l.mu.Unlock()
		return nil
	}
	w := waiter{revision, make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for revision %d of the store: %w: %w", revision, objdb.ErrUnavailable, ctx.Err())
	case <-l.ctx.Done():
		return fmt.Errorf("waiting for revision %d of the store: %w: netmaster is stopping", revision, objdb.ErrUnavailable)
	}
}

// receiver takes what objdb.Follow delivers.
type receiver struct {
	ledger *Ledger
	first  chan struct{} // closed by the first Reset
}

// Reset implements objdb.Receiver: the model becomes equal to a whole reading of the store, and the difference is
// delivered as a change.
func (r *receiver) Reset(kvs []objdb.KV, revision int64) {
	l := r.ledger
	events := make([]objdb.Event, 0, len(kvs))
	there := make(map[string]bool, len(kvs))
	for _, kv := range kvs {
		events = append(events, objdb.Event{KV: kv})
		there[kv.Key] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.model.rows {
		if !there[key] {
			events = append(events, objdb.Event{KV: objdb.KV{Key: key, Revision: revision}, Deleted: true})
		}
	}
	for key := range l.model.problems {
		if !there[key] {
			delete(l.model.problems, key)
		}
	}
	l.apply(objdb.Batch{Revision: revision, Events: events})
	if r.first != nil {
		close(r.first)
		r.first = nil
	}
}

// Apply implements objdb.Receiver.
func (r *receiver) Apply(batch objdb.Batch) {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.ledger.apply(batch)
}

// apply takes changes into the model and tells everybody who waits for them; the lock is held.
func (l *Ledger) apply(batch objdb.Batch) {
	change := Change{Revision: batch.Revision}
	for _, event := range batch.Events {
		if delta := l.model.set(event); delta != nil {
			change.Records = append(change.Records, *delta)
		}
		if problem, bad := l.model.problems[event.Key]; bad {
			l.log.WithField("key", event.Key).Warn("left out a record of the store: " + problem.Reason)
		}
	}
	l.model.revision = max(l.model.revision, batch.Revision)
	l.releaseLanded()
	l.wakeWaiters()
	l.publish(change)
}

func (l *Ledger) wakeWaiters() {
	left := l.waiting[:0]
	for _, w := range l.waiting {
		if w.revision <= l.model.revision {
			close(w.done)
			continue
		}
		left = append(left, w)
	}
	clear(l.waiting[len(left):])
	l.waiting = left
}
