package embedded

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/contiv/contiv/objdb"
)

// ErrNotEmpty is wrapped by Restore when the directory holds a store already.
var ErrNotEmpty = errors.New("the directory holds a store already")

// Snapshot writes the whole store, as it is at one moment, in the form of "etcdctl snapshot save". The store goes on
// meanwhile.
func (s *Store) Snapshot(ctx context.Context, out io.Writer) error {
	backend := s.server.Backend().Snapshot()
	defer func() { _ = backend.Close() }()
	sum := sha256.New()
	if _, err := backend.WriteTo(&until{ctx, io.MultiWriter(out, sum)}); err != nil {
		if ctx.Err() != nil { // which the library does not wrap
			err = ctx.Err()
		}
		return fmt.Errorf("writing a snapshot of the embedded store: %w", err)
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("writing a snapshot of the embedded store: %w", err)
	}
	return nil
}

// until is a writer that fails when the context has ended.
type until struct {
	ctx context.Context
	io.Writer
}

func (u *until) Write(data []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err //nolint:wrapcheck // Snapshot says what was being done
	}
	return u.Writer.Write(data) //nolint:wrapcheck // likewise
}

// Restore makes a store of a snapshot, in a directory that holds none (ErrNotEmpty); a failure leaves nothing there. The
// new store has another id than the one of the snapshot: what was written after that is not in its history, and who
// followed the old one must not take the two for the same.
func Restore(ctx context.Context, file string, cfg Config) error {
	if err := restore(ctx, file, cfg); err != nil {
		return fmt.Errorf("restoring %q into %q: %w", file, cfg.Dir, err)
	}
	return nil
}

func restore(ctx context.Context, file string, cfg Config) error {
	if _, err := os.Stat(file); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	target := filepath.Join(cfg.Dir, "member")
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: move it away first", ErrNotEmpty)
	}
	made, err := os.MkdirTemp(cfg.Dir, "restore-")
	if err != nil {
		return fmt.Errorf("making a directory to restore to: %w", err)
	}
	defer func() { _ = os.RemoveAll(made) }()
	fresh := serverConfig(Config{Dir: filepath.Join(made, "store"), Log: orStandard(cfg.Log)})
	err = snapshot.NewV3(fresh.Logger).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: fresh.Name, OutputDataDir: fresh.DataDir, PeerURLs: fresh.PeerURLs.StringSlice(),
		InitialCluster: fresh.InitialPeerURLsMap.String(), InitialClusterToken: fresh.InitialClusterToken,
	})
	if err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	if err := forgetID(ctx, Config{Dir: fresh.DataDir, Root: cfg.Root, Log: cfg.Log}); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(fresh.DataDir, "member"), target); err != nil {
		return fmt.Errorf("putting the store into place: %w", err)
	}
	return nil
}

// ownKeys is how many keys opening a store makes: its id and its tick.
const ownKeys = 2

// forgetID lets whoever opens the store next make a new id.
func forgetID(ctx context.Context, cfg Config) (err error) {
	s, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	admin := v3client.New(s.server)
	defer func() { _ = admin.Close() }()
	root := cfg.Root
	if root == "" {
		root = objdb.DefaultRoot
	}
	now, err := admin.Get(ctx, root, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("looking into the store: %w", err)
	}
	if now.Count <= ownKeys {
		return fmt.Errorf("nothing in the snapshot is below %q: it is not of netmaster", root)
	}
	if _, err := admin.Delete(ctx, root+objdb.IDKey); err != nil {
		return fmt.Errorf("giving the store a new id: %w", err)
	}
	return nil
}
