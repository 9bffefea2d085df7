package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/ofnet/protocol"
)

func TestNetworkOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	got := r.network("default", "n1", `"subnet":"10.1.2.0/24","gateway":"10.1.2.1",`+
		`"key":"ignored","link-sets":{"EndpointGroups":{"x":{}}},"links":{"Tenant":{"key":"x"}},"fromTheFuture":1`)
	const want = `{"key":"default:n1","encap":"vxlan","gateway":"10.1.2.1","networkName":"n1","nwType":"data","subnet":"10.1.2.0/24",` +
		`"tenantName":"default","link-sets":{},"links":{"Tenant":{"type":"tenant","key":"default"}}}`
	equal(t, "answer of POST", got, want)
	for _, path := range []string{"/api/v1/networks/default:n1/", "/api/v1/networks/default:n1", "/api/v1/networks/default:n1/?consistency=cache"} {
		equal(t, path, r.must("GET", path, ""), want)
	}
	for _, path := range []string{"/api/v1/networks/", "/api/v1/networks"} {
		equal(t, path, r.must("GET", path, ""), "["+want+"]")
	}
	equal(t, "the same again", r.must("PUT", "/api/v1/networks/default:n1/", want), want)

	r.group("default", "g1", `,"ipPool":"10.1.2.10-10.1.2.19"`)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c0ffee", IfName: "eth0"}, Tenant: "default", Network: "n1",
		ContainerName: "web", Labels: map[string]string{"b": "2", "a": "1"},
	})
	equal(t, "inspect", r.must("GET", "/api/v1/inspect/networks/default:n1/", ""),
		`{"Config":{"key":"default:n1","encap":"vxlan","gateway":"10.1.2.1","networkName":"n1","nwType":"data","subnet":"10.1.2.0/24",`+
			`"tenantName":"default","link-sets":{"EndpointGroups":{"default:g1":{"type":"endpointGroup","key":"default:g1"}}},`+
			`"links":{"Tenant":{"type":"tenant","key":"default"}}},`+
			`"Oper":{"allocatedAddressesCount":1,"allocatedIPAddresses":"10.1.2.1-10.1.2.2, 10.1.2.10-10.1.2.19",`+
			`"availableIPAddresses":"10.1.2.3-10.1.2.9, 10.1.2.20-10.1.2.254",`+
			`"endpoints":[{"containerID":"c0ffee","containerName":"web","endpointID":"c0ffee","homingHost":"h1","intfName":"eth0",`+
			`"ipAddress":["10.1.2.2",""],"labels":"map[a:1 b:2]","macAddress":"02:02:0a:01:02:02","network":"n1.default"}],`+
			`"externalPktTag":1,"networkTag":"n1.default","numEndpoints":1,"pktTag":1}}`)

	r.group("default", "g1", `,"ipPool":"10.1.2.10-10.1.2.19"`) // the same again
	status, body, _ := r.ask("DELETE", "/api/v1/networks/default:n1/", "")
	if status != http.StatusConflict || !strings.Contains(body, "has 1 endpoint groups") {
		t.Errorf("delete of a used network: %d %s", status, body)
	}
	equal(t, "delete", r.must("DELETE", "/api/v1/endpointGroups/default:g1/", ""), `"default:g1"`)
}

func TestVLANNetworkAndRange(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "v", `"encap":"vlan","pktTag":112,"subnet":"10.1.3.50-10.1.3.60/24","gateway":"10.1.3.1","ipv6Subnet":"2001:db8::/64"`)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "default", Network: "v",
	})
	got, err := r.api.Networks().Inspect(t.Context(), "default:v")
	if err != nil {
		t.Fatal(err)
	}
	o := got.Oper
	if o.PktTag != 112 || o.ExternalPktTag != 0 || o.AllocatedAddressesCount != 2 ||
		o.AllocatedIPAddresses != "10.1.3.50" || o.AvailableIPAddresses != "10.1.3.51-10.1.3.60" {
		t.Errorf("figures %+v", o)
	}
	if ips := o.Endpoints[0].IPAddress; len(ips) != 2 || ips[0] != "10.1.3.50" || ips[1] != "2001:db8::1" {
		t.Errorf("addresses %q", ips)
	}
}

func TestGroupOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.2.2.0/24"`)
	const want = `{"key":"default:g1","groupName":"g1","ipPool":"10.2.2.5-10.2.2.10","networkName":"n1","tenantName":"default","link-sets":{},` +
		`"links":{"AppProfile":{},"NetProfile":{},"Network":{"type":"network","key":"default:n1"},"Tenant":{"type":"tenant","key":"default"}}}`
	equal(t, "answer", r.group("default", "g1", `,"ipPool":"10.2.2.5-10.2.2.10"`), want)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "default", Network: "n1", Groups: []string{"g1"},
		RuntimeID: "docker-endpoint",
	})
	equal(t, "inspect", r.must("GET", "/api/v1/inspect/endpointGroups/default:g1", ""),
		`{"Config":`+want+`,"Oper":{"allocatedIPAddresses":"10.2.2.5","availableIPAddresses":"10.2.2.6-10.2.2.10",`+
			`"endpoints":[{"containerID":"c1","endpointGroupId":1,"endpointGroupKey":"g1:default","endpointID":"docker-endpoint","homingHost":"h1",`+
			`"intfName":"eth0","ipAddress":["10.2.2.5",""],"labels":"map[]","macAddress":"02:02:0a:02:02:05","network":"n1.default",`+
			`"serviceName":"g1"}],"externalPktTag":1,"groupTag":"g1.default","numEndpoints":1,"pktTag":1}}`)
}

