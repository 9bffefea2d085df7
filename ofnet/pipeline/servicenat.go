package pipeline

import (
	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// A connection to a service is translated on its client's host: its first packet gets a provider, and conntrack remembers
// it, in both directions. What comes behind, the rules too, sees the provider.
//
// A provider may be a client of its own service, and may get itself. Its answer would not come by here then, so the
// service's address becomes the source of such a connection, in a zone of its own ("hairpin"). The answers come from the
// provider to the service's address; whether a packet is one, and not the begin of a connection, that zone tells. An
// address of the service is what the provider has a route to in any case: it just sent to it.

// fromHere matches sources that may use services: local endpoints and the host itself, that is SRC_CLASS 1 and 5. A packet
// that comes from another host for a service was not translated there, so it ends.
var fromHere = of.Reg{Index: 0, First: 0, Bits: 2, Name: "SRC_CLASS"}.Is(1)

// scratchMAC is where a MAC address waits while two are swapped; OUT_PORT and so on are not in it.
var scratchMAC = of.Bits(of.FieldXXReg0+2, 0, 48)

var inService = of.CTMark(1<<4, 1<<4)

// serviceFlows are those of a service that can be realised.
func (v *view) serviceFlows(u *unit, s *service) {
	for i := range s.faces {
		f := &s.faces[i]
		if !v.routed() {
			v.answerForVIP(u, s, f)
		}
		for place, port := range s.ports {
			v.portFlows(u, s, f, place, port)
		}
		v.hairpin(u, s, f)
	}
}

// to matches packets for a port of the service.
func (v *view) to(s *service, f *face, port protocol.ServicePort) of.Match {
	return of.NewMatch(f.version, v.domain(s.network), fromHere, of.IPProto(port.Protocol), of.IPDstAddr(f.vip),
		of.DstPorts(port.Protocol, port.Port, 0xffff))
}

// maxBuckets is how many providers a group spreads over. Open vSwitch has 64 places for the buckets of a group before it
// chooses in another, slower way.
const maxBuckets = 16

const bucketPlaces = 64

// portFlows choose a provider for a connection.
func (v *view) portFlows(u *unit, s *service, f *face, place int, port protocol.ServicePort) {
	match := v.to(s, f, port)
	switch count := len(f.providers); {
	case count == 0: // dropped as a port that is not there
	case s.affinity == 0 && port.Protocol != policy.UDP && count <= maxBuckets:
		group := of.Group{ID: groupID(f.group, s.id, place), Type: of.GroupSelect, Buckets: v.buckets(s, f.providers, port)}
		u.groups = append(u.groups, group)
		u.add(s.cookie, tableSvcDNAT, 100, match, of.Do(of.ToGroup(group.ID)), 0)
	default:
		v.pickFlows(u, s, f, port, match)
	}
}

// buckets are one for each provider. So that the places fall to them as evenly as they can, the first one is cut in two:
// Open vSwitch makes as many places as the smallest bucket needs to get one.
func (v *view) buckets(s *service, providers []provider, port protocol.ServicePort) []of.Bucket {
	count := len(providers)
	weight := uint16(1)
	if count&(count-1) != 0 {
		weight = uint16(bucketPlaces / count) //nolint:gosec // at least 4
	}
	out := make([]of.Bucket, 0, count+1)
	for _, p := range providers {
		out = append(out, of.Bucket{Weight: weight, Actions: of.Do(v.translate(s, p, port))})
	}
	if weight > 1 {
		out[0].Weight--
		out = append(out, of.Bucket{Weight: 1, Actions: out[0].Actions})
	}
	return out
}

// pickFlows choose among many providers, or where a group cannot: of UDP it sees no ports, and it cannot remember clients.
func (v *view) pickFlows(u *unit, s *service, f *face, port protocol.ServicePort, match of.Match) {
	choose := of.Multipath{Ways: uint16(len(f.providers)), Basis: s.id, To: regChoice.Range()} //nolint:gosec // fewer than endpoints of a tenant
	u.add(s.cookie, tableSvcDNAT, 100, match, of.Do(choose.Action()), tableSvcPick)
	for i, p := range f.providers {
		actions := of.Do(v.translate(s, p, port))
		if s.affinity != 0 {
			actions = of.Do(s.remember(f, p, port), v.translate(s, p, port))
			hit := match.With(regServiceHit.Is(1), regBackend.Is(p.number))
			u.add(s.cookie, tableAffDNAT, 100, hit, actions, 0)
		}
		u.add(s.cookie, tableSvcPick, 100, match.With(regChoice.Is(uint32(i))), actions, 0) //nolint:gosec // as above
	}
}

// remember has the client's next connections go to the same provider.
func (s *service) remember(f *face, p provider, port protocol.ServicePort) of.Action {
	src, dst := of.FieldIPSrc, of.FieldIPDst
	if f.vip.Is6() {
		src, dst = of.FieldIP6Src, of.FieldIP6Dst
	}
	dstPort := map[uint8]of.Field{of.ProtoTCP: of.FieldTCPDst, of.ProtoUDP: of.FieldUDPDst, of.ProtoSCTP: of.FieldSCTPDst}[port.Protocol]
	return of.Learn{
		Table: tableAffinity, Priority: 100, HardTimeout: s.affinity, Cookie: learned | s.cookie, Limit: maxLearned,
		Specs: []of.LearnSpec{
			of.LearnMatchValue(of.Whole(of.FieldEthType), uint64(f.etherType)),
			of.LearnMatchValue(of.Whole(of.FieldIPProto), uint64(port.Protocol)),
			of.LearnMatchSame(of.Bits(of.FieldReg0+of.Field(regVRF.Index), 0, 32)), // BD is in it too
			of.LearnMatchSame(of.Whole(src)), of.LearnMatchSame(of.Whole(dst)), of.LearnMatchSame(of.Whole(dstPort)),
			of.LearnLoadValue(regBackend.Range(), uint64(p.number)), of.LearnLoadValue(regServiceHit.Range(), 1),
		},
	}.Action()
}

// translate sends a connection to a provider.
func (v *view) translate(s *service, p provider, port protocol.ServicePort) of.Action {
	exec := []of.Action{markService.Load(1), markID.Load(uint64(s.id)), labelBackend.Load(uint64(p.number))}
	if !v.routed() {
		exec = append(exec, markMAC.Load(1), labelMAC.Load(p.mac.Number()))
	}
	return of.CT{
		Commit: true, Table: tableSvcPost, ZoneFrom: regCTZone.Range(), NAT: of.DNAT(p.addr, port.ProviderPort), Exec: of.Do(exec...),
	}.Action()
}

// answerForVIP says in ARP and neighbour discovery where a service is: nobody else would.
func (v *view) answerForVIP(u *unit, s *service, f *face) {
	bd, mac := v.domain(s.network), s.mac()
	if f.vip.Is4() {
		u.add(s.cookie, tableARPND, 105, of.NewMatch(isARP, of.ARPOp(1), fromLocal, bd, of.ARPTpa(f.vip)), arpReply(mac), 0)
		return
	}
	asks := func(more ...of.Term) of.Match {
		return icmp6(neighbourSolicitation, append(more, fromLocal, bd, of.NDTarget(f.vip))...)
	}
	u.add(s.cookie, tableARPND, 105, asks(), ndReply(mac), tableNDReply)
	// As in routedNetwork.
	u.add(s.cookie, tableARPND, 123, asks(of.NDSll(of.MAC{}), toUnicast), ndReplyBare(mac), 0)
	u.add(s.cookie, tableARPND, 122, asks(of.NDSll(of.MAC{})), nothing, 0)
}

// mac is the address of the service where the switch does not route: it follows from the first of its addresses as that of
// an endpoint does.
func (s *service) mac() of.MAC {
	b := s.faces[0].vip.AsSlice()
	return of.MAC{2, 2, b[len(b)-4], b[len(b)-3], b[len(b)-2], b[len(b)-1]}
}

// hairpin leads a provider's connections to itself out and back.
func (v *view) hairpin(u *unit, s *service, f *face) {
	zone := v.hairpinZone(s.network)
	seen := map[[2]uint16]bool{}
	for _, port := range s.ports {
		which := [2]uint16{uint16(port.Protocol), port.ProviderPort}
		if seen[which] {
			continue
		}
		seen[which] = true
		answer := of.NewMatch(f.version, v.domain(s.network), fromHere, of.IPProto(port.Protocol), of.IPDstAddr(f.vip),
			of.SrcPorts(port.Protocol, port.ProviderPort, 0xffff))
		u.add(s.cookie, tablePreNAT, 100, answer, of.Do(of.CT{Table: tableUnSNAT, Zone: zone, NAT: of.RestoreNAT()}.Action()), 0)
	}
	actions := append([]of.Action{of.Resubmit(tableStatsFwd)}, v.turnRound()...)
	actions = append(actions, of.CTClear(), of.CT{Commit: true, Table: tableSvcStats, Zone: zone, NAT: of.SNAT(f.vip, 0)}.Action())
	mine := of.CTMark(1<<4|uint32(s.id)<<16, 1<<4|0xffff<<16)
	u.add(s.cookie, tableHairpin, 100, of.NewMatch(f.version, mine), of.Do(actions...), 0)
}

// turnRound has a packet leave where it came in. Where the switch routes, it writes the MAC addresses later.
func (v *view) turnRound() []of.Action {
	out := []of.Action{regHairpin.Load(1)}
	if !v.routed() {
		src, dst := of.Whole(of.FieldEthSrc), of.Whole(of.FieldEthDst)
		out = append(out, of.Move(src, scratchMAC), of.Move(dst, src), of.Move(scratchMAC, dst))
	}
	return out
}

func (v *view) hairpinZone(n *protocol.Network) uint16 {
	if v.routed() {
		return zoneRoutingHairpin | n.VRF
	}
	return zoneBridgeHairpin | v.Zones[n.Key()]
}

// toItself finds connections of a local endpoint to a service that led to the endpoint itself.
func (v *view) toItself(u *unit, e *endpoint) {
	for _, a := range e.addresses() {
		self := of.NewMatch(a.version, v.domain(e.network), fromLocal, inService, of.IPSrcAddr(a.Addr), of.IPDstAddr(a.Addr))
		u.add(e.cookie, tableSvcSNAT, 100, self, nothing, tableHairpin)
	}
}

// services are the flows that all services share.
func (v *view) services(u *unit) {
	base := cookie(categoryBase, 0)
	next := uint8(tableL2Fix)
	if v.routed() {
		next = tableIP
	}
	for _, version := range []of.Term{isIP4, isIP6} {
		in := func(set, clear of.CTFlags, more ...of.Term) of.Match {
			return of.NewMatch(append(more, version, of.CTState(set|of.CTTrk, clear))...)
		}
		u.add(base, tableUnSNAT, 100, in(of.CTEst|of.CTRpl, 0), of.Do(append(v.turnRound(), of.CTClear())...), tableCTIn)
		u.add(base, tableSvcPost, 110, of.NewMatch(version, inService), of.Do(count(version, fromClient), count(version, backToAsker)), tableSrcGroup)
		u.add(base, tableSvcStats, 110, in(of.CTRpl, 0, inService), of.Do(of.Resubmit(tableStatsRev)), next)
		u.add(base, tableSvcStats, 100, of.NewMatch(version, inService), of.Do(of.Resubmit(tableStatsFwd)), next)
		u.add(base, tableStatsFwd, 0, of.NewMatch(version), of.Do(count(version, fromClient)), 0)
		u.add(base, tableStatsRev, 0, of.NewMatch(version), of.Do(count(version, toClient)), 0)
		if !v.routed() {
			u.add(base, tableL2Fix, 100, in(0, of.CTRpl, of.CTMark(1<<4|1<<6, 1<<4|1<<6)), of.Do(of.Move(labelMAC, of.Whole(of.FieldEthDst))), tableMACDest)
		}
	}
	u.add(base, tableOutput, 100, of.NewMatch(regHairpin.Is(1)), of.Do(of.OutputIn()), 0)
}
