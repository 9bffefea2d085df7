package openflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	. "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(tb testing.TB) (*ovstest.OVS, *Conn, context.Context) {
	tb.Helper()
	ovs := ovstest.Start(tb)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ovs, dial(ctx, tb, ovs, Options{}), ctx
}

func dial(ctx context.Context, tb testing.TB, ovs *ovstest.OVS, opts Options) *Conn {
	tb.Helper()
	c, err := Dial(ctx, ovs.Socket(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func addAll(flows []Flow) []Mod {
	var mods []Mod
	for _, f := range flows {
		mods = append(mods, AddFlow(f))
	}
	return mods
}

func TestCommitInstallsWhatStringSays(t *testing.T) {
	ovs, c, ctx := start(t)
	meter := Meter{ID: 1, Rate: 100, Burst: 200, Packets: true}
	for range 2 {
		if err := c.SetMeter(ctx, meter); err != nil {
			t.Fatal(err)
		}
	}
	groups := []Group{
		{ID: 1, Type: GroupAll, Buckets: []Bucket{{Actions: Do(Output(1))}, {Actions: Do(SetTunID(7), SetTunDst(ip4), Output(10))}}},
		{ID: 2, Type: GroupAll, Buckets: []Bucket{{Actions: Do(ToGroup(1))}}},
		{ID: 3, Type: GroupSelect, Buckets: []Bucket{{Weight: 5, Actions: Do(Output(1))}}},
		{ID: 4, Type: GroupAll},
		{ID: 5, Type: GroupIndirect, Buckets: []Bucket{{Actions: Do(regA.Load(1), Resubmit(3))}}},
		{ID: 6, Type: GroupSelect, Buckets: []Bucket{
			{Weight: 100, Actions: Do(CT{Commit: true, Table: 31, ZoneFrom: ctZone, NAT: DNAT(ip4, 8080), Exec: Do(ctSvc.Load(1))}.Action())},
			{Weight: 1, Actions: Do(CT{Commit: true, Table: 31, ZoneFrom: ctZone, NAT: DNAT(ip6, 8080)}.Action())},
			{Weight: 7, Actions: Do(ToGroup(3))},
		}},
	}
	var mods []Mod
	for _, g := range groups {
		mods = append(mods, SetGroup(g))
	}
	flows := append(everything(), policyFlows()...)
	mods = append(mods, addAll(flows)...)
	if err := c.Commit(ctx, mods); err != nil {
		t.Fatal(err)
	}
	got := ovs.Flows()
	slices.Sort(got)
	diff(t, got, sortedText(flows))
	var want []string
	for _, g := range groups {
		want = append(want, g.String())
	}
	diff(t, ovs.Groups(), want)
	if ids, err := c.GroupIDs(ctx); err != nil || len(ids) != len(groups) {
		t.Errorf("GroupIDs: %v, %v", ids, err)
	}

	if err := c.Commit(ctx, []Mod{DeleteFlow(flows[5].Key()), DeleteFlow(flows[0].Key()), DeleteCookie(0x1200, 0xff00), SetGroup(Group{ID: 4, Buckets: groups[0].Buckets}), DeleteGroup(3), DeleteGroup(99)}); err != nil {
		t.Fatal(err)
	}
	left := slices.DeleteFunc(slices.Clone(flows), func(f Flow) bool { return f == flows[0] || f == flows[5] || f.Cookie == 0x1234 })
	got = ovs.Flows()
	diff(t, got, sortedText(left))
	if ids, err := c.GroupIDs(ctx); err != nil || len(ids) != 5 {
		t.Errorf("GroupIDs: %v, %v", ids, err)
	}
	sum, err := c.Aggregate(ctx, 0, 0)
	if err != nil || int(sum.Flows) != len(left) {
		t.Errorf("Aggregate: %+v, %v", sum, err)
	}
	stats, err := c.FlowStats(ctx, 1, ^uint64(0))
	if err != nil || len(stats) != 1 || stats[0].Priority != 102 || stats[0].Table != 1 {
		t.Errorf("FlowStats: %+v, %v", stats, err)
	}
	ports, err := c.PortStats(ctx)
	if err != nil || len(ports) != 1 || ports[0].Port != PortLocal {
		t.Errorf("PortStats: %+v, %v", ports, err)
	}
	if err := c.DeleteMeter(ctx, 1); err != nil {
		t.Error(err)
	}
	if err := c.DeleteMeter(ctx, 1); err != nil {
		t.Error(err)
	}
}

func TestBadBundleInstallsNothing(t *testing.T) {
	ovs, c, ctx := start(t)
	good := Flow{Table: 1, Priority: 1, Goto: 2}
	for name, bad := range map[string]Mod{
		"missing prerequisite": AddFlow(Flow{Table: 1, Priority: 5, Match: NewMatch(TCPDst(80))}),
		"unknown group":        AddFlow(Flow{Table: 1, Priority: 5, Actions: Do(ToGroup(77))}),
		"backward goto":        AddFlow(Flow{Table: 5, Priority: 5, Goto: 3}),
		"unknown meter":        AddFlow(Flow{Table: 1, Priority: 5, Meter: 9}),
		"nothing":              {},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Commit(ctx, []Mod{AddFlow(good), bad, AddFlow(Flow{Table: 2, Priority: 9})})
			var culprit *ModError
			if !errors.As(err, &culprit) || culprit.Mod.String() != bad.String() {
				t.Fatalf("error %v does not name %v", err, bad.String())
			}
			if got := ovs.Flows(); len(got) != 0 {
				t.Fatalf("installed: %v", got)
			}
		})
	}
	if err := c.Commit(ctx, []Mod{AddFlow(good)}); err != nil {
		t.Fatalf("connection is of no use after a refused bundle: %v", err)
	}
}

func TestPacketIn(t *testing.T) {
	ovs, _, ctx := start(t)
	c := dial(ctx, t, ovs, Options{Packets: 4})
	frame := make([]byte, 64)
	copy(frame, "\x02\x02\x0a\x01\x00\x02\x02\x02\x0a\x01\x00\x01\x12\x34hello")
	if err := c.Commit(ctx, []Mod{AddFlow(Flow{Table: 0, Priority: 1, Cookie: 0x55, Actions: Do(regB.Load(0x99), Controller(0))})}); err != nil {
		t.Fatal(err)
	}
	toTable := Do(Output(0xfffffff9))
	for range 10 {
		if err := c.PacketOut(ctx, PortLocal, toTable, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	ovs.Wait("drops", func() bool { return c.DroppedPackets() == 6 })
	for range 4 {
		select {
		case p := <-c.Packets():
			if p.Cookie != 0x55 || p.InPort != PortLocal || p.Value(regB) != 0x99 || string(p.Frame) != string(frame) {
				t.Errorf("%+v", p)
			}
		case <-ctx.Done():
			t.Fatal("no packet-in")
		}
	}
}

func TestConnectionEndsWithTheSwitch(t *testing.T) {
	ovs, c, ctx := start(t)
	if c.Features().DatapathID == 0 {
		t.Errorf("features %+v", c.Features())
	}
	ovs.StopSwitch()
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("connection did not end")
	}
	if err := c.Commit(ctx, []Mod{AddFlow(Flow{Table: 1, Goto: 2})}); err == nil {
		t.Error("commit on a dead connection succeeded")
	}
	ovs.StartSwitch()
	ovs.Wait("switch", func() bool {
		again, err := Dial(ctx, ovs.Socket(), Options{})
		if err == nil {
			_ = again.Close()
		}
		return err == nil
	})
}

func TestOtherVersionIsTold(t *testing.T) {
	ovs := ovstest.Start(t)
	ovs.Vsctl("set", "bridge", ovs.Bridge, "protocols=OpenFlow10")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ovs.Wait("refusal", func() bool {
		c, err := Dial(ctx, ovs.Socket(), Options{})
		if err == nil {
			_ = c.Close()
			return false
		}
		if !strings.Contains(err.Error(), "OpenFlow13") {
			t.Errorf("error %v", err)
		}
		return true
	})
}

func TestConcurrentUse(t *testing.T) {
	ovs, c, ctx := start(t)
	errs := make(chan error, 8)
	for worker := range 8 {
		go func() {
			var err error
			for i := range 10 {
				f := Flow{Table: uint8(worker + 1), Priority: uint16(i), Goto: 20}
				err = errors.Join(err, c.Commit(ctx, []Mod{AddFlow(f)}))
				_, e := c.Aggregate(ctx, 0, 0)
				err = errors.Join(err, e)
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := ovs.Flows(); len(got) != 80 {
		t.Errorf("%d flows, want 80", len(got))
	}
}

func manyFlows(count int) []Flow {
	flows := make([]Flow, count)
	for i := range flows {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		flows[i] = Flow{
			Table: 35, Priority: 100, Cookie: 0x1000000 + uint64(i),
			Match:   NewMatch(EthType(EtherIPv4), regB.Is(5), IPSrcAddr(addr), TunSrc(netip.AddrFrom4([4]byte{172, 16, 0, 1}))),
			Actions: Do(regA.Load(3)), Goto: 40,
		}
	}
	return flows
}

// BenchmarkInstall compares our bundle of 10 000 flows with that of ovs-ofctl (budget P4: at most 1.4 times).
func BenchmarkInstall(b *testing.B) {
	ovs, c, ctx := start(b)
	flows := manyFlows(10000)
	var text strings.Builder
	for i := range flows {
		fmt.Fprintln(&text, flows[i].String())
	}
	file := filepath.Join(b.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	empty := func() {
		if err := c.Commit(ctx, []Mod{DeleteCookie(0, 1<<63)}); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := c.Commit(ctx, addAll(flows)); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begin))
		empty()
		begin = time.Now()
		ovs.Ofctl("add-flows", "--bundle", file)
		theirs = append(theirs, time.Since(begin))
		empty()
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(float64(ours[len(ours)/2].Milliseconds()), "ms/ours")
	b.ReportMetric(float64(theirs[len(theirs)/2].Milliseconds()), "ms/ofctl")
	b.ReportMetric(float64(ours[len(ours)/2])/float64(theirs[len(theirs)/2]), "ratio")
}
