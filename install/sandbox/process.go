package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running program of a sandbox, as recorded. A pid alone may be somebody else's after a while, so the
// time it started is kept too.
type process struct {
	PID     int      `json:"pid"`
	Started uint64   `json:"started"` // clock ticks after boot, field 22 of /proc/PID/stat
	Args    []string `json:"args"`
}

// command is what to start, and where.
type command struct {
	who   string // "netplugin-h1": name of the log file
	netns string // name; empty: the root namespace
	args  []string
	env   []string // added to this program's
	nice  int      // 0: as this program
}

// spawn starts a program detached from this one, output appended to its log.
func (l layout) spawn(c command) (process, error) {
	logFile := l.logFile(c.who)
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return process{}, fmt.Errorf("making the log directory: %w", err)
	}
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process{}, fmt.Errorf("opening the log of %s: %w", c.who, err)
	}
	defer output.Close() //nolint:errcheck // the child has its own descriptor
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := cmd.Start
	if c.netns != "" {
		start = func() error { return inNetNS(c.netns, cmd.Start) }
	}
	if err := start(); err != nil {
		return process{}, fmt.Errorf("starting %s: %w", c.who, err)
	}
	if c.nice != 0 {
		prefer(cmd.Process.Pid, c.nice)
	}
	go func() { _ = cmd.Wait() }() // reap it while this program lives; its end is seen in /proc
	p := process{PID: cmd.Process.Pid, Args: c.args}
	p.Started, _ = startTime(p.PID) // it may be gone already; then it counts as not alive
	return p, nil
}

// prefer gives a process that was just started a nice value. Where the kernel shares the processor out by sessions, that
// of the session counts. Without the right to, the process runs as others do.
func prefer(pid, nice int) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, nice)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
}

// alive tells whether anything of the process still runs; a zombie does not.
func (p process) alive() bool {
	started, ok := startTime(p.PID)
	return p.PID > 0 && ok && started == p.Started
}

// startTime reads when a process started; false if it is gone.
func startTime(pid int) (uint64, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	return parseStat(string(data))
}

// parseStat reads the start of a process from its /proc/PID/stat; false for one that is only waited for. The first thread
// of a killed process may be gone already while others still are there, and with them its files and sockets.
func parseStat(stat string) (started uint64, there bool) {
	// The second field is the command in parentheses and may hold anything.
	end := strings.LastIndex(stat, ") ")
	if end < 0 {
		return 0, false
	}
	fields := strings.Fields(stat[end+2:])
	if len(fields) < 20 {
		return 0, false
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil || (fields[0] == "Z" || fields[0] == "X") && threads <= 1 {
		return 0, false
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return started, err == nil
}

// signal is sent if it is still the same process; a process that is gone is no error.
func (p process) signal(sig syscall.Signal) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %v to process %d (%s): %w", sig, p.PID, filepath.Base(p.Args[0]), err)
	}
	return nil
}

// stop asks the process to end and waits, at most for grace; then it is killed.
func (p process) stop(grace time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.waitGone(grace) {
		return nil
	}
	return p.kill()
}

func (p process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !p.waitGone(5 * time.Second) {
		return fmt.Errorf("process %d (%s) does not end", p.PID, filepath.Base(p.Args[0]))
	}
	return nil
}

func (p process) waitGone(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return waitFor(ctx, func() bool { return !p.alive() }) == nil
}

// waitFor polls a condition until it holds or the context ends.
func waitFor(ctx context.Context, condition func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// logTail is the end of a program's log, for messages.
func (l layout) logTail(who string) string {
	data, err := os.ReadFile(l.logFile(who))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
