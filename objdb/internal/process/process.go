// Package process runs the server of a store for tests: it is started again after a kill, and does not outlive the
// test's own process.
package process

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Process is a server that writes what it says to the end of the file Log. One goroutine at a time uses it.
type Process struct {
	Log string

	cmd *exec.Cmd
}

// Start starts the program and does not wait for anything. The hint says where it comes from, should it be absent.
func (p *Process) Start(tb testing.TB, hint, program string, arguments ...string) {
	tb.Helper()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(program, arguments...) //nolint:gosec // a server of a test
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("starting %s (%s): %v", program, hint, err)
	}
}

// Kill ends the process with SIGKILL; one that has ended is no error.
func (p *Process) Kill(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Error(err)
	}
	_ = p.cmd.Wait() // it was killed
}

// FreePorts names ports of loopback that were free a moment ago: these servers cannot be handed listeners.
func FreePorts(tb testing.TB, n int) []int {
	tb.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // of a TCP listener
	}
	return ports
}
