package state

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func rule(change func(*Rule)) *Rule {
	r := &Rule{Action: ActionAllow, Direction: DirectionIn, PolicyName: "p", RuleID: "1", TenantName: "default"}
	change(r)
	r.SetDefaults()
	return r
}

func service(change func(*ServiceLB)) *ServiceLB {
	s := &ServiceLB{
		NetworkName: "n", Ports: []string{"80:8080:TCP"}, Selectors: []string{"app=web"}, ServiceName: "s", TenantName: "default",
	}
	change(s)
	return s
}

// TestValidateMore: every refusal names the field; an empty field means that the object is accepted.
func TestValidateMore(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, tc := range []struct {
		object interface{ Validate() error }
		field  string
		says   string
	}{
		{&Policy{PolicyName: "p", TenantName: "default"}, "", ""},
		{&Policy{PolicyName: "p", TenantName: "default", DefaultDeny: "both"}, "", ""},
		{&Policy{PolicyName: "p", TenantName: "default", DefaultDeny: "ingress"}, "defaultDeny", `"in", "out", "both", "none"`},
		{&EndpointGroup{GroupName: "g", NetworkName: "n", TenantName: "default", DefaultDeny: "in"}, "", ""},
		{&EndpointGroup{GroupName: "g", NetworkName: "n", TenantName: "default", DefaultDeny: "yes"}, "defaultDeny", "unknown"},
		{&Policy{PolicyName: "a_b", TenantName: "default"}, "policyName", "invalid format"},
		{&Policy{PolicyName: long, TenantName: "default"}, "policyName", "too long"},
		{&Policy{PolicyName: "p"}, "tenantName", "invalid format"},

		{rule(func(*Rule) {}), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.Port, r.Priority = "tcp", 65535, 100 }), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.Port = "132", 36412 }), "", ""},
		{rule(func(r *Rule) { r.FromEndpointGroup, r.FromIPAddress, r.ToIPAddress = "g", "10.1.1.1/32", "10.1.2.0/24" }), "", ""},
		{rule(func(r *Rule) { r.FromNetwork, r.ToIPAddress = "n", "10.1.2.1" }), "", ""},
		{rule(func(r *Rule) { r.Direction, r.ToEndpointGroup, r.ToIPAddress = "out", "g", "10.1.1.1-20" }), "", ""},
		{rule(func(r *Rule) { r.Action = "Allow" }), "action", `"allow", "deny"`},
		{rule(func(r *Rule) { r.Direction = "both" }), "direction", `"in", "out"`},
		{rule(func(r *Rule) { r.Direction = "" }), "direction", "unknown"},
		{rule(func(r *Rule) { r.Priority = 101 }), "priority", "1 to 100"},
		{rule(func(r *Rule) { r.Priority = -1 }), "priority", "Out of bound"},
		{rule(func(r *Rule) { r.Protocol, r.Port = "tcp", 65536 }), "port", "Out of bound"},
		{rule(func(r *Rule) { r.Protocol, r.Port = "tcp", -1 }), "port", "Out of bound"},
		{rule(func(r *Rule) { r.Protocol, r.Port = "icmp", 8 }), "port", "protocol that has ports"},
		{rule(func(r *Rule) { r.Port = 80 }), "port", "protocol that has ports"},
		{rule(func(r *Rule) { r.Protocol = "TCP" }), "protocol", `"tcp"`},
		{rule(func(r *Rule) { r.Protocol = "256" }), "protocol", "1 to 255"},
		{rule(func(r *Rule) { r.Protocol = "0" }), "protocol", "nothing for any"},
		{rule(func(r *Rule) { r.FromIPAddress = "10.1.1.1/0" }), "fromIpAddress", "1 to 32"},
		{rule(func(r *Rule) { r.FromIPAddress = "fd00::1" }), "", ""},
		{rule(func(r *Rule) { r.FromIPAddress = "fd00::1%eth0" }), "fromIpAddress", "not an IPv6"},
		{rule(func(r *Rule) { r.FromIPAddress, r.ToIPAddress = "fd00::1", "10.1.1.1" }), "toIpAddress", "same family"},
		{rule(func(r *Rule) { r.Protocol, r.Port, r.PortEnd = "sctp", 80, 90 }), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.Port, r.PortEnd = "tcp", 80, 80 }), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.Port, r.PortEnd = "tcp", 80, 79 }), "portEnd", "before port 80"},
		{rule(func(r *Rule) { r.Protocol, r.Port, r.PortEnd = "tcp", 80, 65536 }), "portEnd", "Out of bound"},
		{rule(func(r *Rule) { r.Protocol, r.PortEnd = "tcp", 80 }), "portEnd", "give port"},
		{rule(func(r *Rule) { r.Protocol, r.ICMPType, r.ICMPCode = "icmp", ptr(3), ptr(0) }), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.ICMPType = "58", ptr(128) }), "", ""},
		{rule(func(r *Rule) { r.Protocol, r.ICMPType = "icmp6", ptr(256) }), "icmpType", "0 to 255"},
		{rule(func(r *Rule) { r.Protocol, r.ICMPType = "tcp", ptr(8) }), "icmpType", "needs protocol"},
		{rule(func(r *Rule) { r.ICMPType = ptr(8) }), "icmpType", "needs protocol"},
		{rule(func(r *Rule) { r.Protocol, r.ICMPCode = "icmp", ptr(0) }), "icmpCode", "with a type"},
		{rule(func(r *Rule) { r.RuleID = "a_b" }), "ruleId", "invalid format"},
		{rule(func(r *Rule) { r.ToEndpointGroup = "g" }), "toEndpointGroup", `direction "in"`},
		{rule(func(r *Rule) { r.ToNetwork = "n" }), "toNetwork", `begin with "from"`},
		{rule(func(r *Rule) { r.FromNetwork, r.FromEndpointGroup = "n", "g" }), "fromNetwork", "fromEndpointGroup"},
		{rule(func(r *Rule) { r.FromNetwork, r.FromIPAddress = "n", "10.1.1.1" }), "fromNetwork", "fromIpAddress"},
		{rule(func(r *Rule) { r.Direction, r.FromEndpointGroup = "out", "g" }), "fromEndpointGroup", `begin with "to"`},
		{rule(func(r *Rule) { r.Direction, r.FromIPAddress = "out", "10.1.1.1" }), "fromIpAddress", `direction "out"`},
		{rule(func(r *Rule) { r.Direction, r.FromNetwork = "out", "n" }), "fromNetwork", `direction "out"`},
		{rule(func(r *Rule) { r.Direction, r.ToNetwork, r.ToIPAddress = "out", "n", "10.1.1.1" }), "toNetwork", "toIpAddress"},
		{rule(func(r *Rule) { r.Direction, r.ToNetwork, r.ToEndpointGroup = "out", "n", "g" }), "toNetwork", "toEndpointGroup"},

		{&Netprofile{ProfileName: "a_b c", TenantName: "default", Bandwidth: "10 Mbps", DSCP: 63, Burst: 10486}, "", ""},
		{&Netprofile{ProfileName: "p", TenantName: "default"}, "", ""},
		{&Netprofile{ProfileName: "p", TenantName: "default", Burst: 1}, "burst", "1500 bytes"},
		{&Netprofile{ProfileName: "p", TenantName: "default", Burst: 10487}, "burst", "0 to 10486"},
		{&Netprofile{ProfileName: "p", TenantName: "default", Burst: -5}, "burst", "Out of bound"},
		{&Netprofile{ProfileName: "p", TenantName: "default", DSCP: 64}, "DSCP", "0 to 63"},
		{&Netprofile{ProfileName: "p", TenantName: "default", Bandwidth: "10 1"}, "bandwidth", "10Mbps"},
		{&Netprofile{ProfileName: "p", TenantName: "default", Bandwidth: long}, "bandwidth", "too long"},
		{&Netprofile{ProfileName: "a/b", TenantName: "default"}, "profileName", "invalid format"},
		{&Netprofile{ProfileName: "..", TenantName: "default"}, "profileName", "invalid format"},
		{&Netprofile{ProfileName: "\xff", TenantName: "default"}, "profileName", "invalid format"},
		{&Netprofile{ProfileName: "p"}, "tenantName", "empty"},

		{service(func(*ServiceLB) {}), "", ""},
		{service(func(s *ServiceLB) { s.ServiceName = strings.Repeat("x", 256) }), "", ""},
		{service(func(s *ServiceLB) { s.ServiceName = strings.Repeat("x", 257) }), "serviceName", "too long"},
		{service(func(s *ServiceLB) { s.Affinity, s.Ports = 65535, []string{"80:80:sctp"} }), "", ""},
		{service(func(s *ServiceLB) { s.Affinity = 65536 }), "affinity", "0 to 65535"},
		{service(func(s *ServiceLB) { s.Affinity = -1 }), "affinity", "Out of bound"},
		{service(func(s *ServiceLB) { s.Ports = nil }), "ports", "needs a port"},
		{service(func(s *ServiceLB) { s.Ports = []string{"80:80:TCP", "8080:80"} }), "ports", "2 parts"},
		{service(func(s *ServiceLB) { s.Ports = []string{"80:80:TCP", "80:81:tcp"} }), "ports", "twice"},
		{service(func(s *ServiceLB) { s.Ports = []string{"80:80:TCP", "80:81:udp"} }), "", ""},
		{service(func(s *ServiceLB) { s.Ports = []string{"80:80:TCP" + long} }), "ports", "too long"},
		{service(func(s *ServiceLB) { s.Selectors = nil }), "selectors", "needs a selector"},
		{service(func(s *ServiceLB) { s.Selectors = []string{"a"} }), "selectors", "key=value"},
		{service(func(s *ServiceLB) { s.Selectors = []string{"a=" + strings.Repeat("x", 511)} }), "selectors", "too long"},
		{service(func(s *ServiceLB) { s.IPAddress = "10.1.1.01" }), "ipAddress", "not an IPv4"},
		{service(func(s *ServiceLB) { s.NetworkName = "" }), "networkName", "empty"},

		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24", AS: "65002", NeighborAS: "500", Neighbor: "50.1.1.2"}, "", ""},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24"}, "", ""},
		{&Bgp{Hostname: "h"}, "routerip", "50.1.1.1/24"},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1"}, "routerip", "no prefix length"},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24", AS: "1", NeighborAS: "2", Neighbor: "50.1.1.1"}, "routerip", "neighbor's"},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24", AS: "1", Neighbor: "50.1.1.2"}, "neighbor-as", "must be given"},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24", AS: "sixty"}, "as", "autonomous system"},
		{&Bgp{Hostname: "h_h", RouterIP: "50.1.1.1/24"}, "hostname", "invalid format"},
		{&Bgp{Hostname: "h", RouterIP: "50.1.1.1/24", Neighbor: "here"}, "neighbor", "not an IPv4"},

		{aciGw(func(*AciGw) {}), "", ""},
		{aciGw(func(a *AciGw) { a.PhysicalDomain = "" }), "physicalDomain", "empty"},
		{aciGw(func(a *AciGw) { a.EnforcePolicies = "true" }), "enforcePolicies", `"yes", "no"`},
		{aciGw(func(a *AciGw) { a.IncludeCommonTenant = "Yes" }), "includeCommonTenant", `"yes", "no"`},
		{aciGw(func(a *AciGw) { a.PathBindings = "topology/pod-1" }), "pathBindings", "topology/pod-1/paths-101/pathep-[eth1/14]"},
		{aciGw(func(a *AciGw) { a.NodeBindings = "topology/pod-1/node-1," }), "nodeBindings", "topology/pod-1/node-101"},
		{aciGw(func(a *AciGw) { a.NodeBindings = strings.Repeat("x", 2049) }), "nodeBindings", "too long"},
		{aciGw(func(a *AciGw) { a.Name = "other" }), "name", "aciGw"},

		{&AppProfile{AppProfileName: "p", TenantName: "default", EndpointGroups: []string{"a", "b"}}, "", ""},
		{&AppProfile{AppProfileName: "p", TenantName: "default", EndpointGroups: []string{""}}, "endpointGroups", "empty"},
		{&AppProfile{AppProfileName: "", TenantName: "default"}, "appProfileName", "empty"},

		{contracts("provided", "uni/tn-A/brc-B"), "", ""},
		{contracts("both", "uni/tn-A/brc-B"), "contractsType", `"provided", "consumed"`},
		{contracts("provided", "a b"), "contracts", "distinguished name"},
		{contracts("provided", strings.Repeat("x", 513)), "contracts", "too long"},
	} {
		err := tc.object.Validate()
		if tc.field == "" {
			if err != nil {
				t.Errorf("%+v refused: %v", tc.object, err)
			}
			continue
		}
		var wrong *FieldError
		if !errors.As(err, &wrong) || wrong.Field != tc.field || !strings.Contains(err.Error(), tc.says) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v; want %s with %q", tc.object, err, tc.field, tc.says)
		}
	}
}

