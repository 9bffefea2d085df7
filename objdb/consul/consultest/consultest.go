// Package consultest runs a real Consul agent for tests: the one that "make consul" built, or that CONTIV_CONSUL names.
package consultest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb/internal/process"
)

// built is where "make consul" puts it, below the home directory.
const built = ".cache/contiv/consul-1.20.6/consul"

// Server is a cluster of one, on loopback, with a data directory of its own. It ends with the test.
type Server struct {
	URL string

	dir, config string
	process     process.Process
	client      *http.Client
}

// New starts a server and waits until it serves.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{dir: tb.TempDir(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	ports := process.FreePorts(tb, 3)
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	s.configure(tb, basics(ports))
	s.begin(tb)
	return s
}

func (s *Server) begin(tb testing.TB) {
	tb.Helper()
	s.Start(tb)
	tb.Cleanup(func() { s.Kill(tb) })
	s.Await(tb)
}

// FreeURL names a port of loopback that was free a moment ago.
func FreeURL(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("http://127.0.0.1:%d", process.FreePorts(tb, 1)[0])
}

// basics is the part of the configuration that every server has. The first port is that of http.
func basics(ports []int) map[string]any {
	return map[string]any{
		"server": true, "bootstrap": true, "node_name": "m", "datacenter": "dc1", "log_level": "warn",
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "disable_update_check": true,
		"connect": map[string]any{"enabled": false}, "performance": map[string]any{"raft_multiplier": 1},
		"ports": map[string]int{
			"http": ports[0], "server": ports[1], "serf_lan": ports[2], "serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1,
		},
	}
}

func (s *Server) configure(tb testing.TB, config map[string]any) {
	tb.Helper()
	config["data_dir"] = filepath.Join(s.dir, "data")
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		tb.Fatal(err)
	}
	s.config = filepath.Join(s.dir, "consul.json")
	if err := os.WriteFile(s.config, text, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func binary(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("CONTIV_CONSUL"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(home, built)
}

// Start starts the process, again after Kill with the data it had. It does not wait.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.process.Log = filepath.Join(s.dir, "log")
	s.process.Start(tb, `"make consul" builds it`, binary(tb), "agent", "-config-file", s.config)
}

// Kill ends the process with SIGKILL; one that has ended is no error.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.process.Kill(tb)
}

// Await waits until the server has a leader, itself.
func (s *Server) Await(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !s.serves(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			lines := strings.Split(string(log), "\n")
			tb.Fatalf("Consul does not serve; the end of its log: %s", strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
}

// serves tells whether a linearizable read is answered.
func (s *Server) serves(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/kv/?keys&separator=/&consistent", nil)
	if err != nil {
		return false
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK || response.StatusCode == http.StatusNotFound
}
