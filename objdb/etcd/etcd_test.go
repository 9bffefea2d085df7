package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/conformance"
	"github.com/contiv/contiv/objdb/etcd"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, s *etcdtest.Server, root string) *etcd.Store {
	t.Helper()
	store, err := etcd.Open(context.Background(), etcd.Config{Endpoints: []string{s.URL}, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newAdmin(t *testing.T, s *etcdtest.Server) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestConformance(t *testing.T) {
	s := etcdtest.New(t)
	admin := newAdmin(t, s)
	test := 0
	conformance.Run(t, func(*testing.T) conformance.Harness {
		test++
		root := fmt.Sprintf("/test-%d/", test)
		ctx := context.Background()
		must := func(t *testing.T, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		return conformance.Harness{
			Open: func(t *testing.T) objdb.Store {
				t.Helper()
				return open(t, s, root)
			},
			Compact: func(t *testing.T) {
				t.Helper()
				s.Await(t)
				now, err := admin.Get(ctx, "any")
				must(t, err)
				_, err = admin.Compact(ctx, now.Header.Revision)
				must(t, err)
			},
			Lapse: func(t *testing.T, _ objdb.Store) {
				t.Helper()
				leases, err := admin.Leases(ctx)
				must(t, err)
				for _, lease := range leases.Leases {
					_, err := admin.Revoke(ctx, lease.ID)
					must(t, err)
				}
			},
			Stop:  func(t *testing.T) { t.Helper(); s.Kill(t) },
			Start: func(t *testing.T) { t.Helper(); s.Start(t) },
			Foreign: func(t *testing.T, n int) {
				t.Helper()
				for range n {
					_, err := admin.Put(ctx, "/test", "")
					must(t, err)
				}
			},
		}
	})
}

func TestOpenOfNothing(t *testing.T) {
	url := etcdtest.FreeURL(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{url}})
	if !errors.Is(err, objdb.ErrUnavailable) || !strings.Contains(err.Error(), url) {
		t.Errorf("got %v, want ErrUnavailable with the endpoint", err)
	}
	if _, err := etcd.Open(ctx, etcd.Config{}); err == nil {
		t.Error("no endpoint was accepted")
	}
}

func TestOneDeadEndpoint(t *testing.T) {
	s := etcdtest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	store, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{etcdtest.FreeURL(t), s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for i := range 10 {
		if _, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("x", []byte{byte(i)})}}); err != nil {
			t.Fatalf("commit %d with one dead endpoint: %v", i, err)
		}
	}
}

func TestListReadsInPages(t *testing.T) {
	s := etcdtest.New(t)
	store := open(t, s, "")
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	const keys = 5200 // one page and a bit
	for i := 0; i < keys; i += objdb.MaxTxnOps {
		var txn objdb.Txn
		for j := i; j < min(i+objdb.MaxTxnOps, keys); j++ {
			txn.Then = append(txn.Then, objdb.Put(fmt.Sprintf("k/%05d", j), nil))
		}
		if _, err := store.Commit(ctx, txn); err != nil {
			t.Fatal(err)
		}
	}
	kvs, _, err := store.List(ctx, "k/")
	if err != nil || len(kvs) != keys {
		t.Fatalf("%d keys, %v, want %d", len(kvs), err, keys)
	}
	for i, kv := range kvs {
		if kv.Key != fmt.Sprintf("k/%05d", i) {
			t.Fatalf("key %d is %s", i, kv.Key)
		}
	}
}
