// Package engine runs private Docker Engines beside each other on one machine, for the sandbox and for tests: each in
// a network namespace of the caller and in a mount namespace of its own, so that it has its own plugin directory. It
// needs dockerd and containerd (Debian: docker.io), root, and nsenter and unshare of util-linux.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

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
	e := &Engine{config: config}
	if err := config.Prepare(); err != nil {
		return nil, err
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
func (e *Engine) Host() string { return e.config.Host() }

// PluginDir is where the engine looks for plugin sockets.
func (e *Engine) PluginDir() string { return e.config.PluginDir() }

// Pid of the daemon, 0 if it does not run.
func (e *Engine) Pid() int {
	if e.daemon == nil {
		return 0
	}
	return e.daemon.Process.Pid
}

// hold makes the mount namespace.
func (e *Engine) hold() error {
	args := e.config.Holder()
	e.holder = exec.Command(args[0], args[1:]...) //nolint:gosec // the caller's own arguments
	e.holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint strings.Builder
	e.holder.Stderr = &complaint
	if err := e.holder.Start(); err != nil {
		e.holder = nil
		return fmt.Errorf("mount namespace of docker engine: %w", err)
	}
	ended := false
	within(func() bool {
		_, ended = parentOf(fmt.Sprintf("/proc/%d", e.holder.Process.Pid))
		return ended || e.config.Held()
	})
	if e.config.Held() && !ended {
		return nil
	}
	_ = e.holder.Process.Kill()
	_ = e.holder.Wait()
	e.holder = nil
	return fmt.Errorf("mount namespace of docker engine: %s", strings.TrimSpace(complaint.String()))
}

// Up starts the daemon after Down or Kill and waits until it answers.
func (e *Engine) Up(ctx context.Context) error {
	if e.daemon != nil {
		return errors.New("docker engine runs already")
	}
	log, err := os.OpenFile(filepath.Join(e.config.Dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("docker engine: %w", err)
	}
	defer func() { _ = log.Close() }()
	args := e.config.Daemon(e.holder.Process.Pid)
	e.daemon = exec.Command(args[0], args[1:]...) //nolint:gosec // the caller's own arguments
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
	for !e.config.Answers(ctx) {
		select {
		case <-e.exited:
			e.daemon = nil
			return fmt.Errorf("docker engine ended at its start: %s", e.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("docker engine does not answer: %w: %s", ctx.Err(), e.lastWords())
		case <-time.After(pollInterval):
		}
	}
	return nil
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

// Kill ends the daemon with SIGKILL.
func (e *Engine) Kill() error {
	if err := e.end(syscall.SIGKILL); err != nil {
		return err
	}
	return e.config.Bury()
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
		errs = append(errs, e.config.RemoveContainers(ctx))
	}
	errs = append(errs, e.end(syscall.SIGTERM))
	if e.holder != nil {
		errs = append(errs, End(e.holder.Process.Pid))
		_ = e.holder.Wait()
		e.holder = nil
	}
	// The last process of the mount namespace takes its mounts along a moment after it ended.
	var err error
	within(func() bool { err = os.RemoveAll(e.config.Dir); return err == nil })
	return errors.Join(append(errs, err)...)
}
