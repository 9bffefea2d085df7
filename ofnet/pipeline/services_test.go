package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/unixctl"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// randomService draws from few values, some of which cannot be realised.
func randomService(r *rand.Rand) (key string, s *protocol.Service) {
	s = &protocol.Service{
		Tenant: "red", Name: fmt.Sprint("s", r.IntN(4)), Network: fmt.Sprint("n", r.IntN(4)), VRF: uint16(pick(r, 1, 1, 1, 2)), ID: uint16(r.IntN(5)),
		VIP: netip.AddrFrom4([4]byte{10, 1, 0, byte(200 + r.IntN(3))}), Affinity: pick(r, 0, 0, 30),
	}
	if r.IntN(3) == 0 {
		s.VIP6 = netip.MustParseAddr(fmt.Sprintf("fd00::20%d", r.IntN(3)))
	}
	for range r.IntN(4) {
		s.Ports = append(s.Ports, protocol.ServicePort{Protocol: uint8(pick(r, 6, 6, 17, 132, 1)), Port: uint16(r.IntN(6)), ProviderPort: uint16(1 + r.IntN(2))})
	}
	for range r.IntN(4) {
		p := protocol.Provider{Network: s.Network, MAC: fmt.Sprintf("02:00:00:00:00:%02x", r.IntN(12)), IPv4: netip.AddrFrom4([4]byte{10, 1, 0, byte(r.IntN(12))})}
		if r.IntN(2) == 0 {
			p.IPv6 = netip.MustParseAddr(fmt.Sprintf("fd00::%x", 1+r.IntN(12)))
		}
		if r.IntN(4) == 0 {
			p.Network = "n9"
		}
		s.Providers = append(s.Providers, p)
	}
	key = s.Key()
	if r.IntN(5) == 0 {
		s = nil
	}
	return key, s
}

// service adds a service with the id of the network's tenant, of the endpoints named, and numbers for them.
func (w *world) service(s protocol.Service, providers ...protocol.EndpointID) {
	n := w.Networks[s.Tenant+":"+s.Network]
	s.VRF = n.VRF
	for _, who := range providers {
		e := w.Endpoints[who]
		s.Providers = append(s.Providers, protocol.Provider{Network: e.Network, IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC})
	}
	for _, b := range backendsOf(&s) {
		if w.Backends[b] == 0 {
			w.Backends[b] = uint32(len(w.Backends) + 1)
		}
	}
	w.Services[s.Key()] = s
}

var http = []protocol.ServicePort{{Protocol: policy.TCP, Port: 80, ProviderPort: 8080}}

// servedWorld is the traced one with services: "web" of red has local and remote providers b and r, "own" is of a alone,
// "empty" of nobody; "web" of blue has the address of red's, and c as provider.
func servedWorld(mode string) *world {
	w := tracedWorld(mode)
	a, b, r, c := id("h1", "a"), id("h1", "b"), id("h2", "r"), id("h1", "c")
	web := protocol.Service{Tenant: "red", Name: "web", Network: "net", ID: 21, VIP: addr("10.1.0.100"), VIP6: addr("fd00::100"), Ports: http}
	w.service(web, b, r)
	web.Tenant, web.ID = "blue", 22
	w.service(web, c)
	w.service(protocol.Service{Tenant: "red", Name: "own", Network: "net", ID: 23, VIP: addr("10.1.0.101"), VIP6: addr("fd00::101"),
		Ports: append(http, protocol.ServicePort{Protocol: policy.SCTP, Port: 90, ProviderPort: 90})}, a)
	w.service(protocol.Service{Tenant: "red", Name: "empty", Network: "net", ID: 24, VIP: addr("10.1.0.102"), Ports: http})
	w.service(protocol.Service{Tenant: "red", Name: "sticky", Network: "net", ID: 25, VIP: addr("10.1.0.103"), Affinity: 60, Ports: []protocol.ServicePort{{Protocol: policy.UDP, Port: 53, ProviderPort: 5353}}}, b, r)
	return w
}

// TestGoldenServices shows what each form of a service becomes.
func TestGoldenServices(t *testing.T) {
	for _, mode := range []string{protocol.ARPProxy, protocol.ForwardRouting} {
		w := servedWorld(mode)
		far := protocol.Service{Tenant: "red", Name: "far", Network: "net", ID: 26, VIP: addr("10.1.0.104"), Ports: http,
			Providers: []protocol.Provider{{Network: "other", IPv4: addr("10.2.0.9"), MAC: macD}}}
		w.service(far, id("h1", "a"))
		p := Compile(w.State)
		w.Services = map[string]protocol.Service{}
		without := Compile(w.State)
		for k := range without.Flows {
			delete(p.Flows, k)
		}
		for k := range without.Groups {
			delete(p.Groups, k)
		}
		golden(t, "services-"+mode, p.text())
	}
}

