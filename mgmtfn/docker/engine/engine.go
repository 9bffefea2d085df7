// Package engine runs private Docker Engines beside each other on one machine, for the sandbox and for tests: each in
// a network namespace of the caller and in a mount namespace of its own, so that it has its own plugin directory. It
// needs dockerd and containerd (Debian: docker.io), root, and nsenter and unshare of util-linux.
package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// Config of an engine.
type Config struct {
	// Dir holds everything of the engine. It is made, and removed by Close. Keep it short: paths of unix sockets below
	// it may have 107 characters.
	Dir string
	// NetNS is the path of the network namespace to run in; empty for the caller's.
	NetNS string
	// LiveRestore keeps containers running while the engine is away.
	LiveRestore bool
	// Args are more arguments for dockerd.
	Args []string
	// Dockerd is the daemon ("dockerd").
	Dockerd string
}

// Engine is a private Docker Engine. Its methods must not be called at once.
type Engine struct {
	config Config
	holder *exec.Cmd // keeps the mount namespace while no daemon runs
	daemon *exec.Cmd
	exited chan struct{} // closed when daemon has ended
}

// Deadlines of an engine on a busy machine.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Start makes an engine and waits until it answers. After an error nothing is left behind.
func Start(ctx context.Context, config Config) (*Engine, error) {
	if config.Dockerd == "" {
		config.Dockerd = "dockerd"
	}
	e := &Engine{config: config}
	for _, dir := range []string{"data", "exec", "run", "rundocker/plugins"} {
		if err := os.MkdirAll(filepath.Join(config.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("docker engine: %w", err)
		}
	}
	if err := e.hold(); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	if err := e.Up(ctx); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

// Host is the engine's address, for DOCKER_HOST.
func (e *Engine) Host() string { return "unix://" + e.config.Dir + "/run/docker.sock" }

// PluginDir is where the engine looks for plugin sockets.
func (e *Engine) PluginDir() string { return filepath.Join(e.config.Dir, "rundocker", "plugins") }

// Pid of the daemon, 0 if it does not run.
func (e *Engine) Pid() int {
	if e.daemon == nil {
		return 0
	}
	return e.daemon.Process.Pid
}

// Client of the engine; the caller closes it.
func (e *Engine) Client() (*client.Client, error) {
	c, err := client.NewClientWithOpts(client.WithHost(e.Host()), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker engine %s: %w", e.Host(), err)
	}
	return c, nil
}

// hold makes the mount namespace: a private /run/docker, where plugin sockets and the namespaces of containers are.
func (e *Engine) hold() error {
	script := `mount --make-rprivate / && mkdir -p /run/docker && mount --bind "$1" /run/docker && echo ready && exec sleep infinity`
	args := []string{"unshare", "--mount", "sh", "-c", script, "sh", filepath.Join(e.config.Dir, "rundocker")}
	if e.config.NetNS != "" {
		args = append([]string{"nsenter", "--net=" + e.config.NetNS}, args...)
	}
	e.holder = exec.Command(args[0], args[1:]...) //nolint:gosec // the caller's own arguments
	e.holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint strings.Builder
	e.holder.Stderr = &complaint
	out, err := e.holder.StdoutPipe()
	if err != nil {
		return fmt.Errorf("mount namespace of docker engine: %w", err)
	}
	if err := e.holder.Start(); err != nil {
		e.holder = nil
		return fmt.Errorf("mount namespace of docker engine: %w", err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		_ = e.holder.Wait()
		e.holder = nil
		return fmt.Errorf("mount namespace of docker engine: %s", strings.TrimSpace(complaint.String()))
	}
	return nil
}

// Up starts the daemon after Down or Kill and waits until it answers.
func (e *Engine) Up(ctx context.Context) error {
	if e.daemon != nil {
		return errors.New("docker engine runs already")
	}
	dir := e.config.Dir
	log, err := os.OpenFile(filepath.Join(dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("docker engine: %w", err)
	}
	defer log.Close()
	args := []string{
		fmt.Sprintf("--target=%d", e.holder.Process.Pid), "--mount", "--net", e.config.Dockerd,
		"--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/run/docker.pid", "--host", e.Host(),
	}
	if e.config.LiveRestore {
		args = append(args, "--live-restore")
	}
	e.daemon = exec.Command("nsenter", append(args, e.config.Args...)...) //nolint:gosec // the caller's own arguments
	e.daemon.Stdout, e.daemon.Stderr = log, log
	e.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.daemon.Start(); err != nil {
		e.daemon = nil
		return fmt.Errorf("docker engine: %w", err)
	}
	daemon, exited := e.daemon, make(chan struct{})
	e.exited = exited
	go func() {
		_ = daemon.Wait()
		close(exited)
	}()
	return e.ready(ctx)
}

// ready waits until the daemon answers.
func (e *Engine) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	api, err := e.Client()
	if err != nil {
		return err
	}
	defer api.Close()
	for {
		if _, err = api.Ping(ctx); err == nil {
			return nil
		}
		select {
		case <-e.exited:
			e.daemon = nil
			return fmt.Errorf("docker engine ended at its start: %s", e.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("docker engine does not answer: %w: %s", err, e.lastWords())
		case <-time.After(pollInterval):
		}
	}
}

// lastWords are the end of the daemon's log.
func (e *Engine) lastWords() string {
	data, err := os.ReadFile(filepath.Join(e.config.Dir, "dockerd.log"))
	if err != nil {
		return err.Error()
	}
	const most = 600
	return strings.TrimSpace(string(data[max(0, len(data)-most):]))
}

// Down stops the daemon as systemd would: without live-restore its containers stop too.
func (e *Engine) Down() error { return e.end(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL, and waits until its containerd, which the kernel ends with it, is gone too: a new
// daemon would take it for a living one.
func (e *Engine) Kill() error {
	pidFile := filepath.Join(e.config.Dir, "exec", "containerd", "containerd.pid")
	pid, err := os.ReadFile(pidFile)
	if err := e.end(syscall.SIGKILL); err != nil {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // a system's containerd is used, which stays
	}
	entry := "/proc/" + strings.TrimSpace(string(pid))
	for deadline := time.Now().Add(stopTimeout); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if _, gone := parentOf(entry); gone {
			// Whoever inherited it may leave it a zombie for long.
			if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("docker engine: %w", err)
			}
			return nil
		}
	}
	return errors.New("the killed docker engine's containerd does not end")
}

func (e *Engine) end(signal syscall.Signal) error {
	if e.daemon == nil {
		return nil
	}
	if err := e.daemon.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping docker engine: %w", err)
	}
	select {
	case <-e.exited:
	case <-time.After(stopTimeout):
		_ = e.daemon.Process.Kill()
		<-e.exited
	}
	e.daemon = nil
	return nil
}

// Close removes the containers, ends all processes of the engine and removes its directory. It may be called again,
// and for an engine that is down.
func (e *Engine) Close(ctx context.Context) error {
	var errs []error
	if e.daemon != nil {
		errs = append(errs, e.removeContainers(ctx))
	}
	errs = append(errs, e.end(syscall.SIGTERM))
	if e.holder != nil {
		errs = append(errs, killNamespace(e.holder.Process.Pid))
		_ = e.holder.Wait()
		e.holder = nil
	}
	// The last process of the mount namespace takes its mounts along a moment after it ended.
	deadline := time.Now().Add(stopTimeout)
	for {
		err := os.RemoveAll(e.config.Dir)
		if err == nil || time.Now().After(deadline) {
			return errors.Join(append(errs, err)...)
		}
		time.Sleep(pollInterval)
	}
}

func (e *Engine) removeContainers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	api, err := e.Client()
	if err != nil {
		return err
	}
	defer api.Close()
	all, err := api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	for _, one := range all {
		if err := api.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true}); err != nil {
			return fmt.Errorf("removing container %s: %w", one.ID, err)
		}
	}
	return nil
}
