package engine

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// TestNothingIsLeft closes an engine whose daemon was killed while a container ran.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	name := "cde" + rand.Text()[:8]
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	e, err := Start(t.Context(), Config{Dir: dir, NetNS: "/run/netns/" + name, LiveRestore: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error("closing again:", err)
		}
	})
	if err := e.LoadBusybox(t.Context(), "box:latest", DefaultBusybox); err != nil {
		t.Fatal(err)
	}
	api, err := e.config.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(api)
	made, err := api.ContainerCreate(t.Context(), &container.Config{Image: "box:latest"}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	running, err := api.ContainerInspect(t.Context(), made.ID)
	if err != nil || running.State.Pid == 0 {
		t.Fatal(running, err)
	}
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, gone := parentOf(filepath.Join("/proc", strconv.Itoa(running.State.Pid))); gone {
		t.Error("the container did not outlive its daemon")
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, gone := parentOf(filepath.Join("/proc", strconv.Itoa(running.State.Pid))); !gone {
		t.Error("the container is left")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("the directory is left:", err)
	}
}

func TestStartFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "e")
	if _, err := Start(t.Context(), Config{Dir: dir, NetNS: "/nonexistent"}); err == nil {
		t.Error("started in a namespace that does not exist")
	}
	if _, err := Start(t.Context(), Config{Dir: dir, Args: []string{"--no-such-flag"}}); err == nil {
		t.Error("started with a flag that does not exist")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("the directory is left:", err)
	}
}

func TestEndSparesTheCallersNamespace(t *testing.T) {
	if err := End(os.Getpid()); err == nil {
		t.Fatal("unreachable")
	}
}
