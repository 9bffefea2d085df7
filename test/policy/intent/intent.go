// Package intent says what the policies that users wrote mean, from the words of docs/policy.md alone: no identities,
// no prefixes, no order of tables. It is slow and simple, for tests to hold netmaster, agents and switches against.
package intent

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/contiv/contiv/state"
)

// Intent is what users wrote.
type Intent struct {
	Networks []*state.Network
	Groups   []*state.EndpointGroup
	Policies []*state.Policy
	Rules    []*state.Rule
}

// End is who sends or receives.
type End struct {
	Tenant string
	Groups []string
	Addr   netip.Addr
}

// Packet is the first one of a connection.
type Packet struct {
	Src, Dst   End
	Protocol   int // number of the IP protocol
	Port       int // of the server; 0 where there are none
	Type, Code int // of ICMP
}

func (p Packet) String() string {
	return fmt.Sprintf("%s:%v %v -> %s:%v %v, protocol %d, port %d, ICMP type %d code %d",
		p.Src.Tenant, p.Src.Groups, p.Src.Addr, p.Dst.Tenant, p.Dst.Groups, p.Dst.Addr, p.Protocol, p.Port, p.Type, p.Code)
}

// Verdict is what becomes of a connection.
type Verdict struct {
	Allow bool
	// By are the keys of the rules that say so; of a default "default GROUP DIRECTION"; none: nobody said anything.
	By []string
}

// Decide asks every rule: of those about the packet, the ones with the largest priority count, and a deny among them wins.
// If there are none, a group of the sender (direction out) or of the receiver (in) may deny by default. Else the packet
// is allowed. Sender and receiver are of one tenant: nothing else is ever delivered.
func (i *Intent) Decide(p Packet) Verdict {
	best := 0
	says := map[string][]string{}
	for _, r := range i.Rules {
		priority := max(r.Priority, 1)
		if priority < best || !i.about(r, p) {
			continue
		}
		if priority > best {
			best, says = priority, map[string][]string{}
		}
		says[r.Action] = append(says[r.Action], r.Key())
	}
	switch {
	case len(says["deny"]) > 0:
		return Verdict{By: says["deny"]}
	case len(says["allow"]) > 0:
		return Verdict{Allow: true, By: says["allow"]}
	}
	by := append(i.closed(p.Src, "out"), i.closed(p.Dst, "in")...)
	return Verdict{Allow: len(by) == 0, By: by}
}

// closed are the groups of an end that deny by default in a direction.
func (i *Intent) closed(e End, direction string) (by []string) {
	denies := func(word string) bool { return word == direction || word == "both" }
	for _, g := range i.groupsOf(e) {
		yes := denies(g.DefaultDeny)
		for _, p := range i.Policies {
			yes = yes || p.TenantName == e.Tenant && slices.Contains(g.Policies, p.PolicyName) && denies(p.DefaultDeny)
		}
		if yes {
			by = append(by, "default "+g.GroupName+" "+direction)
		}
	}
	return by
}

func (i *Intent) groupsOf(e End) (out []*state.EndpointGroup) {
	for _, g := range i.Groups {
		if g.TenantName == e.Tenant && slices.Contains(e.Groups, g.GroupName) {
			out = append(out, g)
		}
	}
	return out
}

// about tells whether a rule is about a packet.
func (i *Intent) about(r *state.Rule, p Packet) bool {
	own, peer, group, network, address := p.Dst, p.Src, r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress
	if r.Direction == "out" {
		own, peer, group, network, address = p.Src, p.Dst, r.ToEndpointGroup, r.ToNetwork, r.ToIPAddress
	}
	if r.TenantName != own.Tenant || !slices.ContainsFunc(i.groupsOf(own), func(g *state.EndpointGroup) bool {
		return slices.Contains(g.Policies, r.PolicyName)
	}) {
		return false
	}
	if r.Direction == "in" && r.ToIPAddress != "" && !within(own.Addr, r.ToIPAddress) {
		return false
	}
	if group != "" && !slices.ContainsFunc(i.groupsOf(peer), func(g *state.EndpointGroup) bool { return g.GroupName == group }) {
		return false
	}
	if network != "" && !i.inNetwork(r.TenantName, network, peer.Addr) {
		return false
	}
	return (address == "" || within(peer.Addr, address)) && carries(r, p)
}

func (i *Intent) inNetwork(tenant, name string, a netip.Addr) bool {
	return slices.ContainsFunc(i.Networks, func(n *state.Network) bool {
		return n.TenantName == tenant && n.NetworkName == name && (within(a, wholeSubnet(n.Subnet)) || n.IPv6Subnet != "" && within(a, n.IPv6Subnet))
	})
}

// wholeSubnet leaves out which addresses of a subnet are given to endpoints: "10.1.1.5-10.1.1.9/24" is 10.1.1.0/24.
func wholeSubnet(text string) string {
	addresses, length, _ := strings.Cut(text, "/")
	first, _, _ := strings.Cut(addresses, "-")
	return first + "/" + length
}

// within tells whether an address is one of those that a text names: "A", "A/LENGTH", "10.1.2.3-9", "10.1.2.3-9/24".
func within(a netip.Addr, text string) bool {
	text, length, _ := strings.Cut(text, "/")
	first, last, isRange := strings.Cut(text, "-")
	from := netip.MustParseAddr(first)
	if from.Is4() != a.Is4() {
		return false
	}
	raw, want := a.AsSlice(), from.AsSlice()
	if isRange {
		to := slices.Clone(want)
		to[3] = byte(number(last)) //nolint:gosec // the rule was checked
		return bytes.Compare(want, raw) <= 0 && bytes.Compare(raw, to) <= 0
	}
	bits := 8 * len(raw)
	if length != "" {
		bits = number(length)
	}
	for bit := range bits {
		if (raw[bit/8]^want[bit/8])>>(7-bit%8)&1 != 0 {
			return false
		}
	}
	return true
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return math.MinInt
	}
	return n
}

// carries tells whether a rule is about what is in a packet. Plain "icmp" is the ICMP of either family; with a type it is
// that of IPv4, as numbers of types differ.
func carries(r *state.Rule, p Packet) bool {
	four, protocol := p.Src.Addr.Is4(), true
	switch r.Protocol {
	case "":
	case "tcp":
		protocol = p.Protocol == 6
	case "udp":
		protocol = p.Protocol == 17
	case "sctp":
		protocol = p.Protocol == 132
	case "icmp":
		protocol = four && p.Protocol == 1 || !four && p.Protocol == 58 && r.ICMPType == nil
	case "icmp6":
		protocol = !four && p.Protocol == 58
	default:
		protocol = p.Protocol == number(r.Protocol)
	}
	last := max(r.Port, r.PortEnd)
	return protocol && (r.Port == 0 || r.Port <= p.Port && p.Port <= last) &&
		(r.ICMPType == nil || *r.ICMPType == p.Type) && (r.ICMPCode == nil || *r.ICMPCode == p.Code)
}
