package consultest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Save backs the cluster up with Consul's own tool.
func (s *Server) Save(tb testing.TB, file string) {
	tb.Helper()
	s.tool(tb, "snapshot", "save", file)
}

// Destroy kills the server and removes its data; Start begins with nothing.
func (s *Server) Destroy(tb testing.TB) {
	tb.Helper()
	s.Kill(tb)
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		tb.Fatal(err)
	}
}

// Restore starts a destroyed server and fills it from a backup, as docs/backup.md has it.
func (s *Server) Restore(tb testing.TB, file string) {
	tb.Helper()
	s.Start(tb)
	s.Await(tb)
	s.tool(tb, "snapshot", "restore", file)
	s.tool(tb, "kv", "delete", "contiv.io/meta/store/id")
}

func (s *Server) tool(tb testing.TB, args ...string) {
	tb.Helper()
	cmd := exec.Command(binary(tb), args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+s.URL)
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("consul %v: %v: %s", args, err, output)
	}
}
