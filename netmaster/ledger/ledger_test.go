package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gated is a store whose commits and revision reads a test can hold up and make fail.
type gated struct {
	objdb.Store
	commit   atomic.Pointer[func(do func() (int64, error)) (int64, error)]
	revision atomic.Pointer[func()]
	silent   atomic.Bool  // Revision does not answer
	lost     atomic.Int64 // so much older is the revision than it should be
}

func (g *gated) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	do := func() (int64, error) { return g.Store.Commit(ctx, txn) }
	if hook := g.commit.Load(); hook != nil {
		return (*hook)(do)
	}
	return do()
}

func (g *gated) Revision(ctx context.Context) (int64, error) {
	if hook := g.revision.Load(); hook != nil {
		(*hook)()
	}
	if g.silent.Load() {
		<-ctx.Done()
		return 0, fmt.Errorf("test: %w", objdb.ErrUnavailable)
	}
	revision, err := g.Store.Revision(ctx)
	return revision - g.lost.Load(), err
}

func (g *gated) onCommit(hook func(do func() (int64, error)) (int64, error)) {
	if hook == nil {
		g.commit.Store(nil)
		return
	}
	g.commit.Store(&hook)
}

type bed struct {
	*Ledger
	t       *testing.T
	store   *gated
	memory  *memory.Store
	leading atomic.Bool
	fence   atomic.Int64
}

const leaderKey = "lock/test"

func newBed(t *testing.T) *bed {
	t.Helper()
	db := memory.New()
	b := &bed{t: t, store: &gated{Store: db}, memory: db}
	b.leading.Store(true)
	b.lead()
	log := logrus.New()
	log.SetOutput(io.Discard)
	l, err := Open(t.Context(), b.store, func() (objdb.Compare, bool) {
		return objdb.Unchanged(leaderKey, b.fence.Load()), b.leading.Load()
	}, logrus.NewEntry(log))
	if err != nil {
		t.Fatal(err)
	}
	b.Ledger = l
	t.Cleanup(func() {
		b.store.onCommit(nil)
		l.Close()
		_ = db.Close()
	})
	return b
}

// lead writes a new leadership record and fences with it.
func (b *bed) lead() { b.fence.Store(b.raw(objdb.Put(leaderKey, []byte("me")))) }

// raw writes past the ledger.
func (b *bed) raw(ops ...objdb.Op) int64 {
	b.t.Helper()
	revision, err := b.memory.Commit(context.Background(), objdb.Txn{Then: ops})
	if err != nil {
		b.t.Fatal(err)
	}
	return revision
}

func (b *bed) put(record state.Record) {
	b.t.Helper()
	value, err := state.Encode(record)
	if err != nil {
		b.t.Fatal(err)
	}
	b.raw(objdb.Put(record.StoreKey(), value))
}

func tenant(name string) *state.Tenant { return &state.Tenant{TenantName: name} }

