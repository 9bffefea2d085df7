package conformance

import (
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
)

func testLease(t *testing.T, h Harness) {
	t.Helper()
	ctx, s, other := testContext(t), h.Open(t), h.Open(t)
	lease, err := s.Grant(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	commit(ctx, t, s, objdb.PutLeased("live", []byte("1"), lease), objdb.PutLeased("kept", []byte("1"), lease), put("own", "1"))
	start := commit(ctx, t, s, put("kept", "2")) // a plain write frees the key from the lease
	w := other.Watch(ctx, "", start)
	if err := lease.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := lease.Close(ctx); err != nil {
		t.Errorf("second close: %v", err)
	}
	_, err = s.Get(ctx, "live")
	wantClass(t, "get of a key whose lease was closed", err, objdb.ErrNotFound)
	kvs, _, err := s.List(ctx, "")
	if err != nil || len(kvs) != 2 {
		t.Errorf("left: %s, %v", describe(kvs), err)
	}
	if got := until(ctx, t, w, start+1); len(got) != 1 || !got["live"].Deleted {
		t.Errorf("events %+v, want the removal of live", got)
	}
	select {
	case <-lease.Done():
		t.Error("a closed lease says it was lost")
	default:
	}
	_, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.PutLeased("late", nil, lease)}})
	wantClass(t, "write with a closed lease", err, objdb.ErrLeaseLost)
}

func testLeaseLost(t *testing.T, h Harness) {
	t.Helper()
	if h.Lapse == nil {
		t.Fatal("the harness cannot make a lease lapse: let Run omit this test")
	}
	ctx, s, other := testContext(t), h.Open(t), h.Open(t)
	lease, err := s.Grant(ctx, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	start := commit(ctx, t, s, objdb.PutLeased("live", []byte("1"), lease))
	w := other.Watch(ctx, "", start)
	h.Lapse(t, s)
	if got := until(ctx, t, w, start+1); !got["live"].Deleted {
		t.Errorf("events %+v, want the removal of live", got)
	}
	select {
	case <-lease.Done():
	case <-ctx.Done():
		t.Fatal("Done was not closed")
	}
	_, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.PutLeased("late", nil, lease)}})
	wantClass(t, "write with a lost lease", err, objdb.ErrLeaseLost)
}
