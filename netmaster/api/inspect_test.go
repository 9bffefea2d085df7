package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestInspectLooksAtItsOwn: what an inspection costs depends on what it shows, not on what else there is; nor does it
// hold up anybody, since all reads share the model.
func TestInspectLooksAtItsOwn(t *testing.T) {
	r := newRig(t, nil)
	r.network("default", "n1", `"subnet":"10.1.0.0/16"`)
	r.network("default", "n2", `"subnet":"10.2.0.0/16"`)
	r.group("default", "g1", "")
	for i := range 5 {
		r.endpoint(protocol.CreateEndpointRequest{
			ID: protocol.EndpointID{Host: "h", ContainerID: fmt.Sprint("own", i), IfName: "eth0"}, Tenant: "default", Network: "n1", Groups: []string{"g1"},
		})
	}
	handler := api.Handler(r.options)
	cost := func(path string) float64 {
		return testing.AllocsPerRun(20, func() {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
			if answer.Code != http.StatusOK {
				t.Errorf("%s: %d", path, answer.Code)
			}
		})
	}
	paths := []string{
		"/api/v1/inspect/networks/default:n1/?consistency=cache", "/api/v1/inspect/endpointGroups/default:g1/?consistency=cache",
		"/api/v1/endpoints/?tenant=default&group=g1&consistency=cache", "/api/v1/inspect/endpoints/own1/?consistency=cache",
	}
	before := make(map[string]float64)
	for _, path := range paths {
		before[path] = cost(path)
	}
	for i := range 1000 {
		r.endpoint(protocol.CreateEndpointRequest{
			ID: protocol.EndpointID{Host: "h", ContainerID: fmt.Sprint("other", i), IfName: "eth0"}, Tenant: "default", Network: "n2",
		})
	}
	for _, path := range paths {
		if after := cost(path); after > before[path]*1.2+10 {
			t.Errorf("%s: %v allocations with 5 endpoints, %v with 1000 others", path, before[path], after)
		}
	}
}
