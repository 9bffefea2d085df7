package api_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestHostStates: a host is connected, silent or dead; a connected one is never released, one that fell silent just now
// only by force, and what a silent one had goes with it. When it comes back it is told what it lost.
func TestHostStates(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24"`)
	had := protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}
	r.endpoint(protocol.CreateEndpointRequest{ID: had, Tenant: "default", Network: "n1"})
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true, Since: since, Desired: 9, Acknowledged: 8,
		NotRealised: []protocol.NotRealised{{Kind: protocol.KindEndpoint, Key: "k", Reason: "why"}}})
	hosts, err := r.api.Hosts(t.Context())
	if err != nil || len(hosts) != 1 {
		t.Fatal(hosts, err)
	}
	h := hosts[0]
	if h.State != client.HostConnected || !h.Since.Equal(since) || h.Endpoints != 1 || h.Acknowledged != 8 || h.Desired != 9 ||
		h.MTU != 1500 || len(h.Warnings) != 1 || !strings.Contains(h.Warnings[0], "did not realise 1 records") {
		t.Errorf("%+v", h)
	}
	found, err := r.api.InspectHost(t.Context(), "h1")
	if err != nil || len(found.Oper.EndpointList) != 1 || found.Oper.EndpointList[0].ModelKey != had.String() ||
		!slices.Equal(found.Oper.Problems, []client.HostProblem{{Kind: "endpoint", Key: "k", Reason: "why"}}) {
		t.Errorf("%+v, %v", found, err)
	}

	seen := since.Add(time.Hour)
	r.agents.set(distribute.HostStatus{Host: "h1", LastSeen: seen})
	if body := r.must("GET", "/api/v1/hosts/h1", ""); !strings.Contains(body, `"state":"silent","since":"2026-01-02T04:04:05Z"`) {
		t.Errorf("silent: %s", body)
	}
	if _, err := r.api.ReleaseHost(t.Context(), "h1", false); client.StatusOf(err) != http.StatusConflict {
		t.Errorf("released just after it was heard of: %v", err)
	}
	done, err := r.api.ReleaseHost(t.Context(), "h1", true)
	if err != nil || !slices.Equal(done.Released, []string{had.String()}) {
		t.Errorf("%+v, %v", done, err)
	}
	if body := r.must("GET", "/api/v1/inspect/hosts/h1/", ""); !strings.Contains(body, `"state":"dead"`) || strings.Contains(body, "endpointList") {
		t.Errorf("dead: %s", body)
	}
	if _, err := r.api.ReleaseHost(t.Context(), "h2", true); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("unknown host: %v", err)
	}

	back, err := r.objects.RegisterHost(t.Context(), &protocol.RegisterRequest{Host: "h1", MTU: 1500, Attachments: []protocol.Attachment{{
		ID: had, Tenant: "default", Network: "n1", IPv4: netip.MustParseAddr("10.1.2.1"), MAC: "02:02:0a:01:02:01",
	}}})
	if err != nil || !slices.Equal(back.Lost, []protocol.EndpointID{had}) {
		t.Errorf("the host that came back was told %+v, %v", back, err)
	}
}

