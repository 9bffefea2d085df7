package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// master is a netmaster process on loopback with an embedded store.
type master struct {
	rest, rpc string
	path, dir string
	cmd       *exec.Cmd
	started   time.Time
	fleet     *fleet // agents to stop with it; nil: none
	output    bytes.Buffer
}

// startMaster runs netmaster on the store of a directory and returns when it has written something.
func startMaster(ctx context.Context, b *bench, dir string) (*master, error) {
	m := &master{path: filepath.Join(b.binDir, "netmaster"), dir: dir}
	var err error
	if m.rest, err = freeAddress(); err != nil {
		return nil, err
	}
	if m.rpc, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	if err := m.await(ctx, time.Millisecond, func() error {
		return post(ctx, m.url("tenants/warm/"), `{"tenantName":"warm"}`)
	}); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// start runs the process without waiting for it.
func (m *master) start(ctx context.Context) error {
	m.cmd = exec.CommandContext(ctx, m.path, "--data-dir", m.dir, "--run-dir", m.dir+"-run",
		"--external-address", m.rest, "--internal-address", m.rest, "--rpc-address", m.rpc, "--log-level", "warn")
	m.cmd.Stdout, m.cmd.Stderr = &m.output, &m.output
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("starting netmaster: %w", err)
	}
	m.started = time.Now()
	return nil
}

// await repeats a request, after pauses, until it succeeds.
func (m *master) await(ctx context.Context, pause time.Duration, request func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := request()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("netmaster does not answer: %w: %s", err, m.output.String())
		}
	}
}

func (m *master) url(path string) string { return "http://" + m.rest + "/api/v1/" + path }

func (m *master) stop() {
	if m.fleet != nil {
		m.fleet.stop()
	}
	_ = m.cmd.Process.Signal(os.Interrupt)
	_ = m.cmd.Wait()
}

// kill ends the process as a crash does.
func (m *master) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// restarted kills the process, starts it again and gives the time from start to the first answer to a read.
func (m *master) restarted(ctx context.Context) (time.Duration, error) {
	m.kill()
	begin := time.Now()
	if err := m.start(ctx); err != nil {
		return 0, err
	}
	err := m.await(ctx, time.Millisecond, func() error { return get(ctx, m.url("tenants/default/")) })
	return time.Since(begin), err
}

// cpuTime is the processor time that a process has used.
func cpuTime(pid int) (time.Duration, error) {
	const ticks = 100 // per second, the same on every Linux
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of a process: %w", err)
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("reading the processor time of a process: too few fields")
	}
	total := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of a process: %w", err)
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticks, nil
}

// procValue is a number of a file of a process in /proc, such as "RssAnon" of status (in bytes) or "write_bytes" of io.
func procValue(pid int, file, name string) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, fmt.Errorf("reading %s of a process: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != name+":" {
			continue
		}
		n, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s of a process: %w", name, err)
		}
		if len(fields) == 3 && fields[2] == "kB" {
			n *= 1024
		}
		return n, nil
	}
	return 0, fmt.Errorf("no %s in /proc/%d/%s", name, pid, file)
}

// memory is what the process holds for itself: without the pages of the store's file, which the kernel takes back
// when it needs them.
func (m *master) memory() (float64, error) { return procValue(m.cmd.Process.Pid, "status", "RssAnon") }

// restedMemory is memory when the start is over, which netmaster takes to be so after 20 s, and it no longer falls.
func (m *master) restedMemory(ctx context.Context) (float64, error) {
	const start, step, steady = 22 * time.Second, time.Second, 0.99
	select {
	case <-time.After(start - time.Since(m.started)):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	least, err := m.memory()
	for same := 0; err == nil && same < 5; {
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now float64
		now, err = m.memory()
		if now < least*steady {
			same = 0
		} else {
			same++
		}
		least = min(least, now)
	}
	return least, err
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close() //nolint:errcheck // only its number is wanted
	return listener.Addr().String(), nil
}

// allowFiles makes this process, and those it starts, able to hold a number of files and connections open.
func allowFiles(count uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking for the limit of open files: %w", err)
	}
	if limit.Cur >= count {
		return nil
	}
	next := syscall.Rlimit{Cur: count, Max: max(limit.Max, count)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &next); err != nil {
		return fmt.Errorf("this needs %d open files and connections in each process, and the limit of %d cannot be raised: %w; "+
			"run it as root, after \"ulimit -n %d\", or with fewer agents (-agents)", count, limit.Max, err, count)
	}
	return nil
}

// get reads a page.
func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	_, err = send(request)
	return err
}

// diskSpace is what a file takes on its disk.
func diskSpace(path string) (float64, error) {
	const block = 512
	var found syscall.Stat_t
	if err := syscall.Stat(path, &found); err != nil {
		return 0, fmt.Errorf("measuring %s: %w", path, err)
	}
	return float64(found.Blocks) * block, nil
}
