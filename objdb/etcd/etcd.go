// Package etcd keeps the cluster store in etcd, version 3.4 or newer, through its v3 interface.
//
// # Revisions in a shared etcd
//
// An etcd revision counts the changes of all programs that use the cluster, so "the newest revision of etcd" may be
// one that never shows up in a watch of ours. Every Commit therefore also writes objdb.TickKey, and Revision is a
// linearizable read of the revision at which that key was last written: a revision of a transaction of ours, which
// a watch of everything delivers or passes. The end of a lease changes keys without a tick; watches deliver it with its
// own, larger revision. A watch of a prefix asks etcd for that alone, so that it costs nothing while others write.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/internal/meta"
)

const (
	callTimeout = 10 * time.Second // of a call whose context has no deadline
	pageSize    = 5000             // keys that List reads at once
)

// Config says where the cluster is.
type Config struct {
	// Endpoints are URLs such as "http://10.0.0.1:2379"; any of them may be down.
	Endpoints []string
	// TLS is needed for https endpoints.
	TLS *tls.Config
	// Root is put before every key; default objdb.DefaultRoot.
	Root string
}

// Store implements objdb.Store.
type Store struct {
	client *clientv3.Client
	source Source
	root   string
	id     string

	watches sync.WaitGroup
	stopped context.Context
	stop    context.CancelFunc
}

// Open connects and reads or makes the store's id, so it fails with objdb.ErrUnavailable if the cluster does not
// answer before the context's deadline (10 s if it has none). Once open, the store reconnects by itself.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("opening etcd: no endpoint given")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		DialKeepAliveTime:    6 * time.Second, // etcd refuses clients that ping more often than every 5 s
		DialKeepAliveTimeout: 3 * time.Second,
		PermitWithoutStream:  true,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("opening etcd at %s: %w", strings.Join(cfg.Endpoints, ","), err)
	}
	s, err := New(ctx, client, nil, cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", strings.Join(cfg.Endpoints, ","), err)
	}
	return s, nil
}

// New is Open for a client that exists already; the store owns it from now on, also when New fails. Watches go through
// the source, nil for the client's own.
func New(ctx context.Context, client *clientv3.Client, source Source, root string) (*Store, error) {
	if root == "" {
		root = objdb.DefaultRoot
	}
	s := &Store{client: client, source: source, root: root}
	if source == nil {
		s.source = s.fromClient
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	var err error
	if s.id, err = meta.ID(ctx, s.Get, s.commit); err != nil {
		s.stop()
		_ = client.Close() // the first error is the one to tell
		return nil, fmt.Errorf("opening store: %w", err)
	}
	return s, nil
}

// ID implements objdb.Store.
func (s *Store) ID() string { return s.id }

// Revision implements objdb.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	return meta.Revision(ctx, s.Get)
}

// Get implements objdb.Store.
func (s *Store) Get(ctx context.Context, key string) (objdb.KV, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	// A server in this process may answer although the context has ended.
	if err := ctx.Err(); err != nil {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, classify(err))
	}
	resp, err := s.client.Get(ctx, s.root+key)
	if err != nil {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, classify(err))
	}
	if len(resp.Kvs) == 0 {
		return objdb.KV{}, fmt.Errorf("reading %q: %w", key, objdb.ErrNotFound)
	}
	return s.kv(resp.Kvs[0]), nil
}

// List implements objdb.Store. It reads in pages of one revision, so that a large store delays nobody else.
func (s *Store) List(ctx context.Context, prefix string) ([]objdb.KV, int64, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	var (
		kvs      []objdb.KV
		revision int64
		from     = s.root + prefix
		end      = clientv3.GetPrefixRangeEnd(from)
	)
	for {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(revision))
		if err != nil {
			return nil, 0, fmt.Errorf("listing %q: %w", prefix, classify(err))
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		for _, found := range resp.Kvs {
			if kv := s.kv(found); !objdb.IsReserved(kv.Key) {
				kvs = append(kvs, kv)
			}
		}
		if !resp.More {
			return kvs, revision, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// Commit implements objdb.Store.
func (s *Store) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	if err := txn.Check(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	return s.commit(ctx, txn)
}

func (s *Store) commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("committing: %w", classify(err))
	}
	ops, err := s.ops(txn.Then)
	if err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	resp, err := s.client.Txn(ctx).If(s.compares(txn.If)...).Then(ops...).Commit()
	if err != nil {
		return 0, fmt.Errorf("committing: %w", classify(err))
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("committing: %w", objdb.ErrConflict)
	}
	return resp.Header.Revision, nil
}

func (s *Store) compares(conditions []objdb.Compare) []clientv3.Cmp {
	cmps := make([]clientv3.Cmp, 0, len(conditions))
	for _, c := range conditions {
		// A key that does not exist has modification revision 0, which is what Absent asks for.
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(s.root+c.Key), "=", c.Revision))
	}
	return cmps
}

func (s *Store) ops(writes []objdb.Op) ([]clientv3.Op, error) {
	ops := make([]clientv3.Op, 0, len(writes)+1)
	for _, w := range writes {
		if w.Delete {
			ops = append(ops, clientv3.OpDelete(s.root+w.Key))
			continue
		}
		var options []clientv3.OpOption
		if w.Lease != nil {
			l, ok := w.Lease.(*lease)
			if !ok || l.store != s {
				return nil, fmt.Errorf("lease of %q is of another store: %w", w.Key, objdb.ErrLeaseLost)
			}
			options = append(options, clientv3.WithLease(l.id))
		}
		ops = append(ops, clientv3.OpPut(s.root+w.Key, string(w.Value), options...))
	}
	return append(ops, clientv3.OpPut(s.root+objdb.TickKey, "")), nil
}

// Close implements objdb.Store.
func (s *Store) Close() error {
	s.stop()
	s.watches.Wait()
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("closing etcd client: %w", err)
	}
	return nil
}

func (s *Store) kv(found *mvccpb.KeyValue) objdb.KV {
	return objdb.KV{Key: strings.TrimPrefix(string(found.Key), s.root), Value: found.Value, Revision: found.ModRevision}
}

// limit gives a context that has no deadline the driver's own.
func limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

// classify adds the class to an error of the etcd client. What is not known better is unavailability, because then
// the caller looks before it tries again.
func classify(err error) error {
	var class error
	switch {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		class = objdb.ErrCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		class = objdb.ErrLeaseLost
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		class = objdb.ErrTooLarge
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w (see \"etcdctl alarm list\"): %w", objdb.ErrUnavailable, objdb.ErrFull, err)
	default:
		class = objdb.ErrUnavailable
	}
	return fmt.Errorf("%w: %w", class, err)
}
