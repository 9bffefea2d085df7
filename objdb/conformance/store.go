package conformance

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/contiv/contiv/objdb"
)

func testGetAndList(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	if kvs, _, err := s.List(ctx, ""); err != nil || len(kvs) != 0 {
		t.Fatalf("new store lists %s, %v", describe(kvs), err)
	}
	_, err := s.Get(ctx, "a/1")
	wantClass(t, "get of a missing key", err, objdb.ErrNotFound)

	first := commit(ctx, t, s, put("a/2", "two"), put("a/1", ""), put("b", "bee"))
	second := commit(ctx, t, s, put("a/2", "zwei"), objdb.Delete("b"), objdb.Delete("never"))
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	kv, err := s.Get(ctx, "a/2")
	if err != nil || string(kv.Value) != "zwei" || kv.Revision != second {
		t.Errorf("get: %+v, %v", kv, err)
	}
	kvs, revision, err := s.List(ctx, "a/")
	want := fmt.Sprintf("a/1=@%d a/2=zwei@%d ", first, second)
	if err != nil || describe(kvs) != want || revision < second {
		t.Errorf("list: %s at %d, %v, want %s", describe(kvs), revision, err, want)
	}
}

func testCompares(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	r := commit(ctx, t, s, put("there", "x"))
	tests := []struct {
		name string
		cond objdb.Compare
		ok   bool
	}{
		{"absent key is absent", objdb.Absent("not"), true},
		{"present key is not absent", objdb.Absent("there"), false},
		{"unchanged", objdb.Unchanged("there", r), true},
		{"changed", objdb.Unchanged("there", r-1), false},
		{"missing key is not unchanged", objdb.Unchanged("not", r), false},
	}
	for _, test := range tests {
		_, err := s.Commit(ctx, objdb.Txn{If: []objdb.Compare{test.cond}, Then: []objdb.Op{put("other", test.name)}})
		if test.ok && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !test.ok {
			wantClass(t, test.name, err, objdb.ErrConflict)
		}
	}
	commit(ctx, t, s, objdb.Delete("there"))
	commit(ctx, t, s, put("there", "again"))
	_, err := s.Commit(ctx, objdb.Txn{If: []objdb.Compare{objdb.Unchanged("there", r)}, Then: []objdb.Op{put("other", "")}})
	wantClass(t, "key was deleted and made again", err, objdb.ErrConflict)
}

func testAtomic(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	commit(ctx, t, s, put("x", "0"))
	_, err := s.Commit(ctx, objdb.Txn{
		If:   []objdb.Compare{objdb.Absent("a"), objdb.Absent("x")},
		Then: []objdb.Op{put("a", "1"), objdb.Delete("x")},
	})
	wantClass(t, "one compare of two fails", err, objdb.ErrConflict)
	if kvs, _, _ := s.List(ctx, ""); len(kvs) != 1 || kvs[0].Key != "x" {
		t.Errorf("refused transaction left %s", describe(kvs))
	}
	// Racing increments of one counter: every success is one increment, however clients interleave.
	const clients, rounds = 4, 10
	var wg sync.WaitGroup
	for range clients {
		client := h.Open(t)
		wg.Go(func() {
			for range rounds {
				increment(ctx, t, client)
			}
		})
	}
	wg.Wait()
	kv, err := s.Get(ctx, "x")
	if want := fmt.Sprint(clients * rounds); err != nil || string(kv.Value) != want {
		t.Errorf("counter is %s, %v, want %s", kv.Value, err, want)
	}
}

func increment(ctx context.Context, t *testing.T, s objdb.Store) {
	t.Helper()
	for {
		kv, err := s.Get(ctx, "x")
		if err != nil {
			t.Error(err)
			return
		}
		var n int
		_, _ = fmt.Sscan(string(kv.Value), &n) // written by this test only
		_, err = s.Commit(ctx, objdb.Txn{
			If:   []objdb.Compare{objdb.Unchanged("x", kv.Revision)},
			Then: []objdb.Op{put("x", fmt.Sprint(n+1))},
		})
		if err == nil {
			return
		}
		if wantClass(t, "increment", err, objdb.ErrConflict); t.Failed() {
			return
		}
	}
}

