package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// TestRandomFailures: eight clients take and give back numbers of a small pool while every third write fails, done or
// not. In the end nothing is claimed, and the model is what a new reading of the store gives.
func TestRandomFailures(t *testing.T) {
	const clients, steps, size = 8, 150, 12
	b := newBed(t)
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(7, 7))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	b.store.onCommit(func(do func() (int64, error)) (int64, error) {
		switch roll(9) {
		case 0:
			return 0, fmt.Errorf("test: %w", objdb.ErrUnavailable)
		case 1:
			if _, err := do(); err != nil {
				return 0, err
			}
			return 0, fmt.Errorf("test: %w", objdb.ErrUnavailable)
		case 2:
			return 0, fmt.Errorf("test: %w", objdb.ErrConflict)
		}
		return do()
	})
	var wg sync.WaitGroup
	for client := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range steps {
				number := 1 + roll(size)
				_, _ = b.Commit(context.Background(), randomPlan(fmt.Sprint(client), number, roll(4)))
			}
		}()
	}
	wg.Wait()
	b.store.onCommit(nil)
	waitUntil(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.flights) == 0 })
	if err := b.View(t.Context(), func(m *Model) { compareWithStore(t, b, m) }); err != nil {
		t.Fatal(err)
	}
}

func randomPlan(owner string, number, kind int) func(*Tx) error {
	return func(tx *Tx) error {
		held := tx.Allocation(state.Allocation{Pool: state.PoolVLAN, Number: number})
		switch {
		case kind == 0 && held != nil:
			next := *held
			next.Owner, next.Released = "", &state.Release{Owner: held.Owner}
			tx.Put(&next)
		case kind == 1 && held != nil:
			tx.Delete(held)
		default:
			in := alloc.Numbers(1, number)
			if v, ok := tx.LowestFree(state.PoolVLAN, in); ok {
				tx.Put(&state.Allocation{Pool: state.PoolVLAN, Number: v.Int(), Owner: owner})
			} else if resting := tx.LongestResting(state.PoolVLAN, in); resting != nil {
				tx.Put(&state.Allocation{Pool: state.PoolVLAN, Number: resting.Number, Owner: owner})
			}
		}
		return nil
	}
}

func compareWithStore(t *testing.T, b *bed, m *Model) {
	t.Helper()
	kvs, _, err := b.memory.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	fresh := newModel()
	for _, kv := range kvs {
		fresh.set(arrive(objdb.Event{KV: kv}))
	}
	if len(fresh.rows) != len(m.rows) || len(fresh.index) != len(m.index) || len(b.byIndex) != 0 || len(b.landed) != 0 {
		t.Errorf("%d rows, not %d; %d indexes, not %d; %d claims", len(m.rows), len(fresh.rows), len(m.index), len(fresh.index), len(b.byIndex))
	}
	for key, r := range fresh.rows {
		if m.rows[key] == nil || m.rows[key].revision != r.revision {
			t.Errorf("%s is not as in the store", key)
			continue
		}
		want, err := state.Encode(r.record)
		if got, errGot := state.Encode(m.rows[key].record); err != nil || errGot != nil || string(got) != string(want) {
			t.Errorf("%s: %s, in the store %s", key, got, want)
		}
	}
	if len(m.pools) != len(fresh.pools) {
		t.Errorf("%d pools, not %d", len(m.pools), len(fresh.pools))
	}
	for name, want := range fresh.pools {
		got := m.pools[name]
		all := alloc.Numbers(0, 1<<20)
		for what, sets := range map[string][2]*alloc.Set{"taken": {want.taken, got.taken}, "used": {want.used, got.used}} {
			a, c := alloc.UsageOf(all, sets[0]), alloc.UsageOf(all, sets[1])
			if alloc.FormatNumbers(a.Used) != alloc.FormatNumbers(c.Used) {
				t.Errorf("pool %s: %s are %s, not %s", name, what, alloc.FormatNumbers(c.Used), alloc.FormatNumbers(a.Used))
			}
		}
		if got.resting.Len() != want.resting.Len() || len(got.flights) != 0 {
			t.Errorf("pool %s: %d rest, not %d; %d flights", name, got.resting.Len(), want.resting.Len(), len(got.flights))
		}
	}
}
