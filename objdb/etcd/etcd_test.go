package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/conformance"
	"github.com/contiv/contiv/objdb/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real etcd process with a data directory of its own.
type server struct {
	dir, url, peer string
	cmd            *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), url: freeURL(t), peer: freeURL(t)}
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

// freeURL names a port that was free a moment ago. etcd cannot be handed a listener.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

func (s *server) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command("/usr/bin/etcd", "--name", "m", "--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.url, "--advertise-client-urls", s.url,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer, "--initial-cluster", "m="+s.peer,
		"--heartbeat-interval", "20", "--election-timeout", "200")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
}

// open gives a client of the server, which may still be starting.
func (s *server) open(t *testing.T, root string) *etcd.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for {
		store, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{s.url}, Root: root})
		if err == nil {
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
			return store
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func (s *server) admin(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.url}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestConformance(t *testing.T) {
	s := newServer(t)
	s.open(t, "/warm-up/")
	admin := s.admin(t)
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
				return s.open(t, root)
			},
			Compact: func(t *testing.T) {
				t.Helper()
				s.open(t, root) // so that it runs
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
			Stop:  s.kill,
			Start: s.start,
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
	url := freeURL(t)
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
	s := newServer(t)
	s.open(t, "/warm-up/")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	store, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{freeURL(t), s.url}})
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
	s := newServer(t)
	store := s.open(t, "")
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
