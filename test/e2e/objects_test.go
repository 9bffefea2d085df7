package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
)

// TestServiceProviders is what golden tutorial F3 shows before hosts balance load: containers with the labels, of the
// same tenant, come and go as providers.
func TestServiceProviders(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "contiv-srv-net", "-s", "100.1.1.0/24")
	c.ok("net", "create", "-t", "blue", "contiv-srv-net", "-s", "100.1.1.0/24")
	made := c.ok("service", "create", "app-svc", "--network", "contiv-srv-net", "--selector=tier=web", "--selector=environment=prod", "--port", "8080:80:TCP")
	if !strings.Contains(made, "level=warning msg=hosts do not balance load yet") || !strings.HasSuffix(made, "Creating ServiceLB default:app-svc\n") {
		t.Errorf("create printed %q", made)
	}
	both := map[string]string{"tier": "web", "environment": "prod", "release": "stable"}
	for _, w := range []sandbox.Workload{
		{Name: "one", Host: 1, Network: "contiv-srv-net", Labels: both},
		{Name: "two", Host: 2, Network: "contiv-srv-net", Labels: both},
		{Name: "half", Host: 2, Network: "contiv-srv-net", Labels: map[string]string{"tier": "web"}},
		{Name: "blue", Host: 1, Tenant: "blue", Network: "contiv-srv-net", Labels: both},
	} {
		c.run(w)
	}
	providers := func() client.ServiceLBOper {
		t.Helper()
		var got client.Inspection[client.ServiceLB, client.ServiceLBOper]
		if err := json.Unmarshal([]byte(c.ok("service", "inspect", "app-svc")), &got); err != nil {
			t.Fatal(err)
		}
		return got.Oper
	}
	got := providers()
	if got.ServiceVip != "100.1.1.1" || got.NumProviders != 2 || got.Providers[0].IPAddress[0] != "100.1.1.2" ||
		got.Providers[1].IPAddress[0] != "100.1.1.3" || got.Providers[0].HomingHost != "host1" || got.Providers[1].HomingHost != "host2" {
		t.Errorf("providers %+v", got)
	}
	c.must(c.Remove("one"))
	if got := providers(); got.NumProviders != 1 || got.Providers[0].HomingHost != "host2" {
		t.Errorf("providers after one is gone: %+v", got)
	}
	c.refused([]string{"has 1 services"}, "net", "rm", "contiv-srv-net")
}

// TestPolicyLeavesTrafficAlone: a policy with rules on a group with running workloads is stored, said not to be
// enforced, and disturbs nothing, also after the agent has started anew.
func TestPolicyLeavesTrafficAlone(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "n", "-s", "10.1.1.0/24")
	c.ok("group", "create", "n", "g")
	c.run(sandbox.Workload{Name: "a", Host: 1, Group: "g", Network: "n"})
	b := c.run(sandbox.Workload{Name: "b", Host: 2, Group: "g", Network: "n"})
	c.ok("policy", "create", "p")
	c.ok("policy", "rule-add", "p", "1", "--action", "deny")
	c.ok("netprofile", "create", "-b", "10Mbps", "np")
	if got := c.ok("group", "create", "n", "g", "-p", "p", "-n", "np"); strings.Count(got, "level=warning") != 2 {
		t.Errorf("attaching printed %q", got)
	}
	c.reaches("a", b.Addresses[0])
	c.must(c.Restart(t.Context(), sandbox.Netplugin, 1))
	c.waitReady()
	c.reaches("a", b.Addresses[0])
	var got client.Inspection[client.Policy, client.PolicyOper]
	if err := json.Unmarshal([]byte(c.ok("policy", "inspect", "p")), &got); err != nil || got.Oper.NumEndpoints != 2 {
		t.Errorf("policy %+v, %v", got, err)
	}
}
