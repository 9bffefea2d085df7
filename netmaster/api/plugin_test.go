package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// plugin makes a call of the original's plugins.
func (r *rig) plugin(call, body string) (int, string) {
	r.t.Helper()
	status, answer, _ := r.ask("POST", "/plugin/"+call, body, "Content-Type", "application/json")
	return status, strings.TrimSpace(answer)
}

// says checks the answer of a call.
func (r *rig) says(call, body string, status int, want string) {
	r.t.Helper()
	if got, answer := r.plugin(call, body); got != status || !strings.Contains(answer, want) {
		r.t.Errorf("%s %s: %d %s; want %d %s", call, body, got, answer, status, want)
	}
}

func TestPluginCalls(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24","gateway":"10.1.2.1","ipv6Subnet":"2001:db8::/64"`)
	r.group("default", "g1", `,"ipPool":"10.1.2.50-10.1.2.59"`)
	r.host("h1", nil)

	r.says("allocAddress", `{"NetworkID":"n1.default"}`, 200, `{"NetworkID":"n1.default","IPv4Address":"10.1.2.2/24"}`)
	r.says("allocAddress", `{"NetworkID":"n1:g1.default"}`, 200, `"IPv4Address":"10.1.2.50/24"`)
	r.says("allocAddress", `{"AddressPool":"10.1.2.0/24:default"}`, 200, `"IPv4Address":"10.1.2.3/24"`)
	r.says("allocAddress", `{"AddressPool":"2001:db8::/64"}`, 200, `"IPv4Address":"2001:db8::1/64"`)
	r.says("allocAddress", `{"NetworkID":"n1.default","PreferredIPv4Address":"10.1.2.77"}`, 200, `"10.1.2.77/24"`)
	r.says("allocAddress", `{"NetworkID":"n1.default","PreferredIPv4Address":"10.1.2.77"}`, 409, "reserved")
	r.says("allocAddress", `{"NetworkID":"n1.default","PreferredIPv4Address":"10.1.3.77"}`, 400, "not in subnet")
	r.says("allocAddress", `{"NetworkID":"n2.default"}`, 404, "network not found")
	r.says("allocAddress", `{"AddressPool":"10.9.2.0/24"}`, 404, "network not found")
	r.says("allocAddress", `{}`, 404, "network not found")
	r.says("releaseAddress", `{"NetworkID":"n1.default|pool","IPv4Address":"10.1.2.77/24"}`, 200, `"success"`)
	r.says("releaseAddress", `{"NetworkID":"n1.default","IPv4Address":"10.1.2.77"}`, 200, `"success"`) // again
	r.says("allocAddress", `{"NetworkID":"n1.default","PreferredIPv4Address":"10.1.2.77"}`, 200, `"10.1.2.77/24"`)

	const create = `{"TenantName":"default","NetworkName":"n1","EndpointID":"ep1","EPCommonName":"web","ConfigEP":{"Container":"c1","Host":"h1","IPAddress":"10.1.2.77"}}`
	const record = `{"EndpointConfig":{"id":"n1.default-c1","netID":"n1.default","endpointID":"ep1","serviceName":"","endpointGroupId":0,"endpointGroupKey":"",` +
		`"ipAddress":"10.1.2.77","ipv6Address":"2001:db8::2","macAddress":"02:02:0a:01:02:4d","homingHost":"h1","intfName":"plugin-n1","vtepIP":"",` +
		`"labels":null,"containerId":"c1","epCommonName":"web"}}`
	r.says("createEndpoint", create, 200, record)
	r.says("createEndpoint", create, 200, record)
	r.says("createEndpoint", strings.Replace(create, `"h1"`, `"h2"`, 1), 404, "has not registered")
	r.says("createEndpoint", `{"TenantName":"default","NetworkName":"n1","ConfigEP":{"Container":"c2","Host":"h1","ServiceName":"g1","IPAddress":"10.1.2.50"}}`,
		200, `"endpointGroupKey":"g1:default","ipAddress":"10.1.2.50"`)
	r.says("updateEndpoint", `{"Tenant":"default","Network":"n1","EndpointID":"ep1","ContainerID":"c1","IPAddress":"10.1.2.77","EPCommonName":"web","Event":"start","Labels":{"a":"b"}}`,
		200, `{"IPAddress":"10.1.2.77"}`)
	r.says("updateEndpoint", `{"Tenant":"default","Network":"g1","ContainerID":"c2","Event":"die"}`, 200, `{"IPAddress":""}`)
	r.says("updateEndpoint", `{"Tenant":"default","Network":"n1","EndpointID":"none","Event":"die"}`, 200, "null")
	r.says("updateEndpoint", `{"Tenant":"default","Network":"n1","EndpointID":"none","Event":"start"}`, 404, "endpoint not found")
	if got := r.must("GET", "/api/v1/inspect/endpoints/ep1/", ""); !strings.Contains(got, `"labels":"map[a:b]"`) {
		t.Errorf("endpoint %s", got)
	}
	r.says("deleteEndpoint", `{"TenantName":"other","NetworkName":"n1","EndpointID":"ep1"}`, 404, "endpoint not found")
	r.says("deleteEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"ep1"}`, 200, `"ipAddress":"10.1.2.77"`)
	r.says("deleteEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"ep1"}`, 404, "endpoint not found")

	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "agents", IfName: "eth0"}, Tenant: "default", Network: "n1",
	})
	r.says("deleteEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"agents"}`, 409, "its host's agent removes it")
	if status, _, _ := r.ask("GET", "/plugin/allocAddress", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
}

// TestPluginNamesWithDots: an id that means two networks is refused, one that means one is understood.
func TestPluginNamesWithDots(t *testing.T) {
	r := newRig(t, nil)
	for _, tenant := range []string{"c", "b.c"} {
		r.must("POST", "/api/v1/tenants/"+tenant+"/", `{"tenantName":"`+tenant+`"}`)
	}
	r.network("c", "a.b", `"subnet":"10.1.0.0/24"`)
	r.says("allocAddress", `{"NetworkID":"a.b.c"}`, 200, "10.1.0.1/24")
	r.network("b.c", "a", `"subnet":"10.2.0.0/24"`)
	r.says("allocAddress", `{"NetworkID":"a.b.c"}`, 409, "mean 2 networks")
	r.must("POST", "/api/v1/endpointGroups/c:g.h/", `{"tenantName":"c","networkName":"a.b","groupName":"g.h"}`)
	r.says("allocAddress", `{"NetworkID":"a.b:g.h.c"}`, 200, "10.1.0.2/24")
	if _, err := r.objects.DeleteEndpointGroup(t.Context(), state.ModelKey("c", "g.h")); err != nil {
		t.Error(err)
	}
}
