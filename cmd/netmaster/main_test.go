package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb/consul/consultest"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
)

// binary is built once for all tests, with a version in it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "contiv-netmaster-test")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "netmaster")
	build := exec.Command("go", "build", "-ldflags", "-X github.com/contiv/contiv/install/version.Version=9.8.7-test", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	m.Run() // the status is passed on when this function returns
}

// process is the real binary on ports of its own.
type process struct {
	t    *testing.T
	args []string
	url  string
	cmd  *exec.Cmd
	log  strings.Builder
}

func newProcess(t *testing.T, args ...string) *process {
	t.Helper()
	dir, rest, rpc := t.TempDir(), freeAddress(t), freeAddress(t)
	p := &process{t: t, url: "http://" + rest, args: append([]string{
		"--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"),
		"--external-address", rest, "--rpc-address", rpc,
	}, args...)}
	t.Cleanup(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
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

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) end(signal syscall.Signal) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// get waits until the path is answered with 200 and returns the answer.
func (p *process) get(path string) string {
	p.t.Helper()
	return p.until(http.MethodGet, path)
}

func (p *process) until(method, path string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body := p.request(ctx, method, path, "")
		if status == http.StatusOK {
			return body
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("%s %s: last answer %d %s", method, path, status, body)
		}
	}
}

func (p *process) request(ctx context.Context, method, path, body string) (int, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(data)
}

func TestKilledAndStopped(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { testKilledAndStopped(t, newProcess(t)) })
	t.Run("consul", func(t *testing.T) {
		store := consultest.New(t)
		testKilledAndStopped(t, newProcess(t, "--consul", store.URL))
	})
}

func testKilledAndStopped(t *testing.T, p *process) {
	t.Helper()
	p.start()
	if got := p.get("/version"); !strings.Contains(got, `"Version":"9.8.7-test"`) {
		t.Errorf("version: %s", got)
	}
	const network = "/api/v1/networks/default:web/"
	status, body := p.request(t.Context(), http.MethodPost, network,
		`{"tenantName":"default","networkName":"web","encap":"vxlan","subnet":"10.1.2.0/24","gateway":"10.1.2.1"}`)
	if status != http.StatusOK {
		t.Fatalf("creating a network: %d %s", status, body)
	}
	_ = p.end(syscall.SIGKILL)

	began := time.Now()
	p.start()
	if got := p.get(network); !strings.Contains(got, `"subnet":"10.1.2.0/24"`) {
		t.Errorf("network after kill -9: %s", got)
	}
	t.Logf("answers %v after the start", time.Since(began))
	p.until(http.MethodDelete, network) // on a shared store it leads again only after a while
	t.Logf("writes %v after the start", time.Since(began))
	began = time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
}

func TestLeaderKilled(t *testing.T) {
	t.Run("etcd", func(t *testing.T) { testLeaderKilled(t, "--etcd", etcdtest.New(t).URL) })
	t.Run("consul", func(t *testing.T) { testLeaderKilled(t, "--consul", consultest.New(t).URL) })
}

func testLeaderKilled(t *testing.T, store ...string) {
	t.Helper()
	one, two := newProcess(t, store...), newProcess(t, store...)
	for _, p := range []*process{one, two} {
		p.start()
		p.get("/api/v1/globals/global/") // the first leads before the second comes
	}
	create := func(name string) (int, string) {
		return two.request(t.Context(), http.MethodPost, "/api/v1/tenants/"+name+"/", `{"tenantName":"`+name+`"}`)
	}
	if status, body := create("before"); status != http.StatusOK {
		t.Fatalf("write through the follower: %d %s", status, body)
	}
	_ = one.end(syscall.SIGKILL)
	began := time.Now()
	for {
		status, body := create("after")
		if status == http.StatusOK {
			break
		}
		if status != http.StatusServiceUnavailable || time.Since(began) > 10*time.Second {
			t.Fatalf("%v after the leader was killed: %d %s", time.Since(began), status, body)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("writes again only %v after the leader was killed", took)
	}
	two.get("/api/v1/tenants/before/")
}

func TestExitStatus(t *testing.T) {
	running := newProcess(t)
	running.start()
	running.get("/version")
	second := append([]string{}, running.args[:4]...) // the same directories, other ports
	second = append(second, "--external-address", freeAddress(t), "--rpc-address", freeAddress(t))
	tests := []struct {
		name string
		args []string
		want int
		says string
	}{
		{"version", []string{"--version"}, 0, "Version: 9.8.7-test\nGitCommit: "},
		{"help", []string{"-h"}, 0, "1. Store:"},
		{"bad configuration", []string{"--fwdmode", "l2"}, 22, "one of bridge, routing"},
		{"address in use", running.args, 1, "address already in use"},
		{"store in use", second, 1, "stop it or choose another directory"},
	}
	for _, test := range tests {
		out, err := exec.Command(binary, test.args...).CombinedOutput()
		status := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			status = exit.ExitCode()
		}
		if status != test.want || !strings.Contains(string(out), test.says) {
			t.Errorf("%s: exit status %d, want %d, said %s", test.name, status, test.want, out)
		}
	}
}
