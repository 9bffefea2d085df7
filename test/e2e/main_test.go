// Package e2e tests Contiv as a user meets it: real binaries, real Open vSwitch, real packets, on sandboxes of this
// machine. Needs root and the packages of "make deps".
package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// binDir holds the binaries under test, built from this tree by TestMain.
var binDir string

func TestMain(m *testing.M) {
	os.Exit(run(m)) //nolint:forbidigo // TestMain is a main
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "contiv-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	build := exec.Command("go", "build", "-o", dir+"/", "../../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binaries under test: %v\n%s", err, output)
		return 1
	}
	binDir = dir
	return m.Run()
}

// cluster is a sandbox with the wishes of a test attached.
type cluster struct {
	*sandbox.Sandbox
	t *testing.T
}

var sandboxes int

// start brings up a sandbox that is removed when the test ends; its logs are shown if the test failed.
func start(t *testing.T, config sandbox.Config) *cluster {
	t.Helper()
	sandboxes++
	config.Name = fmt.Sprintf("e2e-%d-%d", os.Getpid(), sandboxes)
	config.BinDir = binDir
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var progress strings.Builder
	s, err := sandbox.Up(ctx, config, &progress)
	if err != nil {
		t.Fatalf("bringing up a sandbox: %v\n%s", err, progress.String())
	}
	c := &cluster{Sandbox: s, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			c.showLogs()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Down(ctx); err != nil {
			t.Errorf("removing the sandbox: %v", err)
		}
	})
	return c
}

func (c *cluster) showLogs() {
	files, _ := filepath.Glob(c.Dir() + "/log/*.log") // the pattern is good
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || len(data) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		c.t.Logf("---- %s\n%s", filepath.Base(file), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}

// netctl runs netctl as an operator would and gives its output and exit status.
func (c *cluster) netctl(args ...string) (string, int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "netctl"), args...)
	cmd.Env = append(os.Environ(), c.Environment(0)...)
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		c.t.Fatalf("netctl %v: %v", args, err)
	}
	return string(output), cmd.ProcessState.ExitCode()
}

// ok runs netctl and fails the test if netctl fails.
func (c *cluster) ok(args ...string) string {
	c.t.Helper()
	output, status := c.netctl(args...)
	if status != 0 {
		c.t.Fatalf("netctl %s: exit %d: %s", strings.Join(args, " "), status, output)
	}
	return output
}

// refused runs netctl, which must fail with a message that holds every one of the words.
func (c *cluster) refused(words []string, args ...string) {
	c.t.Helper()
	output, status := c.netctl(args...)
	if status == 0 {
		c.t.Errorf("netctl %s succeeded: %s", strings.Join(args, " "), output)
	}
	for _, word := range words {
		if !strings.Contains(output, word) {
			c.t.Errorf("netctl %s: no %q in the message: %s", strings.Join(args, " "), word, output)
		}
	}
}

// rest makes a request of netmaster's REST API and gives status and body.
func (c *cluster) rest(method, path, body string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.URL()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, string(answer)
}

// run starts a workload.
func (c *cluster) run(w sandbox.Workload) sandbox.WorkloadStatus {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	status, err := c.Run(ctx, w)
	if err != nil {
		c.t.Fatalf("starting workload %s: %v", w.Name, err)
	}
	return status
}

// exec runs a command in a workload.
func (c *cluster) exec(name string, args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	cmd, err := c.Exec(ctx, name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cmd.CombinedOutput()
}

// onHost runs a command as a host and fails the test if it fails.
func (c *cluster) onHost(host int, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	cmd, err := c.OnHost(ctx, host, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("on host %d: %v: %v: %s", host, args, err, output)
	}
	return output
}

// reaches fails the test unless every ping is answered.
func (c *cluster) reaches(from, addr string) {
	c.t.Helper()
	if output, err := c.exec(from, "ping", "-c", "3", "-i", "0.05", "-W", "2", addr); err != nil {
		c.t.Errorf("%s does not reach %s: %v\n%s", from, addr, err, output)
	}
}

// isolated fails the test if any ping is answered.
func (c *cluster) isolated(from, addr string) {
	c.t.Helper()
	if output, err := c.exec(from, "ping", "-c", "3", "-i", "0.1", "-W", "0.3", addr); err == nil {
		c.t.Errorf("%s reaches %s, which it must not:\n%s", from, addr, output)
	}
}

// eventually waits for a condition.
func (c *cluster) eventually(limit time.Duration, what string, condition func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			c.t.Fatalf("not within %v: %s", limit, what)
		case <-poll.C:
		}
	}
}
