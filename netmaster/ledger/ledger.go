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
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/objdb"
)

// ErrSetBack says that the store is at an older revision than it was: somebody restored a backup under our feet. A
// ledger cannot follow that; a new one can.
var ErrSetBack = errors.New("the store was set back to an older state")

// ErrNotLeader says that this netmaster does not lead, so it must not write.
var ErrNotLeader = errors.New("not the leader")

// Fence gives the compare on the leadership record that holds as long as this process leads, false while it does not.
// It must not block. The method of objdb.Election is one.
type Fence func() (objdb.Compare, bool)

// Ledger follows one store. All methods may be called at once.
type Ledger struct {
	store objdb.Store
	fence Fence
	log   *logrus.Entry
	fresh *freshness // of the store's revision
	// barriers are raised for flights of unknown outcome; flights that wait share one.
	barriers *freshness
	top      atomic.Int64  // the newest revision that the store is known to have had
	setBack  chan struct{} // closed when it was found to have an older one
	once     sync.Once     // to close it

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	takeOff chan *flight // to an idle carrier
	idle    atomic.Int32 // carriers

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
		subscribers: make(map[int]func(*Model, Change)), setBack: make(chan struct{}), takeOff: make(chan *flight),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.fresh = newFreshness(l.ask)
	l.barriers = newFreshness(l.raiseBarrier)
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
	l.mu.Lock()
	l.cancel() // under the lock, after which no flight begins
	l.mu.Unlock()
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

// ask reads the store's revision.
func (l *Ledger) ask() (int64, error) {
	ctx, cancel := context.WithTimeout(l.ctx, answerTime)
	defer cancel()
	had := l.top.Load()
	revision, err := l.store.Revision(ctx)
	switch {
	case err != nil:
		return 0, err
	case revision < had:
		l.once.Do(func() { close(l.setBack) })
		return 0, fmt.Errorf("revision %d after %d: %w: %w", revision, had, objdb.ErrUnavailable, ErrSetBack)
	}
	l.saw(revision)
	return revision, nil
}

// saw notes a revision that a transaction of the store had.
func (l *Ledger) saw(revision int64) {
	for had := l.top.Load(); revision > had && !l.top.CompareAndSwap(had, revision); had = l.top.Load() {
	}
}

// SetBack is closed when the ledger came to ErrSetBack, from which it does not recover.
func (l *Ledger) SetBack() <-chan struct{} { return l.setBack }

// StoreID is the id of the store that the revisions belong to.
func (l *Ledger) StoreID() string { return l.store.ID() }

// waitFor waits until the model has the revision.
func (l *Ledger) waitFor(ctx context.Context, revision int64) error {
	l.mu.RLock()
	there := l.model.revision >= revision
	l.mu.RUnlock()
	if there {
		return nil
	}
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
	arrivals := arriveAll(kvs)
	there := make(map[string]bool, len(kvs))
	for _, kv := range kvs {
		there[kv.Key] = true
	}
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision > l.model.revision {
		for key := range l.model.rows {
			if !there[key] {
				arrivals = append(arrivals, arrival{key: key, revision: revision})
			}
		}
		for key := range l.model.problems {
			if !there[key] {
				delete(l.model.problems, key)
			}
		}
		l.apply(revision, arrivals)
		l.applyLanded()
	}
	if r.first != nil {
		close(r.first)
		r.first = nil
	}
}

// Apply implements objdb.Receiver. Much of what arrives is the ledger's own and in the model already.
func (r *receiver) Apply(batch objdb.Batch) {
	l := r.ledger
	l.mu.RLock()
	known := l.model.revision
	if batch.Revision <= known {
		l.mu.RUnlock()
		return
	}
	writers := make([]*flight, len(batch.Events))
	for i, event := range batch.Events {
		writers[i] = l.flights[event.Key]
	}
	l.mu.RUnlock()
	arrivals := make([]arrival, 0, len(batch.Events))
	for i, event := range batch.Events {
		switch {
		case event.Revision <= known:
		case writers[i].wrote(event):
			arrivals = append(arrivals, arrival{
				key: event.Key, revision: event.Revision, record: writers[i].writes[event.Key].next, request: writers[i].request,
			})
		default:
			a := arrive(event)
			a.request = writers[i].requestOf()
			arrivals = append(arrivals, a)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apply(batch.Revision, arrivals)
	l.applyLanded()
}

// apply takes everything up to a revision into the model and tells all who wait for it; the lock is held. What the
// model has already is left out: an older form must not come back.
func (l *Ledger) apply(revision int64, arrivals []arrival) {
	if revision <= l.model.revision {
		return
	}
	change := Change{Revision: revision}
	for _, a := range arrivals {
		if a.revision <= l.model.revision {
			continue
		}
		if delta := l.model.set(a); delta != nil {
			change.Records = append(change.Records, *delta)
			if a.request != "" && !slices.Contains(change.Requests, a.request) {
				change.Requests = append(change.Requests, a.request)
			}
		}
		switch log := l.log.WithField("key", a.key); {
		case a.problem == nil:
		case a.record == nil:
			log.Warn("left out a record of the store: " + a.problem.Error())
		default:
			log.Warn("a record of the store is not as it should be: " + a.problem.Error())
		}
	}
	l.model.revision = revision
	l.publish(change) // first, so that who has an answer meets nobody who does not know it yet
	l.releaseLanded()
	l.wakeWaiters()
}

// applyLanded takes own transactions into the model without waiting to be told of them, as far as they are the next
// the model lacks; the lock is held.
func (l *Ledger) applyLanded() {
	for {
		i := slices.IndexFunc(l.landed, func(f *flight) bool {
			return f.arrivals != nil && f.revision == l.model.revision+1
		})
		if i < 0 {
			return
		}
		l.apply(l.landed[i].revision, l.landed[i].arrivals)
	}
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
