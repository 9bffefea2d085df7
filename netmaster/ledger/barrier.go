package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// barrierKey is compared by every transaction and written by none of them. Writing it makes void every transaction that
// was planned before and has not been done yet, wherever it is on its way: that is how the outcome of one whose answer
// got lost becomes final.
const barrierKey = "meta/barrier"

// barrier is the record at barrierKey; only its revision counts.
type barrier struct {
	state.Extra `json:"-"`
}

// StoreKey implements state.Record.
func (*barrier) StoreKey() string { return barrierKey }

// raiseBarrier writes the barrier. It needs no compare: who wrote it without need only makes others plan again.
func (l *Ledger) raiseBarrier() (int64, error) {
	value, err := state.Encode(&barrier{})
	if err != nil {
		return 0, err
	}
	return l.store.Commit(l.ctx, objdb.Txn{Then: []objdb.Op{objdb.Put(barrierKey, value)}})
}

// resolve finds out, as soon as the store can be asked, whether a transaction of unknown outcome was done. It gives the
// revision if it was, else ErrUnavailable (not done, and never will be) or ErrConflict (the record has changed since).
func (l *Ledger) resolve(txn objdb.Txn, cause error) (int64, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, time.Second
	for {
		revision, err := l.barriers.revision(l.ctx)
		if err == nil {
			revision, err = l.outcome(txn, revision)
		}
		switch {
		case err == nil || errors.Is(err, objdb.ErrConflict):
			return revision, err
		case errors.Is(err, errNotDone):
			return 0, fmt.Errorf("nothing was written: %w", cause)
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-l.ctx.Done():
			return 0, cause
		}
	}
}

var errNotDone = errors.New("not done")

// outcome reads whether a transaction that cannot be done any more was done, and gives its revision, or after it that
// of the barrier, by which it was. errNotDone: it was not; ErrConflict: something else was.
func (l *Ledger) outcome(txn objdb.Txn, barrier int64) (int64, error) {
	probe := txn.Then[0]
	before := int64(0)
	for _, compare := range txn.If {
		if compare.Key == probe.Key {
			before = compare.Revision
		}
	}
	now, err := l.store.Get(l.ctx, probe.Key)
	absent := errors.Is(err, objdb.ErrNotFound)
	switch {
	case err != nil && !absent:
		return 0, fmt.Errorf("reading what became of a write: %w", err)
	case probe.Delete && absent:
		return barrier, nil
	case absent && before == 0, !absent && now.Revision == before:
		return 0, errNotDone
	case !probe.Delete && !absent && bytes.Equal(now.Value, probe.Value):
		return now.Revision, nil
	}
	return 0, fmt.Errorf("record %q changed: %w", probe.Key, objdb.ErrConflict)
}
