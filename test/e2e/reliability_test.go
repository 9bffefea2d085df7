package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
	"github.com/contiv/contiv/test/probe"
)

// changes is how many rules TestBadDays makes and removes while traffic runs; docs/reliability.md has 10 000.
var changes = flag.Int("rule-changes", 2000, "how many changes of rules TestBadDays makes under traffic")

// badDay is a disturbance and what it may cost.
type badDay struct {
	name string
	do   func()
	// lossless: no packet may be lost. Else only the stream must live.
	lossless bool
	// still: no flow of any host may be touched.
	still bool
	// busy is how much of a core the agents of both hosts may take, in per cent; 0 for any.
	busy float64
}

// cost is what one was measured to cost.
type cost struct {
	probe  probe.Result
	stream probe.StreamResult
	cpu    float64 // of the agents, in per cent of one core
	churn  string
}

// TestBadDays measures what disturbances cost the traffic between two hosts and prints it as docs/reliability.md has it.
func TestBadDays(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 3, Netmasters: 3, Store: sandbox.StoreEtcd})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.ok("policy", "create", "p")
	c.ok("group", "create", "--policy=p", "n", "g")
	c.run(sandbox.Workload{Name: "a", Host: 1, Group: "g"})
	addr := netip.MustParseAddr(c.run(sandbox.Workload{Name: "b", Host: 2, Group: "g"}).Addresses[0])
	c.run(sandbox.Workload{Name: "noisy", Host: 1, Group: "g"})
	c.eventually(10*time.Second, "all agree on a leader", func() bool { return c.leader(1) != 0 && c.leader(1) == c.leader(2) })

	days := []badDay{
		{"netplugin: kill -9, 0.2 s away", func() { c.away(sandbox.Netplugin, 1) }, true, false, 0},
		{"netplugin: stop and start, as an upgrade does", func() { c.must(c.Restart(t.Context(), sandbox.Netplugin, 2)) }, true, false, 0},
		{"netmaster that leads: kill -9, another takes over", func() { c.changeLeader(c.Kill) }, true, true, 0},
		{"netmaster that leads: stop, another takes over", func() { c.changeLeader(c.Stop) }, true, true, 0},
		{"all netmasters: kill -9 and start", c.killMasters, true, true, 0},
		{"OpenFlow connections of an agent cut", func() { c.cutOpenFlow(1) }, true, true, 0},
		{"Open vSwitch: kill -9 and start", func() { c.away(sandbox.OVS, 1) }, false, false, 0},
		{fmt.Sprintf("%d changes of rules", *changes), func() { c.changeRules(*changes) }, true, false, 0},
		{"ARP storm from one container (2 000 a second)", func() { c.storm("arp") }, true, false, 40},
		{"DNS storm from one container (2 000 a second)", func() { c.storm("dns") }, true, false, 40},
	}
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "| what happens\t| probes (1 ms) sent\t| lost\t| longest gap\t| TCP stream, longest gap\t| agents' CPU\t|")
	fmt.Fprintln(out, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, day := range days {
		t.Run(day.name, func(t *testing.T) {
			inner := &cluster{Sandbox: c.Sandbox, t: t}
			got := inner.endure(day, addr)
			fmt.Fprintf(out, "| %s\t| %d\t| %d\t| %.0f ms\t| %s\t| %.0f %%\t|\n", day.name, got.probe.Sent, got.probe.Lost,
				float64(got.probe.LongestGap.Microseconds())/1000, gapOf(got.stream), got.cpu)
		})
	}
	_ = out.Flush() // a string
	t.Logf("\n%s", table.String())
}

func gapOf(r probe.StreamResult) string {
	if r.Err != nil {
		return "broken: " + r.Err.Error()
	}
	return fmt.Sprintf("%.0f ms", float64(r.LongestGap.Microseconds())/1000)
}

// endure has a bad day, again if packets were lost that must not be: a busy machine drops a few now and then.
func (c *cluster) endure(day badDay, addr netip.Addr) cost {
	c.t.Helper()
	const attempts = 3
	var got cost
	for range attempts {
		got = c.suffer(day, addr)
		if got.stream.Err != nil {
			c.t.Errorf("the stream: %v", got.stream)
		}
		if !day.lossless || got.probe.Lost == 0 {
			break
		}
	}
	if day.lossless && got.probe.Lost > 0 {
		c.t.Errorf("packets are lost in each of %d attempts, the last: %v", attempts, got.probe)
	}
	if day.busy > 0 && got.cpu > day.busy {
		c.t.Errorf("the agents took %.0f %% of a core, more than %.0f %%", got.cpu, day.busy)
	}
	if got.churn != "" {
		c.t.Errorf("flows were touched:\n%s", got.churn)
	}
	return got
}