func aciGw(change func(*AciGw)) *AciGw {
	a := &AciGw{
		PhysicalDomain: "dom", PathBindings: "topology/pod-1/paths-101/pathep-[eth1/14],topology/pod-1/paths-102/pathep-[eth1/15]",
		NodeBindings: "topology/pod-1/node-101",
	}
	a.SetDefaults()
	change(a)
	return a
}

func ptr(n int) *int { return &n }

func contracts(kind string, names ...string) *ExtContractsGroup {
	return &ExtContractsGroup{Contracts: names, ContractsGroupName: "c", ContractsType: kind, TenantName: "default"}
}

func TestParsePeer(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.1.1": "10.1.1.1", "10.1.1.1/32": "10.1.1.1", "10.1.1.7/24": "10.1.1.0-10.1.1.255", "10.1.1.7/1": "0.0.0.0-127.255.255.255",
		"10.1.1.5-9": "10.1.1.5-10.1.1.9", "10.1.1.5-5": "10.1.1.5", "10.1.1.0-255/24": "10.1.1.0-10.1.1.255",
		"10.1.1.5-9/28": "10.1.1.5-10.1.1.9",
		"2001:db8::1":   "2001:db8::1", "2001:db8::77/120": "2001:db8::-2001:db8::ff", "::/0": "error", "2001:db8::1-5": "error",
		"2001:db8::/129": "error", "::ffff:10.1.1.1": "error",
		"": "error", "10.1.1.9-5": "error", "10.1.1.5-256": "error", "10.1.1.5-09": "error", "10.1.1.5-": "error",
		"10.1.1.5-20/28": "error", "10.1.1.1/33": "error", "10.1.1.1/0": "error", "10.1.1.5-10.1.1.9": "error", "10.1.1.1/": "error",
	} {
		got, err := ParsePeer(text)
		if (want == "error") != (err != nil) || err == nil && got.String() != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseBandwidth(t *testing.T) {
	for text, want := range map[string]int64{
		"500Kbps": 500_000, "1Mbps": 1_000_000, "10 Mbps": 10_000_000, "1g": 1_000_000_000, "1G": 1_000_000_000, "3kb": 3000,
		"3Mb": 3_000_000, "2 kbps": 2000, "7MBps": 7_000_000, "4294 Gbps": 4_294_000_000_000,
		"": 0, "10": 0, "10 1": 0, "Mbps": 0, "0Mbps": 0, "010Mbps": 0, "10  Mbps": 0, "10MB": 0, "10Tbps": 0, "-1Mbps": 0,
		"10mbpS": 0, "10Mbps ": 0, " 10Mbps": 0, "4295Gbps": 0, "999999999Kbps": 0, "10 ": 0, "١٠Mbps": 0,
	} {
		got, err := ParseBandwidth(text)
		if (want == 0) != (err != nil) || err == nil && got.BitsPerSecond() != want {
			t.Errorf("%q: %s (%d), %v; want %d", text, got, got.BitsPerSecond(), err, want)
		}
	}
}

func TestParseServicePorts(t *testing.T) {
	got, err := ParseServicePorts([]string{"80:8080:TCP", "53:53:udp"})
	if err != nil || len(got) != 2 || got[0] != (ServicePort{80, 8080, ProtocolTCP}) || got[1] != (ServicePort{53, 53, ProtocolUDP}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSelectors(t *testing.T) {
	s, err := ParseSelectors([]string{"tier=web", "empty="})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"tier": "web", "empty": "", "more": "x"}, true},
		{map[string]string{"tier": "web"}, false}, // an absent label is not an empty one
		{map[string]string{"tier": "db", "empty": ""}, false},
		{nil, false},
	} {
		if got := s.Match(tc.labels); got != tc.want {
			t.Errorf("%v: %v", tc.labels, got)
		}
	}
	if (Selectors{}).Match(map[string]string{"a": "b"}) {
		t.Error("no selectors match something")
	}
	for _, texts := range [][]string{nil, {"a"}, {"=b"}, {"a=b=c"}, {"a=b", "a=c"}, {""}} {
		if got, err := ParseSelectors(texts); err == nil {
			t.Errorf("%q read as %v", texts, got)
		}
	}
}

