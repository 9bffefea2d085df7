package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Sandbox is a cluster on this machine. Its methods may be called at once; those that change it wait for each other,
// also over processes.
type Sandbox struct {
	layout
	mu      sync.Mutex             // held by change
	current atomic.Pointer[record] // as last read or written by this process; what it points to is never changed
	client  *http.Client
}

// record is what a sandbox remembers on disk.
type record struct {
	Config    Config              `json:"config"`
	Index     int                 `json:"index"`
	Ready     bool                `json:"ready"`     // Up came to its end
	Processes map[string]process  `json:"processes"` // "netplugin-h1" -> process
	Workloads map[string]workload `json:"workloads"`
}

// Up builds a cluster and returns when every agent has registered and realised its first snapshot. What it does is
// told, a line a step, to progress. On error everything it made is removed again.
func Up(ctx context.Context, config Config, progress io.Writer) (*Sandbox, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("the sandbox makes network namespaces: run it as root")
	}
	s, err := create(config)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx, progress); err != nil {
		if downErr := s.Down(context.WithoutCancel(ctx)); downErr != nil {
			err = fmt.Errorf("%w (and cleaning up: %w)", err, downErr)
		}
		return nil, err
	}
	return s, nil
}

// create claims the name and an index, so that two sandboxes never share a management subnet.
func create(config Config) (*Sandbox, error) {
	if err := os.MkdirAll(baseDir(), 0o755); err != nil {
		return nil, fmt.Errorf("making the sandbox directory: %w", err)
	}
	unlock, err := lockFile(filepath.Join(baseDir(), ".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	taken := make(map[int]bool)
	entries, err := os.ReadDir(baseDir())
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox directory: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if rec, err := readRecord(layout{name: entry.Name()}); err == nil {
				taken[rec.Index] = true
			}
		}
	}
	l := layout{name: config.Name}
	if _, err := os.Stat(l.dir()); err == nil {
		return nil, fmt.Errorf("sandbox %q exists already: use it, or remove it with \"contiv-sandbox down\" first", config.Name)
	}
	for taken[l.index] {
		l.index++
	}
	s := newSandbox(l, record{Config: config, Index: l.index, Processes: map[string]process{}, Workloads: map[string]workload{}})
	if err := os.MkdirAll(l.dir(), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of sandbox %q: %w", config.Name, err)
	}
	return s, l.save(*s.current.Load())
}

func newSandbox(l layout, rec record) *Sandbox {
	s := &Sandbox{layout: l, client: &http.Client{Timeout: 5 * time.Second}}
	s.current.Store(&rec)
	return s
}

func (s *Sandbox) config() Config { return s.current.Load().Config }

// Open finds a sandbox that Up made. An empty name means DefaultName. ErrNotRunning if there is none.
func Open(name string) (*Sandbox, error) {
	if name == "" {
		name = DefaultName()
	}
	rec, err := readRecord(layout{name: name})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w of the name %q: start one with \"contiv-sandbox up\"", ErrNotRunning, name)
	}
	if err != nil {
		return nil, err
	}
	return newSandbox(layout{name: name, index: rec.Index}, rec), nil
}

func readRecord(l layout) (record, error) {
	var rec record
	data, err := os.ReadFile(l.recordFile())
	if err != nil {
		return rec, fmt.Errorf("reading the record of sandbox %q: %w", l.name, err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("reading the record of sandbox %q: %w", l.name, err)
	}
	return rec, nil
}

// save writes the record as a whole or not at all.
func (l layout) save(rec record) error {
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the record of sandbox %q: %w", l.name, err)
	}
	temporary := l.recordFile() + ".new"
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return fmt.Errorf("writing the record of sandbox %q: %w", l.name, err)
	}
	if err := os.Rename(temporary, l.recordFile()); err != nil {
		return fmt.Errorf("writing the record of sandbox %q: %w", l.name, err)
	}
	return nil
}