func TestCommitIsInTheModel(t *testing.T) {
	b := newBed(t)
	revision, err := b.Commit(t.Context(), func(tx *Tx) error {
		tx.Put(tenant("a"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ViewCached(func(m *Model) {
		if m.Tenant("a") == nil || m.RevisionOf("obj/modeldb/tenant/a") != revision || m.Revision() < revision {
			t.Errorf("at %d, written at %d", m.Revision(), revision)
		}
	})
}

func TestViewSeesOtherWriters(t *testing.T) {
	b := newBed(t)
	for i := range 200 {
		b.put(tenant(fmt.Sprint("t", i)))
		err := b.View(t.Context(), func(m *Model) {
			if got := m.Count(AllTenants()); got != i+1 {
				t.Errorf("%d tenants, not %d", got, i+1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.memory.SetUnavailable(true)
	if err := b.View(t.Context(), func(*Model) {}); !errors.Is(err, objdb.ErrUnavailable) {
		t.Errorf("view without store: %v", err)
	}
	b.ViewCached(func(m *Model) {
		if m.Tenant("t7") == nil {
			t.Error("the model forgot")
		}
	})
	b.memory.SetUnavailable(false)
}

// TestSharedRevision: readers that come while a read is under way share the next one, never that one.
func TestSharedRevision(t *testing.T) {
	asked, answer := make(chan int64), make(chan struct{})
	var n int64
	f := newFreshness(func() (int64, error) {
		n++
		mine := n
		asked <- mine
		<-answer
		return mine, nil
	})
	results := make(chan int64, 10)
	ask := func() {
		revision, err := f.revision(t.Context())
		if err != nil {
			t.Error(err)
		}
		results <- revision
	}
	go ask()
	<-asked
	for range 5 {
		go ask()
	}
	waitUntil(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.next != nil })
	answer <- struct{}{}
	if got := <-results; got != 1 {
		t.Errorf("first reader got %d", got)
	}
	<-asked
	answer <- struct{}{}
	later := 0
	for range 5 {
		select {
		case got := <-results:
			if got < 2 {
				t.Errorf("a later reader got %d", got)
			}
		case <-asked: // a goroutine that came after the second read began
			answer <- struct{}{}
			later++
			if got := <-results; got < 2 {
				t.Errorf("a later reader got %d", got)
			}
		}
	}
	if later > 1 {
		t.Errorf("%d more reads", later)
	}
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // polling with a deadline
	}
}

func address(n string) state.Allocation {
	return state.Allocation{Pool: state.AddressPool("default:n"), Addr: netip.MustParseAddr(n), Owner: "x"}
}

// TestAllocationsOverlap: plans do not wait for each other's writes, and do not take the same number.
func TestAllocationsOverlap(t *testing.T) {
	const clients = 8
	b := newBed(t)
	var together sync.WaitGroup
	together.Add(clients)
	b.store.onCommit(func(do func() (int64, error)) (int64, error) {
		together.Done()
		together.Wait() // all are in the store at once, or this hangs
		return do()
	})
	numbers := make(chan int, clients)
	for range clients {
		go func() {
			var got alloc.Value
			_, err := b.Commit(t.Context(), func(tx *Tx) error {
				got, _ = tx.LowestFree(state.PoolVLAN, alloc.Numbers(1, clients))
				tx.Put(&state.Allocation{Pool: state.PoolVLAN, Number: got.Int(), Owner: "x"})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			numbers <- got.Int()
		}()
	}
	seen := map[int]bool{}
	for range clients {
		n := <-numbers
		if seen[n] || n < 1 || n > clients {
			t.Errorf("number %d given twice or out of range", n)
		}
		seen[n] = true
	}
}

// TestNobodyIsRefusedForAFailure: a plan that meets a write under way waits for its end, and goes by that.
func TestNobodyIsRefusedForAFailure(t *testing.T) {
	errTaken := errors.New("taken")
	plans := map[string]func(tx *Tx) error{
		"record": func(tx *Tx) error {
			if tx.Tenant("a") != nil {
				return errTaken
			}
			tx.Put(tenant("a"))
			return nil
		},
		"last number": func(tx *Tx) error {
			v, ok := tx.LowestFree(state.PoolVRF, alloc.Numbers(1, 1))
			if !ok {
				return errTaken
			}
			tx.Put(&state.Allocation{Pool: state.PoolVRF, Number: v.Int(), Owner: "x"})
			return nil
		},
		"overlap": func(tx *Tx) error {
			subnet := alloc.Addresses(netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.0.255"))
			if tx.Overlapping("t", subnet) != nil {
				return errTaken
			}
			tx.Put(&state.Network{TenantName: "t", NetworkName: fmt.Sprint("n", tx.Revision()), Subnet: "10.0.0.0/24"})
			return nil
		},
		"index": func(tx *Tx) error {
			if tx.Count(AllTenants()) > 0 || tx.Any(AllTenants()) != nil {
				return errTaken
			}
			tx.Put(tenant(fmt.Sprint("t", tx.Revision())))
			return nil
		},
		"address in use": func(tx *Tx) error {
			pool := state.AddressPool("default:n")
			in := alloc.Addresses(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9"))
			if tx.UsedIn(pool, in) != nil {
				return errTaken
			}
			a := address("10.0.0.5")
			tx.Put(&a)
			return nil
		},
	}
	for name, plan := range plans {
		for _, fails := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first fails: %v", name, fails), func(t *testing.T) {
				b := newBed(t)
				started, finish := make(chan struct{}), make(chan struct{})
				var once sync.Once
				b.store.onCommit(func(do func() (int64, error)) (int64, error) {
					first := false
					once.Do(func() { first = true })
					if !first {
						return do()
					}
					close(started)
					<-finish
					if fails {
						return 0, fmt.Errorf("test: %w", objdb.ErrTooLarge)
					}
					return do()
				})
				results := make(chan error, 2)
				go func() { _, err := b.Commit(t.Context(), plan); results <- err }()
				<-started
				second := make(chan error, 1)
				go func() { _, err := b.Commit(t.Context(), plan); second <- err }()
				select {
				case err := <-second:
					t.Fatalf("the second did not wait: %v", err)
				case <-time.After(20 * time.Millisecond):
				}
				close(finish)
				if err := <-results; (err != nil) != fails {
					t.Errorf("first: %v", err)
				}
				if err := <-second; fails != (err == nil) || !fails && !errors.Is(err, errTaken) {
					t.Errorf("second: %v", err)
				}
			})
		}
	}
}

func TestFence(t *testing.T) {
	b := newBed(t)
	add := func(tx *Tx) error { tx.Put(tenant("a")); return nil }
	b.raw(objdb.Put(leaderKey, []byte("another"))) // taken over, not yet known here
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.Commit(ctx, add); !errors.Is(err, objdb.ErrConflict) {
		t.Errorf("%v", err)
	}
	b.leading.Store(false)
	if _, err := b.Commit(t.Context(), add); !errors.Is(err, ErrNotLeader) {
		t.Errorf("%v", err)
	}
	b.leading.Store(true)
	b.put(tenant("theirs"))
	b.lead()
	_, err := b.Commit(t.Context(), func(tx *Tx) error {
		if tx.Tenant("theirs") == nil {
			t.Error("a new leader plans on an old model")
		}
		return add(tx)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConflictIsPlannedAgain(t *testing.T) {
	b := newBed(t)
	b.put(tenant("a"))
	if err := b.View(t.Context(), func(*Model) {}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	b.store.onCommit(func(do func() (int64, error)) (int64, error) {
		once.Do(func() { b.put(&state.Tenant{TenantName: "a", DefaultNetwork: "theirs"}) })
		return do()
	})
	_, err := b.Commit(t.Context(), func(tx *Tx) error {
		next := *tx.Tenant("a")
		next.DefaultNetwork += "+mine"
		tx.Put(&next)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ViewCached(func(m *Model) {
		if got := m.Tenant("a").DefaultNetwork; got != "theirs+mine" {
			t.Errorf("%q", got)
		}
	})
}

func TestTooLarge(t *testing.T) {
	b := newBed(t)
	_, err := b.Commit(t.Context(), func(tx *Tx) error {
		for i := range objdb.MaxTxnOps + 1 {
			tx.Put(tenant(fmt.Sprint(i)))
		}
		return nil
	})
	if !errors.Is(err, objdb.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func TestBadRecords(t *testing.T) {
	b := newBed(t)
	b.raw(objdb.Put("obj/modeldb/tenant/bad", []byte("{")), objdb.Put("obj/modeldb/tenant/liar", []byte(`{"tenantName":"x"}`)),
		objdb.Put("alloc/vrf/1", []byte("?")), objdb.Put("unknown/key", []byte("!")), objdb.Put("meta/schema", []byte("x")))
	b.put(tenant("good"))
	if err := b.View(t.Context(), func(m *Model) {
		if len(m.Problems()) != 4 || m.Tenant("good") == nil {
			t.Errorf("%+v", m.Problems())
		}
	}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Commit(t.Context(), func(tx *Tx) error {
		if v, _ := tx.LowestFree(state.PoolVRF, alloc.Numbers(1, 9)); v.Int() != 2 {
			t.Errorf("the number of an unreadable record is given: %d", v.Int())
		}
		tx.Put(tenant("bad"))
		return nil
	})
	if !errors.Is(err, ErrUnreadable) {
		t.Errorf("%v", err)
	}
	b.put(tenant("bad"))
	if err := b.View(t.Context(), func(m *Model) {
		if len(m.Problems()) != 3 || m.Tenant("bad") == nil {
			t.Errorf("%+v", m.Problems())
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFeed: a subscriber that replays the changes has the model, also over a compaction.
func TestFeed(t *testing.T) {
	b := newBed(t)
	b.put(tenant("before"))
	if err := b.View(t.Context(), func(*Model) {}); err != nil {
		t.Fatal(err)
	}
	replay := map[string]state.Record{}
	var last int64
	cancel := b.Subscribe(func(m *Model, c Change) {
		if c.Revision < last || m.Revision() != c.Revision {
			t.Errorf("change %d after %d, model %d", c.Revision, last, m.Revision())
		}
		last = c.Revision
		if c.Initial {
			for _, r := range m.rows {
				replay[r.key] = r.record
			}
		}
		for _, d := range c.Records {
			if replay[d.Key] != d.Old && (d.Old != nil || replay[d.Key] != nil) {
				t.Errorf("%s: old is not what it was", d.Key)
			}
			if replay[d.Key] = d.New; d.New == nil {
				delete(replay, d.Key)
			}
		}
		if len(replay) != len(m.rows) {
			t.Errorf("replayed %d records, the model has %d", len(replay), len(m.rows))
		}
	})
	for i := range 50 {
		b.put(tenant(fmt.Sprint("t", i%7)))
		if i%5 == 0 {
			b.raw(objdb.Delete("obj/modeldb/tenant/" + fmt.Sprint("t", (i+3)%7)))
		}
	}
	peer := b.memory.Peer()
	defer func() { _ = peer.Close() }()
	b.memory.SetUnavailable(true) // the ledger's client hears nothing while another one writes and the log goes
	for i := range 5 {
		op := objdb.Put("obj/modeldb/tenant/later"+fmt.Sprint(i), []byte(`{"tenantName":"later`+fmt.Sprint(i)+`"}`))
		if _, err := peer.Commit(t.Context(), objdb.Txn{Then: []objdb.Op{op, objdb.Delete("obj/modeldb/tenant/before")}}); err != nil {
			t.Fatal(err)
		}
	}
	peer.Compact()
	b.memory.SetUnavailable(false)
	if err := b.View(t.Context(), func(m *Model) {
		if m.Tenant("later4") == nil || m.Tenant("before") != nil {
			t.Error("the model missed changes")
		}
	}); err != nil {
		t.Fatal(err)
	}
	cancel()
	b.put(tenant("after"))
	if err := b.View(t.Context(), func(*Model) {}); err != nil {
		t.Fatal(err)
	}
	if replay["obj/modeldb/tenant/after"] != nil || replay["obj/modeldb/tenant/later4"] == nil {
		t.Error("told after cancel, or not told before")
	}
}

// TestOldNewsIsNoNews: what the ledger wrote itself is in the model before the watch tells of it; an older form that
// the watch still brings, alone or among news, must not come back.
func TestOldNewsIsNoNews(t *testing.T) {
	b := newBed(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.model.revision
	old := arrival{key: "obj/modeldb/tenant/a", revision: at + 1, record: tenant("a")}
	news := arrival{key: "obj/modeldb/tenant/b", revision: at + 3, record: tenant("b")}
	b.apply(at+1, []arrival{old})
	b.apply(at+2, []arrival{{key: old.key, revision: at + 2}})
	b.apply(at+1, []arrival{old})
	b.apply(at+3, []arrival{old, news})
	if b.model.Tenant("a") != nil || b.model.Tenant("b") == nil || b.model.revision != at+3 {
		t.Errorf("a is %v, b is %v, at %d", b.model.Tenant("a"), b.model.Tenant("b"), b.model.revision-at)
	}
}
