package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/contiv/contiv/install/sandbox"
)

// TestBadInput sends what no client should: each is refused with a status and words that fit, nothing changes, and
// netmaster goes on.
func TestBadInput(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 1})
	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "-t", "blue", "--subnet=10.1.2.0/24", "-g", "10.1.2.254", "n")
	c.ok("net", "create", "-t", "blue", "-p", "77", "--subnet=10.1.9.0/29", "small")
	c.ok("group", "create", "-t", "blue", "small", "g")
	before := c.ok("net", "ls", "-a", "-j") + c.ok("group", "ls", "-a", "-j") + c.ok("tenant", "ls", "-j")

	long := strings.Repeat("a", 10000)
	network := func(fields string) string {
		return `{"tenantName":"blue","networkName":"x","encap":"vxlan",` + fields + `}`
	}
	for _, test := range []struct {
		what, method, path, body string
		status                   int
		words                    string
	}{
		{"malformed JSON", "POST", "/api/v1/networks/blue:x/", `{"tenantName":`, 400, ""},
		{"wrong type", "POST", "/api/v1/networks/blue:x/", network(`"subnet":7`), 400, "subnet"},
		{"text for a number", "POST", "/api/v1/networks/blue:x/", network(`"subnet":"10.5.0.0/24","pktTag":"7"`), 400, "pktTag"},
		{"2 MiB body", "POST", "/api/v1/networks/blue:x/", `{"networkName":"` + strings.Repeat("a", 2<<20) + `"}`, 413, ""},
		{"long name", "POST", "/api/v1/tenants/" + long + "/", `{"tenantName":"` + long + `"}`, 400, "tenantName"},
		{"wrong method", "PATCH", "/api/v1/networks/blue:x/", `{}`, 405, ""},
		{"unknown collection", "GET", "/api/v1/nonsense/", ``, 404, ""},
		{"key and body differ", "POST", "/api/v1/networks/blue:y/", network(`"subnet":"10.5.0.0/24"`), 400, "Key"},
		{"equal subnet", "POST", "/api/v1/networks/blue:x/", network(`"subnet":"10.1.2.0/24"`), 409, "conflicts"},
		{"overlapping subnet", "POST", "/api/v1/networks/blue:x/", network(`"subnet":"10.1.0.0/16"`), 409, "conflicts"},
		{"gateway outside", "POST", "/api/v1/networks/blue:x/", network(`"subnet":"10.5.0.0/24","gateway":"10.6.0.1"`), 400, "gateway"},
		{"tag in use", "POST", "/api/v1/networks/blue:x/", network(`"subnet":"10.5.0.0/24","pktTag":77`), 409, "not available"},
		{"unknown tenant", "POST", "/api/v1/networks/red:x/", `{"tenantName":"red","networkName":"x","encap":"vxlan","subnet":"10.5.0.0/24"}`, 404, "Tenant not found"},
		{"unknown network", "POST", "/api/v1/endpointGroups/blue:h/", `{"tenantName":"blue","groupName":"h","networkName":"nope"}`, 404, "not found"},
		{"network in use", "DELETE", "/api/v1/networks/blue:small/", ``, 409, "has 1 endpoint groups"},
		{"tenant in use", "DELETE", "/api/v1/tenants/blue/", ``, 409, "has"},
		{"default tenant", "DELETE", "/api/v1/tenants/default/", ``, 409, "default"},
		{"global", "DELETE", "/api/v1/globals/global/", ``, 409, "global"},
		{"unknown object", "GET", "/api/v1/networks/blue:nope/", ``, 404, "network not found"},
	} {
		status, body := c.rest(test.method, test.path, test.body)
		if status != test.status || !strings.Contains(body, test.words) || strings.TrimSpace(body) == "" || strings.Contains(body, ".go:") {
			t.Errorf("%s: %d %.200q, want %d with %q", test.what, status, body, test.status, test.words)
		}
	}
	for i := 1; i <= 6; i++ { // a /29 has six addresses
		c.run(sandbox.Workload{Name: "w" + string(rune('0'+i)), Host: 1, Tenant: "blue", Network: "small"})
	}
	if _, err := c.Run(t.Context(), sandbox.Workload{Name: "w7", Host: 1, Tenant: "blue", Network: "small"}); err == nil ||
		!strings.Contains(err.Error(), "address exhaustion") {
		t.Errorf("a seventh address in a /29: %v", err)
	}
	if after := c.ok("net", "ls", "-a", "-j") + c.ok("group", "ls", "-a", "-j") + c.ok("tenant", "ls", "-j"); after != before {
		t.Errorf("refused requests changed something: before\n%s\nafter\n%s", before, after)
	}
	if status, _ := c.rest(http.MethodGet, "/version", ""); status != http.StatusOK {
		t.Errorf("netmaster answers %d after bad input", status)
	}
}