// change runs f with the newest record of the sandbox and saves what f made of it, also if f failed half way.
// No other change runs at the same time, in this process or another.
func (s *Sandbox) change(f func(*record) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := lockFile(filepath.Join(s.dir(), ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := readRecord(s.layout)
	if err != nil {
		return err
	}
	err = f(&rec)
	s.current.Store(&rec)
	return errors.Join(err, s.save(rec))
}

// view is a copy of the newest record.
func (s *Sandbox) view() (record, error) { return readRecord(s.layout) }

func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil // closing the descriptor releases the lock
}

func (s *Sandbox) build(ctx context.Context, progress io.Writer) error {
	config := s.config()
	step := func(text string, args ...any) { fmt.Fprintf(progress, text+"\n", args...) }
	step("building the fabric and %d hosts", config.Hosts)
	if err := s.buildFabric(); err != nil {
		return err
	}
	for host := 1; host <= config.Hosts; host++ {
		if err := s.plugHost(host); err != nil {
			return err
		}
	}
	step("starting netmaster, Open vSwitch and the agents")
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.startControl(groupCtx) })
	for host := 1; host <= config.Hosts; host++ {
		group.Go(func() error { return s.startHost(groupCtx, host) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.WaitReady(ctx); err != nil {
		return err
	}
	return s.change(func(rec *record) error { rec.Ready = true; return nil })
}

// startControl starts the store, if it is a process of its own, and the netmasters.
func (s *Sandbox) startControl(ctx context.Context) error {
	if s.config().Store != StoreEmbedded {
		if err := s.Start(ctx, Store, 1); err != nil {
			return err
		}
	}
	for n := 1; n <= s.config().Netmasters; n++ {
		if err := s.Start(ctx, Netmaster, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sandbox) startHost(ctx context.Context, host int) error {
	for _, component := range []Component{OVS, Netplugin, Docker} {
		if component == Docker && !s.config().Docker {
			continue
		}
		if err := s.Start(ctx, component, host); err != nil {
			return err
		}
	}
	return nil
}

// WaitReady returns when netmaster answers and every running agent has realised what it was sent, or with the reason
// it does not. A context without deadline gets one of 30 s.
func (s *Sandbox) WaitReady(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
	}
	var problem error
	err := waitFor(ctx, func() bool {
		problem = s.notReady(ctx)
		return problem == nil
	})
	if err != nil {
		return fmt.Errorf("the cluster does not become ready: %w (logs are in %s)", problem, filepath.Join(s.dir(), "log"))
	}
	return nil
}

// notReady says what the cluster still waits for, nil if nothing.
func (s *Sandbox) notReady(ctx context.Context) error {
	rec, err := s.view()
	if err != nil {
		return err
	}
	if _, err := getJSON(ctx, s.client, s.URL()+"/version", nil); err != nil {
		return fmt.Errorf("netmaster: %w", err)
	}
	for host := 1; host <= rec.Config.Hosts; host++ {
		if !rec.Processes[processName(Netplugin, host)].alive() {
			if rec.Ready {
				continue // stopped on purpose
			}
			return fmt.Errorf("netplugin of host %d has ended: %s", host, s.logTail(processName(Netplugin, host)))
		}
		status, err := s.Agent(ctx, host)
		if err != nil {
			return fmt.Errorf("agent of host %d: %w", host, err)
		}
		if !status.Realised {
			return fmt.Errorf("agent of host %d has not realised its state yet", host)
		}
	}
	return nil
}

// URL is where the REST API of the first netmaster that runs is reached from the root namespace and from every host.
func (s *Sandbox) URL() string {
	for n := 1; n <= s.config().Netmasters; n++ {
		if s.Running(Netmaster, n) {
			return s.netmasterURL(n)
		}
	}
	return s.netmasterURL(1)
}

// URLOf is the URL of one netmaster.
func (s *Sandbox) URLOf(netmaster int) string { return s.netmasterURL(netmaster) }

// Dir holds everything the sandbox keeps on disk, logs in Dir()/log.
func (s *Sandbox) Dir() string { return s.dir() }

// Hosts is the number of hosts.
func (s *Sandbox) Hosts() int { return s.config().Hosts }

// UseBinaries takes the programs of another directory from now on: what is started later comes from there.
func (s *Sandbox) UseBinaries(dir string) error {
	return s.change(func(rec *record) error { rec.Config.BinDir = dir; return nil })
}

// HostName is how a host calls itself in the cluster.
func (s *Sandbox) HostName(host int) string { return s.hostName(host) }

// NetNS is the path of a host's network namespace.
func (s *Sandbox) NetNS(host int) string { return netnsPath(s.hostNetNS(host)) }

// Environment are the variables under which netctl and the tools of a host work; host 0 means the root namespace.
func (s *Sandbox) Environment(host int) []string {
	path := os.Getenv("PATH")
	if !strings.HasPrefix(path, s.config().BinDir+":") {
		path = s.config().BinDir + ":" + path
	}
	env := []string{"NETMASTER=" + s.URL(), "CONTIV_SANDBOX=" + s.name, "PATH=" + path}
	if host == 0 {
		return env
	}
	ovs := s.hostDir(host, "ovs")
	return append(env,
		"OVS_RUNDIR="+ovs, "OVS_LOGDIR="+ovs, "OVS_DBDIR="+ovs, "OVS_SYSCONFDIR="+ovs,
		"CONTIV_CNI_SOCKET="+s.hostDir(host, "run", "contiv-cni.sock"),
		"DOCKER_HOST="+s.Engine(host).Host())
}

func (s *Sandbox) checkHost(host int) error {
	if host < 1 || host > s.config().Hosts {
		return fmt.Errorf("there is no host %d: the sandbox has hosts 1 to %d", host, s.config().Hosts)
	}
	return nil
}

func processName(component Component, host int) string {
	return string(component) + "-h" + strconv.Itoa(host)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
