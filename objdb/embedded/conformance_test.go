package embedded

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/conformance"
	"github.com/contiv/contiv/objdb/etcd"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Harness {
		t.Helper()
		ctx := context.Background()
		s, err := Open(ctx, Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		admin := v3client.New(s.server)
		t.Cleanup(func() {
			_ = admin.Close()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		must := func(t *testing.T, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		return conformance.Harness{
			Open: func(t *testing.T) objdb.Store {
				t.Helper()
				client, err := etcd.New(ctx, v3client.New(s.server), watchOf(s.server), "")
				must(t, err)
				t.Cleanup(func() { must(t, client.Close()) })
				return client
			},
			Compact: func(t *testing.T) {
				t.Helper()
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
			Foreign: func(t *testing.T, n int) {
				t.Helper()
				for range n {
					_, err := admin.Put(ctx, "/other/key", "", clientv3.WithPrevKV())
					must(t, err)
				}
			},
		}
	}, "WatchSurvivesRestart") // its clients end with it
}
