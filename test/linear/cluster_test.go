package linear

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netmaster/daemon"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// netmasterVariable makes this binary a netmaster, with the race detector if the tests are built with it.
const netmasterVariable = "CONTIV_LINEAR_NETMASTER"

func TestMain(m *testing.M) {
	if os.Getenv(netmasterVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	status := daemon.Main(ctx, append([]string{"netmaster"}, os.Args[1:]...), os.Stdout, os.Stderr)
	stop()
	os.Exit(status) //nolint:forbidigo // this is the main of a netmaster
}

// patience is the longest wait for what should come within seconds.
const patience = 40 * time.Second

// master is a netmaster process.
type master struct {
	url, rpc string
	args     []string
	dir      string
	cmd      *exec.Cmd
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// newMaster starts a netmaster on a store, which its arguments name; none: the embedded one.
func newMaster(t *testing.T, store ...string) *master {
	t.Helper()
	external, rpc := freeAddress(t), freeAddress(t)
	m := &master{url: "http://" + external, rpc: rpc, dir: t.TempDir()}
	m.args = append([]string{"--external-address", external, "--rpc-address", rpc, "--data-dir", m.data(), "--run-dir", m.dir}, store...)
	t.Cleanup(func() { m.end(t, syscall.SIGKILL) })
	m.start(t)
	return m
}

func (m *master) data() string { return filepath.Join(m.dir, "data") }

func (m *master) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	m.cmd = exec.Command(os.Args[0], m.args...) //nolint:gosec // itself
	m.cmd.Env = append(os.Environ(), netmasterVariable+"=1", "GORACE=halt_on_error=0 exitcode=66")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// end sends a signal that ends the process, also one that is paused, and waits for that.
func (m *master) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(signal)
	_ = m.cmd.Process.Signal(syscall.SIGCONT)
	watchdog := time.AfterFunc(patience, func() { _ = m.cmd.Process.Kill() })
	defer watchdog.Stop()
	var exit *exec.ExitError
	if err := m.cmd.Wait(); signal == syscall.SIGTERM && err != nil || err != nil && !errors.As(err, &exit) {
		t.Errorf("netmaster ended with %v\n%s", err, m.log(t))
	}
	m.cmd = nil
}

func (m *master) pause()  { _ = m.cmd.Process.Signal(syscall.SIGSTOP) }
func (m *master) resume() { _ = m.cmd.Process.Signal(syscall.SIGCONT) }

// log is the end of what the process has said.
func (m *master) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Error(err)
	}
	return string(text[max(0, len(text)-20000):])
}

// checkLog fails the test for data races and panics.
func (m *master) checkLog(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
		if at := strings.Index(string(text), bad); at >= 0 {
			t.Errorf("a netmaster's log: %.6000s", text[max(0, at-500):])
			return
		}
	}
}

// cluster is netmasters on one store.
type cluster struct {
	t       *testing.T
	masters []*master
	http    *http.Client
}

func newCluster(t *testing.T, masters int, store ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	t.Cleanup(c.http.CloseIdleConnections)
	for range masters {
		c.masters = append(c.masters, newMaster(t, store...))
	}
	c.settle()
	c.register()
	return c
}

func (c *cluster) urls() (all []string) {
	for _, m := range c.masters {
		all = append(all, m.url)
	}
	return all
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%v have passed and still not: %s", patience, what)
		}
	}
}

// wait lets the clients work for a while.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (c *cluster) get(ctx context.Context, url string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// settle waits until all netmasters answer and one of them leads.
func (c *cluster) settle() {
	c.t.Helper()
	for _, m := range c.masters {
		eventually(c.t, m.url+" serves", func(ctx context.Context) bool {
			status, _ := c.get(ctx, m.url+"/api/v1/tenants/")
			return status == http.StatusOK
		})
	}
	eventually(c.t, "somebody leads", func(ctx context.Context) bool { return c.leader(ctx) != nil })
}

// leader is the netmaster that says that it leads, nil if none does.
func (c *cluster) leader(ctx context.Context) *master {
	for _, m := range c.masters {
		if _, text := c.get(ctx, m.url+"/info"); strings.Contains(text, `"current-state":"leader"`) {
			return m
		}
	}
	return nil
}

// host is an agent that registers and does nothing more.
type host struct {
	registered chan struct{}
	once       sync.Once
}

func (h *host) Describe(context.Context) (protocol.RegisterRequest, error) {
	return protocol.RegisterRequest{Host: hostName, MTU: 1500, VTEP: netip.MustParseAddr("192.0.2.1"), Datapath: "fake"}, nil
}

func (h *host) Registered(context.Context, protocol.RegisterRequest, protocol.RegisterReply) error {
	h.once.Do(func() { close(h.registered) })
	return nil
}

func (h *host) Apply(context.Context, drivers.Update) ([]protocol.NotRealised, error) {
	return nil, nil
}

// register announces the host of the endpoints. It is silent from then on, so that what /plugin/ made for it is its own.
func (c *cluster) register() {
	c.t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	h := &host{registered: make(chan struct{})}
	var rpc []string
	for _, m := range c.masters {
		rpc = append(rpc, m.rpc)
	}
	s, err := session.New(session.Config{Masters: rpc, Agent: h, Log: logrus.NewEntry(log)})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	eventually(c.t, "the host is registered", func(context.Context) bool {
		select {
		case <-h.registered:
			return true
		default:
			return false
		}
	})
	cancel()
	<-done
}

func (c *cluster) String() string {
	var text strings.Builder
	for i, m := range c.masters {
		fmt.Fprintf(&text, "---- netmaster %d at %s\n%s\n", i, m.url, m.log(c.t))
	}
	return text.String()
}
