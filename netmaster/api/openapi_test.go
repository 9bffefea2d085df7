package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestOpenAPIMatchesRouter: everything that is served is described, and nothing else.
func TestOpenAPIMatchesRouter(t *testing.T) {
	r := newRig(t, nil)
	described, err := api.Describe(r.options)
	if err != nil {
		t.Fatalf("openapi_docs.go does not match the router:\n%v", err)
	}
	for _, path := range []string{"/openapi.json", "/api/v1/openapi.json", "/api/v1/openapi.json/"} {
		equal(t, path, r.must("GET", path, ""), string(described))
	}
}

// TestOpenAPIKnowsParameters: the parameters that the code of this package reads are those that are described.
func TestOpenAPIKnowsParameters(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	reads := regexp.MustCompile(`(?:ask[A-Z]\w+ += |tenantField += |[qQ]uery(?:\(\))?(?:\.(?:Get|Has)\(|\[))"([a-zA-Z-]+)"`)
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range reads.FindAllStringSubmatch(string(source), -1) {
			read[found[1]] = !strings.HasSuffix(name, "_test.go") || read[found[1]]
		}
	}
	described := map[string]bool{}
	document := newRig(t, nil).must("GET", "/openapi.json", "")
	document = regexp.MustCompile(`"name":"[a-zA-Z-]+","in":"query","description":"only those whose `).ReplaceAllString(document, "") // members
	for _, found := range regexp.MustCompile(`"name":"([a-zA-Z-]+)","in":"query"`).FindAllStringSubmatch(document, -1) {
		described[found[1]] = true
	}
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(read)); !slices.Equal(got, want) {
		t.Errorf("the document has the query parameters %q, the code reads %q", got, want)
	}
}

// contract is a document that requests and answers are held against. Members that it does not name are wrong.
type contract struct {
	t         *testing.T
	validator validator.Validator
	// answered counts the answers by operation and status.
	answered map[string]int
}

func newContract(t *testing.T, r *rig) *contract {
	t.Helper()
	published := r.must("GET", "/openapi.json", "")
	validate(t, []byte(published))
	return &contract{t, validate(t, strict(t, published)), map[string]int{}}
}

// validate holds a document against the OpenAPI specification.
func validate(t *testing.T, data []byte) validator.Validator {
	t.Helper()
	document, err := libopenapi.NewDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	out, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, problems := out.ValidateDocument(); !ok {
		for _, p := range problems {
			t.Errorf("%s: %s", p.Message, p.Reason)
			for _, s := range p.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.Location)
			}
		}
		t.FailNow()
	}
	return out
}

// strict closes all schemas of objects.
func strict(t *testing.T, document string) []byte {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(document), &tree); err != nil {
		t.Fatal(err)
	}
	schemas := tree["components"].(map[string]any)["schemas"].(map[string]any)
	for _, schema := range schemas {
		s := schema.(map[string]any)
		if s["type"] == "object" && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
	}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// check holds one answer, and its request if that was accepted, against the document.
func (c *contract) check(request *http.Request, sent string, response *http.Response, got string) {
	c.t.Helper()
	what := request.Method + " " + request.URL.String()
	c.answered[request.Method+" "+response.Status]++
	response.Body = io.NopCloser(strings.NewReader(got))
	if ok, problems := c.validator.ValidateHttpResponse(request, response); !ok {
		for _, p := range problems {
			c.t.Errorf("%s: %d %s\n%s: %s", what, response.StatusCode, got, p.Message, p.Reason)
			for _, s := range p.SchemaValidationErrors {
				c.t.Errorf("  %s at %s", s.Reason, s.Location)
			}
		}
	}
	if response.StatusCode != http.StatusOK {
		return
	}
	request.Body = io.NopCloser(strings.NewReader(sent))
	if ok, problems := c.validator.ValidateHttpRequest(request); !ok {
		for _, p := range problems {
			c.t.Errorf("%s %s was accepted, but %s: %s", what, sent, p.Message, p.Reason)
		}
	}
}

