package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/test/probe"
)

// pair makes a network n with a workload on host 1 and one on host 2, and returns the second's address.
func pair(c *cluster) (a, b string, addrB netip.Addr) {
	c.t.Helper()
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	a, b = "n-a", "n-b"
	c.run(sandbox.Workload{Name: a, Host: 1, Network: "n"})
	status := c.run(sandbox.Workload{Name: b, Host: 2, Network: "n"})
	return a, b, netip.MustParseAddr(status.Addresses[0])
}

// inside runs functions in a workload's namespace.
func (c *cluster) inside(workload string) probe.Inside {
	return func(f func() error) error { return c.Inside(workload, f) }
}

// probing runs a disturbance under a 1 ms probe between two namespaces.
func (c *cluster) probing(from, to probe.Inside, addr netip.Addr, disturb func()) probe.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	p, err := probe.Start(ctx, from, to, addr, time.Millisecond)
	if err != nil {
		c.t.Fatal(err)
	}
	around := func() { <-time.After(300 * time.Millisecond) } // undisturbed probes on both sides
	around()
	disturb()
	around()
	result := p.Stop()
	c.t.Logf("%s: %v", c.t.Name(), result)
	return result
}

// losesNothing fails the test if a disturbance costs packets every time: one that takes flows away does, while a busy
// machine drops a few packets now and then.
func (c *cluster) losesNothing(from, to probe.Inside, addr netip.Addr, disturb func()) {
	c.t.Helper()
	const attempts = 3
	for range attempts {
		if c.probing(from, to, addr, disturb).Lost == 0 {
			return
		}
	}
	c.t.Errorf("packets are lost in each of %d attempts", attempts)
}

// goesOn fails the test if more than a busy machine's share of packets was lost during something long.
func (c *cluster) goesOn(what string, result probe.Result) {
	c.t.Helper()
	if result.Sent == 0 || result.Lost*200 > result.Sent {
		c.t.Errorf("%s: %v", what, result)
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) waitReady() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	c.must(c.WaitReady(ctx))
}

// TestRestartsLoseNothing kills and restarts the agent and netmaster under a probe of 1 ms: no packet is lost.
func TestRestartsLoseNothing(t *testing.T) {
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) { restartsLoseNothing(t, mode) })
	}
}

func restartsLoseNothing(t *testing.T, mode string) {
	t.Helper()
	c := start(t, sandbox.Config{Hosts: 2, FwdMode: mode})
	a, b, addr := pair(c)
	for _, disturbance := range []struct {
		name string
		do   func()
	}{
		{"kill -9 and start of netplugin", func() {
			c.must(c.Kill(sandbox.Netplugin, 1))
			<-time.After(200 * time.Millisecond) // without an agent
			c.must(c.Start(t.Context(), sandbox.Netplugin, 1))
			c.waitReady()
		}},
		{"restart of netplugin", func() { c.must(c.Restart(t.Context(), sandbox.Netplugin, 2)); c.waitReady() }},
		{"kill -9 and start of netmaster", func() {
			c.must(c.Kill(sandbox.Netmaster, 1))
			c.must(c.Start(t.Context(), sandbox.Netmaster, 1))
			c.waitReady()
		}},
	} {
		t.Run(disturbance.name, func(t *testing.T) {
			inner := &cluster{Sandbox: c.Sandbox, t: t}
			inner.losesNothing(c.inside(a), c.inside(b), addr, disturbance.do)
		})
	}
}

// TestSwitchRestartIsReplayed kills ovs-vswitchd and ovsdb-server: after their start everything works again without
// a restart of the agent.
func TestSwitchRestartIsReplayed(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, _, addr := pair(c)
	c.reaches(a, addr.String())
	agent := c.PID(sandbox.Netplugin, 1)
	for _, kill := range []bool{true, false} {
		if kill {
			c.must(c.Kill(sandbox.OVS, 1))
		} else {
			c.must(c.Stop(sandbox.OVS, 1))
		}
		c.must(c.Start(t.Context(), sandbox.OVS, 1))
		c.eventually(10*time.Second, "traffic after a restart of the switch", func() bool {
			_, err := c.exec(a, "ping", "-c", "1", "-W", "1", addr.String())
			return err == nil
		})
	}
	if now := c.PID(sandbox.Netplugin, 1); now != agent {
		t.Errorf("the agent did not survive: pid %d, now %d", agent, now)
	}
}

