package pipeline

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Endpoints of the world that is traced. Tenants red and blue use the same addresses.
const (
	macA, macB, macR = "02:02:0a:01:00:02", "02:02:0a:01:00:03", "02:02:0a:01:00:04"
	macD, macT       = "02:02:0a:01:00:05", "02:02:0a:01:00:06"
)

func tracedWorld(mode string) *world {
	w := newWorld(mode)
	w.host("h3", "172.31.0.3")
	w.network("red", "net", 3)
	w.network("blue", "net", 4)
	w.endpoint("red:net", id("h1", "a"), 5, macA, "10.1.0.2", "fd00::2", 7)
	w.endpoint("red:net", id("h1", "b"), 6, macB, "10.1.0.3", "fd00::3", 7)
	w.endpoint("red:net", id("h2", "r"), 0, macR, "10.1.0.4", "fd00::4", 8)
	w.endpoint("blue:net", id("h1", "c"), 7, macA, "10.1.0.2", "fd00::2", 9)
	w.endpoint("blue:net", id("h1", "d"), 8, macD, "10.1.0.5", "fd00::5", 9)
	w.host("h6", "fd31::6")
	w.endpoint("blue:net", id("h6", "t"), 0, macT, "10.1.0.6", "", 9)
	w.endpoint("blue:net", id("h3", "s"), 0, macB, "10.1.0.3", "fd00::3", 9)
	return w
}

// lab is a bridge with the ports of the traced world, a tunnel port, an underlay, and port 9 that no endpoint has. The
// tunnel address ends in the host's number.
type lab struct {
	*ovstest.OVS
	conn  *openflow.Conn
	names map[string]string // datapath port to name
}