// TestEndpointLists: endpoints are listed by what they belong to, orphans are marked, and can be released one by one.
func TestEndpointLists(t *testing.T) {
	r := newRig(t, nil)
	r.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	for _, tenant := range []string{"default", "blue"} {
		r.network(tenant, "n1", `"subnet":"10.1.2.0/24"`)
		r.group(tenant, "g1", "")
		for _, host := range []string{"h1", "h2"} {
			r.endpoint(protocol.CreateEndpointRequest{
				ID: protocol.EndpointID{Host: host, ContainerID: tenant, IfName: "eth0"}, Tenant: tenant, Network: "n1", Groups: []string{"g1"},
			})
		}
	}
	r.endpoint(protocol.CreateEndpointRequest{ID: protocol.EndpointID{Host: "h1", ContainerID: "x", IfName: "eth0"}, Tenant: "blue", Network: "n1"})
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true})
	r.host("h1", []protocol.Attachment{})
	for _, tc := range []struct {
		which client.EndpointFilter
		want  string
	}{
		{client.EndpointFilter{}, "h1/blue/eth0 h1/default/eth0 h1/x/eth0 h2/blue/eth0 h2/default/eth0"},
		{client.EndpointFilter{Tenant: "blue"}, "h1/blue/eth0 h1/x/eth0 h2/blue/eth0"},
		{client.EndpointFilter{Tenant: "blue", Network: "n1", Host: "h1"}, "h1/blue/eth0 h1/x/eth0"},
		{client.EndpointFilter{Tenant: "blue", Group: "g1"}, "h1/blue/eth0 h2/blue/eth0"},
		{client.EndpointFilter{Group: "g1", Host: "h2"}, "h2/blue/eth0 h2/default/eth0"},
		{client.EndpointFilter{Orphaned: true}, "h1/blue/eth0 h1/default/eth0 h1/x/eth0"},
		{client.EndpointFilter{Orphaned: true, Tenant: "default"}, "h1/default/eth0"},
		{client.EndpointFilter{Tenant: "red"}, ""},
	} {
		found, err := r.api.Endpoints(t.Context(), tc.which)
		var keys []string
		for _, e := range found {
			keys = append(keys, e.ModelKey)
			if (e.Orphaned != nil) != (e.HomingHost == "h1") || e.Orphaned != nil && !e.Orphaned.Held {
				t.Errorf("%s: orphaned %+v", e.ModelKey, e.Orphaned)
			}
		}
		if got := strings.Join(keys, " "); err != nil || got != tc.want {
			t.Errorf("%+v: %s, %v; want %s", tc.which, got, err, tc.want)
		}
	}
	for _, query := range []string{"endpoints/?orphaned=maybe", "endpoints/?tenantName=blue", "endpoints/?host=h1&host=h2", "hosts/?state=dead"} {
		if status, body, _ := r.ask("GET", "/api/v1/"+query, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	if body := r.must("GET", "/api/v1/endpoints/h1/x/eth0/", ""); !strings.Contains(body, `"key":"h1/x/eth0"`) || !strings.Contains(body, `"held":true`) {
		t.Errorf("one: %s", body)
	}
	if done, err := r.api.ReleaseEndpoint(t.Context(), "h1/x/eth0", false); err != nil || !slices.Equal(done.Released, []string{"h1/x/eth0"}) {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := r.api.ReleaseEndpoint(t.Context(), "h2/blue/eth0", false); client.StatusOf(err) != http.StatusConflict {
		t.Errorf("a host that was heard of just now: %v", err)
	}
	got, err := r.api.Networks().Inspect(t.Context(), "blue:n1")
	if err != nil || got.Oper.RestingIPAddresses != "" { // this rig lets no address rest
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEndpointOfDockerContainer: docker's endpoint id is what its drivers are told; when the container starts, the
// endpoint is found by what "docker ps" shows, and inspected with the original's fields.
func TestEndpointOfDockerContainer(t *testing.T) {
	r := newRig(t, nil)
	const container, endpoint = "9f86d081884c7d65", "e5e5e5e5"
	for _, network := range []string{"n1", "n2"} {
		r.network("default", network, `"subnet":"10.1.`+network[1:]+`.0/24"`)
		id := protocol.EndpointID{Host: "h1", ContainerID: endpoint + network, IfName: "eth0"}
		r.endpoint(protocol.CreateEndpointRequest{ID: id, Tenant: "default", Network: network})
		event := &protocol.ProviderEvent{Event: "start", ID: id, ContainerName: "web", RuntimeID: container + network}
		if _, err := r.objects.UpdateEndpoint(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{container + "n1", container + "n", endpoint + "n1", "h1/" + endpoint + "n1/eth0"} {
		found, err := r.api.InspectEndpoint(t.Context(), key)
		if key == container+"n" {
			if client.StatusOf(err) != http.StatusConflict {
				t.Errorf("%s: %+v, %v", key, found, err)
			}
			continue
		}
		if err != nil || found.Oper.ContainerID != container+"n1" || found.Oper.EndpointID != endpoint+"n1" {
			t.Errorf("%s: %+v, %v", key, found, err)
		}
	}
}

// TestKeysWithSlashes: what cannot be a key is answered as one that is not there, and why.
func TestKeysWithSlashes(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/api/v1/networks/default:a%2Fb/", "/api/v1/inspect/networks/default:a/b", "/api/v1/tenants/a/b"} {
		if status, body, _ := r.ask("GET", path, ""); status != http.StatusNotFound || !strings.Contains(body, "no name or key holds a slash") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body, _ := r.ask("GET", "/api/v1/nets/", ""); status != http.StatusNotFound || !strings.Contains(body, "hosts and endpoints") {
		t.Errorf("%d %s", status, body)
	}
}
