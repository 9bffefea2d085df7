package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
)

// TestServiceProviders is what golden tutorial F3 shows: containers with the labels, of the same tenant, come and go as
// providers.
func TestServiceProviders(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "contiv-srv-net", "-s", "100.1.1.0/24")
	c.ok("net", "create", "-t", "blue", "contiv-srv-net", "-s", "100.1.1.0/24")
	made := c.ok("service", "create", "app-svc", "--network", "contiv-srv-net", "--selector=tier=web", "--selector=environment=prod", "--port", "8080:80:TCP")
	if made != "Creating ServiceLB default:app-svc\n" {
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

// TestPolicyInForce: a rule of a policy that a group gets holds on all hosts of its endpoints, which is told, also after
// an agent has started anew; without the rule all is as before.
func TestPolicyInForce(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "n", "-s", "10.1.1.0/24")
	c.ok("group", "create", "n", "g")
	c.run(sandbox.Workload{Name: "a", Host: 1, Group: "g", Network: "n"})
	b := c.run(sandbox.Workload{Name: "b", Host: 2, Group: "g", Network: "n"})
	c.reaches("a", b.Addresses[0])
	c.ok("policy", "create", "p")
	c.ok("policy", "rule-add", "p", "1", "--action", "deny")
	if got := c.ok("group", "create", "n", "g", "-p", "p"); strings.Contains(got, "level=warning") {
		t.Errorf("attaching printed %q", got)
	}
	var got client.Inspection[client.Policy, client.PolicyOper]
	inForce := func() bool {
		if err := json.Unmarshal([]byte(c.ok("policy", "inspect", "p")), &got); err != nil {
			t.Fatal(err)
		}
		r := got.Oper.Realised
		return r != nil && r.Hosts == 2 && r.Of == 2 && len(r.Missing) == 0 && !r.Since.IsZero()
	}
	c.eventually(10*time.Second, "the policy on both hosts", inForce)
	c.isolated("a", b.Addresses[0])
	if got.Oper.NumEndpoints != 2 {
		t.Errorf("policy %+v", got)
	}
	c.must(c.Restart(t.Context(), sandbox.Netplugin, 1))
	c.waitReady()
	c.isolated("a", b.Addresses[0])
	c.ok("policy", "rule-rm", "p", "1")
	c.reaches("a", b.Addresses[0])
}

// TestSeveralGroups: a workload in two groups is subject to the policies of both, and a peer under either name.
func TestSeveralGroups(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "n", "-s", "10.1.1.0/24")
	c.ok("policy", "create", "closed", "--default-deny", "in")
	c.ok("policy", "create", "open")
	c.ok("group", "create", "n", "web", "-p", "closed")
	c.ok("group", "create", "n", "db", "-p", "open")
	c.ok("group", "create", "n", "friends")
	c.ok("group", "create", "n", "others")
	c.ok("policy", "rule-add", "open", "1", "--from-group", "friends", "--protocol", "icmp")
	web := c.run(sandbox.Workload{Name: "web", Host: 1, Group: "web"})
	both := c.run(sandbox.Workload{Name: "both", Host: 1, Group: "web,db"})
	c.run(sandbox.Workload{Name: "friend", Host: 2, Group: "others,friends"})
	c.run(sandbox.Workload{Name: "stranger", Host: 2, Group: "others"})
	c.isolated("stranger", both.Addresses[0])
	c.isolated("friend", web.Addresses[0])
	c.reaches("friend", both.Addresses[0])
	c.reaches("both", c.run(sandbox.Workload{Name: "alone", Host: 2, Network: "n"}).Addresses[0])
}
