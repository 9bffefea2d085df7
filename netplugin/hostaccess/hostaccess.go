// Package hostaccess makes the host itself an endpoint of every network of type infra, so that it reaches containers on
// all hosts, and they reach it: an interface named like the network (contivh1, usually), with an address that netmaster
// gives, and in forward mode routing a route to each network of the tenant. An edge package: it calls the agent and the
// kernel's netlink. What it made stays when it ends.
package hostaccess

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/ofnet/protocol"
)

const (
	// owner marks attachments of the host itself.
	owner = "host"
	// ownNetNS is the namespace of this process, as an attachment remembers it.
	ownNetNS = "/proc/self/ns/net"
	// routeProtocol marks the routes that are ours (ip route show proto 196).
	routeProtocol = 196

	look  = 15 * time.Second // between looks at what others may have changed
	retry = 2 * time.Second  // after a failure
)

// Agent is what the package needs of the agent of this host.
type Agent interface {
	Host() string
	HostView() (agent.HostView, <-chan struct{})
	Attach(context.Context, mgmtfn.AttachRequest) (mgmtfn.Attachment, error)
	Detach(ctx context.Context, containerID, ifName string) error
	Attachments(context.Context) ([]mgmtfn.Attachment, error)
}

// Run keeps the host attached as netmaster wants it, until ctx ends.
func Run(ctx context.Context, host Agent, log *logrus.Entry) error {
	problem := ""
	for {
		view, changed := host.HostView()
		pause := time.Duration(0)
		if view.Known {
			err := reconcile(ctx, host, &view)
			pause = report(log, &problem, err)
		}
		again := time.NewTimer(pause + look)
		if pause > 0 {
			again.Reset(pause)
		}
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-changed:
		case <-again.C:
		}
		again.Stop()
	}
}

// report logs a problem once, and tells after how long to try again, 0 without a problem.
func report(log *logrus.Entry, problem *string, err error) time.Duration {
	now := ""
	if err != nil {
		now = err.Error()
	}
	switch {
	case now != "" && now != *problem:
		log.WithError(err).Error("the host is not attached to every infra network; trying again")
	case now == "" && *problem != "":
		log.Info("the host is attached to every infra network")
	}
	*problem = now
	if err != nil {
		return retry
	}
	return 0
}

func reconcile(ctx context.Context, host Agent, view *agent.HostView) error {
	infra := map[string]*protocol.Network{} // by key
	for i := range view.Networks {
		if n := &view.Networks[i]; n.Type == protocol.NetworkInfra {
			infra[n.Key()] = n
		}
	}
	attached, err := host.Attachments(ctx)
	if err != nil {
		return fmt.Errorf("looking what the host is attached to: %w", err)
	}
	var errs []error
	for i := range attached {
		a := &attached[i]
		if a.Owner != owner {
			continue
		}
		if n := infra[a.Tenant+":"+a.Network]; n == nil || n.Name != a.ID.IfName {
			if err := host.Detach(ctx, a.ID.ContainerID, a.ID.IfName); err != nil {
				errs = append(errs, fmt.Errorf("detaching the host from network %s: %w", a.Network, err))
			}
		}
	}
	for i := range view.Networks {
		if n := &view.Networks[i]; n.Type == protocol.NetworkInfra {
			if err := attach(ctx, host, n, view); err != nil {
				errs = append(errs, fmt.Errorf("attaching the host to network %s of tenant %s: %w", n.Name, n.Tenant, err))
			}
		}
	}
	return errors.Join(errs...)
}

// attach makes the host an endpoint of a network, or finds it one, and brings group and routes of the link up to date.
func attach(ctx context.Context, host Agent, n *protocol.Network, view *agent.HostView) error {
	_, err := host.Attach(ctx, mgmtfn.AttachRequest{
		ContainerID: host.Host(), IfName: n.Name, Tenant: n.Tenant, Network: n.Name, NetNS: ownNetNS, ContainerName: host.Host(), Owner: owner,
	})
	if err != nil {
		return err //nolint:wrapcheck // the caller says what this is about
	}
	link, err := netlink.LinkByName(n.Name)
	if err != nil {
		return fmt.Errorf("finding interface %s: %w", n.Name, err)
	}
	// Before the first route: nothing of other tenants is to go there.
	if link.Attrs().Group != drivers.InfraLinkGroup {
		if err := netlink.LinkSetGroup(link, drivers.InfraLinkGroup); err != nil {
			return fmt.Errorf("setting the group of interface %s: %w", n.Name, err)
		}
	}
	return setRoutes(link, routesOf(n, view))
}

// routesOf are the routes by way of an infra network: to the tenant's other networks on the overlay, if the switch routes
// and the network has a gateway.
func routesOf(infra *protocol.Network, view *agent.HostView) map[netip.Prefix]netip.Addr {
	routes := map[netip.Prefix]netip.Addr{}
	if !view.Routing {
		return routes
	}
	for i := range view.Networks {
		n := &view.Networks[i]
		if n.Tenant != infra.Tenant || n.Type == protocol.NetworkInfra || n.Encap != protocol.EncapVXLAN {
			continue
		}
		if n.Subnet.IsValid() && infra.Gateway.IsValid() {
			routes[n.Subnet] = infra.Gateway
		}
		if n.Subnet6.IsValid() && infra.Gateway6.IsValid() {
			routes[n.Subnet6] = infra.Gateway6
		}
	}
	return routes
}

// setRoutes makes these the routes of a link that are ours.
func setRoutes(link netlink.Link, want map[netip.Prefix]netip.Addr) error {
	name := link.Attrs().Name
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: routeProtocol},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("listing the routes of %s: %w", name, err)
	}
	there := map[netip.Prefix]bool{}
	for i := range have {
		to, via := prefixOf(have[i].Dst), addrOf(have[i].Gw)
		if gateway, wanted := want[to]; wanted && gateway == via {
			there[to] = true
			continue
		}
		if err := netlink.RouteDel(&have[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("removing route %s by way of %s: %w", to, name, err)
		}
	}
	var errs []error
	for to, via := range want {
		if there[to] {
			continue
		}
		dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: via.AsSlice(), Protocol: routeProtocol}
		if err := netlink.RouteAdd(route); err != nil {
			errs = append(errs, fmt.Errorf("adding route %s via %s dev %s: %w", to, via, name, err))
		}
	}
	return errors.Join(errs...)
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addrOf(n.IP), bits)
}

func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
