// Package etcdtest runs a real etcd process for tests: the one of Debian's package etcd-server.
package etcdtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb/internal/process"
)

// Server is a cluster of one, on loopback, with a data directory of its own. It ends with the test.
type Server struct {
	URL string

	dir, peer string
	secure    *tls.Config // of NewSecure
	options   []string    // of it
	process   process.Process
}

// New starts a server and waits until it serves.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{dir: tb.TempDir(), URL: FreeURL(tb), peer: FreeURL(tb)}
	s.Start(tb)
	tb.Cleanup(func() { s.Kill(tb) })
	s.Await(tb)
	return s
}

// FreeURL names a port of loopback that was free a moment ago: etcd cannot be handed a listener.
func FreeURL(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("http://127.0.0.1:%d", process.FreePorts(tb, 1)[0])
}

// Start starts the process, again after Kill with the data it had. It does not wait.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.process.Log = filepath.Join(s.dir, "log")
	s.process.Start(tb, "package etcd-server", "/usr/bin/etcd", append(s.options, "--name", "m", "--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.URL, "--advertise-client-urls", s.URL,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer, "--initial-cluster", "m="+s.peer,
		"--heartbeat-interval", "20", "--election-timeout", "200")...)
}

// Kill ends the process with SIGKILL; one that has ended is no error.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.process.Kill(tb)
}

// Await waits until the server serves.
func (s *Server) Await(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.secure}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/health", nil)
		if err != nil {
			tb.Fatal(err)
		}
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("etcd does not serve; its log is %s/log", s.dir)
		}
	}
}
