package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/ofnet/protocol"
)

// oldClient is a program written for the original: its Go library sends a keyed POST without Accept, closes the
// connection after each request and takes 200 with JSON for success.
type oldClient struct{ *rig }

func (c oldClient) send(method, path, body string) (int, string) {
	c.t.Helper()
	status, got, header := c.ask(method, path, body, "Connection", "close", "X-Auth-Token", "eyJ.x.y", "Content-Type", "application/json")
	if kind := header.Get("Content-Type"); status == http.StatusOK && path[:7] != "/debug/" && kind != "application/json" {
		c.t.Errorf("%s %s: content type %q", method, path, kind)
	}
	if status == http.StatusOK && !strings.HasSuffix(got, "\n") {
		c.t.Errorf("%s %s: no newline at the end", method, path)
	}
	return status, got
}

// TestOldClient drives every collection as the original's client library does: POST and PUT alike, with and without
// the slash at the end, and DELETE that answers the key.
func TestOldClient(t *testing.T) {
	r := newRig(t, nil)
	c := oldClient{r}
	objects := samples()
	for _, o := range objects {
		for _, path := range []string{"/api/v1/" + o.collection + "/" + o.key + "/", "/api/v1/" + o.collection + "/" + o.key} {
			for _, method := range []string{http.MethodPost, http.MethodPut} { // the first creates
				status, got := c.send(method, path, `{"key":"`+o.key+`","links":{"Tenant":{"type":"tenant","key":"other"}},"link-sets":{},`+o.body[1:])
				if status != http.StatusOK || !strings.HasPrefix(got, `{"key":"`+o.key+`",`) || strings.Contains(got, "other") {
					t.Errorf("%s %s: %d %s", method, path, status, got)
				}
			}
			if status, got := c.send(http.MethodGet, path, ""); status != http.StatusOK || !strings.HasPrefix(got, `{"key":"`+o.key+`",`) {
				t.Errorf("GET %s: %d %s", path, status, got)
			}
		}
		for _, path := range []string{"/api/v1/" + o.collection + "/", "/api/v1/" + o.collection} {
			if status, got := c.send(http.MethodGet, path, ""); status != http.StatusOK || !strings.HasPrefix(got, "[{") {
				t.Errorf("GET %s: %d %s", path, status, got)
			}
		}
		for _, path := range []string{"/api/v1/inspect/" + o.collection + "/" + o.key + "/", "/api/v1/inspect/" + o.collection + "/" + o.key} {
			if status, got := c.send(http.MethodGet, path, ""); status != http.StatusOK || !strings.HasPrefix(got, `{"Config":{"key":"`+o.key+`",`) {
				t.Errorf("GET %s: %d %s", path, status, got)
			}
		}
	}
	for i := len(objects) - 1; i >= 0; i-- {
		o := objects[i]
		if o.collection == "globals" {
			continue
		}
		path := "/api/v1/" + o.collection + "/" + o.key + "/"
		if status, got := c.send(http.MethodDelete, path, ""); status != http.StatusOK || got != `"`+o.key+"\"\n" {
			t.Errorf("DELETE %s: %d %s", path, status, got)
		}
		if status, _ := c.send(http.MethodDelete, path, ""); status != http.StatusNotFound { // which the library takes for success
			t.Errorf("DELETE %s again: %d", path, status)
		}
	}
	if status, got := c.send(http.MethodGet, "/api/v1//networks/./", ""); status != http.StatusMovedPermanently {
		t.Errorf("a path that is not clean: %d %s", status, got)
	}
}

// TestTokenIsPassedOn: what an authenticating proxy put into a request reaches the leader through a follower.
func TestTokenIsPassedOn(t *testing.T) {
	leader := newRig(t, nil)
	seen := make(chan string, 2)
	follower := newRig(t, nil)
	watched := watch(t, leader.url, func(r *http.Request) { seen <- r.Header.Get("X-Auth-Token") + " " + r.Method + " " + r.URL.Path })
	follower.cluster.follow(watched)
	c := oldClient{follower}
	if status, got := c.send("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`); status != http.StatusOK || !strings.HasPrefix(got, `{"key":"blue"`) {
		t.Errorf("POST: %d %s", status, got)
	}
	if status, got := c.send("DELETE", "/api/v1/tenants/blue", ""); status != http.StatusOK || got != "\"blue\"\n" {
		t.Errorf("DELETE: %d %s", status, got)
	}
	for _, want := range []string{"eyJ.x.y POST /api/v1/tenants/blue/", "eyJ.x.y DELETE /api/v1/tenants/blue"} {
		if got := <-seen; got != want {
			t.Errorf("the leader was asked %q, want %q", got, want)
		}
	}
}

