package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// TestMetrics: the figures of both daemons are those of the cluster.
func TestMetrics(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2, NetmasterArgs: []string{"--pprof"}, NetpluginArgs: []string{"--pprof"}})
	pair(c)
	has := func(page string, lines ...string) func() bool {
		return func() bool {
			var got string
			if page == "netmaster" {
				_, got = c.rest("GET", "/metrics", "")
			} else {
				got = c.onHost(1, "curl", "-sSf", "--max-time", "5", "http://127.0.0.1:9090/metrics")
			}
			for _, line := range lines {
				if !strings.Contains(got, "\n"+line) {
					return false
				}
			}
			return true
		}
	}
	for page, lines := range map[string][]string{
		"netmaster": {
			`contiv_netmaster_leader 1`, `contiv_netmaster_agents_connected 2`, `contiv_netmaster_hosts 2`,
			`contiv_netmaster_objects{kind="endpoint"} 2`, `contiv_netmaster_pool_used{pool="address"} 2`,
			`contiv_netmaster_agent_lag_revisions{host="` + c.HostName(1) + `"} 0`, `contiv_netmaster_orphans{held="no"} 0`,
			`contiv_netmaster_not_realised_records 0`, `contiv_netmaster_skipped_records 0`,
		},
		"netplugin": {
			`contiv_netplugin_connected 1`, `contiv_netplugin_switch_connected 1`, `contiv_netplugin_endpoints 1`,
			`contiv_netplugin_attach_seconds_count{phase="all"} 1`, `contiv_netplugin_attach_seconds_count{phase="port"} 1`,
			`contiv_netplugin_attach_seconds_count{phase="netmaster"} 1`, `contiv_netplugin_registrations_total 1`,
			`contiv_netplugin_not_realised_records 0`, `contiv_netplugin_pending_changes 0`,
		},
	} {
		for _, line := range lines {
			c.eventually(10*time.Second, page+" says "+line, has(page, line))
		}
	}
	if status, _ := c.rest("GET", "/debug/pprof/heap", ""); status != 200 {
		t.Errorf("profile of netmaster: %d", status)
	}
	c.onHost(1, "curl", "-sSf", "--max-time", "5", "-o", "/dev/null", "http://127.0.0.1:9090/debug/pprof/heap")
	c.must(c.Kill(sandbox.Netmaster, 1))
	c.must(c.Start(t.Context(), sandbox.Netmaster, 1))
	c.waitReady()
	c.eventually(10*time.Second, "the reconnect is counted", has("netplugin", "contiv_netplugin_registrations_total 2", "contiv_netplugin_connected 1"))
}
