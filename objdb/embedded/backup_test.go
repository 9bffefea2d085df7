package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contiv/contiv/objdb"
)

// TestBackup: a snapshot taken while the store is written to is restored as it was at one moment, with a new id; it is one
// that etcdctl reads too. What is no snapshot, or of something else, is refused and leaves nothing.
func TestBackup(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := Open(ctx, Config{Dir: filepath.Join(dir, "old")})
	if err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	var last int64
	for i := range 50 {
		if last, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put(fmt.Sprintf("obj/%03d", i), []byte("v"))}}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "backup.db")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Snapshot(ctx, out), out.Close()); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Snapshot(ended, &strings.Builder{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a snapshot that nobody waits for: %v", err)
	}
	_, err = s.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("obj/later", nil)}})
	if err := errors.Join(err, Restore(ctx, file, Config{Dir: filepath.Join(dir, "new")})); err != nil {
		t.Fatal(err)
	}
	if err := Restore(ctx, file, Config{Dir: filepath.Join(dir, "old")}); !errors.Is(err, ErrInUse) {
		t.Errorf("over a store that runs: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Restore(ctx, file, Config{Dir: filepath.Join(dir, "old")}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("over a store: %v", err)
	}
	restored, err := Open(ctx, Config{Dir: filepath.Join(dir, "new")})
	if err != nil {
		t.Fatal(err)
	}
	kvs, _, err := restored.List(ctx, "obj/")
	if err != nil || len(kvs) != 50 || kvs[49].Revision != last || restored.ID() == id || restored.ID() == "" {
		t.Errorf("restored %d keys, %v, id %s of %s", len(kvs), err, restored.ID(), id)
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	status := exec.Command("etcdctl", "snapshot", "status", file)
	status.Env = append(os.Environ(), "ETCDCTL_API=3")
	if output, err := status.CombinedOutput(); err != nil {
		t.Errorf("etcdctl (package etcd-client): %v: %s", err, output)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"empty": nil, "nonsense": []byte("nonsense"), "cut": whole[:len(whole)/2], "damaged": damaged(whole)} {
		bad, into := filepath.Join(dir, name), filepath.Join(dir, "into-"+name)
		if err := os.WriteFile(bad, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Restore(ctx, bad, Config{Dir: into}); err == nil {
			t.Errorf("%s: restored", name)
		}
		left, err := os.ReadDir(into)
		if err != nil || len(left) > 1 { // the lock
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	if err := Restore(ctx, filepath.Join(dir, "nowhere"), Config{Dir: filepath.Join(dir, "x")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := Restore(ctx, file, Config{Dir: filepath.Join(dir, "y"), Root: "/elsewhere/"}); err == nil {
		t.Error("restored what holds nothing of ours")
	}
}

func damaged(whole []byte) []byte {
	out := append([]byte(nil), whole...)
	out[len(out)/3] ^= 0xff
	return out
}