// TestRefusedServices: a service that cannot be realised is named, and its address leads nowhere.
func TestRefusedServices(t *testing.T) {
	good := protocol.Service{Tenant: "red", Name: "s", Network: "net", VRF: 3, ID: 9, VIP: addr("10.1.0.100"), VIP6: addr("fd00::100"), Ports: http}
	for _, test := range []struct {
		why   string
		spoil func(s *protocol.Service)
		drops int
	}{
		{"service id 0", func(s *protocol.Service) { s.ID = 0 }, 2},
		{`network "red:x": network "red:x" is not known`, func(s *protocol.Service) { s.Network = "x" }, 2},
		{`tenant number 4 is not that of network "red:net", 3`, func(s *protocol.Service) { s.VRF = 4 }, 2},
		{"no address", func(s *protocol.Service) { s.VIP, s.VIP6 = addr(""), addr("") }, 0},
		{`"224.0.0.1" is not an IPv4 address of a service`, func(s *protocol.Service) { s.VIP = addr("224.0.0.1") }, 1},
		{`"10.1.0.101" is not an IPv6 address of a service`, func(s *protocol.Service) { s.VIP6 = addr("10.1.0.101") }, 2},
		{"affinity of 65536 seconds is not within 0..65535", func(s *protocol.Service) { s.Affinity = 65536 }, 2},
		{"protocol 1 has no ports that this version knows", func(s *protocol.Service) { s.Ports = []protocol.ServicePort{{Protocol: 1, Port: 1, ProviderPort: 1}} }, 2},
		{"port 80 of protocol 6 is there twice", func(s *protocol.Service) { s.Ports = append(s.Ports, http...) }, 2},
		{"port 0 to 1: ports are within 1..65535", func(s *protocol.Service) { s.Ports = []protocol.ServicePort{{Protocol: 6, ProviderPort: 1}} }, 2},
	} {
		w := newWorld(protocol.ARPProxy)
		w.network("red", "net", 3)
		s := good
		s.Ports = slices.Clone(good.Ports)
		test.spoil(&s)
		w.Services["red:s"] = s
		p := Compile(w.State)
		if len(p.NotRealised) != 1 || p.NotRealised[0] != (protocol.NotRealised{Kind: protocol.KindService, Key: "red:s", Reason: test.why}) {
			t.Errorf("%s: %v", test.why, p.NotRealised)
		}
		drops := 0
		for _, f := range p.Flows {
			switch {
			case f.Cookie == cookie(categoryDrop, dropService):
				drops++
			case f.Cookie&CookieCategoryMask>>32 == categoryService:
				t.Errorf("%s: %v", test.why, f.String())
			}
		}
		if drops != test.drops || len(p.Groups) != 2 {
			t.Errorf("%s: %d drops, want %d; %d groups", test.why, drops, test.drops, len(p.Groups))
		}
	}
}

// tracedService is where a packet goes, what its addresses are at the end, and the connection's mark.
type tracedService struct{ where, final string }

func (l *lab) traceService(t *testing.T, packet string, ct ...string) tracedService {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	trace, err := l.Control().Trace(ctx, l.Bridge, packet, unixctl.Options{CTNext: ct})
	if err != nil {
		t.Fatal(err)
	}
	var where []string
	for _, actions := range trace.Outputs() {
		for _, a := range topLevel(actions) {
			switch {
			case strings.HasPrefix(a, "tnl_push") || strings.HasPrefix(a, "clone(tnl_push"):
				where = append(where, "tunnel")
			case l.names[a] != "" && l.names[a] != "wire":
				where = append(where, l.names[a])
			}
		}
	}
	return tracedService{strings.Join(where, ","), trace.Text}
}