// TestChangesWhileAway changes networks and endpoints while an agent or its switch is down; all is right when it is
// back.
func TestChangesWhileAway(t *testing.T) {
	for _, away := range []sandbox.Component{sandbox.Netplugin, sandbox.OVS} {
		t.Run(string(away), func(t *testing.T) {
			c := start(t, sandbox.Config{Hosts: 3})
			c.ok("net", "create", "--subnet=10.1.3.0/24", "gone")
			a, b, addr := pair(c)
			c.reaches(a, addr.String())

			c.must(c.Kill(away, 1))
			c.must(c.Remove(b))
			c.ok("net", "rm", "gone")
			c.ok("group", "create", "n", "late")
			late := c.run(sandbox.Workload{Name: "late", Host: 3, Group: "late"})
			c.must(c.Start(t.Context(), away, 1))
			c.waitReady()
			c.eventually(10*time.Second, "traffic to an endpoint that came meanwhile", func() bool {
				_, err := c.exec(a, "ping", "-c", "1", "-W", "1", late.Addresses[0])
				return err == nil
			})
			c.isolated(a, addr.String())
			c.must(c.Remove(a))
			c.must(c.Remove("late"))
			c.ok("group", "rm", "late")
			c.ok("net", "rm", "n")
		})
	}
}

// TestDetachWithoutNetmaster removes a workload while netmaster is away: DEL succeeds, and netmaster learns of it.
func TestDetachWithoutNetmaster(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, b, addr := pair(c)
	c.must(c.Kill(sandbox.Netmaster, 1))
	c.reaches(a, addr.String()) // agents keep what they have
	c.must(c.Remove(a))
	c.must(c.Remove(b))
	if _, err := c.Run(t.Context(), sandbox.Workload{Name: "late", Host: 1, Network: "n"}); err == nil {
		t.Error("attaching worked without netmaster")
	}
	c.must(c.Start(t.Context(), sandbox.Netmaster, 1))
	c.waitReady()
	c.eventually(10*time.Second, "netmaster learns of the removals", func() bool {
		_, status := c.netctl("net", "rm", "n")
		return status == 0
	})
}

// TestStoreAway stops an external store for ten seconds: requests fail with 503 and a clear text, forwarding goes on,
// and everything resumes by itself.
func TestStoreAway(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2, Store: sandbox.StoreEtcd})
	a, b, addr := pair(c)
	result := c.probing(c.inside(a), c.inside(b), addr, func() {
		c.must(c.Kill(sandbox.Store, 1))
		stopped := time.Now()
		c.refused([]string{"store unavailable"}, "net", "create", "--subnet=10.1.3.0/24", "m")
		c.refused([]string{"store unavailable"}, "net", "ls")
		if status, body := c.rest(http.MethodGet, "/api/v1/networks/", ""); status != http.StatusServiceUnavailable {
			t.Errorf("list without a store: %d %s", status, body)
		}
		if left := 10*time.Second - time.Since(stopped); left > 0 {
			<-time.After(left)
		}
		c.must(c.Start(t.Context(), sandbox.Store, 1))
		c.eventually(15*time.Second, "requests succeed again", func() bool {
			_, status := c.netctl("net", "create", "--subnet=10.1.3.0/24", "m")
			return status == 0
		})
	})
	c.goesOn("the store was away", result)
	c.waitReady() // agents come back with a pause of their own
	late := c.run(sandbox.Workload{Name: "late", Host: 2, Network: "n"})
	c.reaches(a, late.Addresses[0])
}

// TestCleanStop stops every process with SIGTERM: each ends within a second.
func TestCleanStop(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 1})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.run(sandbox.Workload{Name: "w", Host: 1, Network: "n"})
	for _, component := range []sandbox.Component{sandbox.Netplugin, sandbox.Netmaster} {
		t.Run(string(component), func(t *testing.T) {
			begin := time.Now()
			if err := c.Stop(component, 1); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("%s took %v to stop", component, took)
			}
		})
	}
}

// TestPartition cuts host 3 off: the others go on, the cut-off host keeps forwarding locally, and all is well again
// after Heal.
func TestPartition(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 3})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	addrs := make(map[string]string)
	for i, host := range []int{1, 2, 3, 3} {
		name := fmt.Sprintf("w%d", i+1)
		addrs[name] = c.run(sandbox.Workload{Name: name, Host: host, Network: "n"}).Addresses[0]
	}
	c.must(c.Partition([]int{1, 2}, []int{3}))
	c.reaches("w1", addrs["w2"])
	c.reaches("w3", addrs["w4"])
	c.isolated("w1", addrs["w3"])
	c.must(c.Heal())
	c.eventually(20*time.Second, "traffic over the healed partition", func() bool {
		_, err := c.exec("w1", "ping", "-c", "1", "-W", "1", addrs["w3"])
		return err == nil
	})
	late := c.run(sandbox.Workload{Name: "late", Host: 1, Network: "n"})
	c.eventually(20*time.Second, "host 3 learns of a new endpoint", func() bool {
		_, err := c.exec("w3", "ping", "-c", "1", "-W", "1", late.Addresses[0])
		return err == nil
	})
}
