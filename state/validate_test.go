package state

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseSubnet(t *testing.T) {
	for _, tc := range []struct{ text, prefix, claimed, usable, fails string }{
		{text: "10.1.2.0/24", prefix: "10.1.2.0/24", claimed: "10.1.2.0-10.1.2.255", usable: "10.1.2.1-10.1.2.254"},
		{text: "200.1.1.1/24", prefix: "200.1.1.0/24", claimed: "200.1.1.0-200.1.1.255", usable: "200.1.1.1-200.1.1.254"},
		{text: "10.1.1.50-10.1.1.100/24", prefix: "10.1.1.0/24", claimed: "10.1.1.50-10.1.1.100", usable: "10.1.1.50-10.1.1.100"},
		{text: "10.1.1.0-10.1.1.255/24", prefix: "10.1.1.0/24", claimed: "10.1.1.0-10.1.1.255", usable: "10.1.1.1-10.1.1.254"},
		{text: "10.1.1.7-10.1.1.7/24", prefix: "10.1.1.0/24", claimed: "10.1.1.7", usable: "10.1.1.7"},
		{text: "10.1.1.0-10.1.1.0/24", prefix: "10.1.1.0/24", claimed: "10.1.1.0", usable: ""},
		{text: "10.0.0.0/8", prefix: "10.0.0.0/8", claimed: "10.0.0.0-10.255.255.255", usable: "10.0.0.1-10.255.255.254"},
		{text: "10.1.1.2/31", prefix: "10.1.1.2/31", claimed: "10.1.1.2-10.1.1.3", usable: "10.1.1.2-10.1.1.3"},
		{text: "10.1.1.2/32", prefix: "10.1.1.2/32", claimed: "10.1.1.2", usable: "10.1.1.2"},
		{text: "", fails: "no prefix length"},
		{text: "10.1.2.0", fails: "no prefix length"},
		{text: "10.1.2.0/7", fails: "8 to 32"},
		{text: "10.1.2.0/33", fails: "8 to 32"},
		{text: "10.1.2.0/024", fails: "leading zero"},
		{text: "10.1.2.0/+24", fails: "not a number"},
		{text: "10.1.2/24", fails: "not an IPv4 address"},
		{text: "10.1.02.0/24", fails: "not an IPv4 address"},
		{text: "::ffff:10.1.2.0/24", fails: "not an IPv4 address"},
		{text: "2001:db8::/32", fails: "not an IPv4 address"},
		{text: "10.1.1.100-10.1.1.50/24", fails: "ends before it starts"},
		{text: "10.1.1.50-10.1.2.10/24", fails: "leaves the subnet"},
		{text: "10.1.1.20-44/24", fails: "not an IPv4 address"},
		{text: "10.1.1.1-10.1.1.2-10.1.1.3/24", fails: "not an IPv4 address"},
		{text: "224.0.0.0/24", fails: "no address a container can have"},
		{text: "127.0.0.0/8", fails: "no address a container can have"},
	} {
		got, err := ParseSubnet(tc.text)
		checkParsed(t, tc.text, got.Prefix.String(), got, err, tc.prefix, tc.claimed, tc.usable, tc.fails)
	}
}

