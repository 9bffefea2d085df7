// Package embedded is the store of a single netmaster: an etcd server inside this process, with its files in a data
// directory. It listens on nothing, its client calls it directly. Writes are on disk (fsync) before they are answered.
//
// History is kept for ten to twenty minutes, so a watch resumes after a pause shorter than that. The files may grow
// to 4 GiB; then writes fail with objdb.ErrUnavailable and say so.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3compactor"
	"go.etcd.io/etcd/server/v3/features"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/etcd"
)

const (
	historyKept = 10 * time.Minute
	quotaBytes  = 4 << 30
	// How much of the log is kept in memory and read at start. etcd keeps 15 000 entries for members that lag; here is
	// none.
	snapshotCount  = 2000
	catchUpEntries = 10
	startTimeout   = 20 * time.Second // recovery of a large log included
)

// ErrInUse is wrapped by Open when another process has the data directory open.
var ErrInUse = errors.New("data directory is in use")

// Config says where the files are.
type Config struct {
	// Dir is made (mode 0700) if it does not exist. One process at a time may have it open.
	Dir string
	// Root is put before every key; default objdb.DefaultRoot.
	Root string
	// Log gets the server's errors, and its last words if the disk fails, on which etcd ends the process.
	// Nil: the standard logger.
	Log *logrus.Entry
}

// Store implements objdb.Store.
type Store struct {
	*etcd.Store
	server *etcdserver.EtcdServer
	lock   *os.File
}

// Open starts the server on the directory and returns when it serves, ErrInUse if another process has it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening embedded store: %w", err)
	}
	s, err := open(ctx, cfg)
	if err != nil {
		_ = lock.Close() // the first error is the one to tell
		return nil, fmt.Errorf("opening embedded store in %q: %w", cfg.Dir, err)
	}
	s.lock = lock
	return s, nil
}

func open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.Log = orStandard(cfg.Log)
	server, err := etcdserver.NewServer(serverConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	server.Start()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-server.ReadyNotify():
	case <-server.StopNotify():
		err = fmt.Errorf("etcd stopped: %w", objdb.ErrUnavailable)
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", objdb.ErrUnavailable, ctx.Err())
	}
	if err != nil {
		server.HardStop()
		return nil, fmt.Errorf("waiting for etcd: %w", err)
	}
	client, err := etcd.New(ctx, v3client.New(server), watchOf(server), cfg.Root)
	if err != nil {
		server.HardStop()
		return nil, err
	}
	return &Store{Store: client, server: server}, nil
}

func orStandard(log *logrus.Entry) *logrus.Entry {
	if log == nil {
		return logrus.NewEntry(logrus.StandardLogger())
	}
	return log
}

// Close stops the client and then the server; the directory can be opened again afterwards.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.server.HardStop()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

// lockDir makes the directory and takes the lock that keeps other processes out. The kernel drops it with the process.
func lockDir(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("no data directory given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("making lock file: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path) //nolint:gosec // only to name the process, may be empty
		_ = file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %q: %w", path, err)
		}
		return nil, fmt.Errorf("%w: %q is held by process %s; stop it or choose another directory",
			ErrInUse, dir, strings.TrimSpace(string(holder)))
	}
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(file, "%d\n", os.Getpid()) // a hint for people, nothing reads it but the message above
	}
	return file, nil
}

// serverConfig is that of a cluster of one that talks to nobody. With one member, ticks only decide how soon it
// elects itself at start.
func serverConfig(cfg Config) config.ServerConfig {
	const name = "contiv"
	nowhere := types.MustNewURLs([]string{"http://127.0.0.1:0"})
	logger := newLogger(cfg.Log)
	return config.ServerConfig{
		Name:                    name,
		DataDir:                 cfg.Dir,
		PeerURLs:                nowhere,
		InitialPeerURLsMap:      types.URLsMap{name: nowhere},
		InitialClusterToken:     name,
		NewCluster:              true,
		TickMs:                  30,
		ElectionTicks:           4,
		SnapshotCount:           snapshotCount,
		SnapshotCatchUpEntries:  catchUpEntries,
		MaxSnapFiles:            3,
		MaxWALFiles:             3,
		BackendFreelistType:     bolt.FreelistMapType,
		QuotaBackendBytes:       quotaBytes,
		AutoCompactionMode:      v3compactor.ModePeriodic,
		AutoCompactionRetention: historyKept,
		MaxTxnOps:               2 * objdb.MaxTxnOps,
		MaxRequestBytes:         4 * objdb.MaxTxnBytes,
		WarningApplyDuration:    time.Second,
		AuthToken:               "simple",
		TokenTTL:                300,
		StrictReconfigCheck:     true,
		V2Deprecation:           config.V2DeprDefault,
		ServerFeatureGate:       features.NewDefaultServerFeatureGate(name, logger),
		Logger:                  logger,
	}
}
