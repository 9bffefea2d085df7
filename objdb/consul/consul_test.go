package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/conformance"
	"github.com/contiv/contiv/objdb/consul/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, s *consultest.Server, root string) *Store {
	t.Helper()
	store, err := Open(context.Background(), Config{Endpoints: []string{s.URL}, Root: root})
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

func newAdmin(t *testing.T, s *consultest.Server) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = s.URL
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(config.Transport.CloseIdleConnections)
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	s := consultest.New(t)
	admin := newAdmin(t, s)
	test := 0
	conformance.Run(t, func(t *testing.T) conformance.Harness {
		t.Helper()
		test++
		root := fmt.Sprintf("test-%d/", test)
		ctx := context.Background()
		return conformance.Harness{
			Open: func(t *testing.T) objdb.Store {
				t.Helper()
				return open(t, s, root)
			},
			Compact: func(t *testing.T) {
				t.Helper()
				s.Await(t)
				store := open(t, s, root)
				revision, err := store.Revision(ctx)
				must(t, err)
				must(t, store.cut(ctx, nowPrefix, revision))
				must(t, store.cut(ctx, logPrefix, revision))
			},
			Lapse: func(t *testing.T, _ objdb.Store) {
				t.Helper()
				sessions, _, err := admin.Session().List(nil)
				must(t, err)
				for _, session := range sessions {
					_, err := admin.Session().Destroy(session.ID, nil)
					must(t, err)
				}
			},
			Stop:  func(t *testing.T) { t.Helper(); s.Kill(t) },
			Start: func(t *testing.T) { t.Helper(); s.Start(t) },
			Foreign: func(t *testing.T, n int) {
				t.Helper()
				for range n {
					_, err := admin.KV().Put(&api.KVPair{Key: "test-"}, nil)
					must(t, err)
				}
			},
		}
	})
}

func TestOpenOfNothing(t *testing.T) {
	url := consultest.FreeURL(t)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Config{Endpoints: []string{url}})
	if !errors.Is(err, objdb.ErrUnavailable) || !strings.Contains(err.Error(), url) {
		t.Errorf("got %v, want ErrUnavailable with the endpoint", err)
	}
	for _, endpoints := range [][]string{nil, {"10.0.0.1:8500"}, {"consul://10.0.0.1:8500"}} {
		if _, err := Open(ctx, Config{Endpoints: endpoints}); err == nil || errors.Is(err, objdb.ErrUnavailable) {
			t.Errorf("endpoints %q: got %v, want a refusal", endpoints, err)
		}
	}
}

func TestOneDeadEndpoint(t *testing.T) {
	t.Parallel()
	s := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	store, err := Open(ctx, Config{Endpoints: []string{consultest.FreeURL(t), s.URL, consultest.FreeURL(t)}})
	must(t, err)
	defer func() { must(t, store.Close()) }()
	for i := range 10 {
		_, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("x", []byte{byte(i)})}})
		must(t, err)
	}
}

// TestSilentEndpoint: an agent that takes connections and says nothing costs one call its patience, and no more.
func TestSilentEndpoint(t *testing.T) {
	t.Parallel()
	s := consultest.New(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	store, err := Open(ctx, Config{Endpoints: []string{s.URL, "http://" + silent.Addr().String()}})
	must(t, err)
	defer func() { must(t, store.Close()) }()
	s.Kill(t)
	eventually(ctx, t, "turn to the silent agent", func() bool {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := store.Get(short, "x")
		return errors.Is(err, context.DeadlineExceeded)
	})
	s.Start(t)
	s.Await(t)
	var last int64
	eventually(ctx, t, "commit through the agent that answers", func() bool {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		last, err = store.Commit(short, objdb.Txn{Then: []objdb.Op{objdb.Put("x", nil)}})
		return err == nil
	})
	w := store.Watch(ctx, "", last)
	last, err = store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("x", nil)}})
	must(t, err)
	for batch := range w.Batches() {
		if batch.Revision >= last {
			cancel()
		}
	}
	if !errors.Is(w.Err(), context.Canceled) {
		t.Errorf("watch ended with %v", w.Err())
	}
}

// leastToken makes a token that may do what the package comment says is needed, and nothing else.
func leastToken(t *testing.T, url string, secure *tls.Config, management string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}
	admin, err := api.NewClient(&api.Config{Address: url, Token: management, HttpClient: &http.Client{Transport: transport}})
	must(t, err)
	policy, _, err := admin.ACL().PolicyCreate(&api.ACLPolicy{
		Name: "contiv", Rules: `key_prefix "contiv.io/" { policy = "write" } session_prefix "" { policy = "write" }`,
	}, nil)
	must(t, err)
	token, _, err := admin.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	must(t, err)
	return token.SecretID
}

func TestTLSAndToken(t *testing.T) {
	t.Parallel()
	s, secure, management := consultest.NewSecure(t)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	token := leastToken(t, s.URL, secure, management)
	store, err := Open(ctx, Config{Endpoints: []string{s.URL}, TLS: secure, Token: token})
	must(t, err)
	defer func() { must(t, store.Close()) }()
	lease, err := store.Grant(ctx, time.Second)
	must(t, err)
	_, err = store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.PutLeased("x", []byte("1"), lease)}})
	must(t, err)
	must(t, lease.Close(ctx))

	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := Open(short, Config{Endpoints: []string{s.URL}, TLS: secure}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without the token: %v, want an error that names it", err)
	}
	if _, err := Open(short, Config{Endpoints: []string{s.URL}, Token: token}); !errors.Is(err, objdb.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v, want an error about the certificate", err)
	}
}

// TestRecordsDoNotPileUp: however many clients came and went, the rings stay short, and those who follow notice nothing.
func TestRecordsDoNotPileUp(t *testing.T) {
	t.Parallel()
	s := consultest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	observer := open(t, s, "")
	m := follow(t, observer)
	for i := range 20 {
		client, err := Open(ctx, Config{Endpoints: []string{s.URL}})
		must(t, err)
		for j := range nowSlots {
			_, err := client.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put(fmt.Sprint("k", j), fmt.Append(nil, i))}})
			must(t, err)
		}
		must(t, client.Close())
		m.equals(ctx, t, observer)
	}
	seen, err := observer.list(ctx, nowPrefix, 0)
	must(t, err)
	if most := 3*nowSlots + 4; len(seen.kvs) > most {
		t.Errorf("%d records after 20 clients, want at most %d", len(seen.kvs), most)
	}
	if m.resets != 1 {
		t.Errorf("listed %d times, want once", m.resets)
	}
}
