package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
)

// leader gives the number of the netmaster that leads, as netmaster n sees it; 0 if it knows none.
func (c *cluster) leader(n int) int {
	c.t.Helper()
	rest, err := client.New(c.URLOf(n), client.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer rest.Close()
	info, err := rest.Info(c.t.Context())
	if err != nil {
		return 0
	}
	for i := 1; i <= 3; i++ {
		if strings.TrimPrefix(c.URLOf(i), "http://") == info.LeaderIP {
			return i
		}
	}
	return 0
}

// creates tries to create a network through a netmaster until it works, and gives how long that took.
func (c *cluster) creates(through int, network string, limit time.Duration) time.Duration {
	c.t.Helper()
	begin := time.Now()
	number := len(network)
	c.eventually(limit, "network "+network+" is created", func() bool {
		_, status := c.netctl("--netmaster", c.URLOf(through), "net", "create", fmt.Sprintf("--subnet=10.9.%d.0/24", number), network)
		return status == 0
	})
	return time.Since(begin)
}

// TestSeveralNetmasters: any of three serves reads and writes; the leader's death is taken over within 5 s, its clean
// stop at once; one that was paused and resumed neither leads nor answers stale reads; traffic and agents go on.
func TestSeveralNetmasters(t *testing.T) {
	for _, store := range []string{sandbox.StoreEtcd, sandbox.StoreConsul} {
		t.Run(store, func(t *testing.T) { testSeveralNetmasters(t, store) })
	}
}

func testSeveralNetmasters(t *testing.T, store string) {
	t.Helper()
	c := start(t, sandbox.Config{Hosts: 3, Netmasters: 3, Store: store})
	c.eventually(10*time.Second, "all agree on a leader", func() bool {
		first := c.leader(1)
		return first != 0 && first == c.leader(2) && first == c.leader(3)
	})
	a, b, addr := pair(c)
	others := func(not int) (int, int) { return not%3 + 1, (not+1)%3 + 1 }
	result := c.probing(c.inside(a), c.inside(b), addr, func() {
		dead := c.leader(1)
		next, third := others(dead)
		c.must(c.Kill(sandbox.Netmaster, dead))
		if took := c.creates(next, "k", 15*time.Second); took > 5*time.Second {
			t.Errorf("take-over after kill -9 took %v", took)
		} else {
			t.Logf("take-over after kill -9: %v", took)
		}
		if got, _ := c.netctl("--netmaster", c.URLOf(third), "net", "ls", "-q"); !strings.Contains(got, "k\n") {
			t.Errorf("a follower does not see what was acknowledged: %s", got)
		}
		c.must(c.Start(t.Context(), sandbox.Netmaster, dead))

		stopped := c.leader(next)
		next, _ = others(stopped)
		c.must(c.Stop(sandbox.Netmaster, stopped))
		if took := c.creates(next, "kk", 15*time.Second); took > 2*time.Second {
			t.Errorf("take-over after a clean stop took %v", took)
		} else {
			t.Logf("take-over after a clean stop: %v", took)
		}
		c.must(c.Start(t.Context(), sandbox.Netmaster, stopped))
	})
	c.goesOn("leader changes", result)

	paused := c.leader(1)
	next, _ := others(paused)
	c.must(c.Pause(sandbox.Netmaster, paused))
	c.creates(next, "kkk", 15*time.Second)
	c.must(c.Resume(sandbox.Netmaster, paused))
	if got, status := c.netctl("--netmaster", c.URLOf(paused), "net", "ls", "-q"); status == 0 && !strings.Contains(got, "kkk\n") {
		t.Errorf("the resumed ex-leader answers a stale read: %s", got)
	}
	if now := c.leader(next); now == paused {
		t.Errorf("the resumed ex-leader leads again")
	}
	c.creates(paused, "kkkk", 5*time.Second) // forwarded to the leader
	c.waitReady()
	late := c.run(sandbox.Workload{Name: "late", Host: 3, Network: "kkkk"})
	if !strings.HasPrefix(late.Addresses[0], "10.9.4.") {
		t.Errorf("an endpoint made after the changes has %v", late.Addresses)
	}
}
