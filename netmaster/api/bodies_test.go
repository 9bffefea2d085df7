package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/api"
)

// requestBody is a request that is accepted as it is.
type requestBody struct{ path, body string }

// requestBodies are the bodies of every object and call. What they name exists in the world of inhabited.
var requestBodies = map[string]requestBody{
	"tenant": {"/api/v1/tenants/t/", `{"tenantName":"t","defaultNetwork":"n1"}`},
	"network": {"/api/v1/networks/default:n2/", `{"tenantName":"default","networkName":"n2","nwType":"data","encap":"vxlan","pktTag":77,` +
		`"subnet":"10.2.0.0/24","gateway":"10.2.0.254","ipv6Subnet":"2001:db8::/64","ipv6Gateway":"2001:db8::1","cfgdTag":"tag"}`},
	"endpointGroup": {"/api/v1/endpointGroups/default:g2/", `{"tenantName":"default","groupName":"g2","networkName":"n1",` +
		`"ipPool":"10.1.9.50-10.1.9.60","policies":["p"],"netProfile":"np","extContractsGrps":["x"],"cfgdTag":"tag"}`},
	"policy": {"/api/v1/policys/default:p2/", `{"tenantName":"default","policyName":"p2"}`},
	"rule": {"/api/v1/rules/default:p:1/", `{"tenantName":"default","policyName":"p","ruleId":"1","direction":"in","priority":7,` +
		`"fromEndpointGroup":"g","fromIpAddress":"10.1.9.7","fromNetwork":"","toEndpointGroup":"","toIpAddress":"","toNetwork":"","protocol":"tcp","port":80,"action":"allow"}`},
	"netprofile": {"/api/v1/netprofiles/default:np2/", `{"tenantName":"default","profileName":"np2","bandwidth":"10 Mbps","DSCP":3,"burst":80}`},
	"serviceLB": {"/api/v1/serviceLBs/default:s/", `{"tenantName":"default","serviceName":"s","networkName":"n1","ipAddress":"10.1.9.200",` +
		`"ports":["80:8080:TCP"],"selectors":["app=web"]}`},
	"Bgp":        {"/api/v1/Bgps/h1/", `{"hostname":"h1","routerip":"50.1.1.1/24","as":"65001","neighbor-as":"65002","neighbor":"50.1.1.2"}`},
	"global":     {"/api/v1/globals/global/", `{"name":"global","networkInfraType":"default","vlans":"1-100","vxlans":"1-2000","fwdMode":"bridge","arpMode":"flood","pvtSubnet":"172.19.0.0/16"}`},
	"aciGw":      {"/api/v1/aciGws/aciGw/", `{"name":"aciGw","physicalDomain":"d","nodeBindings":"topology/pod-1/node-1","pathBindings":"topology/pod-1/paths-1/pathep-[eth1/1]","enforcePolicies":"yes","includeCommonTenant":"no"}`},
	"appProfile": {"/api/v1/appProfiles/default:a/", `{"tenantName":"default","appProfileName":"a","endpointGroups":["g"]}`},
	"extContractsGroup": {"/api/v1/extContractsGroups/default:x2/", `{"tenantName":"default","contractsGroupName":"x2","contractsType":"provided",` +
		`"contracts":["uni/tn-common/brc-1"]}`},
	"allocAddress":   {"/plugin/allocAddress", `{"NetworkID":"n1.default","AddressPool":"10.1.9.0/24","PreferredIPv4Address":"10.1.9.9"}`},
	"releaseAddress": {"/plugin/releaseAddress", `{"NetworkID":"n1.default","IPv4Address":"10.1.9.9/24"}`},
	"createEndpoint": {"/plugin/createEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"c","EPCommonName":"web",` +
		`"ConfigEP":{"Container":"c","Host":"h1","IPAddress":"10.1.9.1","IPv6Address":"","ServiceName":"g"}}`},
	"updateEndpoint": {"/plugin/updateEndpoint", `{"IPAddress":"10.1.9.1","ContainerID":"e","Tenant":"default","Network":"n1","EndpointID":"e","EPCommonName":"x","Event":"start","Labels":{"a":"b"}}`},
	"deleteEndpoint": {"/plugin/deleteEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"e","ServiceName":"","IPv4Address":"10.1.9.2"}`},
}

// prompt are agents that have acknowledged everything, so that numbers are free again at once.
type prompt struct{}

func (prompt) Acknowledged(int64) []string { return nil }
func (prompt) Connected(string) bool       { return true }

func inhabited(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.objects.SetAgents(prompt{})
	r.network("default", "n1", `"subnet":"10.1.9.0/24"`)
	r.must("POST", "/api/v1/policys/default:p/", `{"tenantName":"default","policyName":"p"}`)
	r.must("POST", "/api/v1/netprofiles/default:np/", `{"tenantName":"default","profileName":"np"}`)
	r.must("POST", "/api/v1/extContractsGroups/default:x/", `{"tenantName":"default","contractsGroupName":"x","contractsType":"provided"}`)
	r.group("default", "g", "")
	r.host("h1", nil)
	r.must("POST", "/plugin/createEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"e","ConfigEP":{"Container":"e","Host":"h1","IPAddress":"10.1.9.2"}}`)
	return r
}

// refusedChangesNothing sends a body and tells whether it was accepted. Whatever it is, the server neither fails nor
// panics; refused, it leaves no trace in the store; accepted, the object can be read, and reads the same to everybody.
func (r *rig) refusedChangesNothing(handler http.Handler, path, body string) bool {
	r.t.Helper()
	before, err := r.store.Revision(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	ask := func(method, body string) *httptest.ResponseRecorder {
		request := httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer
	}
	answer := ask(http.MethodPost, body)
	shown := body[:min(len(body), 200)]
	if answer.Code >= http.StatusInternalServerError || answer.Code < http.StatusOK || answer.Code != http.StatusOK && answer.Body.Len() > 8000 {
		r.t.Errorf("%s %q: %d %.300s", path, shown, answer.Code, answer.Body)
	}
	if answer.Code != http.StatusOK {
		after, err := r.store.Revision(r.t.Context())
		if err != nil || after != before {
			r.t.Errorf("%s %q was refused with %d %.300s and changed the store: %d, before %d, %v", path, shown, answer.Code, answer.Body, after, before, err)
		}
		return false
	}
	if !json.Valid(answer.Body.Bytes()) {
		r.t.Errorf("%s %q is answered by what is no JSON: %.300s", path, shown, answer.Body)
	}
	if !strings.HasPrefix(path, "/plugin/") {
		defer ask(http.MethodDelete, "") // so that the next one can be made
		if again := ask(http.MethodGet, ""); again.Code != http.StatusOK || again.Body.String() != answer.Body.String() {
			r.t.Errorf("%s %q is answered by %.300s, and read as %d %.300s", path, shown, answer.Body, again.Code, again.Body)
		}
	}
	return true
}

// odd are JSON texts that hardly any member can have.
func odd() map[string]string {
	return map[string]string{
		"null": "null", "true": "true", "number": "1", "negative": "-1", "fraction": "1.5", "exponent": "1e400", "long number": strings.Repeat("9", 400),
		"empty text": `""`, "text": `"ä b"`, "escapes": `"\u0000\ud800\n"`, "bad escape": `"\q"`, "not UTF-8": "\"\xff\"", "control": "\"\x01\"",
		"list": "[]", "lists": "[[[]]]", "list of null": "[null]", "list of numbers": "[1,2]", "list of empty": `[""]`, "object": "{}", "objects": `{"a":{"b":{}}}`,
		"deep": strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "deep objects": strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
		"huge text": `"` + strings.Repeat("x", 300000) + `"`, "huge list": "[" + strings.Repeat(`"a",`, 50000) + `"a"]`, "nothing": "",
	}
}

// TestBodies sends, for every object and call, its body with everything wrong that there is, one thing at a time.
func TestBodies(t *testing.T) {
	for name, right := range requestBodies {
		t.Run(name, func(t *testing.T) {
			var members map[string]json.RawMessage
			if err := json.Unmarshal([]byte(right.body), &members); err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(maps.Keys(members))
			r := inhabited(t)
			handler := api.Handler(r.options)
			send := func(body string) bool { return r.refusedChangesNothing(handler, right.path, body) }
			for cut := range right.body {
				send(right.body[:cut])
			}
			for what, value := range odd() {
				for _, member := range names {
					send(with(members, member, value))
				}
				if send(value) && name != "global" { // whose fields have all a value already
					t.Errorf("%s alone is accepted", what)
				}
			}
			for _, text := range []string{
				right.body + "x", right.body + right.body, "[" + right.body + "]", "\ufeff" + right.body, "'" + right.body, right.body[:len(right.body)-1] + ",}",
				strings.Repeat(" ", 2<<20) + right.body,
				strings.Replace(right.body, `":"`, `":"`+"\xff", 1), strings.Replace(right.body, `{"`, `{"`+"\xff", 1),
			} {
				if send(text) {
					t.Errorf("accepted: %.100q", text)
				}
			}
			for _, unknown := range []string{
				"", `"key":"other",`, `"links":{"Tenant":{"type":"x","key":"y"}},`, `"link-sets":7,`, `"fromTheFuture":{"a":[1]},`, `"":null,`,
			} {
				if strings.HasPrefix(right.path, "/plugin/") { // what was done may not be done twice
					r = inhabited(t)
					handler = api.Handler(r.options)
				}
				if !send("{" + unknown + right.body[1:]) {
					t.Errorf("refused with the unknown members %s", unknown)
				}
			}
		})
	}
}

// with is the object with another value of one member.
func with(members map[string]json.RawMessage, member, value string) string {
	var out []string
	for name, raw := range members {
		text := string(raw)
		if name == member {
			text = value
		}
		out = append(out, fmt.Sprintf("%q:%s", name, text))
	}
	slices.Sort(out)
	return "{" + strings.Join(out, ",") + "}"
}

// TestDuplicateMembers: of a member that is there twice the last is meant, as everywhere in Go; the key is checked
// against that one.
func TestDuplicateMembers(t *testing.T) {
	r := inhabited(t)
	handler := api.Handler(r.options)
	if r.refusedChangesNothing(handler, "/api/v1/tenants/a/", `{"tenantName":"a","tenantName":"b"}`) {
		t.Error("the key of the URL and of the object differ")
	}
	if !r.refusedChangesNothing(handler, "/api/v1/tenants/b/", `{"tenantName":"a","tenantName":"b"}`) {
		t.Error("refused")
	}
}

// FuzzBodies sends any body to any object or call.
func FuzzBodies(f *testing.F) {
	names := slices.Sorted(maps.Keys(requestBodies))
	rnd := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // choices of a test
	for i, name := range names {
		body := requestBodies[name].body
		f.Add(uint8(i), body) //nolint:gosec // few
		cut := rnd.IntN(len(body))
		f.Add(uint8(i), body[:cut]+"\xff"+body[cut:])       //nolint:gosec // few
		f.Add(uint8(i), strings.ReplaceAll(body, "1", "0")) //nolint:gosec // few
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		r := inhabited(t)
		r.refusedChangesNothing(api.Handler(r.options), requestBodies[names[int(which)%len(names)]].path, body)
	})
}