// TestServiceTraces follows packets through a real switch: which provider, of whose service, and what of none.
func TestServiceTraces(t *testing.T) {
	l := newLab(t, 1)
	l.Appctl("tnl/neigh/set", "br-phy", "172.31.0.2", "aa:55:aa:55:00:02")
	l.Appctl("tnl/neigh/set", "br-phy", "172.31.0.3", "aa:55:aa:55:00:03")
	for _, mode := range []string{protocol.ARPProxy, protocol.ARPFlood, protocol.ForwardRouting} {
		w := servedWorld(mode)
		p := Compile(w.State)
		if len(p.NotRealised) != 0 {
			t.Fatal(p.NotRealised)
		}
		l.install(t, p)
		gateway := func(vip string) string {
			if mode == protocol.ForwardRouting {
				return routerMAC.String()
			}
			return vip
		}
		const webMAC, ownMAC = "02:02:0a:01:00:64", "02:02:0a:01:00:65"
		tcp := func(port, mac, vipMAC, src, dst string, dport int) string {
			six := ""
			names := "nw_src=%s,nw_dst=%s"
			if strings.Contains(src, ":") {
				six, names = "6", "ipv6_src=%s,ipv6_dst=%s"
			}
			return fmt.Sprintf("in_port=%s,dl_src=%s,dl_dst=%s,tcp%s,"+names+",tcp_src=4000,tcp_dst=%d,nw_ttl=64", port, mac, gateway(vipMAC), six, src, dst, dport)
		}
		for _, c := range []struct{ name, packet, where, nat string }{
			{"to red's web", tcp("5", macA, webMAC, "10.1.0.2", "10.1.0.100", 80), "", `nat\(dst=10\.1\.0\.[34]:8080\)`},
			{"to red's web v6", tcp("5", macA, webMAC, "fd00::2", "fd00::100", 80), "", `nat\(dst=\[?fd00::[34]\]?:8080\)`},
			{"to blue's web", tcp("8", macD, webMAC, "10.1.0.5", "10.1.0.100", 80), "", `nat\(dst=10\.1\.0\.2:8080\)`},
			{"to itself", tcp("5", macA, ownMAC, "10.1.0.2", "10.1.0.101", 80), "", `nat\(dst=10\.1\.0\.2:8080\)`},
			{"unknown port", tcp("5", macA, webMAC, "10.1.0.2", "10.1.0.100", 81), "", ""},
			{"unknown port v6", tcp("5", macA, webMAC, "fd00::2", "fd00::100", 81), "", ""},
			{"other protocol", strings.ReplaceAll(tcp("5", macA, webMAC, "10.1.0.2", "10.1.0.100", 80), "tcp", "udp"), "", ""},
			{"no provider", tcp("5", macA, "02:02:0a:01:00:66", "10.1.0.2", "10.1.0.102", 80), "", ""},
			{"ping", ip4("5", macA, gateway(webMAC), "10.1.0.2", "10.1.0.100"), "", ""},
			{"from a peer", tunnelled("172.31.0.2", redVNI, strings.Replace(tcp("100", macR, webMAC, "10.1.0.4", "10.1.0.100", 80), "tcp,", "tcp,", 1)), "", ""},
			{"sctp", strings.ReplaceAll(tcp("6", macB, ownMAC, "10.1.0.3", "10.1.0.101", 90), "tcp", "sctp"), "", `nat\(dst=10\.1\.0\.2:90\)`},
		} {
			got := l.traceService(t, c.packet)
			found := regexp.MustCompile(`nat\([^)]*dst=[^)]*\)`).FindString(got.final)
			if c.nat == "" && (found != "" || got.where != "") || c.nat != "" && !regexp.MustCompile(c.nat).MatchString(got.final) {
				t.Errorf("%s, %s: translated by %q, goes to %q, want %q\n%s", mode, c.name, found, got.where, c.nat, got.final)
			}
		}
		if mode != protocol.ForwardRouting {
			for name, packet := range map[string]string{
				"ARP":               arp("5", macA, "1", "10.1.0.2", macA, "10.1.0.100"),
				"ND":                ns("5", macA, "33:33:ff:00:01:00", "fd00::2", "fd00::100", macA),
				"ND without option": ns("5", macA, webMAC, "fd00::2", "fd00::100", "00:00:00:00:00:00"),
			} {
				if where, actions := l.trace(packet); strings.Join(where, ",") != "p5" || !strings.Contains(actions, webMAC) {
					t.Errorf("%s, %s for a service: to %q: %s", mode, name, where, actions)
				}
			}
		}
	}
}

