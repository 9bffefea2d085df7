package normalise_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// town puts two networks with two groups each: a (identity 1) and b (2) of web, c (3) and d (4) of db, and the set of a
// and b (12). Policy p is that of a and c.
func town(f *fixture) {
	f.put(
		&state.Global{Name: state.GlobalName, FwdMode: state.ForwardBridge},
		&state.Tenant{TenantName: "t"}, &state.TenantState{TenantName: "t", VRF: 1},
		&state.Network{TenantName: "t", NetworkName: "web", Encap: state.EncapVXLAN, Subnet: "10.1.1.0/24", IPv6Subnet: "2001:db8:1::/64"},
		&state.NetworkState{TenantName: "t", NetworkName: "web", ID: 1, VNI: 1},
		&state.Network{TenantName: "t", NetworkName: "db", Encap: state.EncapVXLAN, Subnet: "10.1.2.10-10.1.2.99/24"},
		&state.NetworkState{TenantName: "t", NetworkName: "db", ID: 2, VNI: 2},
		&state.Policy{TenantName: "t", PolicyName: "p"}, &state.Policy{TenantName: "t", PolicyName: "idle"},
		&state.GroupSet{TenantName: "t", Groups: []string{"a", "b"}, Identity: 12},
	)
	for i, name := range []string{"a", "b", "c", "d"} {
		g := &state.EndpointGroup{TenantName: "t", GroupName: name, NetworkName: []string{"web", "db"}[i/2]}
		if i%2 == 0 {
			g.Policies = []string{"p"}
		}
		f.put(g, &state.GroupState{TenantName: "t", GroupName: name, ID: i + 1, Identity: i + 1})
	}
}

// rules are the rule records by key.
func (f *fixture) rules() map[string]index.ScopedRecord {
	out := map[string]index.ScopedRecord{}
	f.ledger.ViewCached(func(m *ledger.Model) {
		for _, r := range normalise.All(m) {
			if r.Kind == protocol.KindRule {
				out[r.Key] = r
			}
		}
	})
	return out
}

