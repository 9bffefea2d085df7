// Package conformance is the suite that every driver of objdb passes: one test per promise of the interface.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
)

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// Harness gives a test a fresh store and power over it.
type Harness struct {
	// Open gives another client of the same contents; the harness closes it after the test.
	Open func(t *testing.T) objdb.Store
	// Compact forgets the history up to now.
	Compact func(t *testing.T)
	// Lapse makes the store believe that this client's leases were not renewed. Nil: cannot be done.
	Lapse func(t *testing.T, client objdb.Store)
	// Stop makes the store unreachable as abruptly as possible, Start brings it back with its contents.
	// Nil: clients do not survive that.
	Stop, Start func(t *testing.T)
	// Foreign writes keys of another program into the same store. Nil: there is none.
	Foreign func(t *testing.T, n int)
}

// Run runs the suite; fresh makes a harness with an empty store for each test.
//
// omit names tests that make no sense for the driver, such as WatchSurvivesRestart for a store that ends with its
// clients.
func Run(t *testing.T, fresh func(t *testing.T) Harness, omit ...string) {
	t.Helper()
	tests := []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"GetAndList", testGetAndList},
		{"Compares", testCompares},
		{"TransactionIsAtomic", testAtomic},
		{"Limits", testLimits},
		{"Identity", testIdentity},
		{"RevisionIsLinearizable", testRevisionLinearizable},
		{"ListThenWatchHasNoGap", testListThenWatch},
		{"WatchOfPrefixMovesOn", testWatchPrefix},
		{"SlowConsumerGetsLatest", testCoalescing},
		{"WatchEndsWithContext", testWatchContext},
		{"CompactedWatch", testCompacted},
		{"WatchSurvivesRestart", testRestart},
		{"LeaseKeys", testLease},
		{"LeaseLost", testLeaseLost},
		{"CanceledCall", testCanceledCall},
		{"Follow", testFollow},
		{"ElectionCleanHandover", testElectionHandover},
		{"ElectionTakeover", testElectionTakeover},
		{"ElectionFencesWriters", testElectionFencing},
		{"Registration", testRegistration},
	}
	for _, test := range tests {
		if slices.Contains(omit, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

func commit(ctx context.Context, t *testing.T, s objdb.Store, ops ...objdb.Op) int64 {
	t.Helper()
	revision, err := s.Commit(ctx, objdb.Txn{Then: ops})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func put(key, value string) objdb.Op { return objdb.Put(key, []byte(value)) }

// wantClass fails the test unless err is of the class.
func wantClass(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: got error %v, want %v", what, err, class)
	}
}

// next receives one batch.
func next(ctx context.Context, t *testing.T, w objdb.Watcher) objdb.Batch {
	t.Helper()
	select {
	case b, ok := <-w.Batches():
		if !ok {
			t.Fatalf("watch ended: %v", w.Err())
		}
		return b
	case <-ctx.Done():
		t.Fatal("no batch in time")
	}
	return objdb.Batch{}
}

// until receives batches up to a revision and returns the latest event per key. It checks that revisions rise.
func until(ctx context.Context, t *testing.T, w objdb.Watcher, revision int64) map[string]objdb.Event {
	t.Helper()
	got := make(map[string]objdb.Event)
	for last := int64(0); last < revision; {
		b := next(ctx, t, w)
		if b.Revision <= last {
			t.Fatalf("batch of revision %d after %d", b.Revision, last)
		}
		last = b.Revision
		for _, e := range b.Events {
			if e.Revision > b.Revision || e.Deleted != (e.Value == nil) {
				t.Errorf("event %+v in a batch of revision %d", e, b.Revision)
			}
			got[e.Key] = e
		}
	}
	return got
}

// eventually waits for a condition that has no channel of its own.
func eventually(ctx context.Context, t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not happen in time", what)
		}
	}
}

func describe(kvs []objdb.KV) string {
	text := ""
	for _, kv := range kvs {
		text += fmt.Sprintf("%s=%s@%d ", kv.Key, kv.Value, kv.Revision)
	}
	return text
}
