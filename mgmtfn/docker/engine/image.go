package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"

	"github.com/docker/docker/api/types/image"
)

// DefaultBusybox is Debian's busybox-static.
const DefaultBusybox = "/bin/busybox"

// applets are the commands of the image.
var applets = []string{
	"sh", "ash", "arping", "cat", "date", "echo", "env", "grep", "head", "hostname", "httpd", "id", "ifconfig", "ip", "kill", "ls", "nc", "nslookup",
	"ping", "ping6", "ps", "route", "sed", "seq", "sleep", "tail", "test", "timeout", "top", "touch", "traceroute", "true", "udhcpc", "usleep", "wc", "wget",
}

// LoadBusybox makes an image of a static busybox, which needs no registry, and loads it into the engine under name,
// such as "busybox:latest". Its default command sleeps until it is stopped.
func (c Config) LoadBusybox(ctx context.Context, name, busybox string) error {
	root, err := busyboxRoot(busybox)
	if err != nil {
		return err
	}
	api, err := c.Client()
	if err != nil {
		return err
	}
	defer hangUp(api)
	// The shell ends on SIGTERM, a bare sleep as the container's first process would not.
	options := image.ImportOptions{Changes: []string{`ENV PATH=/bin`, `CMD ["/bin/sh","-c","trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]`}}
	progress, err := api.ImageImport(ctx, image.ImportSource{Source: root, SourceName: "-"}, name, options)
	if err != nil {
		return fmt.Errorf("importing image %s: %w", name, err)
	}
	defer func() { _ = progress.Close() }()
	if _, err := io.Copy(io.Discard, progress); err != nil {
		return fmt.Errorf("importing image %s: %w", name, err)
	}
	if _, err := api.ImageInspect(ctx, name); err != nil {
		return fmt.Errorf("importing image %s: %w", name, err)
	}
	return nil
}

// LoadBusybox is that of Config.
func (e *Engine) LoadBusybox(ctx context.Context, name, busybox string) error {
	return e.config.LoadBusybox(ctx, name, busybox)
}

// busyboxRoot is the root file system as a tar.
func busyboxRoot(busybox string) (*bytes.Buffer, error) {
	binary, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("busybox for images (Debian: busybox-static): %w", err)
	}
	if file, err := elf.NewFile(bytes.NewReader(binary)); err != nil || file.Section(".interp") != nil {
		return nil, fmt.Errorf("%s is not a static binary (Debian: busybox-static)", busybox)
	}
	var root bytes.Buffer
	archive := tar.NewWriter(&root)
	add := func(header tar.Header, body []byte) {
		if err == nil {
			header.Size = int64(len(body))
			err = archive.WriteHeader(&header)
		}
		if err == nil {
			_, err = archive.Write(body)
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, binary)
	for _, applet := range applets {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("writing the image's root: %w", err)
	}
	return &root, nil
}
