package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/etcd"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
)

// TestTLS: the store is reached over https with a certificate of our own, and not without one.
func TestTLS(t *testing.T) {
	s, secure := etcdtest.NewSecure(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	store, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{s.URL}, TLS: secure})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("x", []byte("1"))}}); err != nil {
		t.Error(err)
	}
	for name, config := range map[string]*tls.Config{
		"no certificate":    {MinVersion: tls.VersionTLS12, RootCAs: secure.RootCAs},
		"unknown authority": {MinVersion: tls.VersionTLS12, Certificates: secure.Certificates},
	} {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := etcd.Open(short, etcd.Config{Endpoints: []string{s.URL}, TLS: config}); !errors.Is(err, objdb.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
