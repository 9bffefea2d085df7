package openflow_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/contiv/contiv/ofnet/openflow"
)

func port(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

var toTables = Do(Output(0xfffffff9))

func TestPuntsReachOneConnection(t *testing.T) {
	ovs, usual, ctx := start(t)
	seven := dial(ctx, t, ovs, Options{ControllerID: 7})
	quiet := dial(ctx, t, ovs, Options{Quiet: true})
	ip := NewMatch(EthType(EtherIPv4))
	if err := quiet.SetMeter(ctx, Meter{ID: 3, Rate: 1000, Burst: 1000, Packets: true}); err != nil {
		t.Fatal(err)
	}
	mods := []Mod{
		AddFlow(Flow{Table: 0, Priority: 1, Cookie: 5, Match: ip, Actions: Do(regB.Load(9), CT{Zone: 4, Table: 1}.Action())}),
		AddFlow(Flow{Table: 1, Priority: 2, Cookie: 6, Match: ip, Actions: Do(Punt{ID: 7, Meter: 3}.Action(), Punt{ID: 7}.Action(), Punt{}.Action())}),
	}
	if err := quiet.Commit(ctx, mods); err != nil {
		t.Fatal(err)
	}
	frame := packet(ProtoTCP, port("10.0.0.1:1"), port("10.0.0.2:80"))
	if err := quiet.PacketOut(ctx, PortLocal, toTables, frame); err != nil {
		t.Fatal(err)
	}
	for i, c := range []*Conn{seven, seven, usual} {
		select {
		case p := <-c.Packets():
			state, _ := p.Fields.Number(Bits(FieldCTState, 0, 8))
			zone, _ := p.Fields.Number(Whole(FieldCTZone))
			if p.Reason != ReasonAction || p.Cookie != 6 || p.Table != 1 || p.InPort != PortLocal || p.Value(regB) != 9 ||
				CTFlags(state) != CTTrk|CTNew || zone != 4 || !slices.Equal(p.Frame, frame) {
				t.Errorf("%d: %+v, fields %v", i, p, p.Fields)
			}
		case <-ctx.Done():
			t.Fatal("no packet-in")
		}
	}
	if a, b, c := len(usual.Packets()), len(seven.Packets()), len(quiet.Packets()); a+b+c != 0 {
		t.Errorf("more packet-ins: %d, %d, %d", a, b, c)
	}
}

// TestLearnedCounters learns a flow per client as the statistics of services do, for both families, and reads its
// counters while it is there and when it is gone.
func TestLearnedCounters(t *testing.T) {
	ovs, c, ctx := start(t)
	learn := func(ethType uint64, src Field) Flow {
		l := Learn{Table: 66, Priority: 100, IdleTimeout: 600, SendFlowRem: true, Cookie: 0xffff_0000_0000_0007, Specs: []LearnSpec{
			LearnMatchValue(Whole(FieldEthType), ethType), LearnMatchSame(Whole(src)), LearnMatchSame(ctSvcID), LearnMatchSame(ctAddr),
		}}
		return Flow{Table: 1, Priority: uint16(src), Match: NewMatch(EthType(uint16(ethType))), Actions: Do(l.Action(), Resubmit(66))}
	}
	track := CT{Commit: true, Zone: 9, Table: 1, Exec: Do(ctSvcID.Load(0x123), ctAddr.Load(77))}
	mods := addAll([]Flow{
		{Priority: 1, Match: NewMatch(EthType(EtherIPv4)), Actions: Do(track.Action())},
		{Priority: 2, Match: NewMatch(EthType(EtherIPv6)), Actions: Do(track.Action())},
		learn(EtherIPv4, FieldIPSrc), learn(EtherIPv6, FieldIP6Src),
	})
	if err := c.Commit(ctx, mods); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"10.0.0.1:1", "10.0.0.1:2", "[fd00::1]:1"} {
		to := "10.0.0.2:53"
		if from[0] == '[' {
			to = "[fd00::2]:53"
		}
		for range 2 {
			if err := c.PacketOut(ctx, PortLocal, toTables, packet(ProtoUDP, port(from), port(to))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	tell := func(m Match, table uint8, priority uint16, packets uint64) {
		client, ok := m.Addr(FieldIPSrc)
		if !ok {
			client, _ = m.Addr(FieldIP6Src)
		}
		service, ok1 := m.Number(ctSvcID)
		backend, ok2 := m.Number(ctAddr)
		got = append(got, fmt.Sprintf("%d/%d %v %#x %d %v %d", table, priority, client, service, backend, ok1 && ok2, packets))
	}
	want := []string{"66/100 10.0.0.1 0x123 77 true 3", "66/100 fd00::1 0x123 77 true 1"} // the packet that is learned from does not count
	ovs.Wait("counters", func() bool {
		stats, err := c.QueryFlows(ctx, FlowQuery{Table: 66, Cookie: 7, Mask: 0xff, Matches: true})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, s := range stats {
			tell(s.Match, s.Table, s.Priority, s.Packets)
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
	if stats, err := c.QueryFlows(ctx, FlowQuery{Table: 65, Matches: true}); err != nil || len(stats) != 0 {
		t.Errorf("flows of an empty table: %v, %v", stats, err)
	}
	if err := c.Commit(ctx, []Mod{DeleteCookie(7, 0xff)}); err != nil {
		t.Fatal(err)
	}
	got = nil
	for range want {
		select {
		case r := <-c.Removed():
			if r.Reason != RemovedDeleted || r.Cookie != 0xffff_0000_0000_0007 || r.Bytes == 0 {
				t.Errorf("%+v", r)
			}
			tell(r.Match, r.Table, r.Priority, r.Packets)
		case <-ctx.Done():
			t.Fatal("no word of a removed flow")
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("removed: %q, want %q", got, want)
	}
}

func TestFlowWithTimeoutTellsItsEnd(t *testing.T) {
	_, c, ctx := start(t)
	if err := c.Commit(ctx, []Mod{AddFlow(Flow{Table: 3, Priority: 4, HardTimeout: 1, SendFlowRem: true, Cookie: 8, Match: NewMatch(regB.Is(2))})}); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-c.Removed():
		if r.Reason != RemovedHard || r.Table != 3 || r.Cookie != 8 || r.Match != NewMatch(regB.Is(2)) || r.Age < time.Second {
			t.Errorf("%+v", r)
		}
	case <-ctx.Done():
		t.Fatal("no word of a removed flow")
	}
}

func TestMeterCounts(t *testing.T) {
	ovs, c, ctx := start(t)
	meters := []Meter{{ID: 1, Rate: 1, Burst: 2, Packets: true}, {ID: 7, Rate: 1000, Burst: 100}}
	for _, m := range meters {
		if err := c.SetMeter(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	meters[1].Rate = 2000
	if err := c.SetMeter(ctx, meters[1]); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(ovs.Ofctl("dump-meters"), "bands=\n", "bands=")
	for _, m := range meters {
		if !strings.Contains(text, m.String()) {
			t.Errorf("%q is not in\n%s", m.String(), text)
		}
	}
	if err := c.SetMeter(ctx, Meter{ID: 8}); err == nil {
		t.Error("meter without a rate was taken")
	}
	if err := c.Commit(ctx, []Mod{AddFlow(Flow{Table: 0, Meter: 1, Actions: Do(OutputIn())})}); err != nil {
		t.Fatal(err)
	}
	const sent = 20
	for range sent {
		if err := c.PacketOut(ctx, PortLocal, toTables, packet(ProtoUDP, port("10.0.0.1:1"), port("10.0.0.2:2"))); err != nil {
			t.Fatal(err)
		}
	}
	var stats []MeterStat
	ovs.Wait("packets", func() (done bool) {
		var err error
		if stats, err = c.MeterStats(ctx); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(stats, func(a, b MeterStat) int { return int(a.ID) - int(b.ID) })
		return len(stats) == 2 && stats[0].Packets == sent
	})
	if s := stats[0]; s.Flows != 1 || s.Dropped == 0 || s.Dropped >= sent || s.DroppedBytes == 0 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
	if s := stats[1]; s.ID != 7 || s.Packets != 0 {
		t.Errorf("%+v", s)
	}
}

// TestFlushConnections makes one connection of each kind again and again and looks which are gone.
func TestFlushConnections(t *testing.T) {
	ovs, c, ctx := start(t)
	if err := c.Commit(ctx, addAll([]Flow{
		{Priority: 1, Match: NewMatch(EthType(EtherIPv4), IPDst(netip.MustParsePrefix("10.0.0.0/24"))), Actions: Do(
			CT{Commit: true, Zone: 9, Exec: Do(ctSvcID.Load(7), ctMAC.Load(mac1.Number()), ctRule.Load(5))}.Action())},
		{Priority: 1, Match: NewMatch(EthType(EtherIPv6)), Actions: Do(CT{Commit: true, Zone: 9}.Action())},
		{Priority: 1, Match: NewMatch(EthType(EtherIPv4), IPDst(netip.MustParsePrefix("10.0.1.0/24"))), Actions: Do(
			CT{Commit: true, Zone: 8, NAT: DNAT(netip.MustParseAddr("10.0.2.2"), 8080)}.Action())},
	})); err != nil {
		t.Fatal(err)
	}
	type conn struct {
		proto    uint8
		src, dst string
	}
	all := []conn{
		{ProtoTCP, "10.0.0.1:1", "10.0.0.2:80"}, {ProtoTCP, "10.0.0.1:2", "10.0.0.2:80"}, {ProtoTCP, "10.0.0.3:2", "10.0.0.2:81"},
		{ProtoUDP, "10.0.0.1:1", "10.0.0.2:80"}, {ProtoUDP, "10.0.0.1:1", "10.0.0.2:53"}, {ProtoICMP, "10.0.0.1:0", "10.0.0.2:0"},
		{ProtoSCTP, "10.0.0.1:1", "10.0.0.2:80"}, {ProtoTCP, "[fd00::1]:1", "[fd00::2]:80"}, {ProtoUDP, "[fd00::1]:1", "[fd00::2]:80"},
		{ProtoICMPv6, "[fd00::1]:0", "[fd00::2]:0"}, {ProtoSCTP, "[fd00::1]:1", "[fd00::2]:80"}, {ProtoTCP, "10.0.0.1:1", "10.0.1.1:80"},
	}
	control := ovs.Control()
	// conns lists zone 9 as the agent does.
	conns := func() (labels []string) {
		list, unread, err := control.Connections(ctx, "netdev@ovs-netdev", 9)
		if err != nil || unread != 0 {
			t.Fatalf("%d not read: %v", unread, err)
		}
		for _, k := range list {
			labels = append(labels, fmt.Sprintf("%d %v %v %d %#x %#x", k.Protocol, k.Orig.Src, k.Reply.Src, k.Orig.ID, k.Mark, k.Label))
			if k.Zone != 9 || k.Orig.Dst.Addr() != k.Reply.Src.Addr() {
				t.Errorf("%+v", k)
			}
		}
		slices.Sort(labels)
		return labels
	}
	make := func() {
		for _, k := range all {
			if err := c.PacketOut(ctx, PortLocal, toTables, packet(k.proto, port(k.src), port(k.dst))); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Barrier(ctx); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int { return strings.Count(ovs.Appctl("dpctl/dump-conntrack"), "\n") }
	tuple := func(i int) CTTuple {
		k := all[i]
		u := CTTuple{Proto: k.proto, Src: port(k.src).Addr(), Dst: port(k.dst).Addr(), SrcPort: port(k.src).Port(), DstPort: port(k.dst).Port()}
		switch k.proto {
		case ProtoICMP:
			u.ICMPID = 9
		case ProtoSCTP: // this datapath does not look at its ports
			u.SrcPort, u.DstPort = 0, 0
		}
		return u
	}
	for name, test := range map[string]struct {
		flush []CTFlush
		gone  int
	}{
		"one TCP":             {[]CTFlush{{Zone: 9, Orig: tuple(0)}}, 1},
		"one UDP":             {[]CTFlush{{Zone: 9, Orig: tuple(3)}}, 1},
		"one ICMP":            {[]CTFlush{{Zone: 9, Orig: tuple(5)}}, 1},
		"another ICMP":        {[]CTFlush{{Zone: 9, Orig: CTTuple{Proto: ProtoICMP, Src: tuple(5).Src, Dst: tuple(5).Dst, ICMPID: 8}}}, 0},
		"one SCTP":            {[]CTFlush{{Zone: 9, Orig: tuple(6)}}, 1},
		"one TCP of v6":       {[]CTFlush{{Zone: 9, Orig: tuple(7)}}, 1},
		"one SCTP of v6":      {[]CTFlush{{Zone: 9, Orig: tuple(10)}}, 1},
		"two of v6":           {[]CTFlush{{Zone: 9, Orig: tuple(7)}, {Zone: 9, Orig: tuple(8)}}, 2},
		"other zone":          {[]CTFlush{{Zone: 10, Orig: tuple(0)}}, 0},
		"none like it":        {[]CTFlush{{Zone: 9, Orig: CTTuple{Proto: ProtoTCP, Src: ip4}}}, 0},
		"a source":            {[]CTFlush{{Zone: 9, Orig: CTTuple{Src: netip.MustParseAddr("10.0.0.1")}}}, 6},
		"a protocol":          {[]CTFlush{{Zone: 9, Orig: CTTuple{Proto: ProtoTCP, Src: netip.MustParseAddr("10.0.0.1")}}}, 2},
		"a port":              {[]CTFlush{{Zone: 9, Orig: CTTuple{Proto: ProtoTCP, DstPort: 80}}}, 3},
		"a pair of addresses": {[]CTFlush{{Zone: 9, Orig: CTTuple{Proto: ProtoSCTP, Src: netip.MustParseAddr("fd00::1"), Dst: netip.MustParseAddr("fd00::2")}}}, 1},
		"by the answer":       {[]CTFlush{{Zone: 8, Reply: CTTuple{Proto: ProtoTCP, Src: netip.MustParseAddr("10.0.2.2"), SrcPort: 8080}}}, 1},
		"the zone":            {[]CTFlush{{Zone: 9}}, 11},
	} {
		t.Run(name, func(t *testing.T) {
			make()
			if n := count(); n != len(all) {
				t.Fatalf("%d connections, want %d\n%s", n, len(all), ovs.Appctl("dpctl/dump-conntrack"))
			}
			if err := c.FlushConnections(ctx, test.flush...); err != nil {
				t.Fatal(err)
			}
			if n := len(all) - count(); n != test.gone {
				t.Errorf("%d connections gone, want %d; left\n%s", n, test.gone, ovs.Appctl("dpctl/dump-conntrack"))
			}
		})
	}
	make()
	got := conns()
	for _, want := range []string{
		"1 10.0.0.1:0 10.0.0.2:0 9 0x70000 [0x2020a010001 0x5]", "58 [fd00::1]:0 [fd00::2]:0 9 0x0 [0x0 0x0]",
		"17 [fd00::1]:1 [fd00::2]:80 0 0x0 [0x0 0x0]",
	} {
		if len(got) != 11 || !slices.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if err := c.FlushZone(ctx, 9); err != nil || count() != 1 {
		t.Errorf("%d left of zone 8, want 1: %v", count(), err)
	}
}
