package pipeline

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

var update = flag.Bool("update", false, "write golden files and docs/pipeline.md anew")

func id(host, container string) protocol.EndpointID {
	return protocol.EndpointID{Host: host, ContainerID: container, IfName: "eth0"}
}

func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// world is a State under construction, seen from host h1 with tunnel port 100.
type world struct{ State }

// newWorld is of an ARP mode and forward mode bridge, or of forward mode routing.
func newWorld(arpMode string) *world {
	v := newView("h1")
	w := &world{v.State}
	w.TunnelPort = 100
	w.Global = &protocol.Global{ForwardMode: protocol.ForwardBridge, ARPMode: arpMode}
	if arpMode == protocol.ForwardRouting {
		w.Global = &protocol.Global{ForwardMode: protocol.ForwardRouting, ARPMode: protocol.ARPProxy}
	}
	w.host("h1", "172.31.0.1")
	w.host("h2", "172.31.0.2")
	return w
}

func (w *world) host(name, vtep string) {
	h := protocol.Host{Name: name}
	if a := addr(vtep); a.Is4() {
		h.VTEP = a
	} else {
		h.VTEP6 = a
	}
	w.Hosts[name] = h
}

func (w *world) network(tenant, name string, number uint16) {
	n := protocol.Network{Tenant: tenant, Name: name, ID: number, VRF: number, Encap: protocol.EncapVXLAN, VNI: 1000 + uint32(number),
		Subnet: netip.MustParsePrefix("10.1.0.0/16"), Subnet6: netip.MustParsePrefix("fd00::/64")}
	w.Networks[n.Key()] = n
	w.Zones[n.Key()] = number
}

// rule adds a rule with the given id to "t:p:ID".
func (w *world) rule(r protocol.Rule) {
	w.Rules[fmt.Sprint("t:p:", r.ID)] = r
}

// endpoint adds an endpoint of network "red:net", or another; port 0 for a remote one.
func (w *world) endpoint(network string, who protocol.EndpointID, port uint32, mac, ip4, ip6 string, identity uint16) {
	tenant, name, _ := strings.Cut(network, ":")
	w.Endpoints[who] = protocol.Endpoint{ID: who, Tenant: tenant, Network: name, Identity: identity, IPv4: addr(ip4), IPv6: addr(ip6), MAC: mac}
	if port != 0 {
		w.Ports[who] = port
	}
}

// gateways gives network "red:net" a gateway of each family.
func gateways(w *world) {
	n := w.Networks["red:net"]
	n.Gateway, n.Gateway6 = addr("10.1.255.254"), addr("fd00::fe")
	w.Networks[n.Key()] = n
}

// text lists a program with the names of the tables.
func (p *Program) text() string {
	var b strings.Builder
	names := map[uint8]string{}
	for _, t := range Tables() {
		names[t.ID] = t.Name
	}
	last := -1
	for _, f := range p.SortedFlows() {
		if int(f.Table) != last {
			last = int(f.Table)
			fmt.Fprintf(&b, "# %d %s\n", f.Table, names[f.Table])
		}
		fmt.Fprintln(&b, f.String())
	}
	for _, g := range p.SortedGroups() {
		fmt.Fprintf(&b, "%s\n", g.String())
	}
	for _, m := range p.SortedMeters() {
		fmt.Fprintf(&b, "%s\n", m.String())
	}
	for _, n := range p.NotRealised {
		fmt.Fprintf(&b, "not realised: %s %s: %s\n", n.Kind, n.Key, n.Reason)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	compareFile(t, filepath.Join("testdata", name+".golden"), got)
}

func compareFile(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(wantLines), len(gotLines)) {
		w, g := "", ""
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if w != g {
			t.Fatalf("%s:%d differs (go test -update writes it anew)\n got %s\nwant %s", path, i+1, g, w)
		}
	}
}