// ask sends a request, with and without asking for JSON errors, and checks the answers.
func (c *contract) ask(r *rig, method, path, body string, want int) {
	c.t.Helper()
	for _, accept := range []string{"", "application/json"} {
		request, err := http.NewRequestWithContext(c.t.Context(), method, r.url+path, bytes.NewReader([]byte(body)))
		if err != nil {
			c.t.Fatal(err)
		}
		request.Close = true
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		if accept != "" {
			if method == http.MethodDelete && want == http.StatusOK {
				break // it is gone
			}
			request.Header.Set("Accept", accept)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			c.t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		if response.StatusCode != want {
			c.t.Errorf("%s %s: %d %s, want %d", method, path, response.StatusCode, data, want)
		}
		c.check(request, body, response, string(data))
	}
}

// sample is an object of each collection, in an order in which they can be made.
type sample struct{ collection, key, body string }

func samples() []sample {
	return []sample{
		{"tenants", "blue", `{"tenantName":"blue"}`},
		{"globals", "global", `{"name":"global","arpMode":"flood","fwdMode":"bridge","vlans":"1-4000","vxlans":"1-9000","pvtSubnet":"172.19.0.0/16","networkInfraType":"default"}`},
		{"networks", "blue:n1", `{"tenantName":"blue","networkName":"n1","subnet":"10.1.2.0/24","gateway":"10.1.2.254","encap":"vxlan","ipv6Subnet":"2001:db8::/64"}`},
		{"netprofiles", "blue:np", `{"tenantName":"blue","profileName":"np","bandwidth":"10 Mbps","DSCP":3,"burst":20}`},
		{"policys", "blue:p", `{"tenantName":"blue","policyName":"p"}`},
		{"extContractsGroups", "blue:ec", `{"tenantName":"blue","contractsGroupName":"ec","contractsType":"provided","contracts":["uni/tn-common/brc-default"]}`},
		{"endpointGroups", "blue:g1", `{"tenantName":"blue","groupName":"g1","networkName":"n1","policies":["p"],"netProfile":"np","extContractsGrps":["ec"],"ipPool":"10.1.2.5-10.1.2.9"}`},
		{"rules", "blue:p:1", `{"tenantName":"blue","policyName":"p","ruleId":"1","direction":"in","action":"allow","protocol":"tcp","port":80,"fromEndpointGroup":"g1","priority":2}`},
		{"serviceLBs", "blue:web", `{"tenantName":"blue","serviceName":"web","networkName":"n1","selectors":["a=b"],"ports":["80:8080:TCP"]}`},
		{"Bgps", "h1", `{"hostname":"h1","routerip":"50.1.1.1/24","as":"65000","neighbor":"50.1.1.2","neighbor-as":"65001"}`},
		{"aciGws", "aciGw", `{"name":"aciGw","physicalDomain":"d","enforcePolicies":"no","includeCommonTenant":"yes","nodeBindings":"topology/pod-1/node-101"}`},
		{"appProfiles", "blue:app", `{"tenantName":"blue","appProfileName":"app","endpointGroups":["g1"]}`},
	}
}

// TestOpenAPIMatchesAnswers: what the handlers take and answer is what the document says.
func TestOpenAPIMatchesAnswers(t *testing.T) {
	r := newRig(t, nil)
	c := newContract(t, r)
	objects := samples()
	for _, o := range objects {
		path := "/api/v1/" + o.collection + "/" + o.key + "/"
		c.ask(r, "POST", path, o.body, 200)
		c.ask(r, "PUT", path, o.body, 200)
		c.ask(r, "GET", path, "", 200)
		c.ask(r, "GET", path+"?consistency=cache", "", 200)
		c.ask(r, "GET", path+"?consistency=wrong", "", 400)
		c.ask(r, "PUT", "/api/v1/"+o.collection+"/a:b:c:d/", o.body, 400)
		c.ask(r, "PUT", path, "[]", 400)
		c.ask(r, "PUT", path, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`, 413)
		c.ask(r, "GET", "/api/v1/"+o.collection+"/none/", "", 404)
	}
	r.endpoint(protocol.CreateEndpointRequest{
		ID:     protocol.EndpointID{Host: "h1", ContainerID: "c1234567", IfName: "eth0"},
		Tenant: "blue", Network: "n1", Groups: []string{"g1"}, ContainerName: "web-1", Labels: map[string]string{"a": "b"},
	})
	for _, o := range objects {
		c.ask(r, "GET", "/api/v1/"+o.collection+"/", "", 200)
		c.ask(r, "GET", "/api/v1/inspect/"+o.collection+"/"+o.key+"/", "", 200)
		c.ask(r, "GET", "/api/v1/inspect/"+o.collection+"/none/", "", 404)
	}
	for _, path := range []string{
		"/version", "/info", "/services", "/service/web:blue", "/debug/ofnet", "/openapi.json", "/api/v1/volumes/", "/api/v1/volumeProfiles/",
		"/api/v1/inspect/endpoints/web-1/", "/api/v1/endpoints/web-1/", "/api/v1/endpoints/?tenant=blue&network=n1&group=g1&host=h1",
		"/api/v1/hosts/", "/api/v1/hosts/h1/", "/api/v1/inspect/hosts/h1/",
	} {
		c.ask(r, "GET", path, "", 200)
	}
	for _, path := range []string{"/service/none", "/api/v1/inspect/endpoints/none/", "/api/v1/volumes/x/", "/api/v1/inspect/volumeProfiles/x/"} {
		c.ask(r, "GET", path, "", 404)
	}
	c.ask(r, "PUT", "/api/v1/volumes/x/", "{}", 400)
	c.ask(r, "GET", "/desired-config", "", 410)
	c.ask(r, "DELETE", "/debug/epcleanup/tenant/blue/color/n1", "", 400)
	c.ask(r, "DELETE", "/debug/epcleanup/tenant/blue/net/none", "", 404)
	c.ask(r, "DELETE", "/debug/epcleanup/host/none", "", 404)
	c.ask(r, "GET", "/api/v1/endpoints/?orphaned=perhaps", "", 400)
	c.ask(r, "DELETE", "/api/v1/endpoints/web-1/", "", 409)
	c.ask(r, "DELETE", "/api/v1/endpoints/web-1/?force=true", "", 200)
	c.ask(r, "DELETE", "/api/v1/hosts/none/", "", 404)
	c.plugins(r)
	c.ask(r, "DELETE", "/api/v1/tenants/blue/", "", 409)
	r.cluster.follow("")
	c.ask(r, "DELETE", "/api/v1/tenants/blue/", "", 503)
	r.cluster.lead()
	c.ask(r, "DELETE", "/debug/epcleanup/tenant/blue/net/n1?force=true", "", 200)
	for i := len(objects) - 1; i >= 0; i-- {
		o := objects[i]
		want := 200
		if o.collection == "globals" {
			want = 409
		}
		c.ask(r, "DELETE", "/api/v1/"+o.collection+"/"+o.key+"/", "", want)
	}
}

// plugins are the calls of the original's plugins.
func (c *contract) plugins(r *rig) {
	c.t.Helper()
	const endpoint = `"TenantName":"blue","NetworkName":"n1","EndpointID":"ep9"`
	c.ask(r, "POST", "/plugin/allocAddress", `{"NetworkID":"n1.blue"}`, 200)
	c.ask(r, "POST", "/plugin/allocAddress", `{"NetworkID":"none"}`, 404)
	c.ask(r, "POST", "/plugin/releaseAddress", `{"NetworkID":"n1.blue","IPv4Address":"10.1.2.1"}`, 200)
	c.ask(r, "POST", "/plugin/createEndpoint", `{`+endpoint+`,"ConfigEP":{"Container":"c9","Host":"h1"}}`, 200)
	c.ask(r, "POST", "/plugin/updateEndpoint", `{"Tenant":"blue","Network":"n1","EndpointID":"ep9","Event":"start","Labels":{"a":"b"}}`, 200)
	c.ask(r, "POST", "/plugin/updateEndpoint", `{"Tenant":"blue","Network":"n1","EndpointID":"none","Event":"die"}`, 200)
	c.ask(r, "GET", "/services", "", 200)
}

// TestOpenAPIWords: members that must be there, and words that are allowed, are those that the handlers insist on.
func TestOpenAPIWords(t *testing.T) {
	r := newRig(t, nil)
	published := r.must("GET", "/openapi.json", "")
	for _, o := range samples() {
		r.must("PUT", "/api/v1/"+o.collection+"/"+o.key+"/", o.body)
	}
	for _, o := range samples() {
		schema := requestSchema(t, published, o.collection)
		for _, name := range schema.required {
			if status, got := r.with(o, name, nil); status != 400 {
				t.Errorf("%s without %s, which is required: %d %s", o.collection, name, status, got)
			}
		}
		for name, allowed := range schema.words {
			if status, got := r.with(o, name, "no-such-word"); status != 400 {
				t.Errorf("%s with another %s than %q: %d %s", o.collection, name, allowed, status, got)
			}
			for _, word := range allowed {
				if status, got := r.with(o, name, word); status == 400 && strings.Contains(got, name) && !strings.Contains(got, "peer") {
					t.Errorf("%s with %s %q: %d %s", o.collection, name, word, status, got)
				}
			}
		}
	}
}

// with puts a sample whose member is another, or left out for nil.
func (r *rig) with(o sample, name string, value any) (int, string) {
	r.t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(o.body), &body); err != nil {
		r.t.Fatal(err)
	}
	if body[name] = value; value == nil {
		delete(body, name)
	}
	data, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	status, got, _ := r.ask("PUT", "/api/v1/"+o.collection+"/"+o.key+"/", string(data))
	return status, got
}

type schema struct {
	required []string
	words    map[string][]string
}

// requestSchema is what the document says of the objects that a collection takes.
func requestSchema(t *testing.T, document, collection string) schema {
	t.Helper()
	type object struct {
		Ref      string   `json:"$ref"`
		Required []string `json:"required"`
		AllOf    []object `json:"allOf"`
	}
	var tree struct {
		Paths map[string]struct {
			Put struct {
				RequestBody struct {
					Content map[string]struct{ Schema object }
				}
			}
		}
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Enum []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(document), &tree); err != nil {
		t.Fatal(err)
	}
	top := tree.Paths["/api/v1/"+collection+"/{key}/"].Put.RequestBody.Content["application/json"].Schema
	out := schema{top.Required, map[string][]string{}}
	ref := top.Ref
	if len(top.AllOf) > 0 {
		ref = top.AllOf[0].Ref
	}
	found, ok := tree.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]]
	if !ok {
		t.Fatalf("%s: no schema %q", collection, ref)
	}
	for name, property := range found.Properties {
		if len(property.Enum) > 0 {
			out.words[name] = property.Enum
		}
	}
	return out
}

// TestFieldsOnThePage compares the fields of each collection in docs/netctl.md with those that are served.
func TestFieldsOnThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/netctl.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil)
	var document struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref   string `json:"$ref"`
						AllOf []struct {
							Ref string `json:"$ref"`
						} // which some are required of
					}
				}
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(r.must("GET", "/openapi.json", "")), &document); err != nil {
		t.Fatal(err)
	}
	found := 0
	for path, methods := range document.Paths {
		name, ok := strings.CutPrefix(strings.TrimSuffix(path, "/{key}/"), "/api/v1/")
		schema := methods["put"].RequestBody.Content["application/json"].Schema
		ref := schema.Ref
		if len(schema.AllOf) > 0 {
			ref = schema.AllOf[0].Ref
		}
		if !ok || ref == "" || strings.HasPrefix(name, "volume") { // there are none of those
			continue
		}
		found++
		want := slices.Sorted(maps.Keys(document.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]].Properties))
		want = slices.DeleteFunc(want, func(f string) bool {
			return slices.Contains([]string{"key", "resourceVersion", "links", "link-sets"}, f)
		})
		_, row, _ := strings.Cut(string(page), "\n| `"+name+"` | `")
		row, _, _ = strings.Cut(row, "\n")
		_, fields, _ := strings.Cut(row, " | ")
		got := strings.Split(strings.Trim(fields, " |`"), "`, `")
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: the page has %v, served are %v", name, got, want)
		}
	}
	if found != 12 {
		t.Errorf("%d collections", found)
	}
}