// TestSpread: new connections fall to all providers, evenly, however many there are and whatever the protocol.
func TestSpread(t *testing.T) {
	l := newLab(t, 1)
	const connections = 1200
	for _, test := range []struct {
		proto     uint8
		providers int
		most      float64 // times the even share
	}{{policy.TCP, 3, 1.3}, {policy.TCP, 16, 1.5}, {policy.TCP, 13, 1.5}, {policy.UDP, 13, 1.5}, {policy.TCP, 1000, 5}, {policy.UDP, 200, 5}, {policy.SCTP, 100, 4}} {
		w := newWorld(protocol.ARPProxy)
		w.network("red", "net", 3)
		w.endpoint("red:net", id("h1", "a"), 5, macA, "10.1.0.2", "fd00::2", 7)
		s := protocol.Service{Tenant: "red", Name: "s", Network: "net", ID: 9, VIP: addr("10.1.0.100"), VIP6: addr("fd00::100"),
			Ports: []protocol.ServicePort{{Protocol: test.proto, Port: 80, ProviderPort: 80}}}
		for i := range test.providers {
			s.Providers = append(s.Providers, protocol.Provider{Network: "net", IPv4: netip.AddrFrom4([4]byte{10, 1, byte(1 + i/250), byte(1 + i%250)}),
				IPv6: netip.MustParseAddr(fmt.Sprintf("fd00::1:%x", i+1)), MAC: macB})
		}
		w.service(s)
		p := Compile(w.State)
		for _, g := range p.SortedGroups() {
			if g.Size() > openflow.MaxGroupBytes {
				t.Errorf("group %#x takes %d bytes", g.ID, g.Size())
			}
		}
		l.install(t, p)
		for _, six := range []bool{false, true} {
			met := map[string]int{}
			count := connections
			if count = max(count, 6*test.providers); six && test.providers > maxBuckets {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			client := l.Control()
			for i := range count {
				q := policy.Packet{Protocol: test.proto, Src: addr("10.1.0.2"), Dst: addr("10.1.0.100"), SrcPort: uint16(2000 + i), DstPort: 80}
				if six {
					q.Src, q.Dst = addr("fd00::2"), addr("fd00::100")
				}
				trace, err := client.Trace(ctx, l.Bridge, fmt.Sprintf("in_port=5,dl_src=%s,dl_dst=02:02:0a:01:00:64,%s", macA, network(q)),
					unixctl.Options{Hash: rand.Uint32()})
				if err != nil {
					t.Fatal(err)
				}
				met[natTo.FindString(trace.Text)]++
			}
			cancel()
			most := 0
			for _, n := range met {
				most = max(most, n)
			}
			even := float64(count) / float64(test.providers)
			t.Logf("protocol %d, v6 %v: %d connections met %d of %d providers, %.0f each would be even, the most are %d", test.proto, six, count, len(met), test.providers, even, most)
			if len(met) < test.providers*99/100 || met[""] > 0 || float64(most) > test.most*even {
				t.Errorf("protocol %d, v6 %v: %d connections met %d of %d providers, one of them %d times, none %d times", test.proto, six, count, len(met), test.providers, most, met[""])
			}
		}
	}
}

var natTo = regexp.MustCompile(`nat\(dst=[^)]*\)`)

// TestServiceFlowCount holds the numbers of docs/pipeline.md.
func TestServiceFlowCount(t *testing.T) {
	for _, test := range []struct {
		mode          string
		flows, groups int
		change        func(s *protocol.Service)
	}{
		{protocol.ARPProxy, 3 + 2*2 + 5 + 2*2, 4, func(*protocol.Service) {}},
		{protocol.ForwardRouting, 2 + 2*2 + 2 + 2*2, 4, func(*protocol.Service) {}},
		{protocol.ARPProxy, 3 + 2*2, 2, func(s *protocol.Service) { s.VIP6 = addr("") }},
		{protocol.ARPProxy, 3 + 2*2 + 5 + 2*2 + 2*2, 2, func(s *protocol.Service) { s.Ports[1].Protocol = policy.UDP }},
		{protocol.ARPProxy, 3 + 2*2 + 5 + 2*2 + 2*2*2*2, 0, func(s *protocol.Service) { s.Affinity = 9 }},
	} {
		w := tracedWorld(test.mode)
		without := Compile(w.State)
		s := protocol.Service{Tenant: "red", Name: "web", Network: "net", ID: 21, VIP: addr("10.1.0.100"), VIP6: addr("fd00::100"),
			Ports: []protocol.ServicePort{{Protocol: policy.TCP, Port: 80, ProviderPort: 8080}, {Protocol: policy.TCP, Port: 81, ProviderPort: 8081}}}
		test.change(&s)
		w.service(s, id("h1", "b"), id("h2", "r"))
		with := Compile(w.State)
		if flows, groups := len(with.Flows)-len(without.Flows), len(with.Groups)-len(without.Groups); flows != test.flows || groups != test.groups || len(with.NotRealised) > 0 {
			t.Errorf("%s: %d flows, want %d; %d groups, want %d; %v", test.mode, flows, test.flows, groups, test.groups, with.NotRealised)
		}
	}
}