func testLimits(t *testing.T, h Harness) {
	t.Helper()
	ctx, s := testContext(t), h.Open(t)
	largest := strings.Repeat("v", objdb.MaxValueBytes)
	commit(ctx, t, s, put("a", largest))
	var most []objdb.Op
	var compares []objdb.Compare
	for i := range objdb.MaxTxnOps {
		key := fmt.Sprint("k", i)
		most, compares = append(most, put(key, strings.Repeat("v", 3<<10))), append(compares, objdb.Absent(key))
	}
	if _, err := s.Commit(ctx, objdb.Txn{If: compares, Then: most}); err != nil {
		t.Errorf("largest transaction: %v", err)
	}
	var others []objdb.Compare
	for i := range objdb.MaxTxnSteps - objdb.MaxTxnOps {
		others = append(others, objdb.Absent(fmt.Sprint("other", i)))
	}
	if _, err := s.Commit(ctx, objdb.Txn{If: others, Then: most}); err != nil {
		t.Errorf("transaction of the most steps: %v", err)
	}
	var deletes []objdb.Op
	for _, c := range others {
		deletes = append(deletes, objdb.Delete(c.Key))
	}
	deletes = append(deletes, most[:objdb.MaxTxnOps-len(deletes)]...)
	if _, err := s.Commit(ctx, objdb.Txn{If: others, Then: deletes}); err != nil {
		t.Errorf("deletes of the most steps: %v", err)
	}
	four := []objdb.Op{put("a", largest), put("b", largest), put("c", largest), put("d", largest)}
	refused := map[string]objdb.Txn{
		"value too large":    {Then: []objdb.Op{put("a", largest+"v")}},
		"too many writes":    {Then: append(most, put("one-more", ""))},
		"too many compares":  {If: append(compares, objdb.Absent("one-more")), Then: []objdb.Op{put("x", "")}},
		"too much in values": {Then: four},
		"too many steps":     {If: append(others, objdb.Absent("one-more")), Then: most},
	}
	for name, txn := range refused {
		_, err := s.Commit(ctx, txn)
		wantClass(t, name, err, objdb.ErrTooLarge)
	}
	for name, op := range map[string]objdb.Op{"reserved": put(objdb.TickKey, ""), "empty": put("", ""), "slash": put("/x", "")} {
		if _, err := s.Commit(ctx, objdb.Txn{Then: []objdb.Op{op}}); err == nil {
			t.Errorf("write of a %s key was accepted", name)
		}
	}
	if _, err := s.Commit(ctx, objdb.Txn{Then: []objdb.Op{put("x", ""), objdb.Delete("x")}}); err == nil {
		t.Error("a key twice in one transaction was accepted")
	}
	if _, err := s.Get(ctx, "x"); err == nil {
		t.Error("refused transaction wrote something")
	}
}

func testIdentity(t *testing.T, h Harness) {
	t.Helper()
	first, second := h.Open(t), h.Open(t)
	if first.ID() == "" || first.ID() != second.ID() {
		t.Errorf("two clients of one store say %q and %q", first.ID(), second.ID())
	}
}

func testRevisionLinearizable(t *testing.T, h Harness) {
	t.Helper()
	ctx, a, b := testContext(t), h.Open(t), h.Open(t)
	if r, err := a.Revision(ctx); err != nil || r <= 0 {
		t.Errorf("revision of a new store: %d, %v", r, err)
	}
	for i := range 30 {
		writer, reader := a, b
		if i%2 == 1 {
			writer, reader = b, a
		}
		if h.Foreign != nil {
			h.Foreign(t, 1)
		}
		wrote := commit(ctx, t, writer, put("x", fmt.Sprint(i)))
		read, err := reader.Revision(ctx)
		if err != nil || read != wrote {
			t.Fatalf("round %d: revision %d, %v after commit %d", i, read, err, wrote)
		}
	}
}

func testCanceledCall(t *testing.T, h Harness) {
	t.Helper()
	s := h.Open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Get(ctx, "x")
	wantClass(t, "get with a canceled context", err, objdb.ErrUnavailable)
	_, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{put("x", "")}})
	wantClass(t, "commit with a canceled context", err, context.Canceled)
}
