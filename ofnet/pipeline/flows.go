package pipeline

import (
	"net/netip"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// unit is what one record contributes.
type unit struct {
	flows  []of.Flow
	groups []of.Group
	meters []of.Meter
	why    refusal
	member member
}

// add makes a flow of the unit.
func (u *unit) add(cookie uint64, table uint8, priority uint16, match of.Match, actions of.Actions, next uint8) {
	u.flows = append(u.flows, of.Flow{Table: table, Priority: priority, Cookie: cookie, Match: match, Actions: actions, Goto: next})
}

var (
	nothing     = of.Actions{}
	toMulticast = of.EthDstMasked(of.MAC{1}, of.MAC{1})
	toUnicast   = of.EthDstMasked(of.MAC{}, of.MAC{1})
	isIP4       = of.EthType(of.EtherIPv4)
	isIP6       = of.EthType(of.EtherIPv6)
	isARP       = of.EthType(of.EtherARP)
	fromLocal   = regSrcClass.Is(classLocal)
	fromVTEP    = regSrcClass.Is(classVTEP)
)

// Types of ICMPv6 messages.
const (
	routerAdvertisement   = 134
	neighbourSolicitation = 135
	neighbourAdvert       = 136
	redirect              = 137
)

func icmp6(kind uint8, more ...of.Term) of.Match {
	return of.NewMatch(append([]of.Term{isIP6, of.IPProto(of.ProtoICMPv6), of.ICMPv6Type(kind)}, more...)...)
}

// base is what every host has, whatever records there are.
func (v *view) base() *unit {
	u := &unit{}
	u.why = v.global()
	add := func(table uint8, priority uint16, match of.Match, actions of.Actions, next uint8) {
		u.add(cookie(categoryBase, 0), table, priority, match, actions, next)
	}
	for _, t := range Tables() {
		next := t.Miss
		if v.routed() && t.MissRouting != 0 {
			next = t.MissRouting
		}
		if next != 0 {
			add(t.ID, 0, of.Match{}, nothing, next)
		}
	}
	add(tableInput, 200, of.NewMatch(of.EthSrcMasked(of.MAC{1}, of.MAC{1})), nothing, 0)
	add(tableInput, 195, of.NewMatch(of.Tagged()), nothing, 0)
	add(tableInput, 190, of.NewMatch(of.EthDstMasked(of.MAC{1, 0x80, 0xc2}, of.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xf0})), nothing, 0)
	if v.TunnelPort != 0 {
		add(tableInput, 100, of.NewMatch(of.InPort(v.TunnelPort)), of.Do(regSrcClass.Load(classVTEP)), tableTenant)
	}
	// Nobody but a router may say these, and there is none: not from a local endpoint, not through the tunnel.
	add(tableARPND, 130, icmp6(routerAdvertisement), nothing, 0)
	add(tableARPND, 130, icmp6(redirect), nothing, 0)
	u.drop(dropSpoof, tableSpoof, 0, of.Match{})
	for _, kind := range []uint8{neighbourSolicitation, neighbourAdvert} {
		u.drop(dropSpoof, tableSpoof, 105, icmp6(kind, fromLocal))
	}
	v.baseMulticast(add)
	add(tableARPND, 10, of.NewMatch(isIP4), nothing, tablePunt)
	add(tableARPND, 10, of.NewMatch(isIP6), nothing, tablePunt)
	switch {
	case v.routed():
		add(tableARPND, 94, icmp6(neighbourSolicitation), nothing, 0)
		add(tableARPND, 94, icmp6(neighbourAdvert), nothing, 0)
	case u.why == "":
		v.baseARP(add)
	}
	add(tableNDReply, 100, icmp6(neighbourAdvert), of.Do(of.Move(of.Whole(of.FieldEthSrc), of.Whole(of.FieldNDTll)), of.OutputIn()), 0)
	v.hostAccess(u)
	u.connections()
	v.services(u)
	u.nameServer()
	add(tableOutput, 50, of.Match{}, of.Do(of.OutputReg(regOutPort)), 0)
	return u
}

