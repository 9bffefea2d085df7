package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
)

// stallable is a client whose process seems to stand still: nothing it sends arrives.
type stallable struct {
	objdb.Store
	stalled atomic.Bool
}

func (s *stallable) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	if s.stalled.Load() {
		return 0, objdb.ErrUnavailable
	}
	return s.Store.Commit(ctx, txn)
}

func (s *stallable) List(ctx context.Context, prefix string) ([]objdb.KV, int64, error) {
	if s.stalled.Load() {
		return nil, 0, objdb.ErrUnavailable
	}
	return s.Store.List(ctx, prefix)
}

// contender is a running election of its own client.
type contender struct {
	*objdb.Election
	name  string
	store *stallable
	stop  func() // cleanly; returns when it has resigned
}

func stand(t *testing.T, h Harness, name string) *contender {
	t.Helper()
	store := &stallable{Store: h.Open(t)}
	c := &contender{name: name, store: store, Election: objdb.NewElection(store, objdb.ElectionConfig{
		Self: objdb.Leader{Holder: name, Address: name + ":9999", RPCAddress: name + ":9001"},
	})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: run returned %v", name, err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// await waits until the contender's status is as wanted.
func (c *contender) await(ctx context.Context, t *testing.T, what string, ok func(objdb.Status) bool) objdb.Status {
	t.Helper()
	for {
		status, changed := c.Status()
		if ok(status) {
			return status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s: %s did not happen in time, status is %+v", c.name, what, status)
		}
	}
}

func leads(s objdb.Status) bool { return s.Leading }

func ledBy(name string) func(objdb.Status) bool {
	return func(s objdb.Status) bool { return s.Leader != nil && s.Leader.Holder == name }
}

func testElectionHandover(t *testing.T, h Harness) {
	t.Helper()
	ctx := testContext(t)
	a := stand(t, h, "a")
	a.await(ctx, t, "leading an empty store", leads)
	b := stand(t, h, "b")
	b.await(ctx, t, "seeing a lead", ledBy("a"))
	if _, ok := b.Fence(); ok {
		t.Error("two leaders")
	}
	began := time.Now()
	a.stop()
	b.await(ctx, t, "taking over", leads)
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("takeover after a clean stop took %v", took)
	}
	if _, ok := a.Fence(); ok {
		t.Error("who stopped still leads")
	}
}

func testElectionTakeover(t *testing.T, h Harness) {
	t.Helper()
	ctx := testContext(t)
	a := stand(t, h, "a")
	a.await(ctx, t, "leading", leads)
	b := stand(t, h, "b")
	b.await(ctx, t, "seeing a lead", ledBy("a"))
	began := time.Now()
	a.store.stalled.Store(true)
	a.await(ctx, t, "no longer leading by its own clock", func(s objdb.Status) bool { return !s.Leading })
	if _, ok := b.Fence(); ok {
		t.Error("taken over before the old leader had to stop")
	}
	b.await(ctx, t, "taking over", leads)
	if took := time.Since(began); took > 5*time.Second || took < 2*time.Second {
		t.Errorf("takeover after a silent death took %v, want about 3.5 s", took)
	}
	a.store.stalled.Store(false)
	a.await(ctx, t, "seeing that b leads", ledBy("b"))
	if _, ok := b.Fence(); !ok {
		t.Error("the return of the old leader cost the new one its lead")
	}
}

func testElectionFencing(t *testing.T, h Harness) {
	t.Helper()
	ctx := testContext(t)
	a := stand(t, h, "a")
	old := a.await(ctx, t, "leading", leads).Fence
	write := func(c *contender, fence objdb.Compare) error {
		_, err := c.store.Store.Commit(ctx, objdb.Txn{If: []objdb.Compare{fence}, Then: []objdb.Op{put("work", c.name)}})
		return err
	}
	if err := write(a, old); err != nil {
		t.Fatalf("write of the leader: %v", err)
	}
	renewed := h.Open(t).Watch(ctx, objdb.LeaderKey+"-beat", mustRevision(ctx, t, a.store))
	for len(next(ctx, t, renewed).Events) == 0 { // a renewal
	}
	if err := write(a, old); err != nil {
		t.Errorf("write with the same fence after a renewal: %v", err)
	}
	b := stand(t, h, "b")
	a.stop()
	fence := b.await(ctx, t, "taking over", leads).Fence
	wantClass(t, "write of the old leader", write(a, old), objdb.ErrConflict)
	if err := write(b, fence); err != nil {
		t.Errorf("write of the new leader: %v", err)
	}
}

func mustRevision(ctx context.Context, t *testing.T, s objdb.Store) int64 {
	t.Helper()
	revision, err := s.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func testRegistration(t *testing.T, h Harness) {
	t.Helper()
	ctx, s, watcher := testContext(t), h.Open(t), h.Open(t)
	r := objdb.NewRegistration(s, objdb.Service{
		ServiceName: "netmaster", Role: "follower", Version: "1", TTL: 2, HostAddr: "10.0.0.1", Port: 9999, Hostname: "h1",
	})
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(running) }()
	shows := func(want string) func() bool {
		return func() bool {
			services, err := objdb.Services(ctx, watcher, "netmaster")
			got := ""
			for _, service := range services {
				got += fmt.Sprintf("%s %s %s:%d", service.Hostname, service.Role, service.HostAddr, service.Port)
			}
			return err == nil && got == want
		}
	}
	eventually(ctx, t, "registration", shows("h1 follower 10.0.0.1:9999"))
	r.SetRole("leader")
	eventually(ctx, t, "change of role", shows("h1 leader 10.0.0.1:9999"))
	if h.Lapse != nil {
		before := mustRevision(ctx, t, watcher)
		h.Lapse(t, s)
		eventually(ctx, t, "registration after the lease was lost", func() bool {
			kv, err := watcher.Get(ctx, "service/netmaster/10.0.0.1:9999")
			return err == nil && kv.Revision > before
		})
	}
	cancel()
	<-done
	eventually(ctx, t, "end of the registration", shows(""))
}
