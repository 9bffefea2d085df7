package writer_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/drivers/ovs/writer"
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// rounds counts rounds as a driver would, over restarts of the writer.
type rounds struct{ last atomic.Uint32 }

func (r *rounds) next(context.Context) (uint16, error) { return uint16(r.last.Add(1)), nil }

func start(tb testing.TB, o *ovstest.OVS, r *rounds) *writer.Writer {
	tb.Helper()
	logger := logrus.New()
	logger.SetOutput(tb.Output())
	w := writer.New(writer.Config{
		Socket: o.Socket(), NewRound: r.next, Log: logrus.NewEntry(logger), Verify: 50 * time.Millisecond, RetryFirst: 50 * time.Millisecond,
	})
	tb.Cleanup(w.Close)
	w.Connect()
	return w
}

func wait(tb testing.TB, w *writer.Writer, seq uint64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if err := w.Wait(ctx, seq); err != nil {
		tb.Fatal(err)
	}
}

func begin(w *writer.Writer, u writer.Update) uint64 {
	w.Update(u)
	return w.Start()
}

func flow(n int, cookie uint64, actions openflow.Actions) openflow.Flow {
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return openflow.Flow{Table: 3, Priority: 100, Cookie: cookie, Actions: actions,
		Match: openflow.NewMatch(openflow.EthType(openflow.EtherIPv4), openflow.IPDstAddr(addr))}
}

var out1 = openflow.Do(openflow.Output(1))