func bodyOf[T any](t *testing.T, r protocol.Record) *T {
	t.Helper()
	body, err := r.Decode()
	if err != nil {
		t.Fatal(err)
	}
	found, ok := any(body).(*T)
	if !ok {
		t.Fatalf("%s %s is a %T", r.Kind, r.Key, body)
	}
	return found
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func eight(n uint8) *uint8 { return &n }

func number(n int) *int { return &n }

// TestRules is every combination that a rule may have, with the sides and the traffic that hosts get of it.
func TestRules(t *testing.T) {
	own := protocol.Peer{Identities: []uint16{1, 3, 12}}
	anybody := protocol.Peer{Any: true}
	bothNets := []index.Scope{"network/t:db", "network/t:web"}
	for name, test := range map[string]struct {
		rule     state.Rule
		src, dst protocol.Peer
		traffic  protocol.Rule // of which protocols, ports and ICMP count
		scopes   []index.Scope
	}{
		"in, anybody":  {rule: state.Rule{Direction: "in"}, src: anybody, dst: own, scopes: bothNets},
		"out, anybody": {rule: state.Rule{Direction: "out"}, src: own, dst: anybody, scopes: bothNets},
		"in, group": {
			rule: state.Rule{Direction: "in", FromEndpointGroup: "b"}, src: protocol.Peer{Identities: []uint16{2, 12}}, dst: own,
			scopes: []index.Scope{"identity/1", "identity/12", "identity/2", "identity/3"},
		},
		"out, group": {
			rule: state.Rule{Direction: "out", ToEndpointGroup: "d"}, src: own, dst: protocol.Peer{Identities: []uint16{4}},
			scopes: []index.Scope{"identity/1", "identity/12", "identity/3", "identity/4"},
		},
		"in, group and address": {
			rule: state.Rule{Direction: "in", FromEndpointGroup: "b", FromIPAddress: "10.1.1.4"}, dst: own,
			src:    protocol.Peer{Identities: []uint16{2, 12}, Prefixes: prefixes("10.1.1.4/32")},
			scopes: []index.Scope{"identity/1", "identity/12", "identity/2", "identity/3"},
		},
		"out, group and address": {
			rule: state.Rule{Direction: "out", ToEndpointGroup: "d", ToIPAddress: "10.1.2.0/25"}, src: own,
			dst:    protocol.Peer{Identities: []uint16{4}, Prefixes: prefixes("10.1.2.0/25")},
			scopes: []index.Scope{"identity/1", "identity/12", "identity/3", "identity/4"},
		},
		"in, network of both families": {
			rule: state.Rule{Direction: "in", FromNetwork: "web"}, dst: own, scopes: bothNets,
			src: protocol.Peer{Any: true, Prefixes: prefixes("10.1.1.0/24", "2001:db8:1::/64")},
		},
		"out, network with a range": {
			rule: state.Rule{Direction: "out", ToNetwork: "db"}, src: own, scopes: bothNets,
			dst: protocol.Peer{Any: true, Prefixes: prefixes("10.1.2.0/24")},
		},
		"in, range of addresses": {
			rule: state.Rule{Direction: "in", FromIPAddress: "192.0.2.5-12"}, dst: own, scopes: bothNets,
			src: protocol.Peer{Any: true, Prefixes: prefixes("192.0.2.5/32", "192.0.2.6/31", "192.0.2.8/30", "192.0.2.12/32")},
		},
		"out, IPv6": {
			rule: state.Rule{Direction: "out", ToIPAddress: "2001:db8:9::1/64"}, src: own, scopes: bothNets,
			dst: protocol.Peer{Any: true, Prefixes: prefixes("2001:db8:9::/64")},
		},
		"in, to one member": {
			rule: state.Rule{Direction: "in", FromNetwork: "web", ToIPAddress: "10.1.1.7"}, scopes: bothNets,
			src: protocol.Peer{Any: true, Prefixes: prefixes("10.1.1.0/24", "2001:db8:1::/64")},
			dst: protocol.Peer{Identities: []uint16{1, 3, 12}, Prefixes: prefixes("10.1.1.7/32")},
		},
		"group is gone": {
			rule: state.Rule{Direction: "in", FromEndpointGroup: "none"}, src: protocol.Peer{}, dst: own,
			scopes: []index.Scope{"identity/1", "identity/12", "identity/3"},
		},
		"network is gone": {
			rule: state.Rule{Direction: "in", FromNetwork: "none"}, src: protocol.Peer{}, dst: own,
			scopes: []index.Scope{"identity/1", "identity/12", "identity/3"},
		},
		"tcp": {
			rule: state.Rule{Direction: "in", Protocol: "tcp", Port: 80}, src: anybody, dst: own, scopes: bothNets,
			traffic: protocol.Rule{Protocols: []uint8{6}, PortFirst: 80, PortLast: 80},
		},
		"udp": {rule: state.Rule{Direction: "in", Protocol: "udp"}, src: anybody, dst: own, scopes: bothNets, traffic: protocol.Rule{Protocols: []uint8{17}}},
		"sctp, range": {
			rule: state.Rule{Direction: "out", Protocol: "sctp", Port: 80, PortEnd: 443}, src: own, dst: anybody, scopes: bothNets,
			traffic: protocol.Rule{Protocols: []uint8{132}, PortFirst: 80, PortLast: 443},
		},
		"icmp": {rule: state.Rule{Direction: "in", Protocol: "icmp"}, src: anybody, dst: own, scopes: bothNets, traffic: protocol.Rule{Protocols: []uint8{1, 58}}},
		"icmp, type and code": {
			rule: state.Rule{Direction: "in", Protocol: "icmp", ICMPType: number(8), ICMPCode: number(0)}, src: anybody, dst: own, scopes: bothNets,
			traffic: protocol.Rule{Protocols: []uint8{1}, ICMPType: eight(8), ICMPCode: eight(0)},
		},
		"icmp6":  {rule: state.Rule{Direction: "in", Protocol: "icmp6"}, src: anybody, dst: own, scopes: bothNets, traffic: protocol.Rule{Protocols: []uint8{58}}},
		"digits": {rule: state.Rule{Direction: "in", Protocol: "1"}, src: anybody, dst: own, scopes: bothNets, traffic: protocol.Rule{Protocols: []uint8{1}}},
	} {
		for _, action := range []string{"allow", "deny"} {
			t.Run(name+", "+action, func(t *testing.T) {
				f := open(t)
				town(f)
				r := test.rule
				r.TenantName, r.PolicyName, r.RuleID, r.Action, r.Priority = "t", "p", "1", action, 7
				f.put(&r)
				got := f.rules()["t:p:1"]
				want := test.traffic
				want.Tenant, want.Policy, want.Name, want.Priority, want.Action, want.Direction = "t", "p", "1", 7, action, r.Direction
				want.Src, want.Dst = test.src, test.dst
				f.ledger.ViewCached(func(m *ledger.Model) { want.ID = uint32(m.RevisionOf(r.StoreKey())) }) //nolint:gosec // small
				if diff := cmp.Diff(&want, bodyOf[protocol.Rule](t, got.Record), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.scopes, got.Scopes); diff != "" {
					t.Errorf("who needs it (-want +got):\n%s", diff)
				}
				var guards []string
				if action == "deny" {
					guards = []string{"t:db", "t:web"}
				}
				if diff := cmp.Diff(guards, got.Guards); diff != "" {
					t.Errorf("guards (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestWordsOfANewerVersion: what cannot be read never allows more: an allow matches nothing, a deny is not narrowed by it.
func TestWordsOfANewerVersion(t *testing.T) {
	for name, change := range map[string]func(*state.Rule){
		"protocol":          func(r *state.Rule) { r.Protocol = "quic" },
		"port of icmp":      func(r *state.Rule) { r.Protocol, r.Port = "icmp", 8 },
		"port of anything":  func(r *state.Rule) { r.Port = 8 },
		"port":              func(r *state.Rule) { r.Protocol, r.Port = "tcp", 1<<16 },
		"port range":        func(r *state.Rule) { r.Protocol, r.Port, r.PortEnd = "tcp", 80, 70 },
		"icmp type":         func(r *state.Rule) { r.Protocol, r.ICMPType = "icmp", number(256) },
		"icmp type of tcp":  func(r *state.Rule) { r.Protocol, r.ICMPType = "tcp", number(8) },
		"code without type": func(r *state.Rule) { r.Protocol, r.ICMPCode = "icmp", number(8) },
		"address":           func(r *state.Rule) { r.FromIPAddress = "example.org" },
		"direction":         func(r *state.Rule) { r.Direction = "both" },
		"own address":       func(r *state.Rule) { r.ToIPAddress = "10.0.0.0/0" },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			town(f)
			for _, action := range []string{"allow", "deny"} {
				r := &state.Rule{TenantName: "t", PolicyName: "p", RuleID: action, Priority: 1, Direction: "in", Action: action}
				change(r)
				f.put(r)
			}
			rules := f.rules()
			allow, deny := bodyOf[protocol.Rule](t, rules["t:p:allow"].Record), bodyOf[protocol.Rule](t, rules["t:p:deny"].Record)
			if allow.Src.Any || allow.Dst.Any || len(allow.Src.Identities)+len(allow.Dst.Identities) > 0 {
				t.Errorf("the allow matches: %+v", allow)
			}
			if !deny.Src.Any || len(deny.Src.Prefixes)+len(deny.Dst.Prefixes) > 0 || len(deny.Dst.Identities) != 3 ||
				deny.PortLast != 0 || deny.ICMPType != nil || deny.ICMPCode != nil {
				t.Errorf("the deny is narrowed: %+v", deny)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	f := open(t)
	town(f)
	f.put(&state.EndpointGroup{TenantName: "t", GroupName: "d", NetworkName: "db", DefaultDeny: "both"})
	f.put(&state.EndpointGroup{TenantName: "t", GroupName: "b", NetworkName: "web", DefaultDeny: "a word of a newer version"})
	f.put(&state.Policy{TenantName: "t", PolicyName: "p", DefaultDeny: "in"})
	got := map[string]protocol.Rule{}
	for key, r := range f.rules() {
		got[key] = *bodyOf[protocol.Rule](t, r.Record)
		if len(r.Guards) != 1 || len(r.Scopes) != 1 || r.Scopes[0] != index.Scope("network/"+r.Guards[0]) {
			t.Errorf("%s: guards %v, scopes %v", key, r.Guards, r.Scopes)
		}
	}
	rule := func(group, direction string, id uint32, identities ...uint16) protocol.Rule {
		r := protocol.Rule{
			Tenant: "t", Name: group, ID: 1<<31 | id, Action: "deny", Direction: direction,
			Src: protocol.Peer{Any: true}, Dst: protocol.Peer{Identities: identities},
		}
		if direction == "out" {
			r.Src, r.Dst = r.Dst, r.Src
		}
		return r
	}
	want := map[string]protocol.Rule{
		"t::a:in": rule("a", "in", 2, 1, 12), "t::c:in": rule("c", "in", 6, 3),
		"t::b:in": rule("b", "in", 4, 2, 12), "t::b:out": rule("b", "out", 5, 2, 12),
		"t::d:in": rule("d", "in", 8, 4), "t::d:out": rule("d", "out", 9, 4),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// packet is the first of a connection, with the groups that its ends are in.
type packet struct {
	srcGroups, dstGroups []string
	src, dst             netip.Addr
	protocol             uint8
	port                 int
	icmpType, icmpCode   int
}

// means tells, from the words of the reference alone, whether a rule is about a packet.
func means(r *state.Rule, attached []string, p packet) bool {
	member := func(of []string, groups ...string) bool {
		return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(of, g) })
	}
	network := func(name string, a netip.Addr) bool {
		subnets := map[string]string{"web": "10.1.1. 2001:db8:1:", "db": "10.1.2."}[name]
		return slices.ContainsFunc(strings.Fields(subnets), func(s string) bool { return strings.HasPrefix(a.String(), s) })
	}
	address := func(text string, a netip.Addr) bool {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			return prefix.Contains(a)
		}
		first, last, isRange := strings.Cut(text, "-")
		if !isRange {
			return a.String() == text
		}
		dot := strings.LastIndex(first, ".") + 1
		var from, to, octet int
		_, _ = fmt.Sscan(first[dot:]+" "+last, &from, &to)
		rest, ok := strings.CutPrefix(a.String(), first[:dot])
		_, err := fmt.Sscan(rest, &octet)
		return ok && err == nil && octet >= from && octet <= to
	}
	ownGroups, peerGroups, own, peer := p.dstGroups, p.srcGroups, p.dst, p.src
	group, net, addr, ownAddr := r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress, r.ToIPAddress
	if r.Direction == "out" {
		ownGroups, peerGroups, own, peer = p.srcGroups, p.dstGroups, p.src, p.dst
		group, net, addr, ownAddr = r.ToEndpointGroup, r.ToNetwork, r.ToIPAddress, ""
	}
	known := map[string][]uint8{"": nil, "tcp": {6}, "udp": {17}, "sctp": {132}, "icmp": {1, 58}, "icmp6": {58}, "47": {47}}
	protocols := known[r.Protocol]
	if r.Protocol == "icmp" && r.ICMPType != nil {
		protocols = []uint8{1}
	}
	last := r.PortEnd
	if last == 0 {
		last = r.Port
	}
	return member(ownGroups, attached...) && (ownAddr == "" || address(ownAddr, own)) &&
		(group == "" || member(peerGroups, group)) && (net == "" || network(net, peer)) && (addr == "" || address(addr, peer)) &&
		(r.Protocol == "" || slices.Contains(protocols, p.protocol)) && (r.Port == 0 || p.port >= r.Port && p.port <= last) &&
		(r.ICMPType == nil || *r.ICMPType == p.icmpType) && (r.ICMPCode == nil || *r.ICMPCode == p.icmpCode)
}

// matches tells whether a record matches a packet, as the protocol's page has it.
func matches(r *protocol.Rule, identity map[string]uint16, p packet) bool {
	side := func(peer protocol.Peer, groups []string, a netip.Addr) bool {
		id, has := identity[strings.Join(groups, ",")], len(groups) > 0
		in := len(peer.Prefixes) == 0 || slices.ContainsFunc(peer.Prefixes, func(x netip.Prefix) bool { return x.Contains(a) })
		return in && (peer.Any || has && slices.Contains(peer.Identities, id))
	}
	return side(r.Src, p.srcGroups, p.src) && side(r.Dst, p.dstGroups, p.dst) &&
		(len(r.Protocols) == 0 || slices.Contains(r.Protocols, p.protocol)) &&
		(r.PortLast == 0 || p.port >= int(r.PortFirst) && p.port <= int(r.PortLast)) &&
		(r.ICMPType == nil || int(*r.ICMPType) == p.icmpType) && (r.ICMPCode == nil || int(*r.ICMPCode) == p.icmpCode)
}

func randomRule(r *rand.Rand, id int) *state.Rule {
	for {
		rule := &state.Rule{
			TenantName: "t", PolicyName: pick(r, "p", "p", "idle"), RuleID: fmt.Sprint(id), Priority: 1 + r.IntN(100),
			Direction: pick(r, "in", "out"), Action: pick(r, "allow", "deny"),
			Protocol: pick(r, "", "tcp", "udp", "sctp", "icmp", "icmp6", "47"), Port: r.IntN(2) * r.IntN(4), PortEnd: r.IntN(2) * r.IntN(4),
		}
		if r.IntN(2) == 0 {
			rule.ICMPType = number(r.IntN(3))
		}
		if r.IntN(3) == 0 {
			rule.ICMPCode = number(r.IntN(2))
		}
		group, network := pick(r, "", "a", "b", "d"), pick(r, "", "", "web", "db")
		address := pick(r, "", "", "10.1.1.4", "10.1.1.0/29", "10.1.2.3-9", "10.1.2.0/24", "2001:db8:1::4", "2001:db8:1::/125")
		rule.FromEndpointGroup, rule.FromNetwork, rule.FromIPAddress = group, network, address
		rule.ToIPAddress = pick(r, "", "", "", "10.1.1.0/29", "10.1.1.3-6")
		if rule.Direction == "out" {
			rule.FromEndpointGroup, rule.FromNetwork, rule.FromIPAddress = "", "", ""
			rule.ToEndpointGroup, rule.ToNetwork, rule.ToIPAddress = group, network, address
		}
		if rule.Validate() == nil {
			return rule
		}
	}
}

// TestRulesMeanWhatTheySay compares random rules that a user may write with their records on random packets.
func TestRulesMeanWhatTheySay(t *testing.T) {
	f, r := open(t), rand.New(rand.NewPCG(1, 2))
	town(f)
	identity := map[string]uint16{"a": 1, "b": 2, "c": 3, "d": 4, "a,b": 12}
	sets := [][]string{nil, {"a"}, {"b"}, {"c"}, {"d"}, {"a", "b"}}
	addr := func() netip.Addr {
		return netip.MustParseAddr(fmt.Sprintf(pick(r, "10.1.1.%d", "10.1.2.%d", "192.0.2.%d", "2001:db8:1::%d"), r.IntN(12)))
	}
	met := 0
	for id := range 1500 {
		rule := randomRule(r, id)
		f.put(rule)
		got, ok := f.rules()[rule.Key()]
		if ok != (rule.PolicyName == "p") {
			t.Fatalf("%+v: has a record: %v", rule, ok)
		}
		if !ok {
			f.delete(rule)
			continue
		}
		record := bodyOf[protocol.Rule](t, got.Record)
		for range 100 {
			p := packet{
				sets[r.IntN(len(sets))], sets[r.IntN(len(sets))], addr(), addr(),
				[]uint8{6, 17, 132, 1, 58, 47}[r.IntN(6)], r.IntN(5), r.IntN(3), r.IntN(2),
			}
			want := means(rule, []string{"a", "c"}, p)
			if got := matches(record, identity, p); got != want {
				t.Fatalf("%+v\nrecord %+v\npacket %+v: matches %v, want %v", rule, record, p, got, want)
			}
			if want {
				met++
			}
		}
		f.delete(rule)
	}
	if met < 1000 {
		t.Errorf("only %d packets met a rule: the test tests little", met)
	}
}
