package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/test/probe"
)

const bridge = "contivVxlanBridge"

// counted is what a host counted.
func (c *cluster) counted(host int) protocol.Statistics {
	c.t.Helper()
	var got struct {
		protocol.Statistics
		Problem string `json:"problem"`
	}
	answer := c.onHost(host, "curl", "-sSf", "--max-time", "5", "http://127.0.0.1:9090/inspect/counters")
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.Problem != "" {
		c.t.Fatalf("counters of host %d: %v\n%s", host, err, answer)
	}
	return got.Statistics
}

// hits are the packets that a rule decided on a host.
func (c *cluster) hits(host int, rule string) uint64 {
	c.t.Helper()
	for _, r := range c.counted(host).Rules {
		if r.Key == rule {
			return r.Packets
		}
	}
	return 0
}

// marks are the connections to a TCP port that a host tracks, with the marks and labels that they have.
func (c *cluster) marks(host int, port string) []string {
	c.t.Helper()
	var out []string
	what := regexp.MustCompile(`mark=\S+|labels=\S+`)
	for line := range strings.Lines(c.onHost(host, "bash", "-c", `ovs-appctl -t "$(ls -t "$OVS_RUNDIR"/ovs-vswitchd*.ctl | head -1)" dpctl/dump-conntrack -m`)) {
		if strings.HasPrefix(line, "tcp") && strings.Contains(line, "dport="+port) {
			out = append(out, strings.Join(what.FindAllString(line, -1), " "))
		}
	}
	slices.Sort(out)
	return out
}

// TestChangesWhileAgentIsAway kills the agent of a host, changes rules and endpoints, and starts it: what did not change
// loses no packet, its connections and counters live, and what is gone is gone from the switch.
func TestChangesWhileAgentIsAway(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.ok("policy", "create", "p")
	c.ok("group", "create", "--policy=p", "n", "g")
	c.ok("policy", "rule-add", "--direction=in", "--protocol=udp", "--port=7007", "--priority=9", "--action=allow", "p", "1")
	c.ok("policy", "rule-add", "--direction=in", "--protocol=icmp", "--priority=8", "--action=deny", "p", "2")
	c.run(sandbox.Workload{Name: "a", Host: 1, Group: "g"})
	addr := netip.MustParseAddr(c.run(sandbox.Workload{Name: "b", Host: 2, Group: "g"}).Addresses[0])
	gone := c.run(sandbox.Workload{Name: "gone", Host: 2, Group: "g"}).Addresses[0]
	c.isolated("a", addr.String())

	stream, err := probe.StartStream(t.Context(), c.inside("a"), c.inside("b"), addr, time.Millisecond)
	c.must(err)
	connections := c.marks(1, "7008")
	if len(connections) != 1 {
		t.Fatalf("connections of the stream: %q", connections)
	}
	lost := 0
	for attempt := range 3 {
		before, first := c.hits(1, "default:p:1"), attempt == 0
		result := c.probing(c.inside("a"), c.inside("b"), addr, func() {
			c.must(c.Kill(sandbox.Netplugin, 1))
			if first {
				c.ok("policy", "rule-rm", "p", "2")
				c.ok("policy", "rule-add", "--direction=in", "--protocol=tcp", "--port=9999", "--priority=8", "--action=deny", "p", "3")
				c.must(c.Remove("gone"))
			}
			c.must(c.Start(t.Context(), sandbox.Netplugin, 1))
			c.waitReady()
		})
		// Each probe counts once, whichever agent was there; the probe began with a few that it does not tell of.
		c.eventually(10*time.Second, "rule 1 counts all probes", func() bool {
			more := c.hits(1, "default:p:1") - before
			return uint64(result.Sent) < more && more <= uint64(result.Sent)+20
		})
		if lost = result.Lost; lost == 0 {
			break
		}
	}
	if lost > 0 {
		t.Errorf("%d packets lost", lost)
	}
	c.eventually(10*time.Second, "what is gone leaves the switch", func() bool {
		flows := c.onHost(1, "ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", bridge)
		return !strings.Contains(flows, "nw_src="+gone) && !strings.Contains(flows, "icmp,") && strings.Contains(flows, "tp_dst=9999") &&
			oneRound(flows)
	})
	c.reaches("a", addr.String()) // the deny is gone
	if now := c.marks(1, "7008"); !slices.Equal(now, connections) {
		t.Errorf("connections of the stream: %q, before %q", now, connections)
	}
	if result := stream.Stop(); result.Err != nil {
		t.Errorf("the stream: %v", result)
	}
}

