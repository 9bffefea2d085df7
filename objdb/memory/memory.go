// Package memory is a store in this process's memory, for tests: as strict as the real ones, with faults that can be
// switched on. New gives a fresh store; Peer another client of the same one.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/internal/feed"
)

// Store is one client of a store in memory. It implements objdb.Store.
type Store struct {
	db *database
	wg sync.WaitGroup // watches

	stop     context.CancelFunc
	stopped  context.Context
	leasesMu sync.Mutex
	leases   map[*lease]bool
}

// database is what clients share. Invariant: history holds every change after compacted, by rising revision.
type database struct {
	id string

	mu        sync.Mutex
	keys      map[string]item
	tick      int64 // of the newest Commit
	revision  int64 // of the newest change, which may be the end of a lease
	history   []objdb.Batch
	compacted int64
	down      map[*Store]bool
	changed   chan struct{} // closed and replaced whenever anything above changes
}

type item struct {
	objdb.KV
	lease *lease
}

// New makes an empty store. Its revisions begin at 1.
func New() *Store {
	return newClient(&database{
		id: uuid.NewString(), keys: make(map[string]item), revision: 1, tick: 1, compacted: 1,
		down: make(map[*Store]bool), changed: make(chan struct{}),
	})
}

func newClient(db *database) *Store {
	s := &Store{db: db, leases: make(map[*lease]bool)}
	s.stopped, s.stop = context.WithCancel(context.Background())
	return s
}

// Peer is another client of the same store, with its own leases, faults and end.
func (s *Store) Peer() *Store { return newClient(s.db) }

// SetUnavailable makes every call of this client fail with objdb.ErrUnavailable, its watches fall silent and its
// leases run out, until it is called with false; watches then resume with what they missed.
func (s *Store) SetUnavailable(down bool) {
	s.db.mu.Lock()
	s.db.down[s] = down
	s.db.wake()
	s.db.mu.Unlock()
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	for l := range s.leases {
		l.renewing(!down)
	}
}

// Compact forgets the history up to and including the newest revision: a watch after an older one fails with
// objdb.ErrCompacted.
func (s *Store) Compact() {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	s.db.compacted, s.db.history = s.db.revision, nil
	s.db.wake()
}

// ExpireLeases ends all leases of this client at once, as if it had not renewed them.
func (s *Store) ExpireLeases() {
	s.leasesMu.Lock()
	leases := make([]*lease, 0, len(s.leases))
	for l := range s.leases {
		leases = append(leases, l)
	}
	s.leasesMu.Unlock()
	for _, l := range leases {
		l.end(true)
	}
}

// ID implements objdb.Store.
func (s *Store) ID() string { return s.db.id }

// Revision implements objdb.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	defer s.db.mu.Unlock()
	if err := s.enter(ctx, "reading the revision"); err != nil {
		return 0, err
	}
	return s.db.tick, nil
}

// Get implements objdb.Store.
func (s *Store) Get(ctx context.Context, key string) (objdb.KV, error) {
	defer s.db.mu.Unlock()
	if err := s.enter(ctx, "reading "+key); err != nil {
		return objdb.KV{}, err
	}
	found, ok := s.db.keys[key]
	if !ok {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, objdb.ErrNotFound)
	}
	return copyOf(found.KV), nil
}

// List implements objdb.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]objdb.KV, int64, error) {
	defer s.db.mu.Unlock()
	if err := s.enter(ctx, "listing "+prefix); err != nil {
		return nil, 0, err
	}
	var kvs []objdb.KV
	for key, found := range s.db.keys {
		if strings.HasPrefix(key, prefix) {
			kvs = append(kvs, copyOf(found.KV))
		}
	}
	sort.Slice(kvs, func(i, j int) bool { return kvs[i].Key < kvs[j].Key })
	return kvs, s.db.revision, nil
}

// Commit implements objdb.Store.
func (s *Store) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	if err := txn.Check(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	defer s.db.mu.Unlock()
	if err := s.enter(ctx, "committing"); err != nil {
		return 0, err
	}
	for _, c := range txn.If {
		if s.db.keys[c.Key].Revision != c.Revision {
			return 0, fmt.Errorf("committing: %q is not at revision %d: %w", c.Key, c.Revision, objdb.ErrConflict)
		}
	}
	for _, op := range txn.Then {
		if l, ok := op.Lease.(*lease); op.Lease != nil && (!ok || l.ended) {
			return 0, fmt.Errorf("committing %q: %w", op.Key, objdb.ErrLeaseLost)
		}
	}
	s.db.apply(txn.Then)
	s.db.tick = s.db.revision
	return s.db.revision, nil
}

