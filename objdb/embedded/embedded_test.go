package embedded

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/contiv/contiv/objdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReopenKeepsEverything(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	var id string
	var revision int64
	for round := range 3 {
		began := time.Now()
		s, err := Open(ctx, Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("open took %v", time.Since(began))
		if round > 0 {
			if s.ID() != id {
				t.Errorf("store id changed from %s to %s", id, s.ID())
			}
			kv, err := s.Get(ctx, "key")
			if err != nil || kv.Revision != revision {
				t.Errorf("after reopen: %+v, %v, want revision %d", kv, err, revision)
			}
		}
		id = s.ID()
		if revision, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("key", []byte("v"))}}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("close took %v", time.Since(began))
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := Open(ctx, Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v, want ErrInUse", err)
	}
}