func (c *cluster) suffer(day badDay, addr netip.Addr) cost {
	c.t.Helper()
	c.waitReady()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	stream, err := probe.StartStream(ctx, c.inside("a"), c.inside("b"), addr, time.Millisecond)
	c.must(err)
	p, err := probe.Start(ctx, c.inside("a"), c.inside("b"), addr, time.Millisecond)
	c.must(err)
	around := func() { <-time.After(200 * time.Millisecond) } // undisturbed probes on both sides
	around()
	before, cpu, begin := c.flowsOf(1), c.agentCPU(), time.Now()
	day.do()
	c.waitReady()
	took := time.Since(begin)
	got := cost{cpu: busy(cpu, c.agentCPU(), took)}
	if day.still {
		got.churn = churn(before, c.flowsOf(1))
	}
	if !day.lossless {
		c.eventually(20*time.Second, "traffic", func() bool { _, err := c.exec("a", "ping", "-c", "1", "-W", "1", addr.String()); return err == nil })
	}
	around()
	got.stream = stream.Stop()
	if got.stream.Err != nil {
		c.showPaths()
	}
	got.probe = p.Stop()
	c.t.Logf("%s: probes %v; stream %v; agents' CPU %.0f %%", day.name, got.probe, got.stream, got.cpu)
	return got
}

// showPaths logs what the switches of both hosts do to packets now.
func (c *cluster) showPaths() {
	c.t.Helper()
	for host := 1; host <= 2; host++ {
		c.t.Logf("host %d:\n%s", host, c.onHost(host, "bash", "-c", `c=$(ls -t "$OVS_RUNDIR"/ovs-vswitchd*.ctl | head -1)
for x in "dpctl/dump-flows -m" dpctl/dump-conntrack tnl/neigh/show dpctl/show; do echo "## $x"; ovs-appctl -t $c $x; done
ip neigh; ip -br addr; ovs-ofctl -O OpenFlow13 dump-flows contivVxlanBridge`))
	}
}

// away kills a component of a host and starts it again after a while.
func (c *cluster) away(component sandbox.Component, host int) {
	c.t.Helper()
	c.must(c.Kill(component, host))
	<-time.After(200 * time.Millisecond)
	c.must(c.Start(c.t.Context(), component, host))
}

// changeLeader ends the netmaster that leads, waits until another does, and starts the first again.
func (c *cluster) changeLeader(end func(sandbox.Component, int) error) {
	c.t.Helper()
	first := c.leader(1)
	for n := 2; first == 0 && n <= 3; n++ {
		first = c.leader(n)
	}
	c.must(end(sandbox.Netmaster, first))
	other := first%3 + 1
	c.eventually(15*time.Second, "another leads", func() bool { now := c.leader(other); return now != 0 && now != first })
	c.waitReady()
	c.must(c.Start(c.t.Context(), sandbox.Netmaster, first))
}

func (c *cluster) killMasters() {
	c.t.Helper()
	for n := range 3 {
		c.must(c.Kill(sandbox.Netmaster, n+1))
	}
	for n := range 3 {
		c.must(c.Start(c.t.Context(), sandbox.Netmaster, n+1))
	}
}

// cutOpenFlow shuts all OpenFlow connections of a host's agent down, and waits for others.
func (c *cluster) cutOpenFlow(host int) {
	c.t.Helper()
	cut := c.openFlows(host)
	if len(cut) == 0 {
		c.t.Fatal("no OpenFlow connections")
	}
	pid := c.PID(sandbox.Netplugin, host)
	agent, err := unix.PidfdOpen(pid, 0)
	c.must(err)
	defer unix.Close(agent) //nolint:errcheck // a test
	for socket, number := range cut {
		theirs, err := unix.PidfdGetfd(agent, number, 0)
		c.must(err)
		err = unix.Shutdown(theirs, unix.SHUT_RDWR)
		_ = unix.Close(theirs)
		if err != nil {
			c.t.Fatalf("shutting %s down: %v", socket, err)
		}
	}
	c.eventually(10*time.Second, "other OpenFlow connections than before", func() bool {
		now := c.openFlows(host)
		for socket := range now {
			if _, old := cut[socket]; old {
				return false
			}
		}
		return len(now) > 0
	})
}

