// Package consul keeps the cluster store in the key-value store of Consul 1.14 or newer.
//
// # Revisions
//
// A revision is the Raft index of a transaction, which Consul gives every key it writes (ModifyIndex). Every Commit
// also writes objdb.TickKey, so that one read in the same snapshot tells at which revision other keys were read:
// Consul can read several keys and prefixes together, but not at a revision of the past.
//
// # Watching
//
// Consul keeps no log of changes, and its blocking queries answer everything below a prefix. So every Commit also
// writes change records, which name the keys of the transaction, into two rings of its client's own: a short one below
// meta/store/now/, which every store follows with one blocking query (poll.go), and a long one below meta/store/log/,
// which is read only by who fell behind. Rings need no compare, so commits do not get in each other's way. What tells
// a watcher that it missed something is written in the records: each says the revision of the one whose place it took.
// Who is behind that much is told objdb.ErrCompacted.
//
// The end of a lease is no Commit: Consul itself deletes the keys. Therefore a Commit with leased keys also leaves a
// marker beside the records that belongs to the same session, names the keys and vanishes with them; that wakes the
// watchers, and who had seen the marker knows the keys. A store that was opened later cannot know, so watching after a
// revision older than its opening is answered objdb.ErrCompacted.
//
// A watch then reads the keys that were named (watch.go), and delivers a batch only when what it read is known to
// have been true at one revision.
//
// # Limits
//
// Consul does at most 128 operations in one transaction: each write is one, each compare another one unless a key is
// put that is also compared; three are the driver's. What does not fit is refused with objdb.ErrTooLarge. A lease
// lasts at least 10 s, and Consul may let it live twice as long.
//
// The token, if Consul asks for one, needs key_prefix write below the root and session_prefix write.
package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/internal/meta"
)

// Config says where the cluster is.
type Config struct {
	// Endpoints are URLs of Consul agents, such as "http://10.0.0.1:8500"; any of them may be down.
	Endpoints []string
	// TLS is for https endpoints; nil trusts the system's authorities.
	TLS *tls.Config
	// Token is sent with every request; empty: that of the environment's CONSUL_HTTP_TOKEN, if any.
	Token string
	// Root is put before every key; default objdb.DefaultRoot without its leading slash, which Consul's keys do not have.
	Root string
}

// Store implements objdb.Store.
type Store struct {
	agents *agents
	root   string
	id     string

	now, log *ring         // places for the change records of this client
	flags    atomic.Uint64 // differs with every write, see put
	poller   *poller

	running sync.WaitGroup
	stopped context.Context
	stop    context.CancelFunc
}

// Open connects and reads or makes the store's id, so it fails with objdb.ErrUnavailable if no agent answers before
// the context's deadline (10 s if it has none). Once open, the store reconnects by itself.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Root == "" {
		cfg.Root = objdb.DefaultRoot
	}
	agents, err := newAgents(cfg)
	if err != nil {
		return nil, fmt.Errorf("opening Consul: %w", err)
	}
	client := strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	s := &Store{
		agents: agents, root: strings.TrimPrefix(cfg.Root, "/"),
		now: newRing(nowPrefix+client, nowSlots), log: newRing(logPrefix+client, logSlots),
	}
	s.flags.Store(rand.Uint64() >> 12) //nolint:gosec // no secret, only different from others
	s.stopped, s.stop = context.WithCancel(context.Background())
	ctx, cancel := limit(ctx)
	defer cancel()
	if err := s.start(ctx); err != nil {
		s.stop()
		agents.close()
		return nil, fmt.Errorf("opening Consul at %s: %w", strings.Join(cfg.Endpoints, ","), err)
	}
	return s, nil
}

// start begins to follow the changes. What the first look shows and what the commit after it closes off together make
// sure that the poller misses nothing that comes after the commit.
func (s *Store) start(ctx context.Context) error {
	var err error
	if s.id, err = meta.ID(ctx, s.Get, s.commit); err != nil {
		return err
	}
	first, err := s.list(ctx, nowPrefix, 0)
	if err != nil {
		return err
	}
	begin, err := s.commit(ctx, objdb.Txn{})
	if err != nil {
		return err
	}
	_ = s.prune(ctx) // if it fails, the next one to open the store does it
	s.poller = newPoller(s, first, begin)
	s.running.Go(func() { s.poller.run(s.stopped) })
	return nil
}

// ID implements objdb.Store.
func (s *Store) ID() string { return s.id }

// Revision implements objdb.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	return meta.Revision(ctx, s.Get)
}

// Get implements objdb.Store.
func (s *Store) Get(ctx context.Context, key string) (objdb.KV, error) {
	found, err := s.snapshot(ctx, s.op(api.KVGetOrEmpty, key))
	if err != nil {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, err)
	}
	if len(found) != 1 || found[0].Revision == 0 {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, objdb.ErrNotFound)
	}
	return found[0], nil
}

// List implements objdb.Store. It reads the prefix and the tick in one snapshot.
func (s *Store) List(ctx context.Context, prefix string) ([]objdb.KV, int64, error) {
	found, err := s.snapshot(ctx, s.op(api.KVGet, objdb.TickKey), s.op(api.KVGetTree, prefix))
	if err != nil {
		return nil, 0, fmt.Errorf("listing %q: %w", prefix, err)
	}
	var kvs []objdb.KV
	for _, kv := range found[1:] {
		if !objdb.IsReserved(kv.Key) {
			kvs = append(kvs, kv)
		}
	}
	return kvs, found[0].Revision, nil
}

// Close implements objdb.Store.
func (s *Store) Close() error {
	s.stop()
	s.running.Wait()
	s.agents.close()
	return nil
}

// snapshot reads keys and prefixes as they are together at one moment, linearizable.
func (s *Store) snapshot(ctx context.Context, ops ...*api.TxnOp) ([]objdb.KV, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	var found []objdb.KV
	err := s.agents.read(ctx, func(ctx context.Context, client *api.Client) error {
		ok, answer, _, err := client.Txn().Txn(ops, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		if err != nil {
			return err //nolint:wrapcheck // wrapped by read
		}
		if !ok || len(answer.Results) == 0 && ops[0].KV.Verb != api.KVGetTree {
			return fmt.Errorf("%w: %s", errRefused, reasons(answer.Errors))
		}
		found = make([]objdb.KV, 0, len(answer.Results))
		for _, result := range answer.Results {
			found = append(found, s.kv(result.KV))
		}
		return nil
	})
	return found, err
}

// op is an operation of a transaction on a key or prefix below the root.
func (s *Store) op(verb api.KVOp, key string) *api.TxnOp {
	return &api.TxnOp{KV: &api.KVTxnOp{Verb: verb, Key: s.root + key}}
}

func (s *Store) kv(found *api.KVPair) objdb.KV {
	value := found.Value
	if value == nil {
		value = []byte{}
	}
	return objdb.KV{Key: strings.TrimPrefix(found.Key, s.root), Value: value, Revision: int64(found.ModifyIndex)} //nolint:gosec // a Raft index
}

// limit gives a context that has no deadline the driver's own.
func limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

const callTimeout = 10 * time.Second // of a call whose context has no deadline
