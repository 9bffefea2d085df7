// Package etcdtest runs a real etcd process for tests: the one of Debian's package etcd-server.
package etcdtest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Server is a cluster of one, on loopback, with a data directory of its own. It ends with the test.
type Server struct {
	URL string

	dir, peer string
	cmd       *exec.Cmd
}

// New starts a server and waits until it serves.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), URL: FreeURL(t), peer: FreeURL(t)}
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	s.Await(t)
	return s
}

// FreeURL names a port of loopback that was free a moment ago: etcd cannot be handed a listener.
func FreeURL(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// Start starts the process, again after Kill with the data it had. It does not wait.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command("/usr/bin/etcd", "--name", "m", "--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.URL, "--advertise-client-urls", s.URL,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer, "--initial-cluster", "m="+s.peer,
		"--heartbeat-interval", "20", "--election-timeout", "200")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("starting etcd (package etcd-server): %v", err)
	}
}

// Kill ends the process with SIGKILL; one that has ended is no error.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
}

// Await waits until the server serves.
func (s *Server) Await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/health", nil)
		if err != nil {
			t.Fatal(err)
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
			t.Fatalf("etcd does not serve; its log is %s/log", s.dir)
		}
	}
}
