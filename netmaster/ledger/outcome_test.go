package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// TestAway: once a store is known not to answer, a reader does not wait for long, and what comes after the store is back
// is served at once.
func TestAway(t *testing.T) {
	b := newBed(t)
	nothing := func(*Model) {}
	b.store.silent.Store(true)
	if err := b.View(t.Context(), nothing); !errors.Is(err, objdb.ErrUnavailable) {
		t.Error(err)
	}
	begin := time.Now()
	if err := b.View(t.Context(), nothing); !errors.Is(err, objdb.ErrUnavailable) {
		t.Error(err)
	}
	if took := time.Since(begin); took > answerTime/2 {
		t.Errorf("told after %v", took)
	}
	b.store.silent.Store(false)
	waitUntil(t, func() bool { return b.View(t.Context(), nothing) == nil })
}

// TestSetBack: a store that is older than it was is noticed, and not mistaken for the one that was read.
func TestSetBack(t *testing.T) {
	b := newBed(t)
	if _, err := b.Commit(t.Context(), func(tx *Tx) error { tx.Put(tenant("a")); return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.SetBack():
		t.Fatal("set back already")
	default:
	}
	b.store.lost.Store(1)
	if err := b.View(t.Context(), func(*Model) {}); !errors.Is(err, ErrSetBack) {
		t.Errorf("%v", err)
	}
	<-b.SetBack()
}

func TestUnknownOutcome(t *testing.T) {
	for _, done := range []bool{true, false} {
		t.Run(fmt.Sprint("done ", done), func(t *testing.T) {
			b := newBed(t)
			failures := 0
			b.store.onCommit(func(do func() (int64, error)) (int64, error) {
				if failures++; failures > 1 {
					return do()
				}
				if done {
					if _, err := do(); err != nil {
						return 0, err
					}
				}
				return 0, fmt.Errorf("test: %w", objdb.ErrUnavailable)
			})
			add := func(tx *Tx) error {
				if tx.Tenant("a") == nil {
					tx.Put(tenant("a"))
				}
				return nil
			}
			_, err := b.Commit(t.Context(), add)
			if done != (err == nil) || !done && !errors.Is(err, objdb.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			b.ViewCached(func(m *Model) {
				if (m.Tenant("a") != nil) != done {
					t.Errorf("tenant: %v", m.Tenant("a"))
				}
			})
			if _, err := b.Commit(t.Context(), add); err != nil {
				t.Error(err)
			}
			remove := func(tx *Tx) error { tx.Delete(tenant("a")); return nil }
			failures = 0
			if _, err = b.Commit(t.Context(), remove); done != (err == nil) {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// TestLateProposal: a transaction that was answered with "nothing was written" does not come to be afterwards, even if
// the store gets to it only then.
func TestLateProposal(t *testing.T) {
	b := newBed(t)
	b.put(tenant("there"))
	for _, tc := range []struct {
		name string
		plan func(tx *Tx) error
	}{
		{"create", func(tx *Tx) error { tx.Put(tenant("a")); return nil }},
		{"delete", func(tx *Tx) error { tx.Delete(tenant("there")); return nil }},
	} {
		var late func() (int64, error)
		b.store.onCommit(func(do func() (int64, error)) (int64, error) {
			if late != nil {
				return do()
			}
			late = do
			return 0, fmt.Errorf("test: %w", objdb.ErrUnavailable)
		})
		_, err := b.Commit(context.Background(), tc.plan)
		if !errors.Is(err, objdb.ErrUnavailable) || !strings.Contains(err.Error(), "nothing was written") {
			t.Errorf("%s: %v", tc.name, err)
		}
		if revision, err := late(); !errors.Is(err, objdb.ErrConflict) {
			t.Errorf("%s came late and was done in revision %d: %v", tc.name, revision, err)
		}
		if _, err := b.Commit(t.Context(), tc.plan); err != nil {
			t.Errorf("%s again: %v", tc.name, err)
		}
	}
}

// TestClaimOutlivesCaller: while nobody knows whether a write was done, its number is not given to anybody else.
func TestClaimOutlivesCaller(t *testing.T) {
	b := newBed(t)
	release := make(chan struct{})
	var first atomic.Bool
	b.store.onCommit(func(do func() (int64, error)) (int64, error) {
		if first.CompareAndSwap(false, true) {
			<-release
		}
		return do()
	})
	take := func(got *int) func(tx *Tx) error {
		return func(tx *Tx) error {
			v, _ := tx.LowestFree(state.PoolVNI, alloc.Numbers(1, 9))
			*got = v.Int()
			tx.Put(&state.Allocation{Pool: state.PoolVNI, Number: *got, Owner: "x"})
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var one, two int
	if _, err := b.Commit(ctx, take(&one)); !errors.Is(err, objdb.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := b.Commit(t.Context(), take(&two)); err != nil || two != 2 {
		t.Errorf("got %d: %v", two, err)
	}
	close(release)
	waitUntil(t, func() (done bool) {
		b.ViewCached(func(m *Model) { done = m.Used(state.PoolVNI) == 2 })
		return done
	})
}