// TestDebugOfnet: endpoints and rules in the words of the original.
func TestDebugOfnet(t *testing.T) {
	r := newRig(t, nil)
	c := oldClient{r}
	for _, o := range samples()[:8] {
		r.must("PUT", "/api/v1/"+o.collection+"/"+o.key+"/", o.body)
	}
	r.must("PUT", "/api/v1/rules/blue:p:2/", `{"tenantName":"blue","policyName":"p","ruleId":"2","direction":"out","action":"deny","protocol":"tcp","toNetwork":"n1"}`)
	r.endpoint(protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{Host: "h1", ContainerID: "c1", IfName: "eth0"}, Tenant: "blue", Network: "n1", Groups: []string{"g1"},
	})
	r.agents.set(distribute.HostStatus{Host: "h1", Connected: true, Address: "192.0.2.7:40000", Desired: 9, Acknowledged: 8})
	_, got := c.send("GET", "/debug/ofnet", "")
	var out struct {
		MyAddr                                    string
		MyPort                                    int
		AgentDB, EndpointDB, PolicyDB, AgentStats map[string]any
	}
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatal(err)
	}
	if out.MyAddr != "192.0.2.10" || out.MyPort != 9999 {
		t.Errorf("at %s %d", out.MyAddr, out.MyPort)
	}
	for what, tc := range map[string]struct {
		in   map[string]any
		key  string
		want string
	}{
		"agent":    {out.AgentDB, "192.0.2.7:40000", `{"HostAddr":"192.0.2.7","HostPort":40000,"Hostname":"h1"}`},
		"stats":    {out.AgentStats, "h1", `{"Acknowledged":8,"Desired":9,"NotRealised":0}`},
		"endpoint": {out.EndpointDB, "h1/c1/eth0", `{"EndpointGroup":1,"EndpointID":"h1/c1/eth0","EndpointType":"internal","IpAddr":"10.1.2.5","Ipv6Addr":"2001:db8::1","MacAddrStr":"02:02:0a:01:02:05","OriginatorIp":"","Vlan":1,"Vni":1,"Vrf":"blue"}`},
		"towards":  {out.PolicyDB, "blue:g1:blue:p:blue:p:1:inRx", `{"Action":"allow","DstEndpointGroup":1,"DstIpAddr":"","DstPort":80,"IpProtocol":6,"Priority":2,"RuleId":"blue:g1:blue:p:blue:p:1:inRx","SrcEndpointGroup":1,"SrcIpAddr":"","SrcPort":0,"TcpFlags":""}`},
		"back":     {out.PolicyDB, "blue:g1:blue:p:blue:p:1:inTx", `{"Action":"allow","DstEndpointGroup":1,"DstIpAddr":"","DstPort":0,"IpProtocol":6,"Priority":2,"RuleId":"blue:g1:blue:p:blue:p:1:inTx","SrcEndpointGroup":1,"SrcIpAddr":"","SrcPort":80,"TcpFlags":""}`},
		"set-up":   {out.PolicyDB, "blue:g1:blue:p:blue:p:2:outTx", `{"Action":"deny","DstEndpointGroup":0,"DstIpAddr":"10.1.2.0/24","DstPort":0,"IpProtocol":6,"Priority":1,"RuleId":"blue:g1:blue:p:blue:p:2:outTx","SrcEndpointGroup":1,"SrcIpAddr":"","SrcPort":0,"TcpFlags":"syn,!ack"}`},
	} {
		data, err := json.Marshal(tc.in[tc.key])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, what, string(data), tc.want)
	}
	if len(out.PolicyDB) != 3 {
		t.Errorf("rules %v", out.PolicyDB)
	}
}

// TestGone: what the original took away says so, and what to use.
func TestGone(t *testing.T) {
	c := oldClient{newRig(t, nil)}
	for path, want := range map[string]string{
		"/desired-config": "/openapi.json", "/add-config": "PUT", "/del-config": "DELETE", "/host-bindings-config": "/openapi.json",
		"/networks": "/api/v1/networks/", "/network/x": "/api/v1/inspect/networks/", "/endpoints/x": "/api/v1/inspect/endpoints/", "/endpoint": "endpoints",
	} {
		for _, method := range []string{"GET", "POST"} {
			if status, got := c.send(method, path, "{}"); status != http.StatusGone || !strings.Contains(got, want) {
				t.Errorf("%s %s: %d %s", method, path, status, got)
			}
		}
	}
}

// watch puts a proxy before a netmaster that sees the requests, and returns its address.
func watch(t *testing.T, target string, see func(*http.Request)) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return strings.TrimPrefix(server.URL, "http://")
}
