package openflow_test

import (
	"fmt"
	"testing"

	. "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/unixctl"
)

// TestSpreadOverGroups shows why a large set of buckets is spread by Multipath and not by a group of groups: the switch
// hashes a packet once, and of the inner groups most buckets are never met.
func TestSpreadOverGroups(t *testing.T) {
	ovs, c, ctx := start(t)
	control := ovs.Control()
	const groups, each = 8, 8
	ways := Bits(FieldReg0+4, 0, 16)
	var mods []Mod
	outer := Group{ID: 99, Type: GroupSelect}
	for g := range uint32(groups) {
		inner := Group{ID: g + 1, Type: GroupSelect}
		for b := range uint32(each) {
			inner.Buckets = append(inner.Buckets, Bucket{Weight: 1, Actions: Do(Resubmit(uint8(100 + g*each + b)))})
		}
		outer.Buckets = append(outer.Buckets, Bucket{Weight: 1, Actions: Do(ToGroup(inner.ID))})
		mods = append(mods, SetGroup(inner), AddFlow(Flow{Table: 2, Priority: 1, Match: NewMatch(ways.Is(uint64(g))), Actions: Do(ToGroup(inner.ID))}))
	}
	mods = append(mods, SetGroup(outer),
		AddFlow(Flow{Priority: 2, Match: NewMatch(EthType(EtherIPv4)), Actions: Do(Multipath{Ways: groups, Basis: 7, To: ways}.Action()), Goto: 2}),
		AddFlow(Flow{Priority: 1, Match: NewMatch(EthType(EtherIPv6)), Actions: Do(ToGroup(outer.ID))}))
	if err := c.Commit(ctx, mods); err != nil {
		t.Fatal(err)
	}
	met := func(format string) int {
		backends := map[uint8]bool{}
		for i := range uint32(1000) {
			// The hash is the datapath's; any function of the connection will do.
			trace, err := control.Trace(ctx, ovs.Bridge, fmt.Sprintf(format, i+1), unixctl.Options{Hash: i*2654435761 + 1})
			if err != nil {
				t.Fatal(err)
			}
			steps := trace.Last().Steps
			if len(steps) == 0 || steps[len(steps)-1].Table < 100 {
				t.Fatal(trace.Text)
			}
			backends[steps[len(steps)-1].Table] = true
		}
		return len(backends)
	}
	if n := met("in_port=LOCAL,tcp6,tcp_src=%d,tcp_dst=80"); n > groups*2 {
		t.Errorf("a group of groups reaches %d buckets: Multipath's comment is wrong", n)
	} else {
		t.Logf("a group of groups reaches %d of %d buckets", n, groups*each)
	}
	if n := met("in_port=LOCAL,tcp,tcp_src=%d,tcp_dst=80"); n != groups*each {
		t.Errorf("by Multipath %d buckets are reached, want %d", n, groups*each)
	}
}
