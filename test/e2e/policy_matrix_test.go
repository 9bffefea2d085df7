package e2e

import (
	"testing"

	"github.com/contiv/contiv/state"
)

// scenarios of the matrix. Each begins without rules; "=" compares the matrix in between, the end does by itself.
var scenarios = []struct {
	name  string
	lines []string
}{
	{"nothing", nil},
	{"in, anybody", []string{"rule t p 1 in deny tcp", "attach t b p"}},
	{"in, group", []string{"attach t b p", "rule t p 1 in deny group=a"}},
	{"in, port", []string{"attach t b p", "rule t p 1 in deny tcp port=8000 group=a"}},
	{"in, range of ports", []string{"attach t b p", "rule t p 1 in deny tcp port=8001-8443"}},
	{"in, network", []string{"attach t b p", "rule t p 1 in deny udp network=web"}},
	{"in, other network", []string{"attach t b p", "attach t a p", "rule t p 1 in deny network=db"}},
	{"in, address", []string{"attach t b p", "rule t p 1 in deny ip=10.1.1.1"}},
	{"in, addresses", []string{"attach t b p", "rule t p 1 in deny tcp ip=10.1.1.0/30", "rule t p 2 in deny udp ip=10.1.1.3-5", "rule t p 3 in deny ip=fd00:0:0:1::/126"}},
	{"in, group and address", []string{"attach t b p", "rule t p 1 in deny group=a ip=10.1.1.1"}},
	{"out, anybody", []string{"attach t b p", "rule t p 1 out deny tcp"}},
	{"out, group", []string{"attach t a p", "rule t p 1 out deny udp group=b", "rule t p 2 out deny tcp group=d"}},
	{"out, network", []string{"attach t a p", "rule t p 1 out deny tcp network=web", "rule t p 2 out deny icmp network=db"}},
	{"out, address", []string{"attach t b p", "rule t p 1 out deny ip=10.1.1.0/29"}},
	{"allow over deny", []string{"attach t b p", "rule t p 1 in deny tcp", "rule t p 2 in allow tcp port=8000 priority=10", "rule t p 3 in allow tcp port=8443 priority=10 group=a"}},
	{"deny wins a tie", []string{"attach t b p", "rule t p 1 in allow tcp port=8000 priority=5", "rule t p 2 in deny tcp priority=5"}},
	{"three priorities", []string{"attach t b p", "rule t p 1 in deny", "rule t p 2 in allow group=a priority=2", "rule t p 3 in deny udp port=8000 priority=3"}},
	{"two policies of a group", []string{"attach t b p q", "rule t p 1 in deny tcp", "rule t q 1 in allow tcp group=a priority=2"}},
	{"policy of two groups", []string{"attach t a p", "attach t b p", "rule t p 1 in deny tcp group=b", "rule t p 2 out deny udp port=8001"}},
	{"both ends", []string{"attach t a p", "attach t b q", "rule t p 1 out allow tcp priority=1", "rule t q 1 in deny tcp priority=2"}},
	{"icmp", []string{"attach t b p", "rule t p 1 in deny icmp"}},
	{"icmp types", []string{"attach t b p", "rule t p 1 in deny icmp type=13", "rule t p 2 in deny icmp6 type=128 code=0 group=a"}},
	{"sctp", []string{"attach t b p", "rule t p 1 in deny sctp port=8000 group=a", "rule t p 2 in deny 132 ip=10.1.1.6"}},
	{"group denies by default", []string{"deny t group b in", "attach t b p", "rule t p 1 in allow tcp port=8000-8001 group=a"}},
	{"policy denies by default", []string{"deny t policy p both", "attach t d p", "attach t b p", "rule t p 1 in allow icmp", "rule t p 2 out allow udp network=web"}},
	{"default deny out", []string{"deny t group a out", "attach t a p", "rule t p 1 out allow tcp group=b"}},
	{"two tenants", []string{"attach t a p", "attach u a p", "rule t p 1 in deny tcp", "rule u p 1 in deny udp", "rule u p 2 out deny icmp"}},
	{"one of two tenants", []string{"attach u a p", "deny u group a both"}},
	{"rules come and go", []string{
		"attach t b p", "rule t p 1 in deny", "=", "rule t p 2 in allow tcp priority=2", "=", "unrule t p 1", "rule t p 3 in deny tcp group=a priority=3", "=", "unrule t p 2", "unrule t p 3",
	}},
	{"policies come and go", []string{
		"rule t p 1 in deny tcp", "rule t q 1 in deny udp", "=", "attach t b p", "=", "attach t b q", "=", "attach t a p q", "=", "attach t b",
	}},
	{"group goes", []string{
		"group t web gone", "attach t gone p", "attach t b q", "rule t p 1 in deny", "rule t q 1 in allow group=a priority=9", "rule t q 2 in deny tcp", "=", "ungroup t gone",
	}},
	{"policy goes", []string{"policy t r", "attach t b r", "rule t r 1 in deny udp", "=", "attach t b", "unrule t r 1", "unpolicy t r"}},
}

// TestPolicyMatrix is proof level 3: nine workloads on three hosts, of two tenants with the same addresses, ask each other
// by TCP, UDP, ICMP and SCTP, IPv4 and IPv6; who gets through is what the rules of the scenario say, no more and no less.
func TestPolicyMatrix(t *testing.T) {
	for _, mode := range []string{state.ForwardBridge, state.ForwardRouting} {
		t.Run(mode, func(t *testing.T) {
			w := newTown(t, mode)
			for _, s := range scenarios {
				w.reset()
				for _, line := range s.lines {
					if line == "=" {
						w.matches(s.name)
						continue
					}
					w.do(line)
				}
				w.matches(s.name)
			}
		})
	}
}