// openFlows are the connections of a host's agent to its switch: the descriptors by the names of the sockets.
func (c *cluster) openFlows(host int) map[string]int {
	c.t.Helper()
	peers := map[string]bool{}
	for line := range strings.Lines(c.onHost(host, "ss", "-xnH")) {
		if fields := strings.Fields(line); len(fields) > 7 && strings.HasSuffix(fields[4], "/contivVxlanBridge.mgmt") {
			peers["socket:["+fields[7]+"]"] = true
		}
	}
	out := map[string]int{}
	dir := fmt.Sprintf("/proc/%d/fd", c.PID(sandbox.Netplugin, host))
	entries, err := os.ReadDir(dir)
	c.must(err)
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil || !peers[target] {
			continue // closed meanwhile
		}
		number, err := strconv.Atoi(entry.Name())
		c.must(err)
		out[target] = number
	}
	return out
}

// changeRules makes rules in the policy of both ends, by eight clients, and removes them when the switch has all.
func (c *cluster) changeRules(count int) {
	c.t.Helper()
	before := len(c.flowsOf(1))
	each := func(what string, do func(ctx context.Context, rest *client.Client, r *client.Rule) error) {
		const clients = 8
		group, ctx := errgroup.WithContext(c.t.Context())
		for n := range clients {
			group.Go(func() error {
				rest, err := client.New(c.URL(), client.Options{})
				if err != nil {
					return err
				}
				defer rest.Close()
				for i := n; i < count/2; i += clients {
					r := &client.Rule{Rule: state.Rule{
						TenantName: "default", PolicyName: "p", RuleID: fmt.Sprint(i + 1), Direction: "in", Protocol: "tcp", Port: 10000 + i,
						Priority: 1 + i%100, Action: []string{"allow", "deny"}[i%2],
					}}
					if err := do(ctx, rest, r); err != nil {
						return fmt.Errorf("%s rule %d: %w", what, i+1, err)
					}
				}
				return nil
			})
		}
		c.must(group.Wait())
	}
	each("creating", func(ctx context.Context, rest *client.Client, r *client.Rule) error {
		_, err := rest.Rules().Post(ctx, r)
		return err
	})
	c.eventually(20*time.Second, "the switch has the rules", func() bool { return len(c.flowsOf(1)) >= before+count/2 })
	each("deleting", func(ctx context.Context, rest *client.Client, r *client.Rule) error {
		return rest.Rules().Delete(ctx, r.Key())
	})
	c.eventually(20*time.Second, "the rules are gone from the switch", func() bool { return len(c.flowsOf(1)) <= before })
}

// agentCPU is how long the agents of host 1 and 2 have computed, by their process ids.
func (c *cluster) agentCPU() map[int]time.Duration {
	c.t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that we know
	used := map[int]time.Duration{}
	for host := 1; host <= 2; host++ {
		pid := c.PID(sandbox.Netplugin, host)
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		c.must(err)
		fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+2:]))
		for _, field := range fields[11:13] {
			ticks, err := strconv.Atoi(field)
			c.must(err)
			used[pid] += time.Duration(ticks) * tick
		}
	}
	return used
}

// busy is the part of one core that agents took, in per cent; of one that was started meanwhile since then.
func busy(before, after map[int]time.Duration, took time.Duration) float64 {
	var used time.Duration
	for pid, now := range after {
		used += now - before[pid]
	}
	return 100 * float64(used) / float64(took)
}

// flow is what dump-flows tells of one.
type flow struct {
	cookie   string
	duration float64
}

var flowLine = regexp.MustCompile(`cookie=(\S+), duration=([0-9.]+)s, (table=\d+), n_packets=\d+, n_bytes=\d+, (?:idle_timeout=\d+, )?(?:hard_timeout=\d+, )?(?:send_flow_rem )?(.*)`)

// flowsOf are the flows of a host that do not expire.
func (c *cluster) flowsOf(host int) map[string]flow {
	c.t.Helper()
	out := map[string]flow{}
	for line := range strings.Lines(c.onHost(host, "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "contivVxlanBridge")) {
		if found := flowLine.FindStringSubmatch(line); found != nil && !strings.Contains(line, "_timeout") {
			duration, err := strconv.ParseFloat(found[2], 64)
			c.must(err)
			out[found[3]+" "+found[4]] = flow{found[1], duration}
		}
	}
	if len(out) == 0 {
		c.t.Fatal("no flows")
	}
	return out
}

// churn tells what became of flows: nothing is "".
func churn(before, after map[string]flow) string {
	var b strings.Builder
	for what, old := range before {
		now, there := after[what]
		switch {
		case !there:
			fmt.Fprintf(&b, "gone: %s\n", what)
		case now.cookie != old.cookie || now.duration < old.duration:
			fmt.Fprintf(&b, "written again: %s\n", what)
		}
		delete(after, what)
	}
	for what := range after {
		fmt.Fprintf(&b, "new: %s\n", what)
	}
	return b.String()
}