func TestGolden(t *testing.T) {
	without := func(p, base Program) Program {
		for k := range base.Flows {
			delete(p.Flows, k)
		}
		return p
	}
	for _, mode := range []string{protocol.ARPProxy, protocol.ARPFlood, protocol.ForwardRouting} {
		empty := newWorld(mode)
		base := Compile(empty.State)
		golden(t, mode+"-base", base.text())

		cases := map[string]func(w *world){
			"network":  func(*world) {},
			"gateways": gateways,
			"local-v4": func(w *world) { w.endpoint("red:net", id("h1", "a"), 5, "02:02:0a:01:00:02", "10.1.0.2", "", 7) },
			"local-qos": func(w *world) {
				w.endpoint("red:net", id("h1", "a"), 5, "02:02:0a:01:00:02", "10.1.0.2", "", 7)
				e := w.Endpoints[id("h1", "a")]
				e.Groups = []string{"fast", "marked", "slow"}
				w.Endpoints[e.ID] = e
				for _, g := range []protocol.Group{{Name: "fast", RateKbps: 20000}, {Name: "slow", RateKbps: 10000, BurstKbit: 800, DSCP: 9}, {Name: "marked", DSCP: 46}} {
					w.Groups["red:"+g.Name] = g
				}
			},
			"local-v6":  func(w *world) { w.endpoint("red:net", id("h1", "a"), 5, "02:02:0a:01:00:02", "", "fd00::2", 7) },
			"remote-v4": func(w *world) { w.endpoint("red:net", id("h2", "b"), 0, "02:02:0a:01:00:03", "10.1.0.3", "", 8) },
			"remote-v6": func(w *world) { w.endpoint("red:net", id("h2", "b"), 0, "02:02:0a:01:00:03", "", "fd00::3", 8) },
			"remote-v4-over-v6": func(w *world) {
				w.host("h2", "fd31::2")
				w.endpoint("red:net", id("h2", "b"), 0, "02:02:0a:01:00:03", "10.1.0.3", "", 8)
			},
		}
		for name, build := range cases {
			w := newWorld(mode)
			w.network("red", "net", 3)
			build(w)
			p := without(Compile(w.State), base)
			golden(t, mode+"-"+name, p.text())
		}
	}
}

// TestGoldenManyPeers: 1 500 peers do not fit in one group message; they become a group of groups.
func TestGoldenManyPeers(t *testing.T) {
	w := newWorld(protocol.ARPProxy)
	w.network("red", "net", 3)
	w.endpoint("red:net", id("h1", "a"), 5, "02:02:0a:01:00:02", "10.1.0.2", "", 7)
	for i := range 1500 {
		host := fmt.Sprintf("peer%04d", i)
		w.host(host, fmt.Sprintf("172.16.%d.%d", i/250, i%250+1))
		w.endpoint("red:net", id(host, "c"), 0, fmt.Sprintf("02:02:0b:00:%02x:%02x", i/256, i%256), fmt.Sprintf("10.2.%d.%d", i/250, i%250+1), "", 1)
	}
	p := Compile(w.State)
	var b strings.Builder
	for _, g := range p.SortedGroups() {
		if g.Size() > 32<<10 {
			t.Errorf("group %d takes %d bytes", g.ID, g.Size())
		}
		fmt.Fprintln(&b, g.String())
	}
	golden(t, "peers-1500", b.String())
}

