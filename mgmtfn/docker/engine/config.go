package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// Config of an engine.
type Config struct {
	// Dir holds everything of the engine. It is made, and removed by Close. Keep it short: paths of unix sockets below
	// it may have 107 characters.
	Dir string
	// NetNS is the path of the network namespace to run in; empty for the caller's, where the engine leaves its bridge
	// and its firewall rules behind, as engines do.
	NetNS string
	// LiveRestore keeps containers running while the engine is away.
	LiveRestore bool
	// Args are more arguments for dockerd.
	Args []string
	// Dockerd is the daemon ("dockerd").
	Dockerd string
}

// Host is the engine's address, for DOCKER_HOST.
func (c Config) Host() string { return "unix://" + c.Dir + "/run/docker.sock" }

// PluginDir is where the engine looks for plugin sockets.
func (c Config) PluginDir() string { return filepath.Join(c.Dir, "rundocker", "plugins") }

// Prepare makes the directories.
func (c Config) Prepare() error {
	for _, dir := range []string{"data", "exec", "run", "rundocker/plugins"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("docker engine: %w", err)
		}
	}
	if err := os.Remove(c.heldFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("docker engine: %w", err)
	}
	return nil
}

func (c Config) heldFile() string { return filepath.Join(c.Dir, "run", "held") }

// Holder is the command of the process that keeps the engine's mount namespace, in which /run/docker is its own: plugin
// sockets and the namespaces of containers are there, and must outlive a daemon. It is ready when Held says so, and
// runs until End. Prepare comes first.
func (c Config) Holder() []string {
	script := `mount --make-rprivate / && mkdir -p /run/docker && mount --bind "$1" /run/docker && : > "$2" && exec sleep infinity`
	args := []string{"unshare", "--mount", "sh", "-c", script, "sh", filepath.Join(c.Dir, "rundocker"), c.heldFile()}
	if c.NetNS != "" {
		args = append([]string{"nsenter", "--net=" + c.NetNS}, args...)
	}
	return args
}

// Held tells whether the holder is ready.
func (c Config) Held() bool {
	_, err := os.Stat(c.heldFile())
	return err == nil
}

// Daemon is the command of the daemon beside a holder, given by its process id.
func (c Config) Daemon(holder int) []string {
	dockerd := c.Dockerd
	if dockerd == "" {
		dockerd = "dockerd"
	}
	args := []string{
		"nsenter", fmt.Sprintf("--target=%d", holder), "--mount", "--net", dockerd,
		"--data-root", c.Dir + "/data", "--exec-root", c.Dir + "/exec", "--pidfile", c.Dir + "/run/docker.pid", "--host", c.Host(),
	}
	if c.LiveRestore {
		args = append(args, "--live-restore")
	}
	return append(args, c.Args...)
}

// Client of the engine; the caller closes it.
func (c Config) Client() (*client.Client, error) {
	made, err := client.NewClientWithOpts(client.WithHost(c.Host()), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker engine %s: %w", c.Host(), err)
	}
	return made, nil
}

// hangUp ends idle connections; nothing is lost when that fails.
func hangUp(api *client.Client) { _ = api.Close() }

// Answers tells whether the daemon serves its API.
func (c Config) Answers(ctx context.Context) bool {
	api, err := c.Client()
	if err != nil {
		return false
	}
	defer hangUp(api)
	_, err = api.Ping(ctx)
	return err == nil
}

// Bury waits until the containerd of a daemon that was killed, which the kernel ends with it, is gone too: a new daemon
// would take it for a living one. To be called between the end of one daemon and the start of the next, which would
// also mind the pid of one that was killed.
func (c Config) Bury() error {
	if err := os.Remove(filepath.Join(c.Dir, "run", "docker.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("docker engine: %w", err)
	}
	pidFile := filepath.Join(c.Dir, "exec", "containerd", "containerd.pid")
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("docker engine: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("docker engine: %s: %w", pidFile, err)
	}
	ended := within(func() bool {
		_, gone := parentOf(fmt.Sprintf("/proc/%d", pid))
		return gone
	})
	if !ended {
		return fmt.Errorf("containerd %d of the killed docker engine does not end", pid)
	}
	// Whoever inherited it may leave it a zombie for long.
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("docker engine: %w", err)
	}
	return nil
}

// RemoveContainers removes all containers, running or not.
func (c Config) RemoveContainers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	api, err := c.Client()
	if err != nil {
		return err
	}
	defer hangUp(api)
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
