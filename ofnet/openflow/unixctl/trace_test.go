package unixctl_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/ofnet/openflow/ovstest"
	"github.com/contiv/contiv/ofnet/openflow/unixctl"
)

const flows = `table=0,priority=5,ip,actions=load:1->NXM_NX_REG0[],resubmit(,4),goto_table:10
table=4,priority=1,cookie=0x77,tcp,actions=load:3->NXM_NX_REG3[]
table=10,priority=100,tcp,cookie=0x1234567800000001,in_port=1 actions=ct(table=20,zone=5,nat)
table=10,priority=90,udp,actions=output:2
table=20,ct_state=+trk+new,ip,actions=group:1
table=20,priority=9,ct_state=+trk+est,ct_mark=0x80/0x80,ip,actions=drop
table=20,priority=8,ct_state=+trk+est,ip,actions=ct(table=30,zone=6)
table=30,nw_dst=10.0.0.9,ip,actions=load:2->NXM_NX_REG2[],output:NXM_NX_REG2[]
table=30,nw_dst=10.0.0.8,ip,actions=output:LOCAL
table=0,priority=5,ipv6,actions=resubmit(,0)
table=30,priority=1,ct_state=+rpl,ip,actions=output:2
`

const tcp = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tcp_dst=80"

func start(tb testing.TB) (*ovstest.OVS, *unixctl.Client, context.Context) {
	tb.Helper()
	ovs := ovstest.Start(tb)
	ovs.AddPort("p1", 1)
	ovs.AddPort("p2", 2)
	file := filepath.Join(tb.TempDir(), "flows")
	if err := os.WriteFile(file, []byte(flows), 0o600); err != nil {
		tb.Fatal(err)
	}
	ovs.Ofctl("add-group", "group_id=1,type=select,bucket=ct(commit,zone=5,table=30,nat(dst=10.0.0.9:80)),bucket=ct(commit,zone=5,table=30,nat(dst=10.0.0.8:80))")
	ovs.Ofctl("add-flows", file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ovs, ovs.Control(), ctx
}

// tables are those of the steps, with a sign for a miss.
func tables(t *unixctl.Trace) string {
	var out []string
	for _, s := range t.Steps() {
		text := fmt.Sprint(s.Table)
		if s.Miss {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestTrace(t *testing.T) {
	ovs, c, ctx := start(t)
	show, err := c.Call(ctx, "dpif/show")
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`p2 2/(\d+):`).FindStringSubmatch(show)[1]
	for name, test := range map[string]struct {
		flow   string
		opts   unixctl.Options
		tables string
		last   string
	}{
		"miss":           {"in_port=1,arp", unixctl.Options{}, "0!", "drop"},
		"output":         {"in_port=1,udp,udp_dst=4", unixctl.Options{}, "0 4! 10", port},
		"established":    {tcp, unixctl.Options{CTNext: []string{"trk,est", "trk,est,rpl"}}, "0 4 10 20 30", port},
		"second is new":  {tcp, unixctl.Options{CTNext: []string{"trk,est"}}, "0 4 10 20 30!", "drop"},
		"blocked":        {tcp + ",ct_mark=0x80", unixctl.Options{CTNext: []string{"trk,est"}}, "0 4 10 20", "drop"},
		"through a hash": {tcp, unixctl.Options{Hash: 1}, "0 4 10 20 30", ""},
	} {
		t.Run(name, func(t *testing.T) {
			trace, err := c.Trace(ctx, ovs.Bridge, test.flow, test.opts)
			if err != nil {
				t.Fatal(err)
			}
			if tables(trace) != test.tables || test.last != "" && trace.Last().Actions != test.last {
				t.Errorf("tables %q, last %q of %q\n%s", tables(trace), trace.Last().Actions, test.flow, trace.Text)
			}
		})
	}
	trace, err := c.Trace(ctx, ovs.Bridge, tcp, unixctl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := unixctl.Step{Table: 10, Match: "tcp,in_port=1", Priority: 100, Cookie: 0x1234567800000001}
	if got := trace.Steps()[2]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := c.Trace(ctx, ovs.Bridge, "in_port=1,nonsense", unixctl.Options{}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Trace(ctx, ovs.Bridge, "in_port=1,ip,recirc_id=0x7777", unixctl.Options{}); err == nil || !strings.Contains(err.Error(), "forgot") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Trace(ctx, ovs.Bridge, "in_port=1,ipv6", unixctl.Options{}); err == nil || !strings.Contains(err.Error(), "gives up") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Call(ctx, "version"); err != nil {
		t.Errorf("after a refused command: %v", err)
	}
}

// TestTraceReachesEachBucket shows that the hash decides, and that translated addresses are traced.
func TestTraceReachesEachBucket(t *testing.T) {
	ovs, c, ctx := start(t)
	var seen []string
	for hash := range uint32(16) {
		trace, err := c.Trace(ctx, ovs.Bridge, tcp, unixctl.Options{Hash: hash + 1})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, trace.Last().Actions)
		_ = trace.Outputs()
	}
	slices.Sort(seen)
	if got := slices.Compact(seen); len(got) != 2 {
		t.Errorf("ends of 16 hashes: %v", got)
	}
}

func TestCallThatIsGivenUp(t *testing.T) {
	ovs, c, ctx := start(t)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Call(gone, "version"); err == nil {
		t.Error("call with an ended context succeeded")
	}
	if _, err := c.Call(ctx, "version"); err != nil {
		t.Errorf("after it: %v", err)
	}
	ovs.StopSwitch()
	if _, err := c.Call(ctx, "version"); err == nil {
		t.Error("call to a dead daemon succeeded")
	}
	ovs.StartSwitch()
}

func BenchmarkTrace(b *testing.B) {
	ovs, c, ctx := start(b)
	for b.Loop() {
		if _, err := c.Trace(ctx, ovs.Bridge, tcp, unixctl.Options{CTNext: []string{"trk,est"}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "traces/s")
}
