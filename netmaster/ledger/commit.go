package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
	"github.com/contiv/contiv/state"
)

// Limits of Commit.
const (
	// commitTimeout bounds a Commit whose context has no deadline.
	commitTimeout = 15 * time.Second
	// maxConflicts is how often a plan is made again because the store had changed. Only a change of leaders makes
	// conflicts at all, so that many mean that something else writes to the store.
	maxConflicts = 8
)

// flight is a transaction under way, from its planning until it has failed or the model contains it.
type flight struct {
	request  string // id of the request behind it, empty if there is none
	fence    objdb.Compare
	compares map[string]int64
	writes   map[string]write
	order    []string
	encoded  atomic.Pointer[objdb.Txn] // set before it is sent
	arrivals []arrival                 // what the model gets, set when the exact revision is known

	done     chan struct{} // closed at the end; then the rest may be read
	revision int64
	err      error
}

// forms are the records that a key may have while the flight is under way.
func (f *flight) forms(key string) []state.Record {
	var out []state.Record
	if w := f.writes[key]; w.old != nil {
		out = append(out, w.old)
	}
	if w := f.writes[key]; w.next != nil {
		out = append(out, w.next)
	}
	return out
}

// Commit writes what the plan says in one transaction and returns its revision when the model contains it. A plan that
// writes nothing gives the revision of the model.
//
// The plan's own error is returned as it is, and nothing is written. Other errors, to be tested with errors.Is:
// ErrNotLeader; objdb.ErrTooLarge; ErrUnreadable; objdb.ErrUnavailable, after which the transaction may or may not have
// been done, unless the message says that nothing was written.
func (l *Ledger) Commit(ctx context.Context, plan func(*Tx) error) (int64, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, commitTimeout)
		defer cancel()
	}
	for conflicts := 0; ; {
		f, revision, err := l.plan(ctx, plan)
		if err != nil || f == nil {
			return revision, err
		}
		revision, err = l.await(ctx, f)
		if !errors.Is(err, objdb.ErrConflict) {
			return revision, err
		}
		if conflicts++; conflicts > maxConflicts {
			return 0, fmt.Errorf("gave up after %d attempts: %w: %w", conflicts, objdb.ErrUnavailable, err)
		}
		if err := l.catchUp(ctx); err != nil {
			return 0, err
		}
	}
}

// catchUp waits until the model has everything that the store has now.
func (l *Ledger) catchUp(ctx context.Context) error {
	revision, err := l.fresh.revision(ctx)
	if err != nil {
		return fmt.Errorf("asking the store for its revision: %w", err)
	}
	return l.waitFor(ctx, revision)
}

// plan runs the plan until it rests on nothing that is under way, and starts its flight. No flight: the plan failed,
// or had nothing to write.
func (l *Ledger) plan(ctx context.Context, plan func(*Tx) error) (*flight, int64, error) {
	for {
		fence, leading := l.fence()
		if !leading {
			return nil, 0, ErrNotLeader
		}
		f, waits, revision, err := l.planOnce(requestid.Of(ctx), fence, plan)
		if errors.Is(err, errBehind) {
			if err := l.waitFor(ctx, fence.Revision); err != nil {
				return nil, 0, err
			}
			continue
		}
		if len(waits) == 0 {
			return f, revision, err
		}
		for other := range waits {
			if err := l.awaitEnd(ctx, other); err != nil {
				return nil, 0, fmt.Errorf("nothing was written: waiting for another change of the same: %w", err)
			}
		}
	}
}

// errBehind says that the model lacks what earlier leaders wrote, all of it before this leadership began.
var errBehind = errors.New("the model is behind")

func (l *Ledger) planOnce(request string, fence objdb.Compare, plan func(*Tx) error) (*flight, map[*flight]bool, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.model.revision < fence.Revision {
		return nil, nil, 0, errBehind
	}
	tx := newTx(l, fence.Revision)
	err := plan(tx)
	if len(tx.waits) > 0 {
		return nil, tx.waits, 0, nil
	}
	if tx.err != nil {
		err = tx.err
	}
	if err != nil || len(tx.writes) == 0 {
		return nil, nil, l.model.revision, err
	}
	if l.ctx.Err() != nil {
		return nil, nil, 0, fmt.Errorf("nothing was written: %w: netmaster is stopping", objdb.ErrUnavailable)
	}
	return l.begin(tx, request, fence), nil, 0, nil
}

// begin claims what the transaction writes and starts it.
func (l *Ledger) begin(tx *Tx, request string, fence objdb.Compare) *flight {
	f := &flight{request: request, fence: fence, compares: tx.compares, writes: tx.writes, order: tx.order, done: make(chan struct{})}
	for key := range f.writes {
		l.flights[key] = f
		for _, record := range f.forms(key) {
			l.claim(key, record, f)
		}
	}
	select {
	case l.takeOff <- f:
	default:
		l.running.Add(1)
		go l.carry(f)
	}
	return f
}