func TestGroupPoolsInNetworkReport(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.2.2.0/24"`)
	for name, pool := range map[string]string{"a": "10.2.2.5-10.2.2.10", "b": "10.2.2.11-10.2.2.30", "c": "10.2.2.31-10.2.2.132", "d": "10.2.2.133-10.2.2.180"} {
		r.group("default", name, `,"ipPool":"`+pool+`"`)
	}
	got, err := r.api.Networks().Inspect(t.Context(), "default:n1")
	if err != nil {
		t.Fatal(err)
	}
	if got.Oper.AllocatedIPAddresses != "10.2.2.5-10.2.2.180" || got.Oper.AvailableIPAddresses != "10.2.2.1-10.2.2.4, 10.2.2.181-10.2.2.254" {
		t.Errorf("figures %+v", got.Oper)
	}
}

func TestTenantOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	equal(t, "answer", r.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`), `{"key":"blue","tenantName":"blue","link-sets":{}}`)
	r.network("blue", "n1", `"subnet":"10.1.2.0/24"`)
	r.group("blue", "g1", "")
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "blue", Network: "n1",
	})
	const endpoint = `[{"containerID":"c1","endpointID":"c1","homingHost":"h1","intfName":"eth0","ipAddress":["10.1.2.1",""],` +
		`"labels":"map[]","macAddress":"02:02:0a:01:02:01","network":"n1.blue"}]`
	equal(t, "inspect", r.must("GET", "/api/v1/inspect/tenants/blue/", ""),
		`{"Config":{"key":"blue","tenantName":"blue","link-sets":{"EndpointGroups":{"blue:g1":{"type":"endpointGroup","key":"blue:g1"}},`+
			`"Networks":{"blue:n1":{"type":"network","key":"blue:n1"}}}},`+
			`"Oper":{"endpointGroups":[{"externalPktTag":1,"pktTag":1}],"endpoints":`+endpoint+`,`+
			`"networks":[{"allocatedAddressesCount":1,"allocatedIPAddresses":"10.1.2.1","availableIPAddresses":"10.1.2.2-10.1.2.254",`+
			`"endpoints":`+endpoint+`,"externalPktTag":1,"numEndpoints":1,"pktTag":1}],"totalEPGs":1,"totalEndpoints":1,"totalNetworks":1}}`)
	equal(t, "list", r.must("GET", "/api/v1/tenants/?consistency=cache", ""),
		`[{"key":"blue","tenantName":"blue","link-sets":{"EndpointGroups":{"blue:g1":{"type":"endpointGroup","key":"blue:g1"}},`+
			`"Networks":{"blue:n1":{"type":"network","key":"blue:n1"}}}},{"key":"default","tenantName":"default","link-sets":{}}]`)
}

func TestGlobalOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	const want = `{"key":"global","arpMode":"proxy","fwdMode":"bridge","name":"global","networkInfraType":"default","pvtSubnet":"172.19.0.0/16",` +
		`"vlans":"1-4094","vxlans":"1-10000"}`
	equal(t, "list", r.must("GET", "/api/v1/globals/", ""), "["+want+"]")
	equal(t, "one field", r.must("POST", "/api/v1/globals/global/", `{"name":"global","vxlans":"100-200"}`),
		strings.Replace(want, "1-10000", "100-200", 1))
	r.network("default", "n1", `"subnet":"10.1.1.0/24"`)
	r.network("default", "n2", `"subnet":"10.1.2.0/24"`)
	r.network("default", "n3", `"subnet":"10.1.3.0/24","pktTag":150`)
	r.network("default", "n4", `"subnet":"10.1.4.0/24","encap":"vlan"`)
	equal(t, "inspect", r.must("GET", "/api/v1/inspect/globals/global/", ""),
		`{"Config":`+strings.Replace(want, "1-10000", "100-200", 1)+`,"Oper":{"clusterMode":"docker","freeVXLANsStart":99,"numNetworks":4,`+
			`"vlansInUse":"1","vxlansInUse":"100-101, 150"}}`)
	status, body, _ := r.ask("DELETE", "/api/v1/globals/global/", "")
	if status != http.StatusConflict || !strings.Contains(body, "cannot be deleted") {
		t.Errorf("delete: %d %s", status, body)
	}
}

func TestExhaustedPool(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/30"`)
	r.host("h1", nil)
	for i, id := range []string{"a", "b", "c"} {
		_, _, err := r.objects.CreateEndpoint(t.Context(), &protocol.CreateEndpointRequest{
			ID: protocol.EndpointID{Host: "h1", ContainerID: id, IfName: "eth0"}, Tenant: "default", Network: "n1",
		})
		if (i == 2) != (objects.KindOf(err) == objects.Exhausted && err != nil) {
			t.Errorf("endpoint %d: %v", i, err)
		}
	}
	got, err := r.api.Networks().Inspect(t.Context(), "default:n1")
	if err != nil || got.Oper.AvailableIPAddresses != "" || got.Oper.AllocatedIPAddresses != "10.1.2.1-10.1.2.2" {
		t.Errorf("figures %+v, %v", got, err)
	}
}
