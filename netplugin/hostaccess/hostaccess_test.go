package hostaccess

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/ofnet/protocol"
)

// inNetNS runs a test in a network namespace of its own.
func inNetNS(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// fake is an agent that makes plain veth pairs.
type fake struct {
	t        *testing.T
	view     agent.HostView
	attached []mgmtfn.Attachment
	refuse   error
	attaches int
}

func (f *fake) Host() string                                { return "h1" }
func (f *fake) HostView() (agent.HostView, <-chan struct{}) { return f.view, nil }
func (f *fake) Attachments(context.Context) ([]mgmtfn.Attachment, error) {
	return slices.Clone(f.attached), nil
}

func (f *fake) Attach(_ context.Context, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	if f.attaches++; f.refuse != nil {
		return mgmtfn.Attachment{}, f.refuse
	}
	a := mgmtfn.Attachment{ID: protocol.EndpointID{Host: "h1", ContainerID: want.ContainerID, IfName: want.IfName},
		Tenant: want.Tenant, Network: want.Network, Owner: want.Owner, NetNS: want.NetNS}
	if slices.ContainsFunc(f.attached, func(b mgmtfn.Attachment) bool { return a.ID == b.ID }) {
		return a, nil
	}
	f.attached = append(f.attached, a)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = want.IfName
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "p" + want.IfName
	must(f.t, netlink.LinkAdd(veth))
	for _, name := range []string{want.IfName, "p" + want.IfName} {
		link, err := netlink.LinkByName(name)
		must(f.t, err)
		must(f.t, netlink.LinkSetUp(link))
	}
	must(f.t, netlink.AddrAdd(veth, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(123, 4, 5, 2), Mask: net.CIDRMask(24, 32)}}))
	must(f.t, netlink.AddrAdd(veth, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("fd09::2"), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}))
	return a, nil
}

func (f *fake) Detach(_ context.Context, container, ifName string) error {
	f.attached = slices.DeleteFunc(f.attached, func(a mgmtfn.Attachment) bool { return a.ID.ContainerID == container && a.ID.IfName == ifName })
	link, err := netlink.LinkByName(ifName)
	must(f.t, err)
	return netlink.LinkDel(link)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func network(name, kind, subnet, gateway, subnet6, gateway6 string) protocol.Network {
	n := protocol.Network{Tenant: "default", Name: name, Type: kind, Encap: protocol.EncapVXLAN, Subnet: netip.MustParsePrefix(subnet)}
	n.Gateway = netip.MustParseAddr(gateway)
	if subnet6 != "" {
		n.Subnet6, n.Gateway6 = netip.MustParsePrefix(subnet6), netip.MustParseAddr(gateway6)
	}
	return n
}

// ours are the routes that the package made, in both families.
func ours(t *testing.T) (routes []string) {
	t.Helper()
	list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	must(t, err)
	for i := range list {
		routes = append(routes, prefixOf(list[i].Dst).String()+" via "+addrOf(list[i].Gw).String())
	}
	slices.Sort(routes)
	return routes
}

func TestReconcile(t *testing.T) {
	inNetNS(t)
	infra := network("contivh1", protocol.NetworkInfra, "123.4.5.0/24", "123.4.5.1", "fd09::/64", "fd09::1")
	pipe := network("pipe", "data", "17.5.4.0/22", "17.5.4.1", "fd17::/64", "fd17::1")
	bunker := network("bunker", "data", "13.5.7.0/24", "13.5.7.1", "", "")
	blue := network("blue", "data", "10.6.0.0/24", "10.6.0.1", "", "")
	blue.Tenant = "blue"
	vlan := network("vlan", "data", "10.7.0.0/24", "10.7.0.1", "", "")
	vlan.Encap = protocol.EncapVLAN
	f := &fake{t: t}
	f.attached = []mgmtfn.Attachment{{ID: protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}, Owner: "cni", Tenant: "default", Network: "pipe"}}
	reconciled := func(routing bool, want []string, networks ...protocol.Network) {
		t.Helper()
		f.view = agent.HostView{Known: true, Routing: routing, Networks: networks}
		for range 2 { // the second changes nothing
			must(t, reconcile(t.Context(), f, &f.view))
			if diff := cmp.Diff(want, ours(t)); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		}
	}
	all := []string{"13.5.7.0/24 via 123.4.5.1", "17.5.4.0/22 via 123.4.5.1", "fd17::/64 via fd09::1"}
	reconciled(true, all, infra, pipe, bunker, blue, vlan)
	link, err := netlink.LinkByName("contivh1")
	must(t, err)
	if link.Attrs().Group != drivers.InfraLinkGroup {
		t.Errorf("group %d", link.Attrs().Group)
	}
	reconciled(true, all[1:], infra, pipe, blue)
	reconciled(true, nil, infra)
	reconciled(false, nil, infra, pipe)
	noGateway := infra
	noGateway.Gateway, noGateway.Gateway6 = netip.Addr{}, netip.Addr{}
	reconciled(true, nil, noGateway, pipe)
	reconciled(true, nil, pipe)
	if len(f.attached) != 1 || f.attached[0].Owner != "cni" {
		t.Errorf("attachments %+v", f.attached)
	}

	// One that fails does not hold up the others.
	f.refuse = errors.New("no address is free")
	other := infra
	other.Name = "second"
	f.view.Networks, f.attaches = []protocol.Network{infra, other}, 0
	if err := reconcile(t.Context(), f, &f.view); err == nil || f.attaches != 2 {
		t.Errorf("%d attaches, error %v", f.attaches, err)
	}
}

// TestForeignRoute: the host's own route to the same subnet stays, and is told of.
func TestForeignRoute(t *testing.T) {
	inNetNS(t)
	f := &fake{t: t}
	infra := network("contivh1", protocol.NetworkInfra, "123.4.5.0/24", "123.4.5.1", "", "")
	f.view = agent.HostView{Known: true, Routing: true, Networks: []protocol.Network{infra}}
	must(t, reconcile(t.Context(), f, &f.view))
	link, err := netlink.LinkByName("contivh1")
	must(t, err)
	dst := &net.IPNet{IP: net.IPv4(17, 5, 4, 0), Mask: net.CIDRMask(22, 32)}
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: net.IPv4(123, 4, 5, 9), Protocol: unix.RTPROT_STATIC}))
	f.view.Networks = append(f.view.Networks, network("pipe", "data", "17.5.4.0/22", "17.5.4.1", "", ""))
	if err := reconcile(t.Context(), f, &f.view); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v", err)
	}
	if routes := ours(t); routes != nil {
		t.Errorf("routes %v", routes)
	}
}

// TestRunWaits: before netmaster has said what there is, nothing is taken away.
func TestRunWaits(t *testing.T) {
	f := &fake{t: t, attached: []mgmtfn.Attachment{{ID: protocol.EndpointID{ContainerID: "h1", IfName: "contivh1"}, Owner: owner}}}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	must(t, Run(ctx, f, logrus.NewEntry(logger)))
	if len(f.attached) != 1 {
		t.Error("the host was detached")
	}
}
