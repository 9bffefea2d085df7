package openflow_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
)

var (
	regA = Reg{Index: 0, First: 0, Bits: 4, Name: "A"}
	regB = Reg{Index: 5, First: 0, Bits: 16, Name: "B"}
	regC = Reg{Index: 5, First: 16, Bits: 16, Name: "C"}
	regD = Reg{Index: 12, First: 0, Bits: 32, Name: "D"}
	mac1 = MAC{2, 2, 10, 1, 0, 1}
	mac2 = MAC{2, 2, 10, 1, 0, 2}
	ip4  = netip.MustParseAddr("10.1.0.1")
	ip6  = netip.MustParseAddr("fd00::1:5")
)

// everything holds each kind of match and action in some flow.
func everything() []Flow {
	icmp6 := []Term{EthType(EtherIPv6), IPProto(ProtoICMPv6)}
	return []Flow{
		{Table: 0, Priority: 3, Cookie: 4, IdleTimeout: 9, Match: NewMatch(InPort(7))},
		{Table: 0, Priority: 2},
		{Table: 1, Priority: 100},
		{Table: 1, Priority: 101, Goto: 7, Cookie: 0x1234},
		{Table: 1, Priority: 102, IdleTimeout: 9, HardTimeout: 8, Cookie: 1, Match: NewMatch(InPort(5)), Actions: Do(OutputIn())},
		{Table: 1, Priority: 103, HardTimeout: 8, Match: NewMatch(InPort(PortLocal)), Actions: Do(Output(PortNormal))},
		{Table: 1, Priority: 32768, Match: NewMatch(EthSrc(mac1), EthDst(mac2)), Actions: Do(Output(3), Output(PortLocal))},
		{Table: 2, Priority: 1, Match: NewMatch(EthDstMasked(MAC{1}, MAC{1}), EthSrcMasked(MAC{1}, MAC{1})), Actions: Do(Controller(0))},
		{Table: 2, Priority: 2, Match: NewMatch(EthType(0x1234)), Actions: Do(Controller(7))},
		{Table: 2, Priority: 3, Match: NewMatch(EthType(EtherIPv4), IPSrcAddr(ip4), IPDst(netip.MustParsePrefix("10.0.0.0/8"))), Actions: Do(SetIPSrc(ip4), SetIPDst(ip4), DecTTL(), Output(1))},
		{Table: 2, Priority: 4, Match: NewMatch(EthType(EtherIPv6), IPSrcAddr(ip6), IPDst(netip.MustParsePrefix("ff02::/16"))), Actions: Do(SetIPSrc(ip6), SetIPDst(ip6), Output(1))},
		{Table: 2, Priority: 5, Match: NewMatch(EthType(EtherIPv4), IPProto(ProtoTCP), TCPDst(80), TCPSrc(81)), Actions: Do(ToGroup(1))},
		{Table: 2, Priority: 6, Match: NewMatch(EthType(EtherIPv6), IPProto(ProtoUDP), UDPDst(53), UDPSrc(54)), Meter: 1, Goto: 9},
		{Table: 2, Priority: 7, Match: NewMatch(EthType(EtherIPv4), IPProto(99)), Actions: Do(CTClear(), Resubmit(5))},
		{Table: 2, Priority: 8, Match: NewMatch(EthType(EtherIPv4), IPProto(ProtoICMP), CTState(CTTrk|CTEst, CTRpl), CTMark(0x10, 0x10))},
		{Table: 2, Priority: 9, Match: NewMatch(EthType(EtherARP), ARPOp(1), ARPSpa(ip4), ARPTpa(ip4), ARPSha(mac1)), Actions: Do(
			Move(Whole(FieldEthSrc), Whole(FieldEthDst)), SetEthSrc(mac2), SetARPOp(2), Move(Whole(FieldARPSha), Whole(FieldARPTha)),
			SetARPSha(mac2), Move(Whole(FieldARPSpa), Whole(FieldARPTpa)), SetARPSpa(ip4), OutputIn())},
		{Table: 3, Priority: 1, Match: NewMatch(append(icmp6, ICMPv6Type(135), ICMPv6Code(0), NDTarget(ip6), NDSll(mac1))...), Actions: Do(
			SetEthDst(mac1), SetICMPv6Type(136), SetNDOption(2), SetNDFlags(NDSolicited|NDOverride), Resubmit(4))},
		{Table: 3, Priority: 2, Match: NewMatch(append(icmp6, ICMPv6Type(136), NDTarget(ip6), NDTll(mac1))...), Actions: Do(SetNDTll(mac2), OutputIn())},
		{Table: 4, Priority: 1, Match: NewMatch(regA.Is(3), regC.Is(9), regB.Is(0), regD.Is(1)), Actions: Do(regA.Load(0), regC.Load(77), regD.Load(0xffffffff), OutputReg(regD))},
		{Table: 4, Priority: 2, Match: NewMatch(regB.Is(0)), Actions: Do(Move(regB.Range(), regC.Range()), Output(PortFlood), Output(PortAll))},
		{Table: 4, Priority: 3, Match: NewMatch(TunID(0x77), TunSrc(ip4)), Actions: Do(SetTunID(5), SetTunDst(ip4), Output(10))},
		{Table: 4, Priority: 4, Match: NewMatch(TunID(0), TunSrc(ip6)), Actions: Do(SetTunID(0), SetTunDst(ip6), Output(10))},
		{Table: 4, Priority: 5, Match: NewMatch(VLAN(5)), Actions: Do(PopVLAN(), Output(1))},
		{Table: 4, Priority: 7, Match: NewMatch(Tagged())},
		{Table: 4, Priority: 8, Match: NewMatch(EthType(EtherIPv6), IPProto(ProtoICMPv6), ICMPv6Type(136)), Actions: Do(Move(Whole(FieldEthSrc), Whole(FieldNDTll)))},
		{Table: 4, Priority: 9, Match: NewMatch(EthType(EtherIPv6)), Actions: Do(Move(Whole(FieldIP6Src), Whole(FieldIP6Dst)))},
		{Table: 4, Priority: 6, Match: NewMatch(Untagged()), Actions: Do(PushVLAN(7)...).Then(Output(1))},
	}
}

func sortedText(flows []Flow) []string {
	var out []string
	for i := range flows {
		out = append(out, flows[i].String())
	}
	slices.Sort(out)
	return out
}

func diff(t *testing.T, got, want []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("unexpected: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing:    %s", line)
		}
	}
}

func TestTextIsThatOfOfctl(t *testing.T) {
	ovs := ovstest.Start(t)
	ovs.Ofctl("add-group", "group_id=1,type=all,bucket=output:1")
	ovs.Ofctl("add-meter", (&Meter{ID: 1, Rate: 100, Burst: 200, Packets: true}).String())
	flows := append(everything(), policyFlows()...)
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(strings.Join(sortedText(flows), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	ovs.Ofctl("add-flows", file)
	got := ovs.Flows()
	slices.Sort(got)
	diff(t, got, sortedText(flows))
}
