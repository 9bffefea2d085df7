package normalise

import (
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// A rule of a policy becomes one record, however many groups have the policy; a policy that no group has becomes none.
//
// Nothing gets wider than written. A peer that is gone has no identities and no addresses, and matches nothing. A word
// that this version cannot read (a newer one wrote it) makes an allow match nothing, and leaves the restriction out of a
// deny.

// rule makes the record of a rule, by its model key.
func rule(m *ledger.Model, key string) index.ScopedRecord {
	r := m.Rule(key)
	if r == nil {
		return gone(protocol.KindRule, key)
	}
	groups := m.GroupsIn(ledger.GroupsWithPolicy(r.PolicyKey()))
	if len(groups) == 0 {
		return gone(protocol.KindRule, key)
	}
	body := protocol.Rule{
		Tenant: r.TenantName, Policy: r.PolicyName, Name: r.RuleID, ID: ruleID(m.RevisionOf(r.StoreKey())),
		Priority: uint8(min(max(r.Priority, 1), math.MaxUint8)), Action: r.Action, Direction: r.Direction, //nolint:gosec // bounded
	}
	n := maker{model: m, rule: r, unreadable: r.Direction != state.DirectionIn && r.Direction != state.DirectionOut}
	own, peer := n.attached(groups), n.peer()
	if r.Direction == state.DirectionOut {
		body.Src, body.Dst = own, peer
	} else {
		body.Src, body.Dst = peer, own
	}
	n.traffic(&body)
	if n.unreadable && r.Action == state.ActionAllow {
		body.Src, body.Dst = protocol.Peer{}, protocol.Peer{}
	}
	return madeRule(m, key, &body, own, peer, groups)
}

// ruleID is the revision in which the rule was written: rules are never written again and one transaction writes one, so
// that it is the rule's alone as long as the rule exists. The upper half of the numbers belongs to defaults.
func ruleID(revision int64) uint32 {
	return uint32(max(revision&math.MaxInt32, 1)) //nolint:gosec // masked
}

// madeRule finishes a rule. Who needs it: hosts with an endpoint on either side; if the peer may be anybody, all hosts on
// the groups' networks.
func madeRule(m *ledger.Model, key string, body *protocol.Rule, own, peer protocol.Peer, groups []*state.EndpointGroup) index.ScopedRecord {
	var scoped index.ScopedRecord
	var guards []string
	for _, g := range groups {
		if peer.Any {
			scoped.Scopes = append(scoped.Scopes, scope(m, g.TenantName, g.NetworkName))
		}
		guards = append(guards, state.ModelKey(g.TenantName, g.NetworkName))
	}
	if !peer.Any {
		for _, identity := range slices.Concat(own.Identities, peer.Identities) {
			scoped.Scopes = append(scoped.Scopes, identityScope(identity))
		}
	}
	slices.Sort(scoped.Scopes)
	scoped.Scopes = slices.Compact(scoped.Scopes)
	scoped = made(key, m.Revision(), body, scoped)
	if body.Action != protocol.ActionAllow { // an action of a newer version, too: hosts close the networks for it
		slices.Sort(guards)
		scoped.Guards = slices.Compact(guards)
	}
	return scoped
}

// identityScope is what the hosts with an endpoint of an identity are interested in.
func identityScope(identity uint16) index.Scope {
	return index.Scope("identity/" + strconv.Itoa(int(identity)))
}

// maker makes the parts of one rule.
type maker struct {
	model      *ledger.Model
	rule       *state.Rule
	unreadable bool // the rule has a word that this version cannot read
}

// attached is the side of the groups that have the policy.
func (n *maker) attached(groups []*state.EndpointGroup) protocol.Peer {
	out := protocol.Peer{Identities: identitiesOf(n.model, groups)}
	if n.rule.Direction == state.DirectionIn && n.rule.ToIPAddress != "" {
		out.Prefixes = n.addresses(n.rule.ToIPAddress)
	}
	return out
}

// peer is the other side.
func (n *maker) peer() protocol.Peer {
	group, network, address := n.rule.FromEndpointGroup, n.rule.FromNetwork, n.rule.FromIPAddress
	if n.rule.Direction == state.DirectionOut {
		group, network, address = n.rule.ToEndpointGroup, n.rule.ToNetwork, n.rule.ToIPAddress
	}
	out := protocol.Peer{Any: true}
	switch {
	case group != "":
		out = protocol.Peer{}
		if g := n.model.Group(state.ModelKey(n.rule.TenantName, group)); g != nil {
			out.Identities = identitiesOf(n.model, []*state.EndpointGroup{g})
		}
	case network != "":
		out.Prefixes = subnetsOf(n.model.Network(state.ModelKey(n.rule.TenantName, network)))
		out.Any = len(out.Prefixes) > 0
	}
	if address != "" {
		out.Prefixes = n.addresses(address)
	}
	return out
}

// addresses are the prefixes that a text means; none if it cannot be read.
func (n *maker) addresses(text string) []netip.Prefix {
	in, err := state.ParsePeer(text)
	if err != nil {
		n.unreadable = true
		return nil
	}
	return prefixesOf(in)
}

// subnetsOf are the prefixes of a network, none if there is no such network or it cannot be read.
func subnetsOf(network *state.Network) []netip.Prefix {
	if network == nil {
		return nil
	}
	subnet, err := state.ParseSubnet(network.Subnet)
	if err != nil {
		return nil
	}
	out := []netip.Prefix{subnet.Prefix}
	if network.IPv6Subnet == "" {
		return out
	}
	if subnet, err = state.ParseSubnet6(network.IPv6Subnet); err != nil {
		return nil
	}
	return append(out, subnet.Prefix)
}

// prefixesOf covers a range of addresses exactly, sorted.
func prefixesOf(in state.AddrRange) []netip.Prefix {
	var out []netip.Prefix
	for from := in.First; ; {
		bits := from.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(from, bits-1)
			if wider.Masked().Addr() != from || in.Last.Less(lastOf(wider)) {
				break
			}
			bits--
		}
		prefix := netip.PrefixFrom(from, bits)
		out = append(out, prefix)
		last := lastOf(prefix)
		if !last.Less(in.Last) {
			return out
		}
		from = last.Next()
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// traffic fills in protocols, ports and ICMP types.
func (n *maker) traffic(body *protocol.Rule) {
	number, err := state.ParseProtocol(n.rule.Protocol)
	if err != nil {
		n.unreadable = true
		return
	}
	switch {
	case number == state.ProtocolAny:
	case n.rule.Protocol == state.ICMP && n.rule.ICMPType == nil:
		body.Protocols = []uint8{uint8(state.ProtocolICMP), uint8(state.ProtocolICMP6)}
	default:
		body.Protocols = []uint8{uint8(number)}
	}
	n.ports(body, number)
	n.icmp(body, number)
}

func (n *maker) ports(body *protocol.Rule, number state.Protocol) {
	first, last := n.rule.Port, max(n.rule.Port, n.rule.PortEnd)
	switch {
	case last == 0:
	case first < 1 || last > math.MaxUint16 || n.rule.PortEnd != 0 && n.rule.PortEnd < first || !number.HasPorts():
		n.unreadable = true // such as a port of ICMP: nothing has that
	default:
		body.PortFirst, body.PortLast = uint16(first), uint16(last) //nolint:gosec // checked
	}
}

func (n *maker) icmp(body *protocol.Rule, number state.Protocol) {
	kind, code := n.rule.ICMPType, n.rule.ICMPCode
	wrong := func(v *int) bool { return v != nil && (*v < 0 || *v > math.MaxUint8) }
	switch {
	case kind == nil && code == nil:
	case kind == nil || !number.IsICMP() || wrong(kind) || wrong(code):
		n.unreadable = true
	default:
		body.ICMPType, body.ICMPCode = octet(kind), octet(code)
	}
}

func octet(v *int) *uint8 {
	if v == nil {
		return nil
	}
	out := uint8(*v) //nolint:gosec // checked
	return &out
}

// identitiesOf are the identities of all sets in use that hold one of the groups, sorted.
func identitiesOf(m *ledger.Model, groups []*state.EndpointGroup) []uint16 {
	var out []uint16
	add := func(identity int) {
		if fits16(identity) {
			out = append(out, uint16(identity)) //nolint:gosec // checked
		}
	}
	for _, g := range groups {
		if decided := m.GroupState(g.Key()); decided != nil {
			add(decided.Identity)
		}
		for _, set := range m.GroupSetsIn(ledger.GroupSetsOf(g.Key())) {
			add(set.Identity)
		}
		if numbersUnread(m, g.Key()) {
			for _, e := range m.EndpointsOf(ledger.EndpointsOfGroup(g.Key())) {
				add(e.Identity)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// directions that a default may have.
func directions() []string { return []string{state.DirectionIn, state.DirectionOut} }

// defaults makes the two records of what is denied by default to and from the members of a group. Of a group that is shut
// they deny everything, before all rules.
func defaults(m *ledger.Model, key string) []index.ScopedRecord {
	tenant, name := splitKey(key)
	g, closed := m.Group(key), shut(m, key)
	if g == nil && closed {
		g = standIn(m, key)
	}
	id, known := groupID(m, key)
	out := make([]index.ScopedRecord, 0, 2)
	for i, direction := range directions() {
		ruleKey := protocol.DefaultRuleKey(tenant, name, direction)
		if g == nil || !known || !closed && !denies(m, g, direction) {
			out = append(out, gone(protocol.KindRule, ruleKey))
			continue
		}
		own, peer := protocol.Peer{Identities: identitiesOf(m, []*state.EndpointGroup{g})}, protocol.Peer{Any: true}
		body := protocol.Rule{
			Tenant: tenant, Name: name, ID: defaultID(id, i), Action: protocol.ActionDeny, Direction: direction, Src: peer, Dst: own,
		}
		if closed {
			body.Priority = strongest
		}
		if direction == state.DirectionOut {
			body.Src, body.Dst = own, peer
		}
		out = append(out, madeRule(m, ruleKey, &body, own, peer, []*state.EndpointGroup{g}))
	}
	return out
}

// defaultID numbers the defaults of groups apart from all rules.
func defaultID(group, direction int) uint32 {
	return 1<<31 | uint32(group)<<1 | uint32(direction) //nolint:gosec // 16 bits and one
}

// denies tells whether the group, or a policy that it has, denies by default in a direction.
func denies(m *ledger.Model, g *state.EndpointGroup, direction string) bool {
	if deniesBy(g.DefaultDeny, direction) {
		return true
	}
	return slices.ContainsFunc(g.Policies, func(name string) bool {
		p := m.Policy(state.ModelKey(g.TenantName, name))
		return p != nil && deniesBy(p.DefaultDeny, direction)
	})
}

// deniesBy tells what a word denies; a word of a newer version denies.
func deniesBy(word, direction string) bool {
	return word != "" && word != state.DenyNone && (word == direction || !slices.Contains(directions(), word))
}
