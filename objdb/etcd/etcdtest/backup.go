package etcdtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Save backs the cluster up with etcd's own tool (package etcd-client).
func (s *Server) Save(tb testing.TB, file string) {
	tb.Helper()
	s.tool(tb, "snapshot", "save", file)
}

// Destroy kills the server and removes its data.
func (s *Server) Destroy(tb testing.TB) {
	tb.Helper()
	s.Kill(tb)
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		tb.Fatal(err)
	}
}

// Restore fills the data directory of a destroyed server from a backup and starts it, as docs/backup.md has it.
func (s *Server) Restore(tb testing.TB, file string) {
	tb.Helper()
	s.tool(tb, "snapshot", "restore", file, "--name", "m", "--data-dir", filepath.Join(s.dir, "data"),
		"--initial-cluster", "m="+s.peer, "--initial-advertise-peer-urls", s.peer)
	s.Start(tb)
	s.Await(tb)
	s.tool(tb, "del", "/contiv.io/meta/store/id")
}

func (s *Server) tool(tb testing.TB, args ...string) {
	tb.Helper()
	cmd := exec.Command("etcdctl", args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+s.URL)
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("etcdctl %v (package etcd-client): %v: %s", args, err, output)
	}
}