var cookieRound = regexp.MustCompile(`cookie=0x([0-9a-f]+)`)

// oneRound tells whether all flows were written in one life of the agent.
func oneRound(flows string) bool {
	rounds := map[string]bool{}
	for _, found := range cookieRound.FindAllStringSubmatch(flows, -1) {
		if cookie := fmt.Sprintf("%016s", found[1]); cookie < "8" { // not those that the switch learned
			rounds[cookie[:4]] = true
		}
	}
	return len(rounds) == 1
}

// program is all that a switch is told: flows without rounds, groups and meters.
func (c *cluster) program(host int) string {
	c.t.Helper()
	flows := strings.Split(c.onHost(host, "ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", bridge), "\n")
	var lines []string
	for _, line := range flows {
		if !strings.Contains(line, "_timeout") {
			lines = append(lines, cookieRound.ReplaceAllStringFunc(strings.TrimSpace(line), func(s string) string {
				cookie := fmt.Sprintf("%016s", strings.TrimPrefix(s, "cookie=0x"))
				return "cookie=" + cookie[4:]
			}))
		}
	}
	for _, what := range []string{"dump-groups", "dump-meters"} {
		for line := range strings.Lines(c.onHost(host, "ovs-ofctl", "-O", "OpenFlow13", what, bridge)) {
			if !strings.Contains(line, "OFPST_") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var someDrops = regexp.MustCompile(`"drops": \{\s+"packets": [1-9]`)

// TestSwitchIsRestoredWhole kills Open vSwitch: the agent that goes on gives it the same flows, groups and meters again,
// and rules hold.
func TestSwitchIsRestoredWhole(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.ok("netprofile", "create", "--bandwidth=50Mbps", "--dscp=10", "--burst=100", "slow")
	c.ok("policy", "create", "p")
	c.ok("policy", "rule-add", "--direction=in", "--protocol=icmp", "--priority=8", "--action=deny", "p", "1")
	c.ok("group", "create", "--policy=p", "--networkprofile=slow", "n", "g")
	c.ok("group", "create", "n", "open")
	c.run(sandbox.Workload{Name: "a", Host: 1, Group: "g"})
	c.run(sandbox.Workload{Name: "c", Host: 1, Group: "open"})
	shut := c.run(sandbox.Workload{Name: "b", Host: 2, Group: "g"}).Addresses[0]
	open := c.run(sandbox.Workload{Name: "d", Host: 2, Group: "open"}).Addresses[0]
	c.reaches("a", open)
	c.isolated("c", shut)
	before, agent := c.program(1), c.PID(sandbox.Netplugin, 1)
	for _, word := range []string{"meter=", "type=drop", "group_id=", "icmp"} {
		if !strings.Contains(before, word) {
			t.Errorf("no %q in what the switch has: the test shows less than it should\n%s", word, before)
		}
	}
	c.away(sandbox.OVS, 1)
	c.eventually(10*time.Second, "the same in the switch", func() bool { return c.program(1) == before })
	c.eventually(10*time.Second, "traffic", func() bool { _, err := c.exec("a", "ping", "-c", "1", "-W", "1", open); return err == nil })
	c.isolated("c", shut)
	if now := c.PID(sandbox.Netplugin, 1); now != agent {
		t.Errorf("the agent did not survive: pid %d, now %d", agent, now)
	}
	c.eventually(20*time.Second, "netmaster tells of the drops", func() bool {
		return someDrops.MatchString(c.ok("policy", "inspect", "p"))
	})
}
