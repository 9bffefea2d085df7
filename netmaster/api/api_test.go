package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a netmaster without agents and election on a store in memory.
type rig struct {
	t       *testing.T
	store   *memory.Store
	objects *objects.Objects
	options api.Options
	agents  *agents
	cluster *cluster
	log     *strings.Builder
	// registered hosts, by name
	registered map[string]bool
	url        string
	api        *client.Client
}

// agents are what a test says they are.
type agents struct {
	mu    sync.Mutex
	hosts []distribute.HostStatus
}

func (a *agents) Hosts() []distribute.HostStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hosts)
}

func (a *agents) set(hosts ...distribute.HostStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = hosts
}

// cluster is what a test says it is.
type cluster struct {
	mu     sync.Mutex
	leader string
	self   bool
}

func (c *cluster) Leader() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, c.self
}

func (c *cluster) set(leader string, self bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.self = leader, self
}

func (c *cluster) LocalAddress() string { return "192.0.2.10:9999" }
func (c *cluster) Masters() []string    { return []string{"192.0.2.11:9999", "192.0.2.10:9999"} }

// newRig starts a netmaster; change, if not nil, has the last word on its options.
func newRig(t *testing.T, change func(*api.Options)) *rig {
	t.Helper()
	ctx := t.Context()
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	revision, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("lead", []byte("me"))}})
	if err != nil {
		t.Fatal(err)
	}
	words := new(strings.Builder)
	log := logrus.New()
	log.SetOutput(words)
	fence := func() (objdb.Compare, bool) { return objdb.Unchanged("lead", revision), true }
	book, err := ledger.Open(ctx, store, fence, logrus.NewEntry(log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	own := objects.New(book, objects.Options{}, logrus.NewEntry(log))
	if _, err := own.Seed(ctx, &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, store: store, objects: own, agents: new(agents), log: words, registered: map[string]bool{},
		cluster: &cluster{leader: "192.0.2.10:9999", self: true},
	}
	r.options = api.Options{
		Reader: book, Changes: api.ChangesOf(own), Agents: r.agents, Cluster: r.cluster, Mode: "docker", Log: logrus.NewEntry(log),
	}
	if change != nil {
		change(&r.options)
	}
	r.serve()
	return r
}

func (r *rig) serve() {
	r.t.Helper()
	server := httptest.NewServer(api.Handler(r.options))
	r.t.Cleanup(server.Close)
	r.url = server.URL
	var err error
	if r.api, err = client.New(server.URL, client.Options{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.api.Close)
}

// ask sends a request and returns status, body and headers. Pairs of header are name and value.
func (r *rig) ask(method, path, body string, header ...string) (int, string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.(*http.Transport).RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

// must sends a request that must succeed and returns the body.
func (r *rig) must(method, path, body string) string {
	r.t.Helper()
	status, got, _ := r.ask(method, path, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, status, got)
	}
	return got
}

func (r *rig) network(tenant, name, rest string) string {
	r.t.Helper()
	return r.must("POST", "/api/v1/networks/"+tenant+":"+name+"/",
		`{"tenantName":"`+tenant+`","networkName":"`+name+`",`+rest+`}`)
}

func (r *rig) group(tenant, network, name, rest string) string {
	r.t.Helper()
	return r.must("POST", "/api/v1/endpointGroups/"+tenant+":"+name+"/",
		`{"tenantName":"`+tenant+`","networkName":"`+network+`","groupName":"`+name+`"`+rest+`}`)
}

func (r *rig) endpoint(request protocol.CreateEndpointRequest) {
	r.t.Helper()
	r.host(request.ID.Host, nil)
	if _, _, err := r.objects.CreateEndpoint(r.t.Context(), &request); err != nil {
		r.t.Fatal(err)
	}
}

// host registers a host, the first time or with what it has plugged in.
func (r *rig) host(name string, attached []protocol.Attachment) {
	r.t.Helper()
	if r.registered[name] && attached == nil {
		return
	}
	r.registered[name] = true
	_, err := r.objects.RegisterHost(r.t.Context(), &protocol.RegisterRequest{Host: name, MTU: 1500, Attachments: attached})
	if err != nil {
		r.t.Fatal(err)
	}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

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

	r.group("default", "n1", "g1", `,"ipPool":"10.1.2.10-10.1.2.19"`)
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

	r.group("default", "n1", "g1", `,"ipPool":"10.1.2.10-10.1.2.19"`) // the same again
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
	equal(t, "answer", r.group("default", "n1", "g1", `,"ipPool":"10.2.2.5-10.2.2.10"`), want)
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
		r.group("default", "n1", name, `,"ipPool":"`+pool+`"`)
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
	r.group("blue", "n1", "g1", "")
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "blue", Network: "n1",
	})
	const endpoint = `[{"containerID":"c1","endpointID":"c1","homingHost":"h1","intfName":"eth0","ipAddress":["10.1.2.1",""],` +
		`"labels":"map[]","macAddress":"02:02:0a:01:02:01","network":"n1.blue"}]`
	equal(t, "inspect", r.must("GET", "/api/v1/inspect/tenants/blue/", ""),
		`{"Config":{"key":"blue","tenantName":"blue","link-sets":{"EndpointGroups":{"blue:g1":{"type":"endpointGroup","key":"blue:g1"}},`+
			`"Networks":{"blue:n1":{"type":"network","key":"blue:n1"}}}},`+
			`"Oper":{"endpointGroups":[{"externalPktTag":1,"pktTag":1}],`+
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

func TestBadInput(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.2.0/24","encap":"vlan","pktTag":112`)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "default", Network: "n1",
	})
	r.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	r.network("blue", "n1", `"subnet":"10.1.2.0/24"`)
	const net = "/api/v1/networks/default:x/"
	object := func(rest string) string { return `{"tenantName":"default","networkName":"x",` + rest + `}` }
	long := strings.Repeat("n", 10000)
	before := r.must("GET", "/api/v1/networks/", "")
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"no body", "POST", net, "", 400, "the body must be a JSON object"},
		{"not JSON", "POST", net, "{", 400, "the body is not JSON"},
		{"garbage", "POST", net, "\x00\xff", 400, "the body must be a JSON object"},
		{"list", "POST", net, "[]", 400, "the body must be a JSON object"},
		{"null", "POST", net, "null", 400, "the body must be a JSON object"},
		{"two objects", "POST", net, object(`"subnet":"10.9.0.0/24"`) + "{}", 400, "the body is not JSON"},
		{"text for a number", "POST", net, object(`"pktTag":"7"`), 400, "pktTag must be a whole number, not a string"},
		{"fraction", "POST", net, object(`"pktTag":1.5`), 400, "pktTag must be a whole number"},
		{"number for text", "POST", net, object(`"subnet":7`), 400, "subnet must be a string, not a number"},
		{"object for text", "POST", net, object(`"subnet":{}`), 400, "subnet must be a string, not a object"},
		{"deep nesting", "POST", net, object(`"x":` + strings.Repeat("[", 100000)), 400, "the body is not JSON"},
		{"2 MiB", "POST", net, object(`"cfgdTag":"` + strings.Repeat("x", 2<<20) + `"`), 413, "larger than 1048576 bytes"},
		{"other key", "POST", "/api/v1/networks/default:y/", object(`"subnet":"10.9.0.0/24"`), 400, "Invalid Key"},
		{"no names", "POST", net, `{"subnet":"10.9.0.0/24"}`, 400, "Invalid Key"},
		{"long name", "POST", "/api/v1/networks/default:" + long + "/", `{"tenantName":"default","networkName":"` + long + `","subnet":"10.9.0.0/24"}`,
			400, "networkName string too long"},
		{"bad name", "POST", "/api/v1/tenants/a_b/", `{"tenantName":"a_b"}`, 400, "tenantName string invalid format"},
		{"no subnet", "POST", net, object(`"encap":"vxlan"`), 400, "subnet string invalid format"},
		{"gateway outside", "POST", net, object(`"subnet":"10.9.0.0/24","gateway":"10.8.0.1"`), 400, "out of subnet 10.9.0.0/24"},
		{"overlap", "POST", net, object(`"subnet":"10.1.2.128/25"`), 409, "conflicts with subnet"},
		{"tag in use", "POST", net, object(`"subnet":"10.9.0.0/24","encap":"vlan","pktTag":112`), 409, "112"},
		{"unknown tenant", "POST", "/api/v1/networks/red:x/", `{"tenantName":"red","networkName":"x","subnet":"10.9.0.0/24"}`, 404, "Tenant not found"},
		{"changed network", "POST", "/api/v1/networks/default:n1/", `{"tenantName":"default","networkName":"n1","subnet":"10.8.0.0/24"}`, 409, "cannot change"},
		{"unknown network of a group", "POST", "/api/v1/endpointGroups/default:g/", `{"tenantName":"default","networkName":"no","groupName":"g"}`, 404, "not found"},
		{"pool outside", "POST", "/api/v1/endpointGroups/default:g/",
			`{"tenantName":"default","networkName":"n1","groupName":"g","ipPool":"10.9.0.1-10.9.0.2"}`, 400, "must be a subset of network"},
		{"active endpoints", "DELETE", "/api/v1/networks/default:n1/", "", 409, "active endpoints"},
		{"tenant in use", "DELETE", "/api/v1/tenants/blue/", "", 409, "has 1 networks"},
		{"default tenant", "DELETE", "/api/v1/tenants/default/", "", 409, "cannot be deleted"},
		{"delete of nothing", "DELETE", "/api/v1/networks/default:no/", "", 404, "network not found"},
		{"get of nothing", "GET", "/api/v1/networks/default:no/", "", 404, "network not found"},
		{"inspect of nothing", "GET", "/api/v1/inspect/tenants/no/", "", 404, "tenant not found"},
		{"other global", "GET", "/api/v1/globals/local/", "", 404, "global not found"},
		{"global with other name", "POST", "/api/v1/globals/local/", `{"name":"local"}`, 400, "Invalid Key"},
		{"fwdMode with networks", "POST", "/api/v1/globals/global/", `{"name":"global","fwdMode":"routing"}`, 409, "1 vlan"},
		{"vlan range in use", "POST", "/api/v1/globals/global/", `{"name":"global","vlans":"200-300"}`, 409, "112"},
		{"vxlan span", "POST", "/api/v1/globals/global/", `{"name":"global","vxlans":"1-20000"}`, 400, "vxlans Value Out of bound"},
		{"method on one", "PATCH", net, "", 405, "allowed are DELETE, GET, HEAD, POST, PUT"},
		{"method on all", "POST", "/api/v1/networks/", "{}", 405, "allowed are GET, HEAD"},
		{"method on inspect", "DELETE", "/api/v1/inspect/networks/default:n1/", "", 405, "allowed are GET, HEAD"},
		{"method on version", "DELETE", "/version", "", 405, "allowed are GET, HEAD"},
		{"unknown collection", "GET", "/api/v1/volumes/", "", 404, "collections are tenants, networks, endpointGroups, globals"},
		{"unknown object of one", "POST", "/api/v1/nonsense/x/", "{}", 404, "collections are"},
		{"unknown path", "GET", "/nothing", "", 404, "there is nothing at /nothing"},
		{"consistency", "GET", "/api/v1/networks/?consistency=weak", "", 400, "consistency \"weak\" is unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body, header := r.ask(tc.method, tc.path, tc.body)
			if status != tc.status || !strings.Contains(body, tc.want) {
				t.Errorf("%d %.300s; want %d with %q", status, body, tc.status, tc.want)
			}
			if len(body) > 1000 {
				t.Errorf("message of %d bytes", len(body))
			}
			if (status == 405) != (header.Get("Allow") != "") {
				t.Errorf("Allow is %q", header.Get("Allow"))
			}
		})
	}
	equal(t, "networks after all that", r.must("GET", "/api/v1/networks/", ""), before)
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

