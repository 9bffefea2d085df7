// Package policy says what the rules of a cluster mean: which verdict a connection gets. It is the language's reference,
// against which the flows of a switch are tested, and what an agent asks about connections that are there already when
// rules change.
//
// Pure: no I/O, no clock. A Table is not safe for use from several goroutines while it changes.
package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/contiv/contiv/ofnet/protocol"
)

// IP protocols that rules know more of than the number.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
	SCTP   = 132
)

// MaxPriority is the largest priority of a rule. Priority 0 is that of defaults.
const MaxPriority = 100

// Packet is the first packet of a connection, after the choice of a service's provider. Both addresses are of one
// family.
type Packet struct {
	SrcIdentity, DstIdentity uint16 // 0: without groups
	Src, Dst                 netip.Addr
	Protocol                 uint8
	SrcPort, DstPort         uint16 // of TCP, UDP and SCTP
	ICMPType, ICMPCode       uint8  // of ICMP and ICMPv6
}

// String is for people who look for the cause of a wrong verdict.
func (p Packet) String() string {
	l4 := ""
	switch {
	case HasPorts(p.Protocol):
		l4 = fmt.Sprintf(" port %d to %d", p.SrcPort, p.DstPort)
	case IsICMP(p.Protocol):
		l4 = fmt.Sprintf(" type %d code %d", p.ICMPType, p.ICMPCode)
	}
	return fmt.Sprintf("%v (identity %d) to %v (identity %d), protocol %d%s", p.Src, p.SrcIdentity, p.Dst, p.DstIdentity, p.Protocol, l4)
}

// Verdict is what becomes of a connection, and why.
type Verdict struct {
	Allow bool
	Rule  string // key of the rule that decided; empty: none matched, so it is allowed
}

// HasPorts tells the protocols whose rules may name ports.
func HasPorts(protocol uint8) bool { return protocol == TCP || protocol == UDP || protocol == SCTP }

// IsICMP tells the protocols whose rules may name types and codes.
func IsICMP(protocol uint8) bool { return protocol == ICMP || protocol == ICMPv6 }

// Check tells why a rule cannot be enforced as it is written, nil if it can. A rule that fails it must not be left out
// in silence: see Closed.
func Check(r *protocol.Rule) error {
	switch {
	case r.ID == 0:
		return fmt.Errorf("rule id 0")
	case r.Action != protocol.ActionAllow && r.Action != protocol.ActionDeny:
		return fmt.Errorf("unknown action %q, want %q or %q", r.Action, protocol.ActionAllow, protocol.ActionDeny)
	case r.Priority > MaxPriority:
		return fmt.Errorf("priority %d is not within 0..%d", r.Priority, MaxPriority)
	case r.PortFirst > r.PortLast || r.PortFirst == 0 && r.PortLast != 0:
		return fmt.Errorf("%d-%d is not a range of ports", r.PortFirst, r.PortLast)
	case r.ICMPCode != nil && r.ICMPType == nil:
		return fmt.Errorf("an ICMP code without a type")
	case r.PortLast != 0 && (len(r.Protocols) == 0 || !all(r.Protocols, HasPorts)):
		return fmt.Errorf("ports need a protocol that has them, not %v", r.Protocols)
	case r.ICMPType != nil && (len(r.Protocols) == 0 || !all(r.Protocols, IsICMP)):
		return fmt.Errorf("an ICMP type needs ICMP, not %v", r.Protocols)
	case slices.Contains(r.Protocols, 0):
		return fmt.Errorf("protocol 0 cannot be told from any protocol")
	}
	for _, p := range []protocol.Peer{r.Src, r.Dst} {
		if err := checkPeer(p); err != nil {
			return err
		}
	}
	return nil
}

func checkPeer(p protocol.Peer) error {
	if p.Any && len(p.Identities) > 0 {
		return fmt.Errorf("any identity and %v at once", p.Identities)
	}
	if slices.Contains(p.Identities, 0) {
		return fmt.Errorf("identity 0 is that of no group")
	}
	for _, prefix := range p.Prefixes {
		if !prefix.IsValid() || prefix.Masked() != prefix || prefix.Addr().Is4In6() {
			return fmt.Errorf("%v is not a masked prefix", prefix)
		}
	}
	return nil
}

func all(list []uint8, f func(uint8) bool) bool {
	return !slices.ContainsFunc(list, func(v uint8) bool { return !f(v) })
}

// Closed is what to enforce in place of a rule that Check refuses: nothing for an allow, which leaves it narrower; for
// anything else a deny, before all other rules, of whatever its identities may say to each other.
func Closed(r *protocol.Rule) (protocol.Rule, bool) {
	if r.Action == protocol.ActionAllow {
		return protocol.Rule{}, false
	}
	side := func(p protocol.Peer) protocol.Peer {
		ids := slices.DeleteFunc(slices.Clone(p.Identities), func(id uint16) bool { return id == 0 })
		return protocol.Peer{Any: p.Any || len(ids) != len(p.Identities), Identities: ids}
	}
	closed := protocol.Rule{
		Tenant: r.Tenant, Policy: r.Policy, Name: r.Name, ID: r.ID, Priority: MaxPriority, Action: protocol.ActionDeny,
		Direction: r.Direction, Src: side(r.Src), Dst: side(r.Dst),
	}
	for _, p := range []*protocol.Peer{&closed.Src, &closed.Dst} {
		if p.Any {
			p.Identities = nil
		}
	}
	if closed.ID == 0 {
		closed.ID = 1<<32 - 1
	}
	return closed, true
}

// Matches tells whether a rule is about a packet.
func Matches(r *protocol.Rule, p *Packet) bool {
	return matchesPeer(&r.Src, p.SrcIdentity, p.Src) && matchesPeer(&r.Dst, p.DstIdentity, p.Dst) && matchesL4(r, p)
}

func matchesPeer(peer *protocol.Peer, identity uint16, addr netip.Addr) bool {
	if !peer.Any && !slices.Contains(peer.Identities, identity) {
		return false
	}
	return len(peer.Prefixes) == 0 ||
		slices.ContainsFunc(peer.Prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// matchesL4 holds that ICMP is a protocol of IPv4 and ICMPv6 one of IPv6: in the other family, their numbers mean nothing.
func matchesL4(r *protocol.Rule, p *Packet) bool {
	if len(r.Protocols) == 0 {
		return true
	}
	if !slices.Contains(r.Protocols, p.Protocol) || p.Protocol == ICMP && !p.Src.Is4() || p.Protocol == ICMPv6 && p.Src.Is4() {
		return false
	}
	if r.PortLast != 0 && (p.DstPort < r.PortFirst || p.DstPort > r.PortLast) {
		return false
	}
	return (r.ICMPType == nil || *r.ICMPType == p.ICMPType) && (r.ICMPCode == nil || *r.ICMPCode == p.ICMPCode)
}

// Before orders rules by who decides when several match: larger priority first, then denies, then by key.
func Before(a *protocol.Rule, aKey string, b *protocol.Rule, bKey string) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(allows(a), allows(b)), cmp.Compare(aKey, bKey))
}

func allows(r *protocol.Rule) int {
	if r.Action == protocol.ActionAllow {
		return 1
	}
	return 0
}