func TestParseAS(t *testing.T) {
	for text, want := range map[string]uint32{
		"65002": 65002, "1": 1, "4294967295": math.MaxUint32, "1.10": 65546, "0.1": 1,
		"0": 0, "": 0, "4294967296": 0, "-1": 0, "+1": 0, "0x1": 0, "1.65536": 0, "0.0": 0, "1.": 0, ".1": 0, "1.2.3": 0, "007": 0,
	} {
		got, err := ParseAS(text)
		if got != want || (want == 0) != (err != nil) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

// FuzzRule: whatever is accepted is something that can be matched.
func FuzzRule(f *testing.F) {
	f.Add("in", "allow", "g", "", "10.1.1.1", "tcp", 80, 1)
	f.Add("out", "deny", "", "n", "", "17", 53, 100)
	f.Fuzz(func(t *testing.T, direction, action, group, network, address, protocol string, port, priority int) {
		for _, own := range []bool{false, true} {
			r := rule(func(r *Rule) {
				r.Direction, r.Action, r.Protocol, r.Port, r.Priority = direction, action, protocol, port, priority
			})
			if (direction == DirectionIn) != own {
				r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress = group, network, address
			} else {
				r.ToEndpointGroup, r.ToNetwork, r.ToIPAddress = group, network, address
			}
			if r.Validate() != nil {
				continue
			}
			if own && (group != "" || network != "" || address != "" && direction == DirectionOut) {
				t.Fatalf("accepted a peer on the wrong side: %+v", r)
			}
			number, err := ParseProtocol(protocol)
			if err != nil || port != 0 && !number.HasPorts() || port < 0 || port > 65535 || r.Priority < 1 || r.Priority > 100 {
				t.Fatalf("accepted %+v", r)
			}
			if !own && network != "" && (group != "" || address != "") {
				t.Fatalf("accepted a network beside another peer: %+v", r)
			}
		}
	})
}
