package ovs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// ifNameTakenError: the container has an interface of that name already and it is not ours.
type ifNameTakenError struct{ ifName, netNS string }

func (e *ifNameTakenError) Error() string {
	return fmt.Sprintf("network namespace %s has an interface %s already, which Contiv did not make", e.netNS, e.ifName)
}

// linkMaker makes the veth pairs of endpoints. Safe for concurrent use.
type linkMaker struct {
	host  *namespace
	owner string // starts the alias of every link we make
	// noChecksum: the datapath needs complete checksums from containers.
	noChecksum bool
	// rtnl makes our changes of links one after the other. The kernel has one lock for all of them anyway, and who writes
	// disable_ipv6 does not sleep until that is free but tries again and again.
	rtnl     sync.Mutex
	unlinker unlinker
}

// alias marks the host end as ours and tells people whose it is.
func (m *linkMaker) alias(att *drivers.Attachment) string { return m.owner + att.ID.String() }

// create makes the pair of an attachment: host end att.HostLink, other end att.ContainerLink in att.NetNS or, without
// one, in the host. Both are down and bare. A left-over host end of that name is replaced.
func (m *linkMaker) create(att *drivers.Attachment, ns *namespace) (host netlink.Link, err error) {
	mac, err := net.ParseMAC(att.MAC)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", att.ID, err)
	}
	if att.NetNS != "" {
		if _, err := ns.links.LinkByName(att.ContainerLink); err == nil {
			return nil, &ifNameTakenError{att.ContainerLink, att.NetNS}
		} else if !isNoLink(err) {
			return nil, fmt.Errorf("looking for interface %s in %s: %w", att.ContainerLink, att.NetNS, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = att.HostLink, att.MTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = att.ContainerLink, mac, uint32(max(att.MTU, 0)) //nolint:gosec // not negative
	if att.NetNS != "" {
		veth.PeerNamespace = netlink.NsFd(ns.file.Fd())
	}
	m.rtnl.Lock()
	defer m.rtnl.Unlock()
	if err := m.host.links.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("making veth pair %s and %s: %w", att.HostLink, att.ContainerLink, err)
	}
	return veth, nil
}

// readyHost brings the host end up. The kernel of the host also gets the frames that a userspace datapath reads from
// it, so it is told to answer none: no ARP, no IPv6, no unicast in broadcast frames.
func (m *linkMaker) readyHost(att *drivers.Attachment, link netlink.Link) error {
	m.rtnl.Lock()
	defer m.rtnl.Unlock()
	if err := m.host.setSysctl("ipv6", att.HostLink, "disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // without IPv6 in the kernel there is nothing to turn off
	}
	if err := m.host.setSysctl("ipv4", att.HostLink, "drop_unicast_in_l2_multicast", "1"); err != nil {
		return err
	}
	if err := m.host.links.LinkSetAlias(link, m.alias(att)); err != nil {
		return fmt.Errorf("naming the owner of %s: %w", att.HostLink, err)
	}
	if err := m.host.links.LinkSetARPOff(link); err != nil {
		return fmt.Errorf("turning off ARP on %s: %w", att.HostLink, err)
	}
	if err := m.host.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s: %w", att.HostLink, err)
	}
	return nil
}

// readyContainer gives the container end what the endpoint has. Without a namespace of its own it stays down and bare.
func (m *linkMaker) readyContainer(att *drivers.Attachment, ns *namespace) error {
	if m.noChecksum {
		if err := ns.checksumOff(att.ContainerLink); err != nil {
			return err
		}
	}
	if att.NetNS == "" {
		return nil
	}
	link, err := ns.links.LinkByName(att.ContainerLink)
	if err != nil {
		return fmt.Errorf("finding %s in %s: %w", att.ContainerLink, att.NetNS, err)
	}
	if att.IPv6.IsValid() {
		if err := ns.setSysctl("ipv6", att.ContainerLink, "disable_ipv6", "0"); err != nil {
			return err
		}
	}
	for _, prefix := range []netip.Prefix{att.IPv4, att.IPv6} {
		if err := addAddress(ns, link, prefix); err != nil {
			return err
		}
	}
	if err := ns.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s in %s: %w", att.ContainerLink, att.NetNS, err)
	}
	for _, gateway := range []netip.Addr{att.Gateway, att.Gateway6} {
		if err := addDefaultRoute(ns, link, gateway); err != nil {
			return err
		}
	}
	return addNameServerRoute(ns, link)
}

// addNameServerRoute leads to the name server, which is on every network. Of several interfaces the first has the route.
func addNameServerRoute(ns *namespace, link netlink.Link) error {
	addr := protocol.NameServer
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())},
	}
	if err := ns.links.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding the route to name server %s in %s: %w", addr, ns.path, err)
	}
	return nil
}