func newLab(t *testing.T, host int) *lab {
	t.Helper()
	ovs := ovstest.Start(t)
	ovs.Vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone")
	ovs.Vsctl("add-port", "br-phy", "wire", "--", "set", "interface", "wire", "type=internal")
	ovs.RunInside("ip", "addr", "add", fmt.Sprintf("172.31.0.%d/24", host), "dev", "br-phy")
	ovs.RunInside("ip", "link", "set", "br-phy", "up")
	ports := []string{"add-port", ovs.Bridge, "vx0", "--", "set", "interface", "vx0", "type=vxlan", "options:remote_ip=flow", "options:key=flow", "ofport_request=100"}
	for _, port := range []int{2, 5, 6, 7, 8, 9, 10} {
		name := fmt.Sprint("p", port)
		ports = append(ports, "--", "add-port", ovs.Bridge, name, "--", "set", "interface", name, "type=internal", fmt.Sprint("ofport_request=", port))
	}
	ovs.Vsctl(ports...)
	ovs.RunInside("ip", "addr", "add", fmt.Sprintf("fd31::%d/64", host), "dev", "br-phy", "nodad")
	ovs.Wait("routes to the underlay", func() bool {
		routes := ovs.Appctl("ovs/route/show")
		return strings.Contains(routes, "172.31.0.0/24") && strings.Contains(routes, "fd31::/64")
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	conn, err := openflow.Dial(ctx, ovs.Socket(), openflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	l := &lab{OVS: ovs, conn: conn, names: map[string]string{}}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\S+) (\d+|65534)/(\d+):`).FindAllStringSubmatch(ovs.Appctl("dpif/show"), -1) {
		l.names[m[3]] = m[1]
	}
	return l
}

// install replaces all flows and groups.
func (l *lab) install(t *testing.T, p Program) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, m := range p.SortedMeters() {
		if err := l.conn.SetMeter(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	mods := []openflow.Mod{openflow.DeleteCookie(0, 1<<63)}
	for _, g := range p.SortedGroups() {
		mods = append(mods, openflow.SetGroup(g))
	}
	for _, f := range p.SortedFlows() {
		mods = append(mods, openflow.AddFlow(f))
	}
	if err := l.conn.Commit(ctx, mods); err != nil {
		t.Fatal(err)
	}
}

var datapathActions = regexp.MustCompile(`(?m)^Datapath actions: (.*)$`)

var tunnelHeader = regexp.MustCompile(`ipv[46]\(src=[^,]+,dst=([^,]+).*?vni=(0x[0-9a-f]+)`)

// trace tells where a packet goes: names of ports and "tunnel ADDRESS VNI", sorted; and the datapath actions.
func (l *lab) trace(packet string) (where []string, actions string) {
	// A packet that goes through conntrack is traced in parts, the later ones as the first packet of a connection.
	for _, m := range datapathActions.FindAllStringSubmatch(l.Appctl("ofproto/trace", l.Bridge, packet), -1) {
		actions += "," + m[1]
	}
	for _, a := range topLevel(actions) {
		switch {
		case strings.HasPrefix(a, "tnl_push") || strings.HasPrefix(a, "clone(tnl_push"):
			m := tunnelHeader.FindStringSubmatch(a)
			where = append(where, fmt.Sprintf("tunnel %s %s", m[1], m[2]))
		case l.names[a] != "" && l.names[a] != "wire":
			where = append(where, l.names[a])
		}
	}
	slices.Sort(where)
	return where, actions
}

// topLevel splits at commas outside parentheses.
func topLevel(s string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out, from = append(out, s[from:i]), i+1
		}
	}
	return append(out, s[from:])
}

// Packets of the traces.
func ip4(port, src, dst, nwSrc, nwDst string) string {
	return fmt.Sprintf("in_port=%s,dl_src=%s,dl_dst=%s,icmp,nw_src=%s,nw_dst=%s,nw_ttl=64", port, src, dst, nwSrc, nwDst)
}

func ip6(port, src, dst, nwSrc, nwDst string) string {
	return fmt.Sprintf("in_port=%s,dl_src=%s,dl_dst=%s,udp6,ipv6_src=%s,ipv6_dst=%s,udp_dst=9,nw_ttl=64", port, src, dst, nwSrc, nwDst)
}

func tunnelled(from, vni, rest string) string {
	return fmt.Sprintf("tun_id=%s,tun_src=%s,tun_dst=172.31.0.1,%s", vni, from, rest)
}

func tunnelled6(from, vni, rest string) string {
	return fmt.Sprintf("tun_id=%s,tun_ipv6_src=%s,tun_ipv6_dst=fd31::1,%s", vni, from, rest)
}

func arp(port, src, op, spa, sha, tpa string) string {
	dst := everyone
	if op == "2" {
		dst = macB
	}
	return fmt.Sprintf("in_port=%s,dl_src=%s,dl_dst=%s,arp,arp_op=%s,arp_spa=%s,arp_sha=%s,arp_tpa=%s", port, src, dst, op, spa, sha, tpa)
}

func ns(port, src, dst, ipSrc, target, sll string) string {
	return fmt.Sprintf("in_port=%s,dl_src=%s,dl_dst=%s,icmp6,ipv6_src=%s,ipv6_dst=ff02::1:ff00:4,icmpv6_type=135,icmpv6_code=0,nd_target=%s,nd_sll=%s,nw_ttl=255", port, src, dst, ipSrc, target, sll)
}

func na(ipSrc, target, tll string) string {
	return fmt.Sprintf("in_port=5,dl_src=%s,dl_dst=%s,icmp6,ipv6_src=%s,ipv6_dst=fd00::3,icmpv6_type=136,icmpv6_code=0,nd_target=%s,nd_tll=%s,nw_ttl=255", macA, macB, ipSrc, target, tll)
}

// routerSays is a message of a router to all, in the name of a peer's endpoint.
func routerSays(kind int) string {
	return fmt.Sprintf("in_port=100,dl_src=%s,dl_dst=33:33:00:00:00:01,icmp6,ipv6_src=%s,ipv6_dst=ff02::1,icmpv6_type=%d,icmpv6_code=0,nw_ttl=255", macR, linkR, kind)
}

const (
	everyone  = "ff:ff:ff:ff:ff:ff"
	solicited = "33:33:ff:00:00:04"
	unknown   = "02:02:0a:01:00:99"
	redVNI    = "0x3eb"
	blueVNI   = "0x3ec"
	toH2Red   = "tunnel 172.31.0.2 0x3eb"
	linkA     = "fe80::2:aff:fe01:2"
	linkR     = "fe80::2:aff:fe01:4"
)

type traceCase struct {
	name         string
	packet       string
	proxy, flood string // ports, comma-separated; empty: dropped
	same         bool   // flood is as proxy
}

func both(name, packet, want string) traceCase { return traceCase{name, packet, want, want, true} }

func traceCases() []traceCase {
	fromH2 := func(rest string) string { return tunnelled("172.31.0.2", redVNI, rest) }
	return []traceCase{
		both("same host", ip4("5", macA, macB, "10.1.0.2", "10.1.0.3"), "p6"),
		both("same host v6", ip6("5", macA, macB, "fd00::2", "fd00::3"), "p6"),
		both("across hosts", ip4("5", macA, macR, "10.1.0.2", "10.1.0.4"), toH2Red),
		both("across hosts v6", ip6("5", macA, macR, "fd00::2", "fd00::4"), toH2Red),
		both("link-local across hosts", ip6("5", macA, macR, linkA, linkR), ""),
		both("to a link-local address", ip6("5", macA, macR, "fd00::2", linkR), ""),
		both("link-local multicast", ip6("5", macA, "33:33:00:00:00:fb", linkA, "ff02::fb"), "p6,"+toH2Red),
		both("multicast", ip4("5", macA, "01:00:5e:00:00:fb", "10.1.0.2", "224.0.0.251"), "p6,"+toH2Red),
		both("broadcast of the network", ip4("5", macA, everyone, "10.1.0.2", "10.1.255.255"), "p6,"+toH2Red),
		both("unicast in a broadcast frame", ip4("5", macA, everyone, "10.1.0.2", "10.1.0.3"), ""),
		both("unicast in a multicast frame", ip4("5", macA, "01:00:5e:01:00:03", "10.1.0.2", "10.1.0.3"), ""),
		both("unicast in a multicast frame v6", ip6("5", macA, "33:33:00:00:00:03", "fd00::2", "fd00::3"), ""),
		both("unicast in a multicast frame from peer", fromH2(ip4("100", macR, everyone, "10.1.0.4", "10.1.0.3")), ""),
		both("from peer", fromH2(ip4("100", macR, macA, "10.1.0.4", "10.1.0.2")), "p5"),
		both("from peer v6", fromH2(ip6("100", macR, macA, "fd00::4", "fd00::2")), "p5"),
		both("from peer link-local", fromH2(ip6("100", macR, macA, linkR, "fd00::2")), ""),
		both("same address, other tenant", ip4("8", macD, macA, "10.1.0.5", "10.1.0.2"), "p7"),
		both("other tenant's peer with the same address", ip4("8", macD, macB, "10.1.0.5", "10.1.0.3"), "tunnel 172.31.0.3 "+blueVNI),
		both("peer is only red", tunnelled("172.31.0.2", blueVNI, ip4("100", macR, macA, "10.1.0.4", "10.1.0.2")), ""),
		both("over IPv6", ip4("8", macD, macT, "10.1.0.5", "10.1.0.6"), "tunnel fd31::6 "+blueVNI),
		both("from peer over IPv6", tunnelled6("fd31::6", blueVNI, ip4("100", macT, macD, "10.1.0.6", "10.1.0.5")), "p8"),
		both("from wrong peer over IPv6", tunnelled6("fd31::7", blueVNI, ip4("100", macT, macD, "10.1.0.6", "10.1.0.5")), ""),
		both("over IPv4 from peer that is on IPv6", tunnelled("172.31.0.2", blueVNI, ip4("100", macT, macD, "10.1.0.6", "10.1.0.5")), ""),
		both("unknown VNI", tunnelled("172.31.0.2", "0x999", ip4("100", macR, macA, "10.1.0.4", "10.1.0.2")), ""),
		both("port without endpoint", ip4("9", macA, macB, "10.1.0.2", "10.1.0.3"), ""),
		both("LOCAL port", ip4("LOCAL", macA, macB, "10.1.0.2", "10.1.0.3"), ""),
		both("wrong source address", ip4("5", macA, macB, "10.1.0.3", "10.1.0.3"), ""),
		both("wrong source MAC", ip4("5", macB, macB, "10.1.0.2", "10.1.0.3"), ""),
		both("no source address", ip4("5", macA, macB, "0.0.0.0", "10.1.0.3"), ""),
		both("wrong source v6", ip6("5", macA, macB, "fd00::3", "fd00::3"), ""),
		both("link-local of another", ip6("5", macA, macB, "fe80::1", "fd00::3"), ""),
		both("multicast source MAC", ip4("5", everyone, macB, "10.1.0.2", "10.1.0.3"), ""),
		both("tagged", ip4("5", macA, macB, "10.1.0.2", "10.1.0.3")+",dl_vlan=4,dl_vlan_pcp=0", ""),
		both("not IP", fmt.Sprintf("in_port=5,dl_src=%s,dl_dst=%s,dl_type=0x1234", macA, macB), ""),
		both("bridge control", fmt.Sprintf("in_port=5,dl_src=%s,dl_dst=01:80:c2:00:00:00,ip,nw_src=10.1.0.2", macA), ""),
		both("peer address from another host", tunnelled("172.31.0.3", redVNI, ip4("100", macR, macA, "10.1.0.4", "10.1.0.2")), ""),
		both("unknown host", tunnelled("172.31.0.77", redVNI, ip4("100", macR, macA, "10.1.0.4", "10.1.0.2")), ""),
		both("unknown source from peer", fromH2(ip4("100", macR, macA, "10.1.0.77", "10.1.0.2")), ""),
		both("unknown MAC from peer", fromH2(ip4("100", unknown, macA, "10.1.0.4", "10.1.0.2")), ""),
		both("local source from peer", fromH2(ip4("100", macB, macA, "10.1.0.3", "10.1.0.2")), ""),
		both("peer to peer through us", fromH2(ip4("100", macR, macR, "10.1.0.4", "10.1.0.4")), ""),
		{"unknown unicast", ip4("5", macA, unknown, "10.1.0.2", "10.1.0.77"), "", "p6," + toH2Red, false},
		{"unknown unicast from peer", fromH2(ip4("100", macR, unknown, "10.1.0.4", "10.1.0.77")), "", "p5,p6", false},
		both("broadcast", ip4("5", macA, everyone, "10.1.0.2", "255.255.255.255"), "p6,"+toH2Red),
		both("multicast v6", ip6("5", macA, "33:33:00:00:00:fb", "fd00::2", "ff02::fb"), "p6,"+toH2Red),
		both("broadcast from peer", fromH2(ip4("100", macR, everyone, "10.1.0.4", "255.255.255.255")), "p5,p6"),
		both("broadcast from unknown host", tunnelled("172.31.0.3", redVNI, ip4("100", macR, everyone, "10.1.0.4", "255.255.255.255")), ""),
		{"ARP for a neighbour", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.3"), "p5", "p6," + toH2Red, false},
		{"ARP for a peer", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.4"), "p5", "p6," + toH2Red, false},
		{"ARP for nobody", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.77"), "", "p6," + toH2Red, false},
		{"ARP announcement", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.2"), "", "p6," + toH2Red, false},
		{"ARP for other tenant's address", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.5"), "", "p6," + toH2Red, false},
		{"ARP from peer", fromH2(arp("100", macR, "1", "10.1.0.4", macR, "10.1.0.2")), "", "p5,p6", false},
		{"ARP reply", arp("5", macA, "2", "10.1.0.2", macA, "10.1.0.3"), "", "p6", false},
		both("ARP of an unknown from peer", fromH2(arp("100", macR, "1", "10.1.0.77", macR, "10.1.0.2")), ""),
		both("ARP with a lie about the MAC from peer", fromH2(arp("100", macR, "1", "10.1.0.4", macA, "10.1.0.2")), ""),
		both("ARP with another's address", arp("5", macA, "1", "10.1.0.3", macA, "10.1.0.4"), ""),
		both("ARP with another's MAC", arp("5", macA, "1", "10.1.0.2", macB, "10.1.0.3"), ""),
		both("ARP probe", arp("5", macA, "1", "0.0.0.0", macA, "10.1.0.2"), ""),
		{"ND for a neighbour", ns("5", macA, solicited, "fd00::2", "fd00::3", macA), "p5", "p6," + toH2Red, false},
		{"ND for a peer", ns("5", macA, solicited, linkA, "fd00::4", macA), "p5", "p6," + toH2Red, false},
		{"ND for nobody", ns("5", macA, solicited, "fd00::2", "fd00::77", macA), "", "p6," + toH2Red, false},
		{"ND unicast probe", ns("5", macA, macR, "fd00::2", "fd00::4", macA), "p5", toH2Red, false},
		both("ND unicast probe without option", ns("5", macA, macR, "fd00::2", "fd00::4", "00:00:00:00:00:00"), toH2Red),
		{"ND from peer", fromH2(ns("100", macR, solicited, "fd00::4", "fd00::2", macR)), "", "p5,p6", false},
		both("ND unicast from peer", fromH2(ns("100", macR, macA, "fd00::4", "fd00::2", macR)), "p5"),
		both("ND duplicate detection", ns("5", macA, solicited, "::", "fd00::2", "00:00:00:00:00:00"), ""),
		both("ND with another's MAC", ns("5", macA, solicited, "fd00::2", "fd00::3", macB), ""),
		both("ND from another's address", ns("5", macA, solicited, "fd00::3", "fd00::4", macA), ""),
		both("ND answer", na("fd00::2", "fd00::2", macA), "p6"),
		both("ND answer for another", na("fd00::2", "fd00::4", macA), ""),
		both("ND answer with another's MAC", na("fd00::2", "fd00::2", macR), ""),
		both("router advertisement", strings.Replace(na(linkA, "fd00::2", macA), "icmpv6_type=136,icmpv6_code=0,nd_target=fd00::2,nd_tll="+macA, "icmpv6_type=134,icmpv6_code=0", 1), ""),
		both("router advertisement from peer", fromH2(routerSays(134)), ""),
		both("redirect from peer", fromH2(routerSays(137)), ""),
	}
}

// routedCases are of forward mode routing: net of tenant red has endpoints a, b and r, other one endpoint o, in 10.2.0.0/16.
func routedCases() []traceCase {
	fromH2 := func(rest string) string { return tunnelled("172.31.0.2", redVNI, rest) }
	router := routerMAC.String()
	only := func(name, packet, want string) traceCase { return traceCase{name: name, packet: packet, proxy: want} }
	return []traceCase{
		only("same network", ip4("5", macA, router, "10.1.0.2", "10.1.0.3"), "p6"),
		only("same network v6", ip6("5", macA, router, "fd00::2", "fd00::3"), "p6"),
		only("from a link-local address", ip6("5", macA, router, linkA, "fd00::3"), ""),
		only("to a link-local address", ip6("5", macA, router, "fd00::2", linkR), ""),
		only("other network", ip4("5", macA, router, "10.1.0.2", "10.2.0.9"), "p9"),
		only("and back", ip4("9", macO, router, "10.2.0.9", "10.1.0.2"), "p5"),
		only("across hosts", ip4("5", macA, router, "10.1.0.2", "10.1.0.4"), toH2Red),
		only("across hosts and networks", ip4("9", macO, router, "10.2.0.9", "10.1.0.4"), toH2Red),
		only("across hosts v6", ip6("5", macA, router, "fd00::2", "fd00::4"), toH2Red),
		only("from peer", fromH2(ip4("100", router, router, "10.1.0.4", "10.1.0.2")), "p5"),
		only("from peer v6", fromH2(ip6("100", router, router, "fd00::4", "fd00::2")), "p5"),
		only("from peer to another network", tunnelled("172.31.0.2", "0x3ed", ip4("100", router, router, "10.1.0.4", "10.2.0.9")), "p9"),
		only("peer to peer through us", fromH2(ip4("100", router, router, "10.1.0.4", "10.1.0.4")), ""),
		only("peer address from another host", tunnelled("172.31.0.3", redVNI, ip4("100", router, router, "10.1.0.4", "10.1.0.2")), ""),
		only("unknown source from peer", fromH2(ip4("100", router, router, "10.1.0.77", "10.1.0.2")), ""),
		only("local source from peer", fromH2(ip4("100", router, router, "10.1.0.3", "10.1.0.2")), ""),
		only("other tenant", ip4("5", macA, router, "10.1.0.2", "10.1.0.5"), ""),
		only("same address, other tenant", ip4("8", macD, router, "10.1.0.5", "10.1.0.2"), "p7"),
		only("nobody", ip4("5", macA, router, "10.1.0.2", "10.1.0.77"), ""),
		only("wrong source address", ip4("5", macA, router, "10.1.0.3", "10.1.0.3"), ""),
		only("broadcast", ip4("5", macA, everyone, "10.1.0.2", "255.255.255.255"), ""),
		only("multicast v6", ip6("5", macA, "33:33:00:00:00:fb", "fd00::2", "ff02::fb"), ""),
		only("last hop", strings.Replace(ip4("5", macA, router, "10.1.0.2", "10.1.0.3"), "nw_ttl=64", "nw_ttl=1", 1), ""),
		only("echo to the gateway", ip4("5", macA, router, "10.1.0.2", "10.1.255.254")+",icmp_type=8,icmp_code=0", "p5"),
		only("echo to the gateway of another network", ip4("9", macO, router, "10.2.0.9", "10.1.255.254")+",icmp_type=8,icmp_code=0", "p9"),
		only("echo to the gateway v6", strings.NewReplacer("udp6", "icmp6,icmpv6_type=128,icmpv6_code=0", "udp_dst=9,", "").Replace(ip6("5", macA, router, "fd00::2", "fd00::fe")), "p5"),
		only("echo to the gateway of another tenant", ip4("8", macD, router, "10.1.0.5", "10.1.255.254")+",icmp_type=8,icmp_code=0", ""),
		only("echo reply to the gateway", ip4("5", macA, router, "10.1.0.2", "10.1.255.254")+",icmp_type=0,icmp_code=0", ""),
		only("ARP for a neighbour", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.3"), "p5"),
		only("ARP for the gateway", arp("5", macA, "1", "10.1.0.2", macA, "10.1.255.254"), "p5"),
		only("ARP for nobody", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.77"), "p5"),
		only("ARP announcement", arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.2"), ""),
		only("ARP for another network", arp("5", macA, "1", "10.1.0.2", macA, "10.2.0.9"), ""),
		only("ARP from peer", fromH2(arp("100", macR, "1", "10.1.0.4", macR, "10.1.0.2")), ""),
		only("ARP reply", arp("5", macA, "2", "10.1.0.2", macA, "10.1.0.3"), ""),
		only("ND for a neighbour", ns("5", macA, solicited, "fd00::2", "fd00::3", macA), "p5"),
		only("ND for nobody", ns("5", macA, solicited, "fd00::2", "fd00::77", macA), "p5"),
		only("ND unicast probe", ns("5", macA, router, "fd00::2", "fd00::4", macA), "p5"),
		only("ND unicast probe without option", ns("5", macA, router, "fd00::2", "fd00::4", "00:00:00:00:00:00"), "p5"),
		only("ND multicast without option", ns("5", macA, solicited, "fd00::2", "fd00::4", "00:00:00:00:00:00"), ""),
		only("ND from peer", fromH2(ns("100", macR, solicited, "fd00::4", "fd00::2", macR)), ""),
		only("ND answer", na("fd00::2", "fd00::2", macA), ""),
		only("router advertisement from peer", fromH2(routerSays(134)), ""),
	}
}

const macO = "02:02:0a:02:00:09"

// routedWorld has one more network, with an endpoint on port 9.
func routedWorld() *world {
	w := tracedWorld(protocol.ForwardRouting)
	gateways(w)
	n := w.Networks["red:net"]
	n.Gateway, n.Gateway6 = addr(""), addr("")
	n.Name, n.ID, n.VNI, n.Subnet, n.Subnet6 = "other", 5, 1005, netip.MustParsePrefix("10.2.0.0/16"), netip.Prefix{}
	w.Networks[n.Key()] = n
	w.endpoint("red:other", id("h1", "o"), 9, macO, "10.2.0.9", "", 7)
	return w
}

func TestTraces(t *testing.T) {
	l := newLab(t, 1)
	for _, peer := range []string{"172.31.0.2", "172.31.0.3", "fd31::6"} {
		l.Appctl("tnl/neigh/set", "br-phy", peer, "aa:55:aa:55:00:0"+peer[len(peer)-1:])
	}
	for _, mode := range []string{protocol.ARPProxy, protocol.ARPFlood, protocol.ForwardRouting} {
		w, cases := tracedWorld(mode), traceCases()
		if mode == protocol.ForwardRouting {
			w, cases = routedWorld(), routedCases()
		}
		p := Compile(w.State)
		if len(p.NotRealised) != 0 {
			t.Fatal(p.NotRealised)
		}
		l.install(t, p)
		var want []string
		for _, f := range p.SortedFlows() {
			want = append(want, f.String())
		}
		if d := cmp.Diff(sorted(want), sorted(l.Flows())); d != "" {
			t.Fatalf("%s: the switch has other flows than the program (-program +switch)\n%s", mode, d)
		}
		for _, c := range cases {
			expect := c.proxy
			if mode == protocol.ARPFlood {
				expect = c.flood
			}
			where, actions := l.trace(c.packet)
			if strings.Join(where, ",") != expect {
				t.Errorf("%s, %s: goes to %q, want %q\n%s\n%s", mode, c.name, strings.Join(where, ","), expect, c.packet, actions)
			}
		}
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
