package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

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
		{"garbage", "POST", net, "\x00\xff", 400, "not UTF-8 text"},
		{"text", "POST", net, "hello", 400, "the body must be a JSON object"},
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
		{"unknown collection", "GET", "/api/v1/volume/", "", 404, "collections are tenants, networks, endpointGroups, globals, policys, rules"},
		{"volume", "GET", "/api/v1/volumes/default:v/", "", 404, "volume not found"},
		{"inspect of a volume", "GET", "/api/v1/inspect/volumeProfiles/default:v/", "", 404, "volumeProfile not found"},
		{"delete of a volume", "DELETE", "/api/v1/volumes/default:v/", "", 404, "volume not found"},
		{"new volume", "POST", "/api/v1/volumes/default:v/", "{}", 400, "Invalid object type"},
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
	r := newRig(t, func(o *api.Options) { o.Timeout = 300 * time.Millisecond })
	r.store.SetUnavailable(true)
	for _, request := range [][3]string{
		{"GET", "", "store unavailable: netmaster's store does not answer; try again when it does"},
		{"POST", `{"tenantName":"t"}`, "store unavailable: netmaster's store did not answer; the change may have been made or not, so look before you repeat it"},
	} {
		status, body, header := r.ask(request[0], "/api/v1/tenants/t/", request[1])
		if status != 503 || strings.TrimSpace(body) != request[2] || header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", request[0], status, body)
		}
	}
	equal(t, "what is at hand", r.must("GET", "/api/v1/tenants/?consistency=cache", ""), `[{"key":"default","tenantName":"default","link-sets":{}}]`)
	r.store.SetUnavailable(false)
	// What became of the transaction above is found out first, which may take longer than one request.
	for began := time.Now(); ; {
		status, body, _ := r.ask("POST", "/api/v1/tenants/t/", `{"tenantName":"t"}`)
		if status == http.StatusOK {
			return
		}
		if status != http.StatusServiceUnavailable || time.Since(began) > 10*time.Second {
			t.Fatalf("after the store has come back: %d %s", status, body)
		}
	}
}

func TestEveryRequestHasAPrincipal(t *testing.T) {
	var who api.Principal
	r := newRig(t, func(o *api.Options) {
		o.Changes.Tenants.Delete = func(ctx context.Context, _ string) (int64, error) {
			who = api.PrincipalOf(ctx)
			return 0, nil
		}
	})
	r.must("DELETE", "/api/v1/tenants/t", "")
	if who != api.Anonymous {
		t.Errorf("principal %+v", who)
	}
}

// TestRequestInTheLog: a request that may change something is one line, which says the same in JSON as in text.
func TestRequestInTheLog(t *testing.T) {
	var words bytes.Buffer
	log := logrus.New()
	log.SetOutput(&words)
	log.SetFormatter(&logrus.JSONFormatter{})
	r := newRig(t, func(o *api.Options) { o.Log = logrus.NewEntry(log) })
	server := httptest.NewRecorder()
	api.Handler(r.options).ServeHTTP(server, httptest.NewRequest(http.MethodPost, "/api/v1/tenants/blue/", strings.NewReader(`{"tenantName":"blue"}`)))
	var line struct {
		Method, Path, Principal, Request, Took string
		Status                                 int
	}
	if err := json.Unmarshal(words.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, words.String())
	}
	if took, err := time.ParseDuration(line.Took); err != nil || took <= 0 || line.Method != "POST" || line.Path != "/api/v1/tenants/blue/" ||
		line.Status != 200 || line.Principal != "anonymous" || line.Request != server.Header().Get("X-Request-Id") {
		t.Errorf("%v: %s", err, words.String())
	}
}
