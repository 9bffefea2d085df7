package openflow_test

import (
	"net/netip"

	. "github.com/contiv/contiv/ofnet/openflow"
)

var (
	ctZone   = Bits(FieldReg0, 16, 16)
	ctSvc    = Bits(FieldCTMark, 4, 1)
	ctOrigin = Bits(FieldCTMark, 0, 4)
	ctSvcID  = Bits(FieldCTMark, 16, 16)
	ctRule   = Bits(FieldCTLabel, 0, 32)
	ctAddr   = Bits(FieldCTLabel, 32, 32)
	ctMAC    = Bits(FieldCTLabel, 64, 48)
	bit0     = Bits(FieldReg0, 0, 1)
	reg9     = Whole(FieldReg0 + 9)
)

// policyFlows are the kinds of flow of the policy pipeline: matches on connections, tracking, translation, conjunctions,
// learning.
func policyFlows() []Flow {
	ip := func(more ...Term) Match { return NewMatch(append(more, EthType(EtherIPv4))...) }
	ip6 := func(more ...Term) Match { return NewMatch(append(more, EthType(EtherIPv6))...) }
	tcp := func(more ...Term) Match { return ip(append(more, IPProto(ProtoTCP))...) }
	sctp6 := func(more ...Term) Match { return ip6(append(more, IPProto(ProtoSCTP))...) }
	four, six := netip.MustParseAddr("10.1.1.12"), netip.MustParseAddr("fd00:169:254::fe")
	nd := func(more ...Term) Match { return ip6(append(more, IPProto(ProtoICMPv6))...) }
	all := []Actions{
		Do(CT{Table: 27, ZoneFrom: ctZone, NAT: RestoreNAT()}.Action()),
		Do(CT{}.Action()),
		Do(CT{Commit: true, Force: true, Zone: 0x2001, Table: 65, NAT: SNAT(netip.MustParseAddr("169.254.254.254"), 0)}.Action()),
		Do(CT{Commit: true, Zone: 9, NAT: NAT{Kind: NATSrc}}.Action()),
		Do(CT{Commit: true, Zone: 9, NAT: NAT{Kind: NATDst, First: four, Last: four.Next(), FirstPort: 80, LastPort: 90}}.Action()),
		Do(CT{Commit: true, Table: 31, ZoneFrom: ctZone, NAT: DNAT(four, 8080), Exec: Do(ctSvc.Load(1),
			Move(Bits(FieldReg0+4, 16, 16), ctSvcID), ctAddr.Load(0x0a01010c), ctMAC.Load(mac1.Number()))}.Action()),
		Do(CT{Commit: true, ZoneFrom: ctZone, Exec: Do(Bits(FieldCTMark, 7, 1).Load(0))}.Action()),
		Do(CT{Commit: true, Exec: Do(Whole(FieldCTMark).Load(7), ctRule.Load(9))}.Action()),
		Do(CT{Commit: true, Table: 60, ZoneFrom: ctZone, Exec: Do(Move(Bits(FieldReg0, 0, 4), ctOrigin), Move(Whole(FieldReg0+6), ctRule))}.Action(), CTClear()),
		Do(Learn{Table: 28, HardTimeout: 20, Priority: 100, Cookie: 0xffff000000000001, Limit: 4, Specs: []LearnSpec{
			LearnMatchValue(Whole(FieldEthType), EtherIPv4), LearnMatchValue(Whole(FieldIPProto), ProtoTCP), LearnMatchSame(Whole(FieldIPSrc)),
			LearnMatchSame(Whole(FieldIPDst)), LearnMatchSame(Whole(FieldTCPDst)), LearnMatchSame(Bits(FieldReg0+5, 0, 16)),
			LearnLoad(Whole(FieldReg0+3), Whole(FieldReg0+3)), LearnLoad(Bits(FieldReg0+4, 0, 16), Bits(FieldReg0+4, 0, 16)),
			LearnLoadValue(Bits(FieldReg0, 13, 1), 1), LearnLoadValue(XXReg(3).Range(), 0), LearnMatchValue(Bits(FieldReg0, 0, 4), 3), LearnMatchValue(Bits(FieldReg0+1, 0, 32), 77),
			LearnMatchValue(ctMAC, mac2.Number()), LearnMatchValue(Bits(FieldReg0, 4, 12), 0), LearnMatchValue(Bits(FieldReg0, 20, 12), 0x123),
			LearnOutput(Whole(FieldReg0 + 2)),
		}}.Action(), CT{Commit: true, Table: 31, ZoneFrom: ctZone, NAT: DNAT(four, 8080), Exec: Do(ctSvc.Load(1))}.Action()),
		Do(Learn{Table: 66, Priority: 100, IdleTimeout: 60, SendFlowRem: true, Cookie: 0x5555, Specs: []LearnSpec{
			LearnMatchValue(Whole(FieldEthType), EtherIPv4), LearnMatchSame(Whole(FieldIPSrc)), LearnMatchSame(ctSvcID), LearnMatchSame(ctAddr)}}.Action(),
			Learn{Table: 67, Priority: 100, IdleTimeout: 60, SendFlowRem: true, DeleteLearned: true, Cookie: 0x5556, Specs: []LearnSpec{
				LearnMatchValue(Whole(FieldEthType), EtherIPv4), LearnMatch(Whole(FieldIPDst), Whole(FieldIPSrc)), LearnMatchSame(ctSvcID)}}.Action()),
		Do(Learn{Table: 9}.Action()),
		Do(Conjunction(7, 1, 3), Conjunction(9, 2, 2)),
		Do(Conjunction(7, 64, 64)),
		Do(Multipath{Ways: 4, Basis: 50, To: Bits(FieldReg0+4, 0, 16)}.Action(), Multipath{Ways: 1, To: reg9}.Action()),
		Do(Note([]byte("abc")), Note([]byte("12345678901234"))),
		Do(ToGroup(1)),
		Do(Punt{ID: 7}.Action(), Punt{}.Action(), Punt{Meter: 5}.Action(), Punt{ID: 8, Meter: 1}.Action()),
		Do(SetDSCP(46), SetIPSrc(four), Resubmit(66), Bits(FieldReg0, 0, 1).Load(1), Whole(FieldIPTTL).Load(64)),
		Do(Move(Whole(FieldARPTpa), reg9), Move(Whole(FieldARPSpa), Whole(FieldARPTpa)), Move(reg9, Whole(FieldARPSpa)), OutputIn()),
		Do(XXReg(3).Load(six), Move(XXReg(3).Range(), XXReg(2).Range()), Move(Whole(FieldCTLabel), XXReg(1).Range()), Move(Bits(FieldCTLabel, 64, 48), Whole(FieldEthDst))),
	}
	var flows []Flow
	for i, a := range all {
		m := ip()
		if i == 19 {
			m = NewMatch(EthType(EtherARP))
		}
		if i == 9 {
			m = tcp()
		}
		flows = append(flows, Flow{Table: 1, Priority: uint16(i), Match: m, Actions: a})
	}
	snat6 := CT{Commit: true, Table: 65, Zone: 5, NAT: SNAT(six, 0)}
	range6 := CT{Commit: true, Zone: 5, NAT: NAT{Kind: NATDst, First: six, Last: six.Next(), FirstPort: 80}}
	v6 := []Actions{
		Do(snat6.Action()), Do(range6.Action()), Do(CT{Commit: true, NAT: DNAT(six, 53)}.Action()), Do(SetDSCP(0), DecTTL()), Do(SetIPDst(six)),
		Do(Learn{Table: 28, Specs: []LearnSpec{LearnMatchValue(Whole(FieldEthType), EtherIPv6), LearnMatchSame(Whole(FieldIP6Src)),
			LearnMatch(Whole(FieldIP6Dst), Whole(FieldIP6Src)), LearnLoad(XXReg(3).Range(), Whole(FieldIP6Src))}}.Action()),
	}
	for i, a := range v6 {
		flows = append(flows, Flow{Table: 2, Priority: uint16(i), Match: ip6(), Actions: a})
	}
	matches := []Match{
		ip(CTState(CTTrk|CTEst, CTRpl)), ip(CTState(CTTrk|CTInv, 0)), ip(CTState(CTTrk|CTNew, CTSNAT|CTDNAT), CTMark(0x80, 0x80)),
		ip(CTMark(5, ^uint32(0)), CTZone(0x1001)), ip(ctSvcID.Is(0x123), ctSvc.Is(1)), ip(ctSvc.Is(0)), ip(ctRule.Is(77), ctAddr.Is(0x0a000001)),
		ip(ctMAC.Is(mac1.Number())), ip(ctAddr.Is(0)), ip(Whole(FieldCTLabel).Is(1)), ip(Bits(FieldCTLabel, 127, 1).Is(1)), ip(CTZone(0)),
		ip(ConjID(7)), NewMatch(bit0.Is(1)), NewMatch(bit0.Is(0)), NewMatch(regA.Is(1), Bits(FieldReg0, 4, 4).Is(2)),
		NewMatch(XXReg(3).Is(six)...), ip6(append(XXReg(0).Is(six), CTState(CTTrk, 0))...),
		ip(IPSrc(netip.MustParsePrefix("10.0.0.0/7")), IPDst(netip.MustParsePrefix("0.0.0.0/0"))), ip6(IPSrc(netip.MustParsePrefix("fd00:1::/33")), IPDstAddr(six)),
		tcp(TCPDst(80), TCPSrc(1)), tcp(DstPorts(ProtoTCP, 80, 0xfff0)), tcp(SrcPorts(ProtoTCP, 0x8000, 0x8000), DstPorts(ProtoTCP, 1, 1)),
		ip(IPProto(ProtoUDP), SrcPorts(ProtoUDP, 0, 0xfe00)), sctp6(SCTPSrc(1), SCTPDst(2)), ip(IPProto(ProtoSCTP), DstPorts(ProtoSCTP, 8, 0xfff8), SrcPorts(ProtoSCTP, 8, 0xffff)),
		tcp(TCPFlags(TCPSyn, TCPAck)), tcp(TCPDst(80), TCPFlags(TCPFin|TCPRst, 0)), tcp(TCPFlags(0, TCPNs)),
		ip(IPProto(ProtoICMP), ICMPType(8), ICMPCode(0)), ip(IPProto(ProtoICMP), ICMPType(0)), nd(ICMPv6Type(128), ICMPv6Code(1)),
		ip(IPDSCP(46)), ip6(IPDSCP(0), IPTTL(1)), ip(IPTTL(0)), nd(ICMPv6Type(136), NDTarget(six), NDTll(mac1)), nd(ICMPv6Type(135), NDSll(MAC{})),
		NewMatch(TunID(5), TunSrc(four), TunDst(four)), NewMatch(TunDst(six)), NewMatch(EthType(EtherARP), ARPOp(1), ARPTpaIn(netip.MustParsePrefix("10.1.0.0/16")), ARPTha(mac1)),
		ip(VLAN(9), InPort(3), regB.Is(7), CTState(CTTrk|CTRpl, 0), IPProto(47)),
	}
	for i, m := range matches {
		flows = append(flows, Flow{Table: 3, Priority: uint16(i), Match: m})
	}
	return append(flows,
		Flow{Table: 4, Priority: 1, Match: nd(ICMPv6Type(135)), Actions: Do(SetNDSll(mac1), SetNDTarget(six), Move(Whole(FieldNDTarget), Whole(FieldIP6Src)))},
		Flow{Table: 4, Priority: 2, SendFlowRem: true, HardTimeout: 10, Match: tcp(), Meter: 1, Actions: Do(Punt{ID: 3}.Action())},
	)
}