// baseMulticast is what no rule is about. Rules know endpoints by their addresses: a unicast packet in a multicast frame,
// or one between link-local addresses, would get around them.
func (v *view) baseMulticast(add func(table uint8, priority uint16, match of.Match, actions of.Actions, next uint8)) {
	add(tableARPND, 20, of.NewMatch(isIP4, toMulticast), nothing, 0)
	add(tableARPND, 20, of.NewMatch(isIP6, toMulticast), nothing, 0)
	linkLocal := netip.MustParsePrefix("fe80::/10")
	add(tableARPND, 15, of.NewMatch(isIP6, of.IPSrc(linkLocal)), nothing, 0)
	add(tableARPND, 15, of.NewMatch(isIP6, of.IPDst(linkLocal)), nothing, 0)
	if v.routed() {
		return
	}
	add(tableARPND, 25, of.NewMatch(isIP4, toMulticast, of.IPDst(netip.MustParsePrefix("224.0.0.0/4"))), nothing, tableMACDest)
	add(tableARPND, 25, of.NewMatch(isIP4, toMulticast, of.IPDst(netip.MustParsePrefix("255.255.255.255/32"))), nothing, tableMACDest)
	add(tableARPND, 25, of.NewMatch(isIP6, toMulticast, of.IPDst(netip.MustParsePrefix("ff00::/8"))), nothing, tableMACDest)
}

// broadcast lets packets to the broadcast address of a network through, see baseMulticast.
func (u *unit) broadcast(n *protocol.Network, cookie uint64) {
	if !n.Subnet.IsValid() || !n.Subnet.Addr().Is4() {
		return
	}
	last := n.Subnet.Masked().Addr().As4()
	for bit := n.Subnet.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	u.add(cookie, tableARPND, 25, of.NewMatch(isIP4, toMulticast, regBD.Is(uint32(n.ID)), of.IPDstAddr(netip.AddrFrom4(last))), nothing, tableMACDest)
}

// drop makes a flow that drops for a reason and counts it.
func (u *unit) drop(reason uint32, table uint8, priority uint16, match of.Match) {
	u.add(cookie(categoryDrop, reason), table, priority, match, nothing, 0)
}

// baseARP is what becomes of ARP and neighbour discovery that no responder took.
func (v *view) baseARP(add func(table uint8, priority uint16, match of.Match, actions of.Actions, next uint8)) {
	solicit, advert := uint8(neighbourSolicitation), uint8(neighbourAdvert)
	if v.floods() {
		add(tableARPND, 100, of.NewMatch(isARP), nothing, tableMACDest)
		add(tableARPND, 95, icmp6(solicit), nothing, tableMACDest)
		add(tableARPND, 95, icmp6(advert), nothing, tableMACDest)
		return
	}
	// A solicitation without the sender's link-layer option has no room for our answer: if it goes to one neighbour, that
	// one answers by itself.
	add(tableARPND, 120, icmp6(solicit, of.NDSll(of.MAC{}), toUnicast), nothing, tableMACDest)
	add(tableARPND, 119, icmp6(solicit, of.NDSll(of.MAC{})), nothing, 0)
	for _, kind := range []uint8{solicit, advert} {
		add(tableARPND, 95, icmp6(kind, toUnicast), nothing, tableMACDest)
		add(tableARPND, 94, icmp6(kind), nothing, 0)
	}
}

// networkFlows are those of a network that can be realised. Its flood groups exist always, so the flows never change
// with its members.
func (v *view) networkFlows(n *protocol.Network) []of.Flow {
	u, c := &unit{}, cookie(categoryNetwork, uint32(n.ID))
	bd := regBD.Is(uint32(n.ID))
	if v.TunnelPort != 0 {
		u.add(c, tableTenant, 100, of.NewMatch(fromVTEP, of.TunID(uint64(n.VNI))),
			of.Do(regVRF.Load(uint32(n.VRF)), regBD.Load(uint32(n.ID)), regCTZone.Load(v.zone(n))), tableSpoof)
	}
	if v.routed() {
		v.routedNetwork(u, n)
		return u.flows
	}
	u.broadcast(n, c)
	what := []of.Term{bd}
	if !v.floods() {
		what = append(what, toMulticast)
	}
	match := of.NewMatch(what...)
	u.add(c, tableMACDest, 10, match.With(fromVTEP), of.Do(of.ToGroup(groupID(groupFloodLocal, n.ID, 0))), 0)
	u.add(c, tableMACDest, 10, match.With(fromLocal),
		of.Do(of.SetTunID(uint64(n.VNI)), of.ToGroup(groupID(groupFloodAll, n.ID, 0))), 0)
	return u.flows
}

