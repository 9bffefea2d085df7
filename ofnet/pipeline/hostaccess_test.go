package pipeline

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

// accessWorld is the routed world with a port to the host, 2, and the host itself on port 10, in network infra.
func accessWorld() *world {
	w := routedWorld()
	w.HostPort = 2
	w.Global.PrivateSubnet = "172.19.0.0/16"
	n := w.Networks["red:net"]
	n.Name, n.Type, n.ID, n.VNI = "contivh1", protocol.NetworkInfra, 6, 1006
	n.Subnet, n.Subnet6, n.Gateway, n.Gateway6 = netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("fd09::/64"), addr("10.9.0.1"), addr("fd09::1")
	w.Networks[n.Key()] = n
	w.endpoint("red:contivh1", id("h1", "h1"), 10, macH, "10.9.0.2", "fd09::2", 0)
	w.endpoint("red:contivh1", id("h2", "h2"), 0, "02:02:0a:09:00:03", "10.9.0.3", "fd09::3", 0)
	return w
}

const (
	macH    = "02:02:0a:09:00:02"
	macHost = "02:02:ac:13:ff:fe" // of contivh0
)

func TestPrivateAccess(t *testing.T) {
	h, err := PrivateAccess("172.19.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if h.Addr != addr("172.19.255.254") || h.Addr6 != addr("fd63:6f6e:7476:ac13::fffe") || h.MAC.String() != macHost {
		t.Errorf("the host has %v, %v, %v", h.Addr, h.Addr6, h.MAC)
	}
	if four, six := h.of(0x1234); four != addr("172.19.18.52") || six != addr("fd63:6f6e:7476:ac13::1234") {
		t.Errorf("port 0x1234 has %v and %v", four, six)
	}
	for _, bad := range []string{"", "172.19.0.0", "172.19.0.0/24", "fd00::/16"} {
		if _, err := PrivateAccess(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestGoldenHostAccess shows what host access adds.
func TestGoldenHostAccess(t *testing.T) {
	without := accessWorld()
	without.HostPort = 0
	base, p := Compile(without.State), Compile(accessWorld().State)
	for k, f := range base.Flows {
		if p.Flows[k] == f {
			delete(p.Flows, k)
		}
	}
	golden(t, "routing-hostaccess", p.text())
	// Base, and two flows for each address of a local endpoint that is not the host's own.
	if want := 18 + 2*(5+4); len(p.Flows) != want {
		t.Errorf("%d flows more, want %d", len(p.Flows), want)
	}
	infra := Program{Flows: base.Flows}
	for k, f := range base.Flows {
		if f.Cookie != endpointCookie(id("h1", "h1")) && f.Cookie != cookie(categoryNetwork, 6) {
			delete(infra.Flows, k)
		}
	}
	golden(t, "routing-infra", infra.text())
}

func TestNoHostAccess(t *testing.T) {
	for name, change := range map[string]func(*world){
		"no port":           func(w *world) { w.HostPort = 0 },
		"no private subnet": func(w *world) { w.Global.PrivateSubnet = "" },
		"nonsense":          func(w *world) { w.Global.PrivateSubnet = "172.19.0.0/24" },
		"bridge mode":       func(w *world) { w.Global.ForwardMode = protocol.ForwardBridge },
	} {
		w := accessWorld()
		change(w)
		p := Compile(w.State)
		for _, f := range p.SortedFlows() {
			if f.Table == tableHostSNAT || strings.Contains(f.String(), "in_port=2") {
				t.Errorf("%s: %s", name, f.String())
			}
		}
		if told := len(p.NotRealised) > 0 && p.NotRealised[0].Kind == protocol.KindGlobal; told != (name == "nonsense") {
			t.Errorf("%s: not realised: %v", name, p.NotRealised)
		}
	}
}

func TestCompilerHostAccess(t *testing.T) {
	c := New("h1")
	if _, ok := c.HostAccess(); ok {
		t.Error("host access before the settings are known")
	}
	w := accessWorld()
	c.Update(Changes{Global: w.Global})
	if h, ok := c.HostAccess(); !ok || h.IPv6 || h.Subnet != netip.MustParsePrefix("172.19.0.0/16") {
		t.Errorf("%+v, %v", h, ok)
	}
	n := w.Networks["red:net"]
	c.Update(Changes{Networks: map[string]*protocol.Network{"red:net": &n}})
	if h, ok := c.HostAccess(); !ok || !h.IPv6 {
		t.Errorf("with a network that has IPv6: %+v, %v", h, ok)
	}
}

func accessCases() []traceCase {
	router := routerMAC.String()
	only := func(name, packet, want string) traceCase { return traceCase{name: name, packet: packet, proxy: want} }
	fromH2 := func(rest string) string { return tunnelled("172.31.0.2", redVNI, rest) }
	return []traceCase{
		only("out", ip4("5", macA, router, "10.1.0.2", "8.8.8.8"), "p2"),
		only("out, same address in another tenant", ip4("7", macA, router, "10.1.0.2", "8.8.8.8"), "p2"),
		only("out v6", ip6("5", macA, router, "fd00::2", "2001:db8::8"), "p2"),
		only("to the host's private address", ip4("5", macA, router, "10.1.0.2", "172.19.255.254"), "p2"),
		only("to another's private address", ip4("5", macA, router, "10.1.0.2", "172.19.0.6"), ""),
		only("to another's private address v6", ip6("5", macA, router, "fd00::2", "fd63:6f6e:7476:ac13::6"), ""),
		only("to the network of another tenant, which goes out like anything", ip4("9", macO, router, "10.2.0.9", "10.3.0.1"), "p2"),
		only("nobody of the own network", ip4("5", macA, router, "10.1.0.2", "10.1.0.77"), ""),
		only("nobody of another network of the tenant", ip4("5", macA, router, "10.1.0.2", "10.2.0.77"), ""),
		only("nobody of the own network v6", ip6("5", macA, router, "fd00::2", "fd00::77"), ""),
		only("link-local v6", ip6("5", macA, router, "fd00::2", "fe80::77"), ""),
		only("from link-local v6", ip6("5", macA, router, linkA, "2001:db8::8"), ""),
		only("multicast in a unicast frame", ip4("5", macA, router, "10.1.0.2", "224.0.0.5"), ""),
		only("last hop", strings.Replace(ip4("5", macA, router, "10.1.0.2", "8.8.8.8"), "nw_ttl=64", "nw_ttl=1", 1), ""),
		only("back", ip4("2", macHost, router, "8.8.8.8", "172.19.0.5"), "p5"),
		only("back to the same address of another tenant", ip4("2", macHost, router, "8.8.8.8", "172.19.0.7"), "p7"),
		only("back v6", ip6("2", macHost, router, "2001:db8::8", "fd63:6f6e:7476:ac13::5"), "p5"),
		only("from the host to nobody", ip4("2", macHost, router, "8.8.8.8", "172.19.0.77"), ""),
		only("from the host to an endpoint's own address", ip4("2", macHost, router, "8.8.8.8", "10.1.0.2"), ""),
		only("from the host to the host's own endpoint", ip4("2", macHost, router, "8.8.8.8", "172.19.0.10"), ""),
		only("from a peer to nobody", fromH2(ip4("100", router, router, "10.1.0.4", "8.8.8.8")), ""),
		only("host's endpoint does not get out", ip4("10", macH, router, "10.9.0.2", "8.8.8.8"), ""),
		only("host's endpoint to an endpoint", ip4("10", macH, router, "10.9.0.2", "10.1.0.2"), "p5"),
		only("host's endpoint to an endpoint v6", ip6("10", macH, router, "fd09::2", "fd00::2"), "p5"),
		only("host's endpoint to a peer", ip4("10", macH, router, "10.9.0.2", "10.1.0.4"), toH2Red),
		only("host's endpoint to another tenant", ip4("10", macH, router, "10.9.0.2", "10.1.0.5"), ""),
		only("host's endpoint with another's address", ip4("10", macH, router, "172.31.0.1", "10.1.0.2"), ""),
		only("endpoint to the host's endpoint", ip4("5", macA, router, "10.1.0.2", "10.9.0.2"), "p10"),
		only("endpoint to the endpoint of another host", ip4("5", macA, router, "10.1.0.2", "10.9.0.3"), "tunnel 172.31.0.2 0x3ee"),
		only("other host's endpoint", tunnelled("172.31.0.2", "0x3ee", ip4("100", router, router, "10.9.0.3", "10.1.0.2")), "p5"),
		only("ARP of the host", arp("2", macHost, "1", "172.19.255.254", macHost, "172.19.0.5"), "p2"),
		only("ARP of the host about itself", arp("2", macHost, "1", "172.19.255.254", macHost, "172.19.255.254"), ""),
		only("ARP of the host about others", arp("2", macHost, "1", "172.19.255.254", macHost, "10.1.0.2"), ""),
		only("ND of the host", ns("2", macHost, solicited, "fd63:6f6e:7476:ac13::fffe", "fd63:6f6e:7476:ac13::5", macHost), "p2"),
		only("ND of the host, unicast without option", ns("2", macHost, router, "fd63:6f6e:7476:ac13::fffe", "fd63:6f6e:7476:ac13::5", "00:00:00:00:00:00"), "p2"),
		only("ND of the host about itself", ns("2", macHost, solicited, "::", "fd63:6f6e:7476:ac13::fffe", "00:00:00:00:00:00"), ""),
		only("ARP of the host's endpoint", arp("10", macH, "1", "10.9.0.2", macH, "10.9.0.1"), "p10"),
		only("ND of the host's endpoint", ns("10", macH, solicited, "fd09::2", "fd09::1", macH), "p10"),
		only("ND of the host's endpoint in another's name", ns("10", macH, solicited, "fd09::3", "fd09::1", macH), ""),
		only("IPv6 chatter of the host", ip6("2", macHost, "33:33:00:00:00:16", "fe80::1", "ff02::16"), ""),
	}
}

// TestHostAccessTraces: where packets to and from the host go, and with which addresses.
func TestHostAccessTraces(t *testing.T) {
	l := newLab(t, 1)
	l.Appctl("tnl/neigh/set", "br-phy", "172.31.0.2", "aa:55:aa:55:00:02")
	p := Compile(accessWorld().State)
	if len(p.NotRealised) != 0 {
		t.Fatal(p.NotRealised)
	}
	l.install(t, p)
	for _, c := range accessCases() {
		if where, actions := l.trace(c.packet); strings.Join(where, ",") != c.proxy {
			t.Errorf("%s: goes to %q, want %q\n%s\n%s", c.name, where, c.proxy, c.packet, actions)
		}
	}
	for packet, want := range map[string][]string{
		ip4("5", macA, routerMAC.String(), "10.1.0.2", "8.8.8.8"):                      {"src=172.19.0.5", "ttl=63", fmt.Sprintf("eth(src=%v,dst=%s)", routerMAC, macHost)},
		ip4("7", macA, routerMAC.String(), "10.1.0.2", "8.8.8.8"):                      {"src=172.19.0.7"},
		ip6("5", macA, routerMAC.String(), "fd00::2", "2001:db8::8"):                   {"src=fd63:6f6e:7476:ac13::5", "hlimit=63"},
		ip4("2", macHost, routerMAC.String(), "8.8.8.8", "172.19.0.7"):                 {"dst=10.1.0.2", fmt.Sprintf("eth(src=%v,dst=%s)", routerMAC, macA)},
		ip6("2", macHost, routerMAC.String(), "2001:db8::8", "fd63:6f6e:7476:ac13::5"): {"dst=fd00::2"},
	} {
		_, actions := l.trace(packet)
		for _, part := range want {
			if !strings.Contains(actions, part) {
				t.Errorf("%s: no %q in %s", packet, part, actions)
			}
		}
	}
}