func TestParseSubnet6(t *testing.T) {
	for _, tc := range []struct{ text, prefix, claimed, usable, fails string }{
		{text: "2001::/100", prefix: "2001::/100", claimed: "2001::-2001::fff:ffff", usable: "2001::1-2001::fff:ffff"},
		{text: "2001:db8::5/108", prefix: "2001:db8::/108", claimed: "2001:db8::-2001:db8::f:ffff", usable: "2001:db8::1-2001:db8::f:ffff"},
		{text: "fd00::/127", prefix: "fd00::/127", claimed: "fd00::-fd00::1", usable: "fd00::1"},
		{text: "fd00::/16", prefix: "fd00::/16", claimed: "fd00::-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			usable: "fd00::1-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{text: "fd00::/15", fails: "16 to 127"},
		{text: "fd00::/128", fails: "16 to 127"},
		{text: "fd00::", fails: "no prefix length"},
		{text: ":/64", fails: "not an IPv6 address"},
		{text: "/64", fails: "not an IPv6 address"},
		{text: "fe80:/64", fails: "not an IPv6 address"},
		{text: "fe80::/64", fails: "link-local"},
		{text: "::1/64", fails: "loopback"},
		{text: "fe80::1%eth0/64", fails: "not an IPv6 address"},
		{text: "::ffff:10.0.0.0/104", fails: "not an IPv6 address"},
		{text: "10.0.0.0/24", fails: "not an IPv6 address"},
		{text: "ff02::/64", fails: "multicast"},
	} {
		got, err := ParseSubnet6(tc.text)
		checkParsed(t, tc.text, got.Prefix.String(), got, err, tc.prefix, tc.claimed, tc.usable, tc.fails)
	}
}

func checkParsed(t *testing.T, text, gotPrefix string, got Subnet, err error, prefix, claimed, usable, fails string) {
	t.Helper()
	if fails != "" {
		if err == nil || !strings.Contains(err.Error(), fails) {
			t.Errorf("%q: error %v, want one with %q", text, err, fails)
		}
		return
	}
	if err != nil {
		t.Errorf("%q refused: %v", text, err)
		return
	}
	if gotPrefix != prefix || got.String() != claimed || got.Usable().String() != usable {
		t.Errorf("%q: prefix %s claims %q uses %q; want %s, %q, %q", text, gotPrefix, got, got.Usable(), prefix, claimed, usable)
	}
}

func TestParsePool(t *testing.T) {
	for text, want := range map[string]string{
		"10.2.2.5-10.2.2.10": "10.2.2.5-10.2.2.10",
		"10.2.2.5-10.2.2.5":  "10.2.2.5",
		"10.2.2.5":           "10.2.2.5",
		"":                   "error", "10.2.2.10-10.2.2.5": "error", "10.2.2.5-10": "error", "10.2.2.5-": "error",
		"fd00::1-fd00::2": "error", "10.2.2.0/24": "error", "-": "error",
	} {
		got, err := ParsePool(text)
		if err != nil && want != "error" || err == nil && got.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]string{
		"1-4094": "1-4094", "7-7": "7-7", "00001-2": "1-2",
		"": "error", "5": "error", "0-4": "error", "9-3": "error", "1-2-3": "error", "1,3-4": "error", " 1-2": "error",
		"+1-2": "error", "1-999999999": "error", "-1-4": "error",
	} {
		got, err := ParseRange(text)
		if err != nil && want != "error" || err == nil && got.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"10.1.2.0/24", "10.1.2.128/25", true},
		{"10.1.1.128/24", "10.1.1.0-10.1.1.100/24", true}, // the original forgot to drop host bits
		{"10.1.1.0-10.1.1.100/24", "10.1.1.101-10.1.1.200/24", false},
		{"10.1.1.0-10.1.1.100/24", "10.1.1.100-10.1.1.200/24", true},
		{"10.1.1.0/24", "10.1.2.0/24", false},
		{"10.0.0.0/8", "10.200.1.7/32", true},
	} {
		a, errA := ParseSubnet(tc.a)
		b, errB := ParseSubnet(tc.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Overlaps(b.AddrRange) != tc.want || b.Overlaps(a.AddrRange) != tc.want {
			t.Errorf("%s and %s: overlap must be %v", tc.a, tc.b, tc.want)
		}
	}
	if (AddrRange{}).Overlaps(AddrRange{}) || (AddrRange{}).Contains(netip.Addr{}) {
		t.Error("an empty range must hold nothing")
	}
}

// network is a valid one with changes applied.
func network(change func(*Network)) *Network {
	n := &Network{TenantName: "default", NetworkName: "n1", Subnet: "10.1.2.0/24"}
	n.SetDefaults()
	change(n)
	return n
}

func group(change func(*EndpointGroup)) *EndpointGroup {
	g := &EndpointGroup{TenantName: "default", NetworkName: "n1", GroupName: "g1"}
	change(g)
	return g
}

func global(change func(*Global)) *Global {
	g := DefaultGlobal(ForwardBridge)
	change(&g)
	return &g
}

type validator interface{ Validate() error }

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		object validator
		want   string // start of the message; empty: accepted
	}{
		{"tenant", &Tenant{TenantName: "blue"}, ""},
		{"tenant of 64", &Tenant{TenantName: strings.Repeat("x", 64)}, ""},
		{"tenant, dots and dashes", &Tenant{TenantName: "A-1.b--c.9"}, ""},
		{"tenant without name", &Tenant{}, "tenantName string invalid format"},
		{"tenant of 65", &Tenant{TenantName: strings.Repeat("x", 65)}, "tenantName string too long"},
		{"tenant with underscore", &Tenant{TenantName: "a_b"}, "tenantName string invalid format"},
		{"tenant with colon", &Tenant{TenantName: "a:b"}, "tenantName string invalid format"},
		{"tenant with trailing dot", &Tenant{TenantName: "a."}, "tenantName string invalid format"},
		{"tenant with leading dash", &Tenant{TenantName: "-a"}, "tenantName string invalid format"},
		{"tenant beyond ASCII", &Tenant{TenantName: "zürich"}, "tenantName string invalid format"},
		{"first field first", &Tenant{TenantName: "_", DefaultNetwork: "a."}, "defaultNetwork string invalid format"},

		{"network", network(func(*Network) {}), ""},
		{"network with all", network(func(n *Network) {
			n.Encap, n.PktTag, n.Gateway, n.NwType = EncapVLAN, 112, "10.1.2.254", NetworkInfra
			n.IPv6Subnet, n.IPv6Gateway, n.CfgdTag = "2001:db8::/64", "2001:db8::1", strings.Repeat("t", 128)
		}), ""},
		{"gateway outside the range", network(func(n *Network) { n.Subnet, n.Gateway = "10.1.2.50-10.1.2.60/24", "10.1.2.1" }), ""},
		{"tag too long", network(func(n *Network) { n.CfgdTag = strings.Repeat("t", 129) }), "cfgdTag string too long"},
		{"encap", network(func(n *Network) { n.Encap = "gre" }), `encap string invalid format: "gre" is unknown; allowed: "vlan", "vxlan"`},
		{"gateway text", network(func(n *Network) { n.Gateway = "10.1.2" }), "gateway string invalid format"},
		{"gateway outside", network(func(n *Network) { n.Gateway = "10.1.3.1" }), "gateway Value Out of bound: 10.1.3.1 is out of subnet 10.1.2.0/24"},
		{"gateway is network", network(func(n *Network) { n.Gateway = "10.1.2.0" }), "gateway Value Out of bound"},
		{"gateway is broadcast", network(func(n *Network) { n.Gateway = "10.1.2.255" }), "gateway Value Out of bound"},
		{"gateway of /31", network(func(n *Network) { n.Subnet, n.Gateway = "10.1.2.0/31", "10.1.2.0" }), ""},
		{"gateway of bad subnet", network(func(n *Network) { n.Subnet, n.Gateway = "x", "10.1.2.1" }), "subnet string invalid format"},
		{"v6 gateway outside", network(func(n *Network) { n.IPv6Subnet, n.IPv6Gateway = "fd00::/64", "fd01::1" }), "ipv6Gateway Value Out of bound"},
		{"v6 gateway alone", network(func(n *Network) { n.IPv6Gateway = "fd01::1" }), "ipv6Gateway Value Out of bound"},
		{"v6 gateway is v4", network(func(n *Network) { n.IPv6Subnet, n.IPv6Gateway = "fd00::/64", "10.1.2.1" }), "ipv6Gateway string invalid format"},
		{"v6 subnet", network(func(n *Network) { n.IPv6Subnet = "fd00::/128" }), "ipv6Subnet string invalid format"},
		{"name of 10000", network(func(n *Network) { n.NetworkName = strings.Repeat("n", 10000) }), "networkName string too long: 10000 characters, at most 64"},
		{"type", network(func(n *Network) { n.NwType = "Data" }), "nwType string invalid format"},
		{"vlan 4095", network(func(n *Network) { n.Encap, n.PktTag = EncapVLAN, 4095 }), "pktTag Value Out of bound"},
		{"vni 4095", network(func(n *Network) { n.PktTag = 4095 }), ""},
		{"vni too large", network(func(n *Network) { n.PktTag = 1 << 24 }), "pktTag Value Out of bound"},
		{"tag below 0", network(func(n *Network) { n.PktTag = -1 }), "pktTag Value Out of bound"},
		{"no subnet", network(func(n *Network) { n.Subnet = "" }), "subnet string invalid format"},
		{"no tenant", network(func(n *Network) { n.TenantName = "" }), "tenantName string invalid format"},

		{"group", group(func(*EndpointGroup) {}), ""},
		{"group with all", group(func(g *EndpointGroup) {
			g.IPPool, g.CfgdTag, g.NetProfile, g.Policies = "10.1.2.5-10.1.2.5", "tag", "any characters!", []string{"p"}
		}), ""},
		{"pool", group(func(g *EndpointGroup) { g.IPPool = "10.1.2.5-9" }), "ipPool string invalid format"},
		{"v6 pool", group(func(g *EndpointGroup) { g.IPPool = "fd00::1-fd00::9" }), "ipPool string invalid format"},
		{"group without name", group(func(g *EndpointGroup) { g.GroupName = "" }), "groupName string invalid format"},
		{"group without network", group(func(g *EndpointGroup) { g.NetworkName = "" }), "networkName string invalid format"},
		{"profile too long", group(func(g *EndpointGroup) { g.NetProfile = strings.Repeat("p", 65) }), "netProfile string too long"},
		{"policy name", group(func(g *EndpointGroup) { g.Policies = []string{"ok", "a/b"} }), "policies string invalid format"},

		{"global", global(func(*Global) {}), ""},
		{"global, aci", global(func(g *Global) { g.NetworkInfraType = "aci-opflex" }), ""},
		{"global, other name", global(func(g *Global) { g.Name = "local" }), "name string invalid format"},
		{"global, arp", global(func(g *Global) { g.ArpMode = "off" }), "arpMode string invalid format"},
		{"global, forward", global(func(g *Global) { g.FwdMode = "switch" }), "fwdMode string invalid format"},
		{"global, infra", global(func(g *Global) { g.NetworkInfraType = "x" }), "networkInfraType string invalid format"},
		{"global, private /24", global(func(g *Global) { g.PvtSubnet = "10.77.0.0/24" }), "pvtSubnet string invalid format"},
		{"global, no private", global(func(g *Global) { g.PvtSubnet = "" }), "pvtSubnet string invalid format"},
		{"global, vlans", global(func(g *Global) { g.Vlans = "100-4096" }), "vlans Value Out of bound"},
		{"global, vlan 0", global(func(g *Global) { g.Vlans = "0-10" }), "vlans string invalid format"},
		{"global, vxlan span", global(func(g *Global) { g.Vxlans = "1-20000" }), "vxlans Value Out of bound"},
		{"global, vxlan widest", global(func(g *Global) { g.Vxlans = "40000-56000" }), ""},
		{"global, vxlan high", global(func(g *Global) { g.Vxlans = "60000-65536" }), "vxlans Value Out of bound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.object.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			case tc.want != "" && !errors.Is(err, ErrInvalid):
				t.Errorf("%v is not ErrInvalid", err)
			}
		})
	}
}

func TestInheritKeepsWhatIsGiven(t *testing.T) {
	var stored Global
	const known = `"fwdMode":"routing","name":"global","networkInfraType":"default","pvtSubnet":"10.77.0.0/16","vlans":"1-4094","vxlans":"1-10000"`
	if err := Decode([]byte(`{`+known+`,"fromTheFuture":1}`), &stored); err != nil {
		t.Fatal(err)
	}
	sent := Global{ArpMode: ARPFlood}
	sent.Inherit(&stored)
	got, err := Encode(&sent)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"arpMode":"flood",` + known + `,"fromTheFuture":1}`; string(got) != want {
		t.Errorf("inherited %s, want %s", got, want)
	}
}
