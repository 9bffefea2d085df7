package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/etcd"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/state"
)

// kindsOfRecords are a key for a bad record of each kind, and a record of that key that can be read but has a value that no
// version knows; empty for records that only netmaster writes.
var kindsOfRecords = map[string]string{
	state.TenantPrefix + "bad":                      `{"tenantName":"bad","defaultNetwork":"no name!"}`,
	state.NetworkPrefix + "default:bad":             `{"tenantName":"default","networkName":"bad","encap":"pigeon","nwType":"data","subnet":"10.77.1.0/24"}`,
	state.EndpointGroupPrefix + "default:bad":       `{"tenantName":"default","groupName":"bad","networkName":"good","ipPool":"all of them"}`,
	state.PolicyPrefix + "default:bad":              "",
	state.RulePrefix + "default:good:bad":           `{"tenantName":"default","policyName":"good","ruleId":"bad","direction":"in","action":"maybe","protocol":"tcp","priority":1}`,
	state.NetprofilePrefix + "default:bad":          `{"tenantName":"default","profileName":"bad","bandwidth":"a lot"}`,
	state.ServiceLBPrefix + "default:bad":           `{"tenantName":"default","serviceName":"bad","networkName":"good","ports":["80:80:PIGEON"]}`,
	state.BgpPrefix + "bad":                         `{"hostname":"bad","as":"no number","router-ip":"10.1.1.1/24"}`,
	state.AciGwPrefix + "aciGw":                     `{"name":"aciGw","enforcePolicies":"perhaps"}`,
	state.AppProfilePrefix + "default:bad":          `{"tenantName":"default","appProfileName":"bad","endpointGroups":["no name!"]}`,
	state.ExtContractsGroupPrefix + "default:bad":   `{"tenantName":"default","contractsGroupName":"bad","contractsType":"loaned","contracts":["c"]}`,
	state.TenantStatePrefix + "bad":                 "",
	state.NetworkStatePrefix + "default:bad":        "",
	state.GroupStatePrefix + "default:bad":          "",
	state.EndpointPrefix + "host1/bad/eth0":         "",
	state.HostPrefix + "bad":                        "",
	state.GoingPolicyPrefix + "default:bad":         "",
	state.GroupSetPrefix + "default/7":              "",
	state.ServiceStatePrefix + "default:bad":        "",
	state.AllocationPrefix + "vni/77":               "",
	state.AllocationPrefix + "vlan/not-a-number":    "",
	state.AllocationPrefix + "addr/default:good/x":  "",
	state.AllocationPrefix + "of-no-pool-at-all/77": "",
}

// numbered are the allocations among them whose key says what is allocated.
var numbered = map[string]bool{state.AllocationPrefix + "vni/77": true, state.AllocationPrefix + "of-no-pool-at-all/77": true}

// readable stands for the values in kindsOfRecords.
const readable = "a record with a wrong value"

// unreadableValues cannot be records of any kind.
var unreadableValues = []string{"", "{", "\x00\xff\xfe", `"text"`, "[]", "7", `{"tenantName":7,"policyName":7,"owner":7,"host":7,"id":"x","name":7}`}