func addAddress(ns *namespace, link netlink.Link, prefix netip.Prefix) error {
	if !prefix.IsValid() {
		return nil
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}}
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD // netmaster gave it to nobody else; a tentative address would drop the first packets
	}
	if err := ns.links.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("adding address %s to %s in %s: %w", prefix, link.Attrs().Name, ns.path, err)
	}
	return nil
}

func addDefaultRoute(ns *namespace, link netlink.Link, gateway netip.Addr) error {
	if !gateway.IsValid() {
		return nil
	}
	all := &net.IPNet{IP: make(net.IP, len(gateway.AsSlice())), Mask: net.CIDRMask(0, gateway.BitLen())}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: gateway.AsSlice()}
	if err := ns.links.RouteAdd(route); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("adding default route via %s: network namespace %s has a default route already: %w", gateway, ns.path, err)
		}
		return fmt.Errorf("adding default route via %s on %s in %s: %w", gateway, link.Attrs().Name, ns.path, err)
	}
	return nil
}

// remove deletes a pair by its host end. A link that is not there is no error.
func (m *linkMaker) remove(hostLink string) error {
	link, err := m.find(hostLink)
	if link == nil || err != nil {
		return err
	}
	return m.unlink(link)
}

// removeLeftOver is remove for a name that is to be used; it leaves alone what is not ours.
func (m *linkMaker) removeLeftOver(hostLink string) error {
	link, err := m.find(hostLink)
	if link == nil || err != nil {
		return err
	}
	if !m.ours(link) {
		return fmt.Errorf("a link %s exists that Contiv did not make", hostLink)
	}
	return m.unlink(link)
}

func (m *linkMaker) unlink(link netlink.Link) error {
	return m.unlinker.remove(link, func(batch []*removal) {
		m.rtnl.Lock()
		defer m.rtnl.Unlock()
		removeLinks(m.host, batch)
	})
}

// find answers a link of the host, nil if there is none.
func (m *linkMaker) find(name string) (netlink.Link, error) {
	link, err := m.host.links.LinkByName(name)
	if isNoLink(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", name, err)
	}
	return link, nil
}

// foreign tells whether a link of that name exists that another program or another switch made.
func (m *linkMaker) foreign(hostLink string) bool {
	link, err := m.host.links.LinkByName(hostLink)
	return err == nil && !m.ours(link)
}

// ours: the name of a host end is a hash that nobody else comes upon, so that one without alias is of an agent that
// died before it wrote it.
func (m *linkMaker) ours(link netlink.Link) bool {
	alias := link.Attrs().Alias
	return link.Type() == "veth" && (alias == "" || strings.HasPrefix(alias, m.owner))
}

// whole tells whether both ends of an attachment are where they were put. A container end that the orchestrator was to
// move, and moved, counts as in place.
func (m *linkMaker) whole(att *drivers.Attachment) bool {
	host, err := m.host.links.LinkByName(att.HostLink)
	if err != nil || host.Type() != "veth" {
		return false
	}
	if att.NetNS == "" {
		if host.Attrs().NetNsID >= 0 {
			return true
		}
		peer, err := m.host.links.LinkByName(att.ContainerLink)
		return err == nil && paired(host, peer, att.MAC)
	}
	ns, err := openNamespace(att.NetNS)
	if err != nil {
		return false
	}
	defer ns.close()
	peer, err := ns.links.LinkByName(att.ContainerLink)
	return err == nil && paired(host, peer, att.MAC)
}

func paired(host, peer netlink.Link, mac string) bool {
	return host.Attrs().ParentIndex == peer.Attrs().Index && peer.Attrs().ParentIndex == host.Attrs().Index &&
		strings.EqualFold(peer.Attrs().HardwareAddr.String(), mac)
}

// leftOvers are host ends that we made and that keep does not name: of an agent that died half way.
func (m *linkMaker) leftOvers(keep map[string]bool) ([]string, error) {
	links, err := m.host.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	var names []string
	for _, link := range links {
		attrs := link.Attrs()
		if strings.HasPrefix(attrs.Alias, m.owner) && !keep[attrs.Name] {
			names = append(names, attrs.Name)
		}
	}
	return names, nil
}

// counters are those of the links of the host, by name.
func (m *linkMaker) counters() (map[string]netlink.LinkStatistics, error) {
	links, err := m.host.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("reading the counters of links: %w", err)
	}
	out := make(map[string]netlink.LinkStatistics, len(links))
	for _, link := range links {
		if attrs := link.Attrs(); attrs.Statistics != nil {
			out[attrs.Name] = *attrs.Statistics
		}
	}
	return out, nil
}

func isNoLink(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}
