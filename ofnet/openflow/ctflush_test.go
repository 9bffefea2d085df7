package openflow

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// TestCTFlushIsThatOfOfctl compares with what "ovs-ofctl ct-flush" of Open vSwitch 3.1 sends for the same words (for ICMP it
// adds an answer).
func TestCTFlushIsThatOfOfctl(t *testing.T) {
	addr := netip.MustParseAddr
	orig := CTTuple{Proto: ProtoTCP, Src: addr("10.1.1.1"), Dst: addr("10.1.1.2"), SrcPort: 1, DstPort: 2}
	for _, test := range []struct {
		flush CTFlush
		text  string
		wire  string
	}{
		{CTFlush{Zone: 5}, "zone=5", "0404002000000002000023200000002000000000000000000002000800050000"},
		{CTFlush{Zone: 5, Orig: orig}, "zone=5 'ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=6,ct_tp_src=1,ct_tp_dst=2'", "04040068000000020000232000000020060000000000000000000048000000000000001400000000000000000000ffff0a010101000000000001001400000000000000000000ffff0a01010200000000000200080001000000030008000200000002000800050000"},
		{
			CTFlush{Zone: 5, Orig: orig, Reply: CTTuple{Proto: ProtoTCP, Src: addr("10.1.1.2"), SrcPort: 2}},
			"zone=5 'ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=6,ct_tp_src=1,ct_tp_dst=2' 'ct_nw_src=10.1.1.2,ct_nw_proto=6,ct_tp_src=2'",
			"04040090000000020000232000000020060000000000000000000048000000000000001400000000000000000000ffff0a010101000000000001001400000000000000000000ffff0a010102000000000002000800010000000300080002000000010028000000000000001400000000000000000000ffff0a0101020000000000020008000200000002000800050000",
		},
		{
			CTFlush{Zone: 9, Orig: CTTuple{Proto: ProtoUDP, Src: addr("fd00::1"), Dst: addr("fd00::2"), SrcPort: 1, DstPort: 2}},
			"zone=9 'ct_ipv6_src=fd00::1,ct_ipv6_dst=fd00::2,ct_nw_proto=17,ct_tp_src=1,ct_tp_dst=2'",
			"040400680000000200002320000000201100000000000000000000480000000000000014fd0000000000000000000000000000010000000000010014fd00000000000000000000000000000200000000000200080001000000030008000200000002000800090000",
		},
		{
			CTFlush{Zone: 9, Orig: CTTuple{Proto: ProtoICMP, Src: addr("10.1.1.1"), Dst: addr("10.1.1.2"), ICMPID: 7}},
			"zone=9 'ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=1,icmp_id=7,icmp_type=8,icmp_code=0'",
			"04040070000000020000232000000020010000000000000000000050000000000000001400000000000000000000ffff0a010101000000000001001400000000000000000000ffff0a010102000000000004000800070000000500050800000000060005000000000002000800090000",
		},
	} {
		got, err := ctFlush(test.flush)(nil, 2)
		if err != nil || hex.EncodeToString(got) != test.wire {
			t.Errorf("%v: %v\n got %x\nwant %s", test.flush, err, got, test.wire)
		}
		if text := test.flush.String(); text != test.text {
			t.Errorf("%q, want %q", text, test.text)
		}
	}
}

func TestImpossibleCTFlush(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for name, flush := range map[string]CTFlush{
		"both families":       {Orig: CTTuple{Src: four, Dst: six}},
		"both families apart": {Orig: CTTuple{Src: four}, Reply: CTTuple{Src: six}},
		"some ICMP":           {Orig: CTTuple{Proto: ProtoICMP, Src: four}},
		"ICMP answers":        {Reply: CTTuple{Proto: ProtoICMP, Src: four, Dst: four}},
		"ICMPv6":              {Orig: CTTuple{Proto: ProtoICMPv6, Src: six}},
		"perhaps ICMPv6":      {Orig: CTTuple{Src: six, Dst: six}},
		"anything":            {Reply: CTTuple{Proto: 0, SrcPort: 4}},
		"no protocol":         {Orig: CTTuple{Src: four, SrcPort: 4}},
		"ports of ICMP":       {Orig: CTTuple{Proto: ProtoICMP, DstPort: 4}},
		"id of TCP":           {Orig: CTTuple{Proto: ProtoTCP, ICMPID: 4}},
		"two protocols":       {Orig: CTTuple{Proto: ProtoTCP}, Reply: CTTuple{Proto: ProtoUDP}},
		"mapped":              {Orig: CTTuple{Src: netip.MustParseAddr("::ffff:10.0.0.1")}},
	} {
		if _, err := ctFlush(flush)(nil, 1); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