// idleCarriers is how many goroutines wait for flights at most.
const idleCarriers = 16

// carry does a flight, and others that come soon enough: a goroutine that has grown its stack is worth keeping.
func (l *Ledger) carry(f *flight) {
	defer l.running.Done()
	for {
		l.fly(f)
		if l.idle.Add(1) > idleCarriers {
			l.idle.Add(-1)
			return
		}
		select {
		case f = <-l.takeOff:
			l.idle.Add(-1)
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *Ledger) claim(key string, record state.Record, f *flight) {
	for _, in := range indexesOf(record) {
		if l.byIndex[in] == nil {
			l.byIndex[in] = make(map[string]*flight)
		}
		l.byIndex[in][key] = f
	}
	if a, ok := record.(*state.Allocation); ok {
		l.model.pool(a.Pool).begin(key, a, f)
	}
}

// end gives up the claims of a flight that failed or that the model contains; the lock is held.
func (l *Ledger) end(f *flight) {
	for key := range f.writes {
		delete(l.flights, key)
		for _, record := range f.forms(key) {
			l.unclaim(key, record)
		}
	}
	close(f.done)
}

func (l *Ledger) unclaim(key string, record state.Record) {
	for _, in := range indexesOf(record) {
		delete(l.byIndex[in], key)
		if len(l.byIndex[in]) == 0 {
			delete(l.byIndex, in)
		}
	}
	if a, ok := record.(*state.Allocation); ok {
		l.model.pool(a.Pool).end(key, a, l.model.rows[key] != nil)
		l.model.tidyPool(a.Pool)
	}
}

// fly writes the transaction and finds out what became of it.
func (l *Ledger) fly(f *flight) {
	txn, err := f.encode()
	if err == nil {
		f.encoded.Store(&txn)
		f.revision, err = l.store.Commit(l.ctx, txn)
		switch {
		case err == nil:
			l.saw(f.revision)
			f.arrivals = f.asArrivals()
		case errors.Is(err, objdb.ErrTooLarge):
			err = fmt.Errorf("nothing was written: %w", err)
		case !errors.Is(err, objdb.ErrConflict):
			f.revision, err = l.resolve(txn, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.err = err
	if err == nil && f.revision > l.model.revision {
		l.landed = append(l.landed, f)
		l.applyLanded()
		return
	}
	l.end(f)
}

// wrote tells whether the flight writes just what the event tells of, so that it need not be read again. A nil flight
// writes nothing.
func (f *flight) wrote(event objdb.Event) bool {
	if f == nil || event.Deleted {
		return false
	}
	txn := f.encoded.Load()
	return txn != nil && slices.ContainsFunc(txn.Then, func(op objdb.Op) bool {
		return op.Key == event.Key && !op.Delete && bytes.Equal(op.Value, event.Value)
	})
}

// requestOf is the id of the request behind an event of a key that the flight writes. A nil flight has none. No other
// change of the key can come while the flight is under way, unless somebody writes past the leader.
func (f *flight) requestOf() string {
	if f == nil {
		return ""
	}
	return f.request
}

// asArrivals is what a watch would tell of the flight, with the records as they were put instead of read again.
func (f *flight) asArrivals() []arrival {
	out := make([]arrival, 0, len(f.order))
	for _, key := range f.order {
		out = append(out, arrival{key: key, revision: f.revision, record: f.writes[key].next, request: f.request})
	}
	return out
}

func (f *flight) encode() (objdb.Txn, error) {
	txn := objdb.Txn{If: []objdb.Compare{f.fence}}
	for key, revision := range f.compares {
		txn.If = append(txn.If, objdb.Compare{Key: key, Revision: revision})
	}
	for _, key := range f.order {
		w := f.writes[key]
		if w.next == nil {
			txn.Then = append(txn.Then, objdb.Delete(key))
			continue
		}
		value, err := state.Encode(w.next)
		if err != nil {
			return objdb.Txn{}, err
		}
		txn.Then = append(txn.Then, objdb.Put(key, value))
	}
	return txn, nil
}

// releaseLanded ends the flights that the model now contains; the lock is held.
func (l *Ledger) releaseLanded() {
	left := l.landed[:0]
	for _, f := range l.landed {
		if f.revision <= l.model.revision {
			l.end(f)
			continue
		}
		left = append(left, f)
	}
	clear(l.landed[len(left):])
	l.landed = left
}

// await waits for the end of a flight and gives its outcome.
func (l *Ledger) await(ctx context.Context, f *flight) (int64, error) {
	if err := l.awaitEnd(ctx, f); err != nil {
		return 0, fmt.Errorf("waiting for the store to write, which may still happen: %w", err)
	}
	return f.revision, f.err
}

func (l *Ledger) awaitEnd(ctx context.Context, f *flight) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", objdb.ErrUnavailable, ctx.Err())
	case <-l.ctx.Done():
		return fmt.Errorf("%w: netmaster is stopping", objdb.ErrUnavailable)
	}
}