// endpointFlows are those of an endpoint that can be realised.
func (v *view) endpointFlows(e *endpoint) *unit {
	u := &unit{}
	if e.local() {
		v.enter(u, e)
		v.toItself(u, e)
		v.outThroughHost(u, e)
	} else {
		v.enterByTunnel(u, e)
	}
	identity := of.Do(regDstIdentity.Load(uint32(e.identity)))
	for _, a := range e.addresses() {
		u.add(e.cookie, tableDstGroup, 100, of.NewMatch(a.version, v.domain(e.network), of.IPDstAddr(a.Addr)), identity, tablePolicy)
	}
	if v.routed() {
		v.routedEndpoint(u, e)
	} else {
		v.bridgedEndpoint(u, e)
	}
	return u
}

// address is one of an endpoint's, with the match of its IP version.
type address struct {
	netip.Addr
	version of.Term
}

func (e *endpoint) addresses() (out []address) {
	if e.ip4.IsValid() {
		out = append(out, address{e.ip4, isIP4})
	}
	if e.ip6.IsValid() {
		out = append(out, address{e.ip6, isIP6})
	}
	return out
}

// enter lets packets of a local endpoint in that are what they say.
func (v *view) enter(u *unit, e *endpoint) {
	n, in, src := e.network, of.InPort(e.port), of.EthSrc(e.mac)
	actions := []of.Action{
		regSrcClass.Load(v.class(n)), regVRF.Load(uint32(n.VRF)), regBD.Load(uint32(n.ID)), regCTZone.Load(v.zone(n)),
		regSrcIdentity.Load(uint32(e.identity)),
	}
	u.flows = append(u.flows, of.Flow{
		Table: tableTenant, Priority: 100, Cookie: e.cookie, Match: of.NewMatch(in), Meter: u.mark(e), Actions: of.Do(actions...), Goto: tableSpoof,
	})
	u.names(e)
	if e.ip4.IsValid() {
		u.add(e.cookie, tableSpoof, 100, of.NewMatch(in, src, isIP4, of.IPSrcAddr(e.ip4)), nothing, tableARPND)
		u.add(e.cookie, tableSpoof, 100, of.NewMatch(in, src, isARP, of.ARPSpa(e.ip4), of.ARPSha(e.mac)), nothing, tableARPND)
		if !v.floods() {
			// An announcement: answering it would look as if another had the address.
			u.add(e.cookie, tableARPND, 110, of.NewMatch(isARP, in, of.ARPTpa(e.ip4)), nothing, 0)
		}
	}
	if e.ip6.IsValid() {
		localSpoof6(u, e)
	}
}

// enterByTunnel lets packets of a remote endpoint in that come from its host. A router writes its own MAC address on what
// it sends.
func (v *view) enterByTunnel(u *unit, e *endpoint) {
	from := []of.Term{fromVTEP, v.domain(e.network), of.TunSrc(e.vtep)}
	if !v.routed() {
		from = append(from, of.EthSrc(e.mac))
	}
	accept := func(terms ...of.Term) {
		u.add(e.cookie, tableSpoof, 100, of.NewMatch(append(terms, from...)...), of.Do(regSrcIdentity.Load(uint32(e.identity))), tableARPND)
	}
	for _, a := range e.addresses() {
		accept(a.version, of.IPSrcAddr(a.Addr))
	}
	if e.ip4.IsValid() && v.floods() {
		accept(isARP, of.ARPSpa(e.ip4), of.ARPSha(e.mac))
	}
	if e.ip6.IsValid() && !v.routed() {
		accept(isIP6, of.IPSrcAddr(e.linkLocal()))
	}
}