// apply writes the operations as one new revision; mu is held.
func (db *database) apply(ops []objdb.Op) {
	db.revision++
	batch := objdb.Batch{Revision: db.revision}
	for _, op := range ops {
		kv := objdb.KV{Key: op.Key, Revision: db.revision}
		if op.Delete {
			if _, ok := db.keys[op.Key]; !ok {
				continue
			}
			delete(db.keys, op.Key)
		} else {
			kv.Value = append([]byte{}, op.Value...)
			l, _ := op.Lease.(*lease)
			db.keys[op.Key] = item{KV: kv, lease: l}
		}
		batch.Events = append(batch.Events, objdb.Event{KV: kv, Deleted: op.Delete})
	}
	db.history = append(db.history, batch)
	db.wake()
}

func (db *database) wake() {
	close(db.changed)
	db.changed = make(chan struct{})
}

// Watch implements objdb.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) objdb.Watcher {
	f := feed.New(prefix)
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f.Run(ctx, func(ctx context.Context, push func(objdb.Batch)) error { return s.follow(ctx, after, push) })
	}()
	return f
}

func (s *Store) follow(ctx context.Context, after int64, push func(objdb.Batch)) error {
	for {
		news, changed, err := s.since(after)
		if err != nil {
			return err
		}
		for _, b := range news {
			push(objdb.Batch{Revision: b.Revision, Events: slices.Clone(b.Events)})
			after = b.Revision
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopped.Done():
			return fmt.Errorf("watching: store closed: %w", objdb.ErrUnavailable)
		}
	}
}

// since returns the batches after a revision and what is closed at the next change.
func (s *Store) since(after int64) ([]objdb.Batch, <-chan struct{}, error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	if s.db.down[s] {
		return nil, s.db.changed, nil
	}
	if after < s.db.compacted || after > s.db.revision {
		return nil, nil, fmt.Errorf("watching after revision %d: %w", after, objdb.ErrCompacted)
	}
	first := sort.Search(len(s.db.history), func(i int) bool { return s.db.history[i].Revision > after })
	return s.db.history[first:len(s.db.history):len(s.db.history)], s.db.changed, nil
}

// Close implements objdb.Store.
func (s *Store) Close() error {
	s.stop()
	s.wg.Wait()
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	for l := range s.leases {
		l.renewing(false)
	}
	return nil
}

// enter locks the database, also when it fails.
func (s *Store) enter(ctx context.Context, doing string) error {
	s.db.mu.Lock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w: %w", doing, objdb.ErrUnavailable, ctx.Err())
	case s.stopped.Err() != nil:
		return fmt.Errorf("%s: store closed: %w", doing, objdb.ErrUnavailable)
	case s.db.down[s]:
		return fmt.Errorf("%s: %w", doing, objdb.ErrUnavailable)
	}
	return nil
}

func copyOf(kv objdb.KV) objdb.KV {
	kv.Value = append([]byte{}, kv.Value...)
	return kv
}

// lease implements objdb.Lease. ended is guarded by the database's mutex, timer by the client's leasesMu.
type lease struct {
	store *Store
	ttl   time.Duration
	timer *time.Timer
	ended bool
	done  chan struct{}
}

// Grant implements objdb.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (objdb.Lease, error) {
	err := s.enter(ctx, "granting a lease")
	s.db.mu.Unlock()
	if err != nil {
		return nil, err
	}
	l := &lease{store: s, ttl: ttl, done: make(chan struct{})}
	s.leasesMu.Lock()
	s.leases[l] = true
	s.leasesMu.Unlock()
	return l, nil
}

// Done implements objdb.Lease.
func (l *lease) Done() <-chan struct{} { return l.done }

// Close implements objdb.Lease.
func (l *lease) Close(ctx context.Context) error {
	err := l.store.enter(ctx, "closing a lease")
	l.store.db.mu.Unlock()
	if err != nil {
		return err
	}
	l.end(false)
	return nil
}

// renewing tells whether the client still renews the lease; leasesMu is held.
func (l *lease) renewing(on bool) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if !on {
		l.timer = time.AfterFunc(l.ttl, func() { l.end(true) })
	}
}

func (l *lease) end(lost bool) {
	l.store.leasesMu.Lock()
	delete(l.store.leases, l)
	if l.timer != nil {
		l.timer.Stop()
	}
	l.store.leasesMu.Unlock()

	db := l.store.db
	db.mu.Lock()
	defer db.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	var ops []objdb.Op
	for key, found := range db.keys {
		if found.lease == l {
			ops = append(ops, objdb.Delete(key))
		}
	}
	if len(ops) > 0 {
		db.apply(ops)
	}
	if lost {
		close(l.done)
	}
}
