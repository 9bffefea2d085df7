package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const netnsDir = "/run/netns"

func netnsPath(name string) string { return filepath.Join(netnsDir, name) }

// inNetNS is InNetNS for a named namespace.
func inNetNS(name string, f func() error) error { return InNetNS(netnsPath(name), f) }

// InNetNS runs f on a thread that is in the namespace at a path; processes that f starts and sockets that it makes
// are born there and stay there.
func InNetNS(path string, f func() error) error {
	return onOwnThread(func() error {
		target, err := netns.GetFromPath(path)
		if err != nil {
			return fmt.Errorf("opening network namespace %s: %w", path, err)
		}
		defer target.Close() //nolint:errcheck // nothing was written
		if err := netns.Set(target); err != nil {
			return fmt.Errorf("entering network namespace %s: %w", path, err)
		}
		return f()
	})
}

// addNetNS makes a named namespace with its loopback up.
func addNetNS(name string) error {
	return onOwnThread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("making network namespace %s: %w", name, err)
		}
		_ = ns.Close()
		return setUp("lo")
	})
}

// onOwnThread runs f on a thread of its own, which f may take to another network namespace. The thread is brought
// back: were it the first of the process and left there, /proc/self would show the wrong namespace for good. A thread
// that cannot be brought back ends with its goroutine.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			result <- fmt.Errorf("opening the network namespace of this thread: %w", err)
			return
		}
		defer home.Close() //nolint:errcheck // nothing was written
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// removeNetNS removes a namespace; one that is not there is no error.
func removeNetNS(name string) error {
	if _, err := os.Stat(netnsPath(name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := netns.DeleteNamed(name); err != nil {
		// A name that is no mount any more (left by a crash between creating and mounting it).
		if os.Remove(netnsPath(name)) == nil {
			return nil
		}
		return fmt.Errorf("removing network namespace %s: %w", name, err)
	}
	return nil
}

// netNSNames lists the namespaces that belong to a sandbox.
func netNSNames(l layout) []string {
	entries, _ := os.ReadDir(netnsDir) // no directory: no namespaces
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		rest, ours := strings.CutPrefix(name, l.name+"-")
		if ours && (rest == "fabric" || strings.HasPrefix(rest, "w-") || isHostSuffix(rest)) {
			names = append(names, name)
		}
	}
	return names
}

func isHostSuffix(s string) bool {
	digits, ok := strings.CutPrefix(s, "h")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting link %s up: %w", name, err)
	}
	return nil
}

func setDown(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	if err := netlink.LinkSetDown(link); err != nil {
		return fmt.Errorf("setting link %s down: %w", name, err)
	}
	return nil
}

// addAddr gives a link of the calling thread's namespace an address and sets it up.
func addAddr(name string, addr netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	ipNet := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen())}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet}); err != nil {
		return fmt.Errorf("giving %s the address %s: %w", name, addr, err)
	}
	return setUp(name)
}

func addBridge(name string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making bridge %s: %w", name, err)
	}
	return setUp(name)
}

// addVeth makes a pair: near in the calling thread's namespace and on the bridge, far in the namespace at farNetNS
// (a path).
func addVeth(near, bridge, far, farNetNS string) error {
	target, err := netns.GetFromPath(farNetNS)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", farNetNS, err)
	}
	defer target.Close() //nolint:errcheck // nothing was written
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("finding bridge %s: %w", bridge, err)
	}
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: near, MasterIndex: master.Attrs().Index},
		PeerName:      far,
		PeerNamespace: netlink.NsFd(int(target)),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making veth pair %s-%s: %w", near, far, err)
	}
	return setUp(near)
}

// moveToBridge makes a link a port of another bridge.
func moveToBridge(name, bridge string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("finding bridge %s: %w", bridge, err)
	}
	if err := netlink.LinkSetMasterByIndex(link, master.Attrs().Index); err != nil {
		return fmt.Errorf("moving %s to bridge %s: %w", name, bridge, err)
	}
	return nil
}