// TestBadRecords: whatever is in the store, netmaster starts, serves and changes everything else, and tells what it left out.
func TestBadRecords(t *testing.T) {
	server := etcdtest.New(t)
	cfg := testConfig(t)
	cfg.Etcd = []string{server.URL}
	good := map[string]string{
		"/api/v1/networks/default:good/":       `{"tenantName":"default","networkName":"good","subnet":"10.1.1.0/24"}`,
		"/api/v1/endpointGroups/default:fine/": `{"tenantName":"default","groupName":"fine","networkName":"good"}`,
	}
	first := start(t, cfg)
	first.must(http.MethodPost, "/api/v1/networks/default:good/", good["/api/v1/networks/default:good/"])
	first.must(http.MethodPost, "/api/v1/endpointGroups/default:fine/", good["/api/v1/endpointGroups/default:fine/"])
	first.stop()

	store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: cfg.Etcd})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	put := func(key, value string) {
		t.Helper()
		if _, err := store.Commit(context.Background(), objdb.Txn{Then: []objdb.Op{objdb.Put(key, []byte(value))}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, bad := range append([]string{readable}, unreadableValues...) {
		kept := 0
		for key, value := range kindsOfRecords {
			switch {
			case bad != readable:
				value = bad
			case value == "":
				value = "{"
			default:
				kept++
			}
			if numbered[key] {
				kept++ // its number stays taken
			}
			put(key, value)
		}
		r := start(t, cfg)
		r.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
		for path := range good {
			r.must(http.MethodGet, path, "")
			r.must(http.MethodGet, strings.Replace(path, "/api/v1/", "/api/v1/inspect/", 1), "")
		}
		for _, collection := range []string{"tenants", "networks", "endpointGroups", "policys", "rules", "netprofiles", "serviceLBs",
			"Bgps", "globals", "aciGws", "appProfiles", "extContractsGroups"} {
			r.must(http.MethodGet, "/api/v1/"+collection+"/", "")
		}
		r.createTenant(fmt.Sprint("later", i))
		r.must(http.MethodPost, fmt.Sprintf("/api/v1/networks/default:more%d/", i),
			fmt.Sprintf(`{"tenantName":"default","networkName":"more%d","subnet":"10.2.%d.0/24"}`, i, i))
		if bad != readable {
			// Who asks for a change of what cannot be read is told so; a rule, which shuts groups, can be removed.
			for _, path := range []string{"/api/v1/networks/default:bad/", "/api/v1/policys/default:bad/"} {
				if status, body := r.call(http.MethodDelete, path, ""); status != http.StatusConflict || !strings.Contains(body, "cannot be read") {
					t.Errorf("value %q: DELETE %s: %d %s", bad, path, status, body)
				}
			}
			rule := "/api/v1/rules/default:good:bad/"
			r.must(http.MethodDelete, rule, "")
			r.eventually(http.StatusNotFound, http.MethodDelete, rule, "")
			put(state.RulePrefix+"default:good:bad", bad)
			r.eventually(http.StatusOK, http.MethodDelete, rule, "")
			put(state.RulePrefix+"default:good:bad", bad)
			r.must(http.MethodGet, "/api/v1/rules/", "") // shows that it is known
		}
		var info struct{ Warnings []string }
		if err := json.Unmarshal([]byte(r.must(http.MethodGet, "/info", "")), &info); err != nil || len(info.Warnings) != 11 {
			t.Errorf("value %q: %d warnings: %q, %v", bad, len(info.Warnings), info.Warnings, err)
		}
		metrics := r.scrape()
		for name, want := range map[string]int{"skipped": len(kindsOfRecords) - kept, "doubtful": kept} {
			if line := fmt.Sprintf("contiv_netmaster_%s_records %d\n", name, want); !strings.Contains(metrics, line) {
				t.Errorf("value %q: no %q but %q", bad, line, lines(metrics, "contiv_netmaster_"+name))
			}
		}
		r.stop()
	}
}

// TestBadGlobal: with the settings of the whole cluster unreadable, and nonsense among the records of leadership and of
// netmasters, one leads all the same: what does not need the settings works, what does is refused.
func TestBadGlobal(t *testing.T) {
	server := etcdtest.New(t)
	cfg := testConfig(t)
	cfg.Etcd = []string{server.URL}
	first := start(t, cfg)
	first.createTenant("before")
	first.stop()
	store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: cfg.Etcd})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for _, key := range []string{
		state.GlobalPrefix + state.GlobalName, objdb.LeaderKey, objdb.LeaderKey + "-beat", objdb.ServicePrefix + "netmaster/bad",
		objdb.ServicePrefix + "netmaster.rpc/bad", "meta/barrier",
	} {
		if _, err := store.Commit(t.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put(key, []byte("{"))}}); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, cfg)
	r.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	path, body := tenant("after")
	r.eventually(http.StatusOK, http.MethodPost, path, body)
	path, _ = tenant("before")
	r.must(http.MethodGet, path, "")
	if status, text := r.call(http.MethodPost, "/api/v1/networks/default:n/", `{"tenantName":"default","networkName":"n","subnet":"10.1.1.0/24"}`); status < 400 {
		t.Errorf("a network without the cluster's ranges: %d %s", status, text)
	}
	if got := r.must(http.MethodGet, "/info", ""); !strings.Contains(got, state.GlobalPrefix) {
		t.Errorf("not told: %s", got)
	}
}
