package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/consul/consultest"
)

// commits is what was written, for a replay.
type commits struct {
	mu  sync.Mutex
	all map[int64][]objdb.Op
}

func (c *commits) add(revision int64, ops []objdb.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[revision] = ops
}

// state is the keys of a prefix, with value and revision as text.
type state map[string]string

func stateAt(value []byte, revision int64) string { return fmt.Sprintf("%s@%d", value, revision) }

// seen is what one watcher believed at a revision.
type seen struct {
	revision int64
	state    state
}

// check replays the commits and compares the truth of each revision with what was believed.
func (c *commits) check(t *testing.T, prefix string, believed []seen) {
	t.Helper()
	revisions := slices.Sorted(maps.Keys(c.all))
	truth := make(state)
	for _, belief := range believed {
		for len(revisions) > 0 && revisions[0] <= belief.revision {
			for _, op := range c.all[revisions[0]] {
				delete(truth, op.Key)
				if !op.Delete && strings.HasPrefix(op.Key, prefix) {
					truth[op.Key] = stateAt(op.Value, revisions[0])
				}
			}
			revisions = revisions[1:]
		}
		if !maps.Equal(truth, belief.state) {
			t.Fatalf("at revision %d a watcher of %q believed\n%v\nof\n%v", belief.revision, prefix, belief.state, truth)
		}
	}
	if len(revisions) > 0 {
		t.Errorf("the watcher of %q did not hear of %d commits", prefix, len(revisions))
	}
}

// believe follows a prefix from a list on until a revision.
func believe(ctx context.Context, t *testing.T, s objdb.Store, prefix string, last *atomic.Int64) []seen {
	t.Helper()
	kvs, revision, err := s.List(ctx, prefix)
	if err != nil {
		t.Error(err)
		return nil
	}
	mirror := make(state)
	for _, kv := range kvs {
		mirror[kv.Key] = stateAt(kv.Value, kv.Revision)
	}
	believed := []seen{{revision, maps.Clone(mirror)}}
	w := s.Watch(ctx, prefix, revision)
	for batch := range w.Batches() {
		for _, event := range batch.Events {
			if delete(mirror, event.Key); !event.Deleted {
				mirror[event.Key] = stateAt(event.Value, event.Revision)
			}
			if event.Revision <= revision || event.Revision > batch.Revision {
				t.Errorf("event of revision %d in a batch of %d after %d", event.Revision, batch.Revision, revision)
			}
		}
		revision = batch.Revision
		believed = append(believed, seen{revision, maps.Clone(mirror)})
		if end := last.Load(); end != 0 && revision >= end {
			return believed
		}
	}
	t.Errorf("watch of %q ended: %v", prefix, w.Err())
	return believed
}

// TestWatchersBelieveTheTruth: whatever others write, a watcher's state at each revision it is told is that of the
// store at that revision, key by key and revision by revision.
func TestWatchersBelieveTheTruth(t *testing.T) {
	server := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	history := commits{all: make(map[int64][]objdb.Op)}
	var last atomic.Int64

	var watchers, writers sync.WaitGroup
	const count = 4
	for i, prefix := range []string{"", "hot/", "new/", "new/1"} {
		store := open(t, server, "")
		watchers.Go(func() {
			believed := believe(ctx, t, store, prefix, &last)
			if i == 0 {
				t.Logf("%d batches", len(believed))
			}
			if ctx.Err() == nil {
				history.check(t, prefix, believed)
			}
		})
	}
	for writer := range count {
		store := open(t, server, "")
		writers.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(writer))) //nolint:gosec // a test
			for i := range 250 {
				ops := []objdb.Op{
					objdb.Put("hot/always", fmt.Append(nil, writer, i)),
					objdb.Put(fmt.Sprintf("new/%d/%d", writer, i), []byte("x")),
				}
				if key := fmt.Sprint("hot/", random.IntN(5)); random.IntN(3) == 0 {
					ops = append(ops, objdb.Delete(key))
				} else {
					ops = append(ops, objdb.Put(key, fmt.Append(nil, writer, i)))
				}
				if i > 3 && random.IntN(2) == 0 {
					ops = append(ops, objdb.Delete(fmt.Sprintf("new/%d/%d", writer, i-random.IntN(3)-1)))
				}
				revision, err := store.Commit(ctx, objdb.Txn{Then: ops})
				if err != nil {
					t.Error(err)
					return
				}
				history.add(revision, ops)
			}
		})
	}
	writers.Wait()
	store := open(t, server, "")
	end, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("hot/end", nil)}})
	must(t, err)
	history.add(end, []objdb.Op{objdb.Put("hot/end", nil)})
	last.Store(end)
	_, err = store.Commit(ctx, objdb.Txn{}) // one more batch for who had the last one before it was said to be that
	must(t, err)
	watchers.Wait()
}

// mirror is a receiver that remembers what it was told.
type mirror struct {
	mu       sync.Mutex
	state    state
	revision int64
	resets   int
}

func (m *mirror) Reset(kvs []objdb.KV, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.revision, m.resets = make(state), revision, m.resets+1
	for _, kv := range kvs {
		m.state[kv.Key] = stateAt(kv.Value, kv.Revision)
	}
}

