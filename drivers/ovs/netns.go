package ovs

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// This file is the only place that enters other network namespaces.

// namespace is an open network namespace. The zero fd (own) means the agent's.
type namespace struct {
	path  string // "" for the agent's own
	file  *os.File
	links *netlink.Handle
}

// errNamespaceGone: the path of a container's namespace does not name one (any more).
var errNamespaceGone = errors.New("no network namespace there")

// openNamespace opens the namespace at a path, or the agent's own for "". close must be called.
func openNamespace(path string) (*namespace, error) {
	if path == "" {
		links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return nil, fmt.Errorf("opening a netlink socket: %w", err)
		}
		return &namespace{links: links}, nil
	}
	file, err := os.Open(path) //nolint:gosec // the orchestrator names the namespace
	if err != nil {
		return nil, fmt.Errorf("opening network namespace: %w (%w)", err, errNamespaceGone)
	}
	ns := &namespace{path: path, file: file}
	if err := ns.check(); err != nil {
		ns.close()
		return nil, err
	}
	err = ns.do(func() error {
		ns.links, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		ns.close()
		return nil, fmt.Errorf("opening a netlink socket in network namespace %s: %w", path, err)
	}
	return ns, nil
}

// check refuses files that are no namespace: an ordinary file is what is left of one that was unmounted.
func (n *namespace) check() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(n.file.Fd()), &fs); err != nil {
		return fmt.Errorf("looking at %s: %w", n.path, err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("%s: %w", n.path, errNamespaceGone)
	}
	return nil
}

func (n *namespace) close() {
	if n.links != nil {
		n.links.Close()
	}
	if n.file != nil {
		_ = n.file.Close()
	}
}

// do runs fn in the namespace, on an OS thread of its own, so that a thread that cannot go back is never used again.
func (n *namespace) do(fn func() error) error {
	if n.file == nil {
		return fn()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			result <- fmt.Errorf("opening the own network namespace: %w", err)
			return // still locked: the thread ends with the goroutine
		}
		defer func() { _ = home.Close() }()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("entering network namespace %s: %w", n.path, err)
			return
		}
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// checksumOff makes the kernel fill in transport checksums of what the link sends: the userspace datapath forwards
// frames as they are, so that partial checksums make every TCP connection hang.
func (n *namespace) checksumOff(link string) error {
	return n.do(func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return fmt.Errorf("opening a socket for ethtool: %w", err)
		}
		defer tool.Close()
		off := map[string]bool{"tx-checksum-ip-generic": false, "tx-checksum-sctp": false}
		if err := tool.Change(link, off); err != nil {
			return fmt.Errorf("turning off checksum offload of %s: %w", link, err)
		}
		return nil
	})
}

// setSysctl writes net.<family>.conf.<link>.<name>.
func (n *namespace) setSysctl(family, link, name, value string) error {
	return n.do(func() error {
		path := "/proc/sys/net/" + family + "/conf/" + link + "/" + name
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("setting %s to %s: %w", path, value, err)
		}
		return nil
	})
}
