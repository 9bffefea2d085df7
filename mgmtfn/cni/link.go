package cni

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/mgmtfn/cni/plugin"
)

// openNetNS opens a container's network namespace. A path with nothing behind it means that the container is gone.
func openNetNS(path string) (netns.NsHandle, error) {
	handle, err := netns.GetFromPath(path)
	if errors.Is(err, os.ErrNotExist) {
		return netns.None(), types.NewError(types.ErrUnknownContainer,
			fmt.Sprintf("the container's network namespace %q (CNI_NETNS) does not exist", path), "")
	}
	if err != nil {
		return netns.None(), types.NewError(types.ErrIOFailure,
			fmt.Sprintf("cannot open the network namespace %q (CNI_NETNS)", path), err.Error())
	}
	var where unix.Statfs_t
	if err := unix.Fstatfs(int(handle), &where); err != nil || where.Type != unix.NSFS_MAGIC {
		_ = handle.Close()
		return netns.None(), types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_NETNS %q is no network namespace", path), "")
	}
	return handle, nil
}

// inNetNS calls do with a netlink handle of a namespace.
func inNetNS(path string, do func(*netlink.Handle) error) error {
	ns, err := openNetNS(path)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_NETNS %q is no network namespace that can be entered", path), err.Error())
	}
	defer links.Close()
	return do(links)
}

// checkTarget makes sure that an interface can be made where ADD wants it.
func checkTarget(path, ifName string) error {
	if path == "" || ifName == "" {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_NETNS and CNI_IFNAME are needed", "")
	}
	if sameAsOurs(path) {
		return types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_NETNS %q is the host's own network namespace", path), "")
	}
	return inNetNS(path, func(links *netlink.Handle) error {
		_, err := links.LinkByName(ifName)
		var missing netlink.LinkNotFoundError
		switch {
		case errors.As(err, &missing):
			return nil
		case err != nil:
			return types.NewError(types.ErrIOFailure, "cannot look at the container's interfaces", err.Error())
		}
		return types.NewError(plugin.CodeInterfaceExists, fmt.Sprintf("the container has an interface %q already", ifName),
			"DEL it first, or give another CNI_IFNAME")
	})
}

// sameAsOurs tells whether a path is the network namespace of this process.
func sameAsOurs(path string) bool {
	var theirs, ours unix.Stat_t
	if unix.Stat(path, &theirs) != nil || unix.Stat("/proc/thread-self/ns/net", &ours) != nil {
		return false
	}
	return theirs.Dev == ours.Dev && theirs.Ino == ours.Ino
}

// link is an interface as it is in its namespace.
type link struct {
	mac    string
	up     bool
	addrs  map[netip.Prefix]bool
	routes map[netip.Addr]bool // gateways of default routes through the interface
}

// readLink looks at an interface; CodeDamaged if it is not there.
func readLink(path, ifName string) (link, error) {
	var seen link
	err := inNetNS(path, func(links *netlink.Handle) error {
		found, err := links.LinkByName(ifName)
		if err != nil {
			return types.NewError(plugin.CodeDamaged, fmt.Sprintf("the container's interface %q is gone", ifName), err.Error())
		}
		seen, err = readDetails(links, found)
		if err != nil {
			return types.NewError(types.ErrIOFailure, fmt.Sprintf("cannot look at the container's interface %q", ifName), err.Error())
		}
		return nil
	})
	return seen, err
}

func readDetails(links *netlink.Handle, found netlink.Link) (link, error) {
	seen := link{
		mac:    found.Attrs().HardwareAddr.String(),
		up:     found.Attrs().Flags&net.FlagUp != 0,
		addrs:  map[netip.Prefix]bool{},
		routes: map[netip.Addr]bool{},
	}
	addrs, err := links.AddrList(found, netlink.FAMILY_ALL)
	if err != nil {
		return link{}, fmt.Errorf("listing addresses: %w", err)
	}
	for _, one := range addrs {
		seen.addrs[toPrefix(*one.IPNet)] = true
	}
	routes, err := links.RouteList(found, netlink.FAMILY_ALL)
	if err != nil {
		return link{}, fmt.Errorf("listing routes: %w", err)
	}
	for _, one := range routes {
		if gateway, ok := netip.AddrFromSlice(one.Gw); ok && isDefault(one.Dst) {
			seen.routes[gateway.Unmap()] = true
		}
	}
	return seen, nil
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

func toPrefix(n net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}