func (m *mirror) Apply(batch objdb.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, event := range batch.Events {
		if delete(m.state, event.Key); !event.Deleted {
			m.state[event.Key] = stateAt(event.Value, event.Revision)
		}
	}
	m.revision = batch.Revision
}

// follow starts a mirror of a whole store.
func follow(t *testing.T, s objdb.Store) *mirror {
	t.Helper()
	m := &mirror{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = objdb.Follow(ctx, s, "", m) // ends with its context
	}()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

// equals waits until the mirror shows what the store holds.
func (m *mirror) equals(ctx context.Context, t *testing.T, s objdb.Store) {
	t.Helper()
	var want state
	eventually(ctx, t, "equality of mirror and store", func() bool {
		kvs, revision, err := s.List(ctx, "")
		if err != nil {
			return false
		}
		want = make(state)
		for _, kv := range kvs {
			want[kv.Key] = stateAt(kv.Value, kv.Revision)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.revision >= revision && maps.Equal(m.state, want)
	})
}

func eventually(ctx context.Context, t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no %s in time", what)
		}
	}
}

// TestKilledWhileWriting: Consul is killed again and again while clients write; what was acknowledged is there, and
// watchers end up with what is there.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	server := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	observer := open(t, server, "")
	m := follow(t, observer)

	var writers sync.WaitGroup
	var stop atomic.Bool
	var written atomic.Int64
	acknowledged := make([]int, 3)
	for writer := range acknowledged {
		store := open(t, server, "")
		writers.Go(func() {
			key := fmt.Sprint("w/", writer)
			for revision, i := int64(0), 1; !stop.Load(); i++ {
				short, cancel := context.WithTimeout(ctx, time.Second)
				done, err := store.Commit(short, objdb.Txn{
					If:   []objdb.Compare{{Key: key, Revision: revision}}, // so that what timed out cannot be done late
					Then: []objdb.Op{objdb.Put(key, fmt.Append(nil, i))},
				})
				switch {
				case err == nil:
					acknowledged[writer], revision = i, done
					written.Add(1)
				case errors.Is(err, objdb.ErrUnavailable), errors.Is(err, objdb.ErrConflict):
					if kv, err := store.Get(short, key); err == nil {
						revision = kv.Revision
					}
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	const kills = 2
	for range kills {
		before := written.Load()
		eventually(ctx, t, "progress", func() bool { return written.Load() > before+50 })
		server.Kill(t)
		server.Start(t)
	}
	server.Await(t)
	stop.Store(true)
	writers.Wait()
	for writer, most := range acknowledged {
		kv, err := observer.Get(ctx, fmt.Sprint("w/", writer))
		must(t, err)
		var got int
		if _, err := fmt.Sscan(string(kv.Value), &got); err != nil || got < most {
			t.Errorf("writer %d was told that %d is written, there is %s", writer, most, kv.Value)
		}
	}
	m.equals(ctx, t, observer)
	// A watcher that fell too far behind while it reconnected lists again; any other finds the records after a restart.
	if m.resets > 1+kills {
		t.Errorf("listed %d times for %d kills", m.resets, kills)
	}
}

// TestManyNames: a transaction whose keys do not fit into a record makes watchers list again.
func TestManyNames(t *testing.T) {
	t.Parallel()
	server := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, writer := open(t, server, ""), open(t, server, "")
	m := follow(t, store)
	m.equals(ctx, t, store)
	var txn objdb.Txn
	for i := range objdb.MaxTxnOps {
		txn.Then = append(txn.Then, objdb.Put(fmt.Sprintf("%s/%d", strings.Repeat("long", 100), i), nil))
	}
	_, err := writer.Commit(ctx, txn)
	must(t, err)
	m.equals(ctx, t, store)
	if m.resets != 2 {
		t.Errorf("listed %d times, want twice", m.resets)
	}
}

// TestLeaseOfDeadProcess: Consul ends the lease by itself, and who watches is told although nobody commits.
func TestLeaseOfDeadProcess(t *testing.T) {
	t.Parallel()
	server := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dying := open(t, server, "")
	early := open(t, server, "")
	atFirst := follow(t, early)
	atFirst.equals(ctx, t, early)
	lease, err := dying.Grant(ctx, time.Second)
	must(t, err)
	_, err = dying.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.PutLeased("alive", []byte("1"), lease), objdb.Put("stays", nil)}})
	must(t, err)
	late := open(t, server, "")
	afterwards := follow(t, late)
	afterwards.equals(ctx, t, late)
	_, listed, err := late.List(ctx, "")
	must(t, err)
	must(t, dying.Close())
	for _, m := range []*mirror{atFirst, afterwards} {
		eventually(ctx, t, "end of the lease", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			_, alive := m.state["alive"]
			return !alive && len(m.state) == 1
		})
		m.equals(ctx, t, late)
		if m.resets != 1 {
			t.Errorf("listed %d times, want once", m.resets)
		}
	}
	// Who opens the store now cannot know what ended after that list.
	w := open(t, server, "").Watch(ctx, "", listed)
	for range w.Batches() {
		t.Error("a batch from before the store was opened")
	}
	if !errors.Is(w.Err(), objdb.ErrCompacted) {
		t.Errorf("watch from before the store was opened: %v, want ErrCompacted", w.Err())
	}
}
