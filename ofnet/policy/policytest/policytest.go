// Package policytest makes random rules, and packets that meet them more often than chance would, for tests of what
// enforces rules. The same seed makes the same.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Endpoint is somebody who sends and receives.
type Endpoint struct {
	Identity uint16 // 0: without groups
	IPv4     netip.Addr
	IPv6     netip.Addr
}

// World is endpoints and what they may say to each other.
type World struct {
	Endpoints []Endpoint
	Rules     map[string]*protocol.Rule
}

// identities are few, so that rules meet.
const identities = 6

// New makes a world of up to 12 endpoints and the given number of rules.
func New(r *rand.Rand, rules int) *World {
	w := &World{Rules: map[string]*protocol.Rule{}}
	for i := range 2 + r.IntN(11) {
		w.Endpoints = append(w.Endpoints, Endpoint{
			Identity: uint16(r.IntN(identities)), //nolint:gosec // small
			IPv4:     netip.AddrFrom4([4]byte{10, 1, byte(r.IntN(4)), byte(10 + i)}),
			IPv6:     netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(r.IntN(4)), 15: byte(10 + i)}),
		})
	}
	for i := range rules {
		rule := Rule(r)
		rule.ID = uint32(i + 1) //nolint:gosec // small
		w.Rules[fmt.Sprintf("t:p:%d", i+1)] = rule
	}
	return w
}

// Rule makes one that Check accepts, without an ID.
func Rule(r *rand.Rand) *protocol.Rule {
	rule := &protocol.Rule{Tenant: "t", Policy: "p", Priority: uint8(r.IntN(4)), Action: protocol.ActionAllow} //nolint:gosec // small
	if r.IntN(2) == 0 {
		rule.Action = protocol.ActionDeny
	}
	rule.Src, rule.Dst = peer(r), peer(r)
	if rule.Src.Any && rule.Dst.Any && r.IntN(4) > 0 {
		rule.Dst = protocol.Peer{Identities: someIdentities(r)}
	}
	switch r.IntN(6) {
	case 0:
	case 1:
		icmp(r, rule)
	case 2:
		rule.Protocols = []uint8{47}
	default:
		rule.Protocols = [][]uint8{{policy.TCP}, {policy.UDP}, {policy.SCTP}, {policy.TCP, policy.UDP}}[r.IntN(4)]
		ports(r, rule)
	}
	return rule
}

func icmp(r *rand.Rand, rule *protocol.Rule) {
	rule.Protocols = [][]uint8{{policy.ICMP, policy.ICMPv6}, {policy.ICMP}, {policy.ICMPv6}}[r.IntN(3)]
	if r.IntN(2) > 0 {
		kind := []uint8{8, 128}[r.IntN(2)]
		rule.ICMPType = &kind
		if r.IntN(2) > 0 {
			code := uint8(r.IntN(2)) //nolint:gosec // small
			rule.ICMPCode = &code
		}
	}
}

var servers = []uint16{53, 80, 443, 8080}

func ports(r *rand.Rand, rule *protocol.Rule) {
	switch r.IntN(4) {
	case 0:
	case 1:
		rule.PortFirst = uint16(1 + r.IntN(9000))                                  //nolint:gosec // small
		rule.PortLast = rule.PortFirst + uint16(r.IntN(1<<16-int(rule.PortFirst))) //nolint:gosec // fits
	default:
		rule.PortFirst = servers[r.IntN(len(servers))]
		rule.PortLast = rule.PortFirst
	}
}

func peer(r *rand.Rand) protocol.Peer {
	p := protocol.Peer{Any: r.IntN(3) == 0}
	if !p.Any {
		p.Identities = someIdentities(r)
	}
	if r.IntN(4) > 0 {
		return p
	}
	for range 1 + r.IntN(2) {
		p.Prefixes = append(p.Prefixes, prefix(r))
	}
	slices.SortFunc(p.Prefixes, netip.Prefix.Compare)
	p.Prefixes = slices.Compact(p.Prefixes)
	return p
}

func someIdentities(r *rand.Rand) []uint16 {
	var out []uint16
	for id := uint16(1); id < identities; id++ {
		if r.IntN(3) == 0 {
			out = append(out, id)
		}
	}
	return out
}

func prefix(r *rand.Rand) netip.Prefix {
	four := netip.AddrFrom4([4]byte{10, 1, byte(r.IntN(4)), byte(10 + r.IntN(12))})
	six := netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(r.IntN(4)), 15: byte(10 + r.IntN(12))})
	if r.IntN(2) == 0 {
		return netip.PrefixFrom(four, []int{0, 16, 23, 24, 30, 32}[r.IntN(6)]).Masked()
	}
	return netip.PrefixFrom(six, []int{0, 64, 112, 127, 128}[r.IntN(5)]).Masked()
}

// Packet makes the first packet of a connection between two endpoints of the world, and says which.
func (w *World) Packet(r *rand.Rand) (p policy.Packet, from, to int) {
	from, to = r.IntN(len(w.Endpoints)), r.IntN(len(w.Endpoints)-1)
	if to >= from {
		to++
	}
	a, b := w.Endpoints[from], w.Endpoints[to]
	p = policy.Packet{SrcIdentity: a.Identity, DstIdentity: b.Identity, Src: a.IPv4, Dst: b.IPv4}
	six := r.IntN(2) == 0
	if six {
		p.Src, p.Dst = a.IPv6, b.IPv6
	}
	switch r.IntN(5) {
	case 0:
		p.Protocol, p.ICMPType = policy.ICMP, 8
		if six {
			p.Protocol, p.ICMPType = policy.ICMPv6, 128
		}
	case 1:
		p.Protocol = policy.SCTP
	case 2:
		p.Protocol = policy.UDP
	default:
		p.Protocol = policy.TCP
	}
	if policy.HasPorts(p.Protocol) {
		p.SrcPort, p.DstPort = uint16(32768+r.IntN(100)), servers[r.IntN(len(servers))] //nolint:gosec // small
		if r.IntN(4) == 0 {
			p.DstPort = uint16(1 + r.IntN(1<<16-1)) //nolint:gosec // fits
		}
	}
	return p, from, to
}
