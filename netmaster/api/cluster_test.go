package api_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/ofnet/protocol"
)

func TestEndpointLookup(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	r.network("default", "n2", `"subnet":"10.1.3.0/24"`)
	for _, e := range []protocol.CreateEndpointRequest{
		{ID: protocol.EndpointID{Host: "h1", ContainerID: "abcdef01", IfName: "eth0"}, Network: "n1", ContainerName: "web", RuntimeID: "dock1"},
		{ID: protocol.EndpointID{Host: "h1", ContainerID: "abcdef01", IfName: "eth1"}, Network: "n2", ContainerName: "web", RuntimeID: "dock2"},
		{ID: protocol.EndpointID{Host: "h2", ContainerID: "abcd9999", IfName: "eth0"}, Network: "n1", ContainerName: "abcdef0", RuntimeID: "dock3"},
		{ID: protocol.EndpointID{Host: "h2", ContainerID: "77", IfName: "eth0"}, Network: "n1", ContainerName: "77"},
	} {
		e.Tenant = "default"
		r.endpoint(e)
	}
	for key, want := range map[string]string{
		"h1/abcdef01/eth0": "10.1.2.1", "h1/abcdef01/eth0/": "10.1.2.1", "h1%2Fabcdef01%2Feth1": "10.1.3.1",
		"dock2": "10.1.3.1", "abcd9999": "10.1.2.2", "abcd9": "10.1.2.2", "77": "10.1.2.3",
		"abcdef0": "10.1.2.2", // a whole name goes before the beginning of an id
		"web":     "409 h1/abcdef01/eth0, h1/abcdef01/eth1", "abcdef01": "409 h1/abcdef01/eth0, h1/abcdef01/eth1",
		"abcd": "409 h1/abcdef01/eth0, h1/abcdef01/eth1, h2/abcd9999/eth0",
		"abc":  "404", "bcdef01": "404", "we": "404", "h1/abcdef01": "404", "h1/abcdef01/eth2": "404", strings.Repeat("x", 10000): "404",
	} {
		status, body, _ := r.ask("GET", "/api/v1/inspect/endpoints/"+key, "")
		ok := status == http.StatusOK && strings.Contains(body, `{"Oper":{`) && strings.Contains(body, `"ipAddress":["`+want+`",""]`)
		switch code, names, _ := strings.Cut(want, " "); code {
		case "404":
			ok = status == http.StatusNotFound
		case "409":
			ok = status == http.StatusConflict && strings.HasSuffix(strings.TrimSpace(body), ": "+names)
		}
		if !ok {
			t.Errorf("%.20s: %d %s, want %s", key, status, body, want)
		}
	}
	found, err := r.api.InspectEndpoint(t.Context(), "h1/abcdef01/eth1")
	if err != nil || found.Oper.IPAddress[0] != "10.1.3.1" {
		t.Errorf("client: %+v, %v", found, err)
	}
}

func TestFollowerForwardsWrites(t *testing.T) {
	leader := newRig(t, nil)
	follower := newRig(t, nil)
	follower.cluster.follow(strings.TrimPrefix(leader.url, "http://"))
	follower.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	leader.must("GET", "/api/v1/tenants/blue/", "")
	if status, body, _ := follower.ask("POST", "/api/v1/tenants/a_b/", `{"tenantName":"a_b"}`); status != 400 || !strings.Contains(body, "invalid format") {
		t.Errorf("refusal of the leader: %d %s", status, body)
	}
	if status, body, _ := follower.ask("POST", "/api/v1/tenants/c/", strings.Repeat("x", 2<<20)); status != 413 {
		t.Errorf("large body: %d %s", status, body)
	}
	leader.cluster.follow(strings.TrimPrefix(follower.url, "http://")) // each thinks that the other leads
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "no netmaster leads") {
		t.Errorf("loop: %d %s", status, body)
	}
	follower.cluster.follow("")
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "no netmaster leads") {
		t.Errorf("no leader: %d %s", status, body)
	}
	follower.cluster.follow("127.0.0.1:1")
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "leader at 127.0.0.1:1") {
		t.Errorf("dead leader: %d %s", status, body)
	}
}

// TestFollowerAsksForReports: what only the leader knows in full is its answer, also at a follower; and the follower's own
// while the leader does not answer.
func TestFollowerAsksForReports(t *testing.T) {
	leader, follower := newRig(t, nil), newRig(t, nil)
	for _, r := range []*rig{leader, follower} { // they have no store in common
		r.must("POST", "/api/v1/policys/default:p/", `{"tenantName":"default","policyName":"p"}`)
	}
	leader.must("POST", "/api/v1/rules/default:p:only-there/", `{"tenantName":"default","policyName":"p","ruleId":"only-there","direction":"in","action":"allow"}`)
	leader.agents.set(distribute.HostStatus{Host: "h1", Connected: true, Address: "192.0.2.1:5000"})
	for address, there := range map[string]bool{strings.TrimPrefix(leader.url, "http://"): true, "127.0.0.1:1": false, "": false} {
		follower.cluster.follow(address)
		for path, known := range map[string]string{"/api/v1/inspect/policys/default:p/": "only-there", "/debug/ofnet": "192.0.2.1:5000"} {
			if body := follower.must("GET", path, ""); strings.Contains(body, known) != there {
				t.Errorf("leader %q, %s: %s", address, path, body)
			}
		}
	}
}

