package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
)

func testListThenWatch(t *testing.T, h Harness) {
	t.Helper()
	ctx, s, other := testContext(t), h.Open(t), h.Open(t)
	const writes = 200
	var last int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range writes {
			r, err := other.Commit(ctx, objdb.Txn{Then: []objdb.Op{put(fmt.Sprint("k/", i%7), fmt.Sprint(i)), put("n", fmt.Sprint(i))}})
			if err != nil {
				t.Error(err)
				return
			}
			last = r
		}
	})
	// Whatever moment the list hits, list and watch together give every key's final value.
	model := make(map[string]string)
	kvs, revision, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range kvs {
		model[kv.Key] = string(kv.Value)
	}
	w := s.Watch(ctx, "", revision)
	wg.Wait()
	for _, e := range until(ctx, t, w, last) {
		if e.Revision <= revision {
			t.Errorf("%s of revision %d was listed at %d already", e.Key, e.Revision, revision)
		}
		model[e.Key] = string(e.Value)
	}
	for i := writes - 7; i < writes; i++ {
		if got := model[fmt.Sprint("k/", i%7)]; got != fmt.Sprint(i) {
			t.Errorf("k/%d is %s, want %d", i%7, got, i)
		}
	}
}

func testWatchPrefix(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	start := commit(ctx, t, s, put("a/x", "0"))
	w := s.Watch(ctx, "a/", start)
	commit(ctx, t, s, put("a/x", "1"), put("b/y", "1"))
	commit(ctx, t, s, objdb.Delete("a/x"))
	commit(ctx, t, s, put("b/y", "2"))
	got := until(ctx, t, w, commit(ctx, t, s, put("a/z", "1")))
	if len(got) != 2 || !got["a/x"].Deleted {
		t.Errorf("events %+v, want only the removal of a/x and a/z", got)
	}
}

func testCoalescing(t *testing.T, h Harness) {
	t.Helper()
	ctx, s, other := testContext(t), h.Open(t), h.Open(t)
	start := commit(ctx, t, s, put("x", "start"))
	w, control := s.Watch(ctx, "", start), s.Watch(ctx, "", start)
	const writes = 300
	var last int64
	for i := range writes {
		last = commit(ctx, t, other, put("x", fmt.Sprint(i)), put(fmt.Sprint("y/", i%3), fmt.Sprint(i)))
	}
	until(ctx, t, control, last) // now the other watch has had the time to pile up as much
	batches := 0
	got := make(map[string]objdb.Event)
	for reached := int64(0); reached < last; batches++ {
		b := next(ctx, t, w)
		reached = b.Revision
		seen := make(map[string]bool)
		for _, e := range b.Events {
			if seen[e.Key] {
				t.Fatalf("%s twice in one batch", e.Key)
			}
			seen[e.Key] = true
			got[e.Key] = e
		}
	}
	if batches > writes/3 {
		t.Errorf("%d batches for %d unread writes: nothing was coalesced", batches, writes)
	}
	if string(got["x"].Value) != fmt.Sprint(writes-1) || got["x"].Revision != last || len(got) != 4 {
		t.Errorf("events %+v", got)
	}
}

func testWatchContext(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	short, cancel := context.WithCancel(ctx)
	w := s.Watch(short, "", commit(ctx, t, s, put("x", "")))
	if w.Err() != nil {
		t.Errorf("running watch has error %v", w.Err())
	}
	cancel()
	ended(ctx, t, w)
	wantClass(t, "watch with a canceled context", w.Err(), context.Canceled)
}

func ended(ctx context.Context, t *testing.T, w objdb.Watcher) {
	t.Helper()
	for {
		select {
		case _, ok := <-w.Batches():
			if !ok {
				return
			}
		case <-ctx.Done():
			t.Fatal("watch did not end in time")
		}
	}
}

func testCompacted(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	old := commit(ctx, t, s, put("x", "0"))
	commit(ctx, t, s, put("x", "1"))
	commit(ctx, t, s, put("x", "2"))
	h.Compact(t)
	w := s.Watch(ctx, "", old)
	ended(ctx, t, w)
	wantClass(t, "watch after a compacted revision", w.Err(), objdb.ErrCompacted)

	ahead := s.Watch(ctx, "", old+1000)
	ended(ctx, t, ahead)
	wantClass(t, "watch after a revision that the store has not reached", ahead.Err(), objdb.ErrCompacted)

	_, revision, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	w = s.Watch(ctx, "", revision)
	last := commit(ctx, t, s, put("x", "3"))
	if got := until(ctx, t, w, last); string(got["x"].Value) != "3" {
		t.Errorf("after listing again: %+v", got)
	}
}

func testRestart(t *testing.T, h Harness) {
	t.Helper()
	if h.Stop == nil {
		t.Fatal("the harness has no Stop: let Run omit this test")
	}
	ctx, s, other := testContext(t), h.Open(t), h.Open(t)
	w := s.Watch(ctx, "", commit(ctx, t, s, put("x", "before")))
	until(ctx, t, w, commit(ctx, t, s, put("x", "before too")))
	h.Stop(t)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := s.Get(short, "x")
	wantClass(t, "get from a store that is gone", err, objdb.ErrUnavailable)
	_, err = s.Commit(short, objdb.Txn{Then: []objdb.Op{put("x", "never")}})
	wantClass(t, "commit to a store that is gone", err, objdb.ErrUnavailable)
	h.Start(t)
	began := time.Now()
	var last int64
	eventually(ctx, t, "a commit after the store came back", func() bool {
		last, err = other.Commit(ctx, objdb.Txn{Then: []objdb.Op{put("x", "after")}})
		return err == nil
	})
	if got := until(ctx, t, w, last); string(got["x"].Value) != "after" {
		t.Errorf("events after the restart: %+v", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("resumed only after %v", took)
	}
}