// bridgedEndpoint answers for an endpoint in ARP and neighbour discovery, and finds it by its MAC address.
func (v *view) bridgedEndpoint(u *unit, e *endpoint) {
	bd := regBD.Is(uint32(e.network.ID))
	if e.ip4.IsValid() && !v.floods() {
		u.add(e.cookie, tableARPND, 100, of.NewMatch(isARP, of.ARPOp(1), fromLocal, bd, of.ARPTpa(e.ip4)), arpReply(e.mac), 0)
	}
	if e.ip6.IsValid() && !v.floods() {
		u.add(e.cookie, tableARPND, 100, icmp6(neighbourSolicitation, fromLocal, bd, of.NDTarget(e.ip6)), ndReply(e.mac), tableNDReply)
	}
	at := of.NewMatch(bd, of.EthDst(e.mac))
	if e.local() {
		u.add(e.cookie, tableMACDest, 100, at, of.Do(regOutPort.Load(e.port)), tableOutput)
		return
	}
	// The switch never sends a packet out of the port it came in through: from a peer to a peer, this drops.
	u.add(e.cookie, tableMACDest, 100, at,
		of.Do(of.SetTunID(uint64(e.network.VNI)), of.SetTunDst(e.vtep), regOutPort.Load(v.TunnelPort)), tableOutput)
}

// localSpoof6 lets an endpoint use its address and the link-local one of its MAC address, and say nothing but the truth
// in neighbour discovery. Probes for duplicates, from ::, are dropped: the address is allocated to it alone, and silence
// is the answer that lets it be used.
func localSpoof6(u *unit, e *endpoint) {
	for _, addr := range []netip.Addr{e.ip6, e.linkLocal()} {
		from := []of.Term{of.InPort(e.port), of.EthSrc(e.mac), of.IPSrcAddr(addr)}
		u.add(e.cookie, tableSpoof, 100, of.NewMatch(append(from, isIP6)...), nothing, tableARPND)
		for _, option := range []of.MAC{e.mac, {}} {
			u.add(e.cookie, tableSpoof, 110, icmp6(neighbourSolicitation, append(from, of.NDSll(option))...), nothing, tableARPND)
			u.add(e.cookie, tableSpoof, 110, icmp6(neighbourAdvert, append(from, of.NDTarget(addr), of.NDTll(option))...), nothing, tableARPND)
		}
	}
}

// arpReply turns a request into the answer that the address it asks for is at mac.
func arpReply(mac of.MAC) of.Actions {
	return of.Do(
		of.Move(of.Whole(of.FieldEthSrc), of.Whole(of.FieldEthDst)), of.SetEthSrc(mac),
		of.SetARPOp(2),
		of.Move(of.Whole(of.FieldARPSha), of.Whole(of.FieldARPTha)), of.SetARPSha(mac),
		of.Move(of.Whole(of.FieldARPTpa), regSwap.Range()),
		of.Move(of.Whole(of.FieldARPSpa), of.Whole(of.FieldARPTpa)),
		of.Move(regSwap.Range(), of.Whole(of.FieldARPSpa)),
		of.OutputIn(),
	)
}

// ndReply turns a solicitation into an advertisement, but for the link-layer address: that can be written only in
// another table, where the packet is known to be an advertisement. It is taken from the source address there.
func ndReply(mac of.MAC) of.Actions {
	return of.Do(
		of.Move(of.Whole(of.FieldEthSrc), of.Whole(of.FieldEthDst)), of.SetEthSrc(mac),
		of.Move(of.Whole(of.FieldIP6Src), of.Whole(of.FieldIP6Dst)), of.Move(of.Whole(of.FieldNDTarget), of.Whole(of.FieldIP6Src)),
		of.SetICMPv6Type(neighbourAdvert), of.SetNDFlags(of.NDSolicited|of.NDOverride), of.SetNDOption(2),
	)
}