func TestProblemForClientsThatAskForJSON(t *testing.T) {
	r := newRig(t, nil)
	for accept, want := range map[string]string{
		"": "text/plain; charset=utf-8", "*/*": "text/plain; charset=utf-8", "text/html, */*;q=0.1": "text/plain; charset=utf-8",
		"application/json": client.ProblemType, "text/html, application/problem+json;q=0.9": client.ProblemType,
	} {
		status, body, header := r.ask("GET", "/api/v1/tenants/no/", "", "Accept", accept)
		if status != 404 || header.Get("Content-Type") != want {
			t.Errorf("accept %q: %d %s %s", accept, status, header.Get("Content-Type"), body)
		}
	}
	_, err := r.api.Tenants().Get(t.Context(), "no")
	refusal := (*client.Error)(nil)
	if !errors.As(err, &refusal) || refusal.Status != 404 || refusal.Message != `tenant not found: "no"` || client.StatusOf(err) != 404 {
		t.Errorf("client's error %#v", err)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	r := newRig(t, func(o *api.Options) {
		o.Changes.Tenants.Put = func(context.Context, *state.Tenant) (int64, error) { panic("secret words") }
		o.Changes.Tenants.Delete = func(context.Context, string) (int64, error) { return 0, errors.New("secret words") }
	})
	for method, body := range map[string]string{"POST": `{"tenantName":"t"}`, "DELETE": ""} {
		status, answer, _ := r.ask(method, "/api/v1/tenants/t/", body)
		if status != 500 || strings.Contains(answer, "secret") || strings.Contains(answer, "goroutine") {
			t.Errorf("%s: %d %s", method, status, answer)
		}
		id := strings.TrimSpace(answer[strings.LastIndexByte(strings.TrimSpace(answer), ' ')+1:])
		if len(id) != 36 || !strings.Contains(r.log.String(), id) || !strings.Contains(r.log.String(), "secret words") {
			t.Errorf("%s: request %q is not in the log:\n%s", method, id, r.log)
		}
	}
	r.must("GET", "/api/v1/tenants/", "")
}

func TestStoreGone(t *testing.T) {
	r := newRig(t, nil)
	r.store.SetUnavailable(true)
	for _, request := range [][2]string{{"GET", ""}, {"POST", `{"tenantName":"t"}`}} {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		status, body, header := r.ask(request[0], "/api/v1/tenants/t/", request[1])
		if status != 503 || !strings.Contains(body, "unavailable") || header.Get("Retry-After") == "" || ctx.Err() != nil {
			t.Errorf("%s: %d %s", request[0], status, body)
		}
	}
	equal(t, "what is at hand", r.must("GET", "/api/v1/tenants/?consistency=cache", ""), `[{"key":"default","tenantName":"default","link-sets":{}}]`)
	r.store.SetUnavailable(false)
	r.must("POST", "/api/v1/tenants/t/", `{"tenantName":"t"}`)
}

func TestFollowerForwardsWrites(t *testing.T) {
	leader := newRig(t, nil)
	follower := newRig(t, nil)
	follower.cluster.set(strings.TrimPrefix(leader.url, "http://"), false)
	follower.must("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	leader.must("GET", "/api/v1/tenants/blue/", "")
	if status, body, _ := follower.ask("POST", "/api/v1/tenants/a_b/", `{"tenantName":"a_b"}`); status != 400 || !strings.Contains(body, "invalid format") {
		t.Errorf("refusal of the leader: %d %s", status, body)
	}
	if status, body, _ := follower.ask("POST", "/api/v1/tenants/c/", strings.Repeat("x", 2<<20)); status != 413 {
		t.Errorf("large body: %d %s", status, body)
	}
	leader.cluster.set(strings.TrimPrefix(follower.url, "http://"), false) // each thinks that the other leads
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "no netmaster leads") {
		t.Errorf("loop: %d %s", status, body)
	}
	follower.cluster.set("", false)
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "no netmaster leads") {
		t.Errorf("no leader: %d %s", status, body)
	}
	follower.cluster.set("127.0.0.1:1", false)
	if status, body, _ := follower.ask("DELETE", "/api/v1/tenants/blue/", ""); status != 503 || !strings.Contains(body, "leader at 127.0.0.1:1") {
		t.Errorf("dead leader: %d %s", status, body)
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
	r.cluster.set("192.0.2.11:9999", false)
	equal(t, "info of a follower", r.must("GET", "/info/", ""), `{"local-ip":"192.0.2.10","leader-ip":"192.0.2.11:9999","current-state":"follower",`+
		`"netplugin-nodes":[],"netmaster-nodes":["192.0.2.10:9999","192.0.2.11:9999"]}`)
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
		r.group(tenant, "n1", "g1", "")
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
		{"default/group/g1", 200, "released 1 endpoint(s) of group g1 in tenant default: gone/default-gone/eth0"},
		{"default/group/g1", 404, "1 are plugged in on hosts that are connected"},
		{"blue/ep/gone/blue-gone/eth0", 200, "released 1 endpoint(s) of ep gone/blue-gone/eth0 in tenant blue"},
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
	if body := r.must("DELETE", base+"default/net/n1", ""); !strings.Contains(body, "here/default-here/eth0") {
		t.Errorf("orphan: %s", body)
	}
	if status, _, _ := r.ask("GET", base+"default/net/n1", ""); status != 405 {
		t.Errorf("GET: %d", status)
	}
}
