package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netplugin/nameserver"
)

// resolves waits until a program in a workload finds exactly these addresses for a name.
func (c *cluster) resolves(workload, name string, want ...string) {
	c.t.Helper()
	var got []string
	holds := func() bool {
		out, _ := c.exec(workload, "getent", "ahostsv4", name)
		got = nil
		for line := range strings.Lines(out) {
			if addr, ok := strings.CutSuffix(strings.Join(strings.Fields(line)[:2], " "), " STREAM"); ok {
				got = append(got, addr)
			}
		}
		return slices.Equal(slices.Sorted(slices.Values(got)), want)
	}
	c.eventually(15*time.Second, fmt.Sprintf("%s resolves %s to %v", workload, name, want), holds)
}

// TestNames is the tutorial's use of names with plain workloads, in both forward modes: A8, A16, F1.4, F3.
func TestNames(t *testing.T) {
	for _, mode := range []string{"bridge", "routing"} {
		t.Run(mode, func(t *testing.T) {
			c := start(t, sandbox.Config{Hosts: 2, FwdMode: mode})
			c.ok("net", "create", "--subnet=10.1.2.0/24", "contiv-net")
			c.ok("group", "create", "contiv-net", "production-web")
			c.ok("tenant", "create", "blue")
			c.ok("net", "create", "-t", "blue", "--subnet=10.1.2.0/24", "contiv-net")
			c.run(sandbox.Workload{Name: "contiv-c1", Host: 1, Network: "contiv-net", Group: "production-web"})
			c.run(sandbox.Workload{Name: "contiv-c2", Host: 2, Network: "contiv-net", Group: "production-web"})
			c.run(sandbox.Workload{Name: "contiv-blue-c1", Host: 1, Tenant: "blue", Network: "contiv-net"})
			c.run(sandbox.Workload{Name: "contiv-blue-c2", Host: 2, Tenant: "blue", Network: "contiv-net"})

			c.resolves("contiv-c2", "contiv-c1", "10.1.2.1")
			c.reaches("contiv-c2", "contiv-c1") // A8
			c.resolves("contiv-c2", "Contiv-C1.default.contiv", "10.1.2.1")
			c.resolves("contiv-c1", "production-web", "10.1.2.1", "10.1.2.2") // F1.4
			c.resolves("contiv-blue-c2", "contiv-blue-c1", "10.1.2.1")
			c.reaches("contiv-blue-c2", "contiv-blue-c1") // A16
			if out, err := c.exec("contiv-blue-c1", "getent", "ahostsv4", "contiv-c2"); err == nil {
				t.Errorf("tenant blue finds a name of tenant default: %s", out)
			}
			c.must(c.Remove("contiv-c2"))
			c.resolves("contiv-c1", "production-web", "10.1.2.1")

			inspect := c.onHost(1, "curl", "-sSf", "http://127.0.0.1:9090/inspect/nameserver")
			for _, word := range []string{`"contiv-blue-c1": [`, `"production-web": [`, `"` + nameserver.OutcomeAnswered + `": `} {
				if !strings.Contains(inspect, word) {
					t.Errorf("no %s in %s", word, inspect)
				}
			}
			query := url.Values{"tenant": {"blue"}, "name": {"contiv-blue-c2"}}.Encode()
			if found := c.onHost(1, "curl", "-sSf", "http://127.0.0.1:9090/names/lookup?"+query); !strings.Contains(found, `"10.1.2.2"`) {
				t.Errorf("looked up: %s", found)
			}
		})
	}
}

// TestNamesDocker: containers on two Docker Engines find each other through Docker's resolver, which asks ours.
func TestNamesDocker(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "contiv-net")
	c.dockerNetworks("contiv-net")
	c.docker(1, "run", "-d", "--name=contiv-c1", "--net=contiv-net", image, "sleep", "1000")
	c.docker(2, "run", "-d", "--name=contiv-c2", "--net=contiv-net", image, "sleep", "1000")
	if got := c.docker(2, "exec", "contiv-c2", "cat", "/etc/resolv.conf"); !strings.Contains(got, "nameserver 127.0.0.11") {
		t.Errorf("containers do not ask Docker's resolver: %s", got)
	}
	var output string
	c.eventually(15*time.Second, "contiv-c2 reaches contiv-c1 by name", func() bool { // A8
		cmd, err := c.OnHost(t.Context(), 2, "docker", "exec", "contiv-c2", "ping", "-c", "3", "contiv-c1")
		c.must(err)
		output, err = cmd.CombinedOutput()
		return err == nil && strings.Contains(output, "(10.1.2.1)") && strings.Contains(output, "ttl=64")
	})
}