func TestVersionInfoAndAgents(t *testing.T) {
	r := newRig(t, nil)
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true, Address: "192.0.2.1:5000"}, distribute.HostStatus{Host: "h2", Address: "192.0.2.2:5000"})
	if v, err := r.api.Version(t.Context()); err != nil || v.Version == "" {
		t.Errorf("version %+v, %v", v, err)
	}
	equal(t, "info", r.must("GET", "/info", ""), `{"local-ip":"192.0.2.10","leader-ip":"192.0.2.10:9999","current-state":"leader",`+
		`"netplugin-nodes":["192.0.2.1"],"netmaster-nodes":["192.0.2.10:9999","192.0.2.11:9999"]}`)
	r.cluster.follow("192.0.2.11:9999")
	equal(t, "info of a follower", r.must("GET", "/info/", ""), `{"local-ip":"192.0.2.10","leader-ip":"192.0.2.11:9999","current-state":"follower",`+
		`"netplugin-nodes":[],"netmaster-nodes":["192.0.2.10:9999","192.0.2.11:9999"]}`)
	r.cluster.lead()
	r.host("h1", nil)
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true, Desired: 9, Acknowledged: 8, NotRealised: make([]protocol.NotRealised, 2)})
	info, err := r.api.Info(t.Context())
	want := []client.HostInfo{{Host: "h1", MTU: 1500, Connected: true, Desired: 9, Acknowledged: 8, NotRealised: 2}}
	if err != nil || !slices.Equal(info.Hosts, want) || len(info.Warnings) != 0 {
		t.Errorf("hosts: %+v, %v", info, err)
	}
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	r.endpoint(protocol.CreateEndpointRequest{ID: protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}, Tenant: "default", Network: "n1"})
	if _, err := r.objects.RegisterHost(t.Context(), &protocol.RegisterRequest{Host: "h2", MTU: 1400}); err != nil {
		t.Fatal(err)
	}
	r.store.SetUnavailable(true) // the leader tells from memory
	if info, err = r.api.Info(t.Context()); err != nil || len(info.Hosts) != 2 || len(info.Warnings) != 1 {
		t.Errorf("a small host came late: %+v, %v", info, err)
	}
	r.store.SetUnavailable(false)
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true})
	if body := r.must("GET", "/debug/ofnet", ""); !strings.Contains(body, `"host":"h1","connected":true`) {
		t.Errorf("debug: %s", body)
	}
	if status, body, _ := r.ask("HEAD", "/version", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

func TestCleanup(t *testing.T) {
	r := newRig(t, nil)
	r.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	for _, tenant := range []string{"default", "blue"} {
		r.network(tenant, "n1", `"subnet":"10.1.2.0/24"`)
		r.group(tenant, "g1", "")
		for _, host := range []string{"gone", "here"} {
			r.endpoint(protocol.CreateEndpointRequest{
				ID:     protocol.EndpointID{Host: host, ContainerID: tenant + "-" + host, IfName: "eth0"},
				Tenant: tenant, Network: "n1", Groups: []string{"g1"}, IPv4: netip.Addr{},
			})
		}
	}
	r.agents.set(distribute.HostStatus{Host: "here", Connected: true})
	const base = "/debug/epcleanup/tenant/"
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"default/group/g", 404, "no endpoint to release"},
		{"red/net/n1", 404, "no endpoint to release"},
		{"default/ep/default-gon", 404, "no endpoint to release"},
		{"blue/ep/default-gone", 404, "no endpoint to release"},
		{"default/ep/default-here", 404, "1 are plugged in on hosts that are connected"},
		{"default/pod/x", 400, "category \"pod\" is unknown"},
		{"default/group/g1", 409, "?force=true"}, // its agent may only be restarting
		{"default/group/g1?force=true", 200, "released 1 endpoint(s) of group g1 in tenant default: gone/default-gone/eth0"},
		{"default/group/g1", 404, "1 are plugged in on hosts that are connected"},
		{"blue/ep/gone/blue-gone/eth0?force=true", 200, "released 1 endpoint(s) of ep gone/blue-gone/eth0 in tenant blue"},
	} {
		status, body, _ := r.ask("DELETE", base+tc.path, "")
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %s; want %d with %q", tc.path, status, body, tc.status, tc.want)
		}
	}
	got, err := r.api.Networks().Inspect(t.Context(), "default:n1")
	if err != nil || got.Oper.NumEndpoints != 1 {
		t.Errorf("endpoints left: %+v, %v", got, err)
	}
	r.host("here", []protocol.Attachment{}) // it no longer has what it had
	if body := r.must("GET", "/debug/ofnet", ""); !strings.Contains(body, `"orphans":[{"id":"here/blue-here/eth0"`) {
		t.Errorf("debug: %s", body)
	}
	if info, err := r.api.Info(t.Context()); err != nil || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], `"here" no longer has 2`) {
		t.Errorf("info: %+v, %v", info, err)
	}
	if body := r.must("DELETE", base+"default/net/n1", ""); !strings.Contains(body, "here/default-here/eth0") {
		t.Errorf("orphan: %s", body)
	}
	for path, want := range map[string]string{
		"gone": "200 host gone is given up", "none": "404 host not found", "gone/": "200 host gone",
	} {
		status, body, _ := r.ask("DELETE", "/debug/epcleanup/host/"+path, "")
		if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(got, want) {
			t.Errorf("host %s: %s; want %s", path, got, want)
		}
	}
	if got, err := r.api.Networks().Inspect(t.Context(), "blue:n1"); err != nil || got.Oper.NumEndpoints != 1 {
		t.Errorf("endpoints left: %+v, %v", got, err)
	}
	if status, _, _ := r.ask("GET", base+"default/net/n1", ""); status != 405 {
		t.Errorf("GET: %d", status)
	}
}