func TestNotRealised(t *testing.T) {
	w := newWorld(protocol.ARPProxy)
	w.network("red", "net", 3)
	w.network("red", "twin", 3)
	vlan := w.Networks["red:net"]
	vlan.Name, vlan.Encap, vlan.ID, vlan.VNI = "vlan", protocol.EncapVLAN, 4, 0
	w.Networks["red:vlan"] = vlan
	w.Zones["red:vlan"] = 4
	w.network("red", "unzoned", 5)
	delete(w.Zones, "red:unzoned")
	w.Hosts["novtep"] = protocol.Host{Name: "novtep"}
	w.host("h6", "fd31::6")
	ok := func(n byte) (string, string) {
		return fmt.Sprintf("02:02:0a:01:00:%02x", n), fmt.Sprintf("10.1.0.%d", n)
	}
	bad := func(network string, who protocol.EndpointID, port uint32, n byte) {
		mac, ip := ok(n)
		w.endpoint(network, who, port, mac, ip, "", 1)
	}
	bad("red:vlan", id("h2", "in-vlan"), 0, 1)
	bad("red:twin", id("h2", "in-twin"), 0, 2)
	bad("red:nowhere", id("h2", "no-network"), 0, 3)
	bad("red:net", id("novtep", "no-vtep"), 0, 4)
	bad("red:net", id("stranger", "no-host"), 0, 5)
	bad("red:net", id("h1", "no-port"), 0, 6)
	bad("red:net", id("h1", "tunnel-port"), 100, 7)
	bad("red:net", id("h1", "first"), 8, 8)
	bad("red:net", id("h2", "second"), 0, 8)
	bad("red:net", id("h1", "z-same-port"), 8, 9)
	w.endpoint("red:net", id("h2", "bad-mac"), 0, "03:02:0a:01:00:0a", "10.1.0.10", "", 1)
	w.endpoint("red:net", id("h2", "bad-v4"), 0, "02:02:0a:01:00:0b", "224.0.0.1", "", 1)
	w.endpoint("red:net", id("h2", "v6-link-local"), 0, "02:02:0a:01:00:0c", "", "fe80::1", 1)
	w.endpoint("red:net", id("h2", "v6-as-v4"), 0, "02:02:0a:01:00:0d", "fd00::1", "", 1)
	w.endpoint("red:net", id("h2", "no-address"), 0, "02:02:0a:01:00:0e", "", "", 1)
	p := Compile(w.State)
	var b strings.Builder
	for _, n := range p.NotRealised {
		fmt.Fprintf(&b, "%s %s: %s\n", n.Kind, n.Key, n.Reason)
	}
	golden(t, "not-realised", b.String())
	for _, f := range p.Flows {
		if f.Cookie&CookieCategoryMask == cookie(categoryEndpoint, 0)&CookieCategoryMask && f.Cookie != endpointCookie(id("h1", "first")) {
			t.Errorf("flow of an endpoint that is not realised: %v", f.String())
		}
	}

	for _, g := range []*protocol.Global{nil, {ForwardMode: "later", ARPMode: protocol.ARPProxy}, {ForwardMode: protocol.ForwardBridge, ARPMode: "later"}} {
		w.Global = g
		p := Compile(w.State)
		if len(p.Groups) != 0 || len(p.NotRealised) != 1+len(w.Networks)+len(w.Endpoints) {
			t.Errorf("global %+v: %d groups, %d not realised", g, len(p.Groups), len(p.NotRealised))
		}
		for _, f := range p.Flows {
			if c := f.Cookie & CookieCategoryMask >> 32; c != categoryBase && c != categoryDrop {
				t.Errorf("global %+v: %v", g, f.String())
			}
		}
	}
}

// TestFlowCount holds the numbers of docs/pipeline.md.
func TestFlowCount(t *testing.T) {
	const networks, local, remote, local6, remote6 = 3, 10, 40, 4, 7
	for mode, more := range map[string]int{
		protocol.ARPProxy:       4*networks + 9*local + 4*remote + 13*local6 + 4*remote6,
		protocol.ARPFlood:       4*networks + 7*local + 4*remote + 12*local6 + 3*remote6,
		protocol.ForwardRouting: 7*networks + 8*local + 3*remote + 13*local6 + 3*remote6,
	} {
		empty := newWorld(mode)
		base := len(Compile(empty.State).Flows)
		if base > 95 {
			t.Errorf("%s: %d base flows", mode, base)
		}
		w := newWorld(mode)
		for n := range networks {
			w.network("red", fmt.Sprint("n", n), uint16(n+1))
		}
		for i := range local + remote {
			host, port, six := "h2", uint32(0), ""
			if i < local {
				host, port = "h1", uint32(i+1)
			}
			if i < local6 || i >= local && i < local+remote6 {
				six = fmt.Sprintf("fd00::%x", i+2)
			}
			w.endpoint(fmt.Sprint("red:n", i%networks), id(host, fmt.Sprint(i)), port, fmt.Sprintf("02:02:0a:01:00:%02x", i), fmt.Sprintf("10.1.0.%d", i+2), six, 1)
		}
		groups := 2 * networks
		if mode == protocol.ForwardRouting {
			groups = 0
		}
		p := Compile(w.State)
		if len(p.Flows) != base+more || len(p.Groups) != groups {
			t.Errorf("%s: %d flows, want %d; %d groups, want %d", mode, len(p.Flows), base+more, len(p.Groups), groups)
		}
	}
}
