package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/api"
)

// FuzzRequests sends anything to the handler: it must never fail by our own mistake.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/api/v1/networks/default:n/", `{"tenantName":"default","networkName":"n","subnet":"10.1.2.0/24"}`)
	f.Add("POST", "/api/v1/endpointGroups/default:g/", `{"tenantName":"default","groupName":"g","networkName":"n","ipPool":"10.1.2.5"}`)
	f.Add("PUT", "/api/v1/globals/global/", `{"name":"global","vlans":"1-5"}`)
	f.Add("DELETE", "/api/v1/tenants/t", "")
	f.Add("POST", "/api/v1/rules/default:p:1/", `{"tenantName":"default","policyName":"p","ruleId":"1","direction":"in","action":"allow","protocol":"tcp","port":80}`)
	f.Add("POST", "/api/v1/policys/default:q/", `{"tenantName":"default","policyName":"q"}`)
	f.Add("POST", "/api/v1/netprofiles/default:n/", `{"tenantName":"default","profileName":"n","bandwidth":"10 Mbps","DSCP":3,"burst":80}`)
	f.Add("POST", "/api/v1/serviceLBs/default:s/", `{"tenantName":"default","serviceName":"s","networkName":"n1","ports":["80:80:TCP"],"selectors":["a=b"]}`)
	f.Add("PUT", "/api/v1/Bgps/h1/", `{"hostname":"h1","routerip":"50.1.1.1/24","as":"1","neighbor-as":"2","neighbor":"50.1.1.2"}`)
	f.Add("PUT", "/api/v1/aciGws/aciGw/", `{"name":"aciGw","physicalDomain":"d","pathBindings":"topology/pod-1/paths-1/pathep-[eth1/1]"}`)
	f.Add("POST", "/api/v1/appProfiles/default:a/", `{"tenantName":"default","appProfileName":"a","endpointGroups":[]}`)
	f.Add("POST", "/api/v1/extContractsGroups/default:x/", `{"tenantName":"default","contractsGroupName":"x","contractsType":"provided","contracts":["uni/x"]}`)
	f.Add("GET", "/service/s:default", "")
	f.Add("POST", "/plugin/allocAddress", `{"NetworkID":"n1.default","AddressPool":"10.1.9.0/24:default","PreferredIPv4Address":"10.1.9.9"}`)
	f.Add("POST", "/plugin/releaseAddress", `{"NetworkID":"n1.default|pool","IPv4Address":"10.1.9.9/24"}`)
	f.Add("POST", "/plugin/createEndpoint", `{"TenantName":"default","NetworkName":"n1","ConfigEP":{"Container":"c","Host":"h","IPAddress":"10.1.9.1"}}`)
	f.Add("POST", "/plugin/deleteEndpoint", `{"TenantName":"default","NetworkName":"n1","EndpointID":"e"}`)
	f.Add("POST", "/plugin/updateEndpoint", `{"Tenant":"default","Network":"n1","EndpointID":"e","Event":"die","Labels":{"a":"b"}}`)
	f.Add("GET", "/api/v1/inspect/endpoints/abcd?consistency=cache", "")
	f.Add("DELETE", "/debug/epcleanup/tenant/default/ep/a/b/c", "")
	f.Add("GET", "/version//../info", "\x00")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		if _, err := url.ParseRequestURI(target); err != nil || !strings.HasPrefix(target, "/") || method == http.MethodConnect {
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if err != nil {
			return
		}
		handler := fuzzed(t)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, req)
		if answer.Code >= http.StatusInternalServerError || answer.Code == http.StatusOK && answer.Header().Get("Content-Type") == "" {
			t.Errorf("%s %q %q: %d %s", method, target, body, answer.Code, answer.Body)
		}
	})
}

func fuzzed(t *testing.T) http.Handler {
	t.Helper()
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.9.0/24"`)
	r.must("POST", "/api/v1/policys/default:p/", `{"tenantName":"default","policyName":"p"}`)
	return api.Handler(r.options)
}
