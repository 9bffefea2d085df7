package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Down removes everything a sandbox made. It goes by names and namespaces, not by the record alone, so that it also
// clears up after a crash of Up, of this program or of anything inside. Down of a sandbox that is not there is no
// error.
func (s *Sandbox) Down(ctx context.Context) error { return down(ctx, s.layout) }

// Down removes the named sandbox (empty: DefaultName), whatever is left of it.
func Down(ctx context.Context, name string) error {
	if name == "" {
		name = DefaultName()
	}
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a sandbox", name)
	}
	if os.Geteuid() != 0 {
		return errors.New("the sandbox removes network namespaces: run it as root")
	}
	l := layout{name: name}
	rec, err := readRecord(l)
	if err == nil {
		l.index = rec.Index
	}
	return down(ctx, l)
}

func down(ctx context.Context, l layout) error {
	rec, recordErr := readRecord(l) // may be missing or broken: then names have to do
	s := newSandbox(l, rec)
	var errs []error
	if recordErr == nil {
		errs = append(errs, s.stopEngines(ctx))
	}
	errs = append(errs, l.killInside(), s.unmountAll())
	if recordErr == nil {
		for _, name := range sortedKeys(rec.Processes) {
			errs = append(errs, rec.Processes[name].kill())
		}
		errs = append(errs, removeLink(l.rootLink()))
	}
	for _, name := range netNSNames(l) {
		errs = append(errs, removeNetNS(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing sandbox %q: %w", l.name, err)
	}
	if err := os.RemoveAll(l.dir()); err != nil {
		return fmt.Errorf("removing the files of sandbox %q: %w", l.name, err)
	}
	return removeIfEmpty(baseDir())
}

// removeIfEmpty removes the base directory after the last sandbox.
func removeIfEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != ".lock" {
		return nil //nolint:nilerr // a directory that is not there needs no removing
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// killInside kills every process that lives in one of the sandbox's namespaces, recorded or not.
func (l layout) killInside() error {
	inside := make(map[string]bool) // "net:[4026531840]" -> ours
	for _, name := range netNSNames(l) {
		var stat syscall.Stat_t
		if err := syscall.Stat(netnsPath(name), &stat); err == nil {
			inside[fmt.Sprintf("net:[%d]", stat.Ino)] = true
		}
	}
	if len(inside) == 0 {
		return nil
	}
	var victims []process
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		target, err := os.Readlink(filepath.Join("/proc", entry.Name(), "ns", "net"))
		if err != nil || !inside[target] {
			continue
		}
		if started, ok := startTime(pid); ok {
			victims = append(victims, process{PID: pid, Started: started, Args: []string{"process in the sandbox"}})
		}
	}
	var errs []error
	for _, victim := range victims {
		errs = append(errs, victim.signal(syscall.SIGKILL))
	}
	for _, victim := range victims {
		if !victim.waitGone(5 * time.Second) {
			errs = append(errs, fmt.Errorf("process %d does not end", victim.PID))
		}
	}
	return errors.Join(errs...)
}

// unmountAll unmounts everything below the sandbox's directory (container file systems), innermost first.
func (s *Sandbox) unmountAll() error {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	var errs []error
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], s.dir()+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmounting %s: %w", fields[1], err))
			}
		}
	}
	return errors.Join(errs...)
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("removing link %s: %w", name, err)
	}
	return nil
}
