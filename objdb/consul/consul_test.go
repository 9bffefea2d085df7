package consul

import (
	"context"
	"errors"
	"fmt"
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