func has(list []string, part string) bool {
	for _, line := range list {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func TestRounds(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Ofctl("add-flow", "cookie=0x1,table=9,priority=1,actions=drop")
	o.Ofctl("add-flow", "cookie=0xffff000000000001,table=28,priority=1,actions=drop")
	o.Ofctl("add-group", "group_id=77,type=all,bucket=actions=output:1")
	o.Ofctl("add-meter", "meter=88 pktps bands=type=drop rate=1")
	var r rounds
	w := start(t, o, &r)
	o.Wait("the writer to connect", func() bool { return w.State().Connected })
	if !has(o.Flows(), "table=9") || !has(o.Groups(), "group_id=77") || r.last.Load() != 0 {
		t.Fatal("something was touched before Start")
	}

	child := openflow.Group{ID: 2, Buckets: []openflow.Bucket{{Actions: out1}}}
	parent := openflow.Group{ID: 1, Buckets: []openflow.Bucket{{Actions: openflow.Do(openflow.ToGroup(2))}}}
	metered := flow(2, 8, openflow.Do(openflow.ToGroup(1)))
	metered.Meter = 5
	program := writer.Update{
		Meters: []openflow.Meter{{ID: 5, Rate: 100, Burst: 100, Packets: true}}, Groups: []openflow.Group{child, parent},
		Flows: []openflow.Flow{flow(1, 7, out1), metered},
	}
	wait(t, w, begin(w, program))
	flows := o.Flows()
	if has(flows, "table=9") || has(o.Groups(), "group_id=77") || strings.Contains(o.Ofctl("dump-meters"), "meter=88") {
		t.Errorf("what is not in the program stayed: %v %v", flows, o.Groups())
	}
	if !has(flows, "cookie=0xffff000000000001") || !has(flows, "cookie=0x1000000000007") || !has(flows, "meter:5,group:1") || len(flows) != 3 {
		t.Errorf("flows %v", flows)
	}

	wait(t, w, w.Update(writer.Update{
		Flows: []openflow.Flow{flow(1, 7, openflow.Do(openflow.Output(2))), flow(3, 7, out1)}, DropFlows: []openflow.Key{metered.Key()},
		DropGroups: []uint32{1, 2}, DropMeters: []uint32{5},
	}))
	flows = o.Flows()
	if !has(flows, "10.0.0.1 actions=output:2") || !has(flows, "10.0.0.3") || has(flows, "10.0.0.2") || len(o.Groups()) != 0 {
		t.Errorf("after the update: %v %v", flows, o.Groups())
	}
	w.Close()

	r.last.Store(0)     // the memory of rounds is lost
	w = start(t, o, &r) // an agent that comes back with another program
	wait(t, w, begin(w, writer.Update{Flows: []openflow.Flow{flow(3, 7, out1), flow(4, 9, out1)}}))
	flows = o.Flows()
	if len(flows) != 3 || !has(flows, "cookie=0x2000000000007, table=3, priority=100,ip,nw_dst=10.0.0.3") || !has(flows, "10.0.0.4") {
		t.Errorf("second round: %v", flows)
	}
}

func TestSwitchRestartAndLostFlows(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	var r rounds
	w := start(t, o, &r)
	wait(t, w, begin(w, writer.Update{Flows: []openflow.Flow{flow(1, 7, out1)}}))
	o.StopSwitch()
	o.Wait("the writer to notice", func() bool { return !w.State().Connected && w.State().Problem != "" })
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	seq := w.Update(writer.Update{Flows: []openflow.Flow{flow(2, 7, out1)}})
	if err := w.Wait(short, seq); err == nil || !strings.Contains(err.Error(), "no connection") {
		t.Errorf("wait without a switch: %v", err)
	}
	o.StartSwitch()
	wait(t, w, seq)
	o.Wait("both flows", func() bool { return len(o.Flows()) == 2 })

	o.Ofctl("del-flows", "table=3")
	o.Wait("lost flows to be noticed", func() bool { return len(o.Flows()) == 2 })
	o.Ofctl("del-flows", "table=3,ip,nw_dst=10.0.0.1")
	o.Wait("one lost flow to be noticed", func() bool { return len(o.Flows()) == 2 })
}

// A change that the switch refuses takes its owner with it and nothing else, and is made when it can be.
func TestRefusal(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	var r rounds
	w := start(t, o, &r)
	var all []openflow.Flow
	for n := range 200 {
		all = append(all, flow(n, uint64(n/2), out1))
	}
	bad := []int{20, 21, 77, 140, 142, 144, 146, 148, 150, 152, 154, 156, 158, 160, 162}
	for _, n := range bad {
		all[n].Actions = openflow.Do(openflow.ToGroup(9))
	}
	wait(t, w, begin(w, writer.Update{Flows: all}))
	s := w.State()
	if len(s.Refused) != 14 || s.Refused[0].Owner.Cookie != 10 || !strings.Contains(s.Refused[0].Reason, "group:9") {
		t.Errorf("refused: %v", s.Refused)
	}
	if flows := o.Flows(); len(flows) != 200-2*14 || has(flows, "10.0.0.20 ") || !has(flows, "10.0.0.22 ") {
		t.Errorf("%d flows", len(flows))
	}
	wait(t, w, w.Update(writer.Update{Groups: []openflow.Group{{ID: 9, Buckets: []openflow.Bucket{{Actions: out1}}}}}))
	o.Wait("refused owners to be tried again", func() bool { return len(w.State().Refused) == 0 })
	if flows := o.Flows(); len(flows) != 200 {
		t.Errorf("%d flows after the group came", len(flows))
	}
}

// P4, for people: the time of 10 000 flows against ovs-ofctl with the same flows.
func TestInstallTime(t *testing.T) {
	o := ovstest.Start(t)
	const count = 10000
	var text strings.Builder
	var all []openflow.Flow
	for n := range count {
		f := flow(n, uint64(n/5), openflow.Do(openflow.SetTunID(7), openflow.SetTunDst(netip.MustParseAddr("172.31.0.1")), openflow.Output(1)))
		all = append(all, f)
		fmt.Fprintln(&text, f.String())
	}
	file := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	o.Ofctl("add-flows", "--bundle", file)
	theirs := time.Since(from)
	o.Ofctl("del-flows")
	var r rounds
	w := start(t, o, &r)
	wait(t, w, begin(w, writer.Update{}))
	from = time.Now()
	wait(t, w, w.Update(writer.Update{Flows: all}))
	ours := time.Since(from)
	t.Logf("%d flows: ovs-ofctl %v, writer %v, ratio %.2f", count, theirs, ours, float64(ours)/float64(theirs))
	if flows := o.Flows(); len(flows) != count {
		t.Errorf("%d flows", len(flows))
	}
}

// A writer that dies half way through a round leaves every flow in place, and the next one makes all good.
func TestKilledHalfWay(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	var r rounds
	const count = 20000
	var all []openflow.Flow
	for n := range count {
		all = append(all, flow(n, uint64(n/5), out1))
	}
	first := start(t, o, &r)
	wait(t, first, begin(first, writer.Update{Flows: all}))
	first.Close()
	for range 3 {
		w := start(t, o, &r)
		begin(w, writer.Update{Flows: all})
		o.Wait("the round to be half way", func() bool { p := w.State().Pending; return w.State().Round != 0 && p < count })
		w.Close()
		if n := len(o.Flows()); n != count {
			t.Fatalf("%d of %d flows are there", n, count)
		}
	}
	last := start(t, o, &r)
	wait(t, last, begin(last, writer.Update{Flows: all[:count-1]}))
	flows := o.Flows()
	if len(flows) != count-1 {
		t.Errorf("%d flows, want %d", len(flows), count-1)
	}
	round := fmt.Sprintf("cookie=%#x", last.State().Round)
	for _, line := range flows {
		if !strings.Contains(line, round) {
			t.Fatalf("not of %s: %s", round, line)
		}
	}
}
