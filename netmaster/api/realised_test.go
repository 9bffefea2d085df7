package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/ofnet/protocol"
)

// reports are what a test says they are: every rule was hit by as many packets as its key has letters.
type reports struct{}

func (reports) Realised(refs ...distribute.Ref) distribute.Realisation {
	return distribute.Realisation{Hosts: 1, Of: 2, Revision: int64(len(refs)), Since: time.Unix(1e9, 0), Missing: []string{"h2"}}
}

func (reports) RuleCounters(keys ...string) protocol.RuleCounters {
	return protocol.RuleCounters{Packets: uint64(len(strings.Join(keys, ""))), Bytes: uint64(len(keys))}
}

func (reports) ServiceCounters(string) protocol.ServiceCounters {
	return protocol.ServiceCounters{PacketsIn: 1, BytesIn: 2, PacketsOut: 3, BytesOut: 4}
}

func (reports) Counters(protocol.EndpointID) (protocol.EndpointCounters, bool) {
	return protocol.EndpointCounters{RxPackets: 7}, true
}

func (reports) Drops(string) []protocol.DropCounter {
	return []protocol.DropCounter{{Reason: "spoof", Packets: 5}}
}

// TestReports: inspections tell where an object is in force and what it hit; a follower lets the leader tell.
func TestReports(t *testing.T) {
	r := newRig(t, func(o *api.Options) { o.Reports = reports{} })
	r.network("default", "n", `"subnet":"10.1.0.0/24"`)
	r.put("policys", "default:p", `{"tenantName":"default","policyName":"p"}`)
	r.put("rules", "default:p:1", `{"tenantName":"default","policyName":"p","ruleId":"1","direction":"in","action":"deny"}`)
	r.put("rules", "default:p:2", `{"tenantName":"default","policyName":"p","ruleId":"2","direction":"in","action":"allow"}`)
	r.put("netprofiles", "default:q", `{"tenantName":"default","profileName":"q"}`)
	r.put("endpointGroups", "default:g", `{"tenantName":"default","groupName":"g","networkName":"n","policies":["p"],"netProfile":"q"}`)
	r.put("serviceLBs", "default:s", `{"tenantName":"default","serviceName":"s","networkName":"n","ports":["80:80:TCP"],"selectors":["a=b"]}`)
	r.endpoint(protocol.CreateEndpointRequest{ID: protocol.EndpointID{Host: "h1", ContainerID: "c1234", IfName: "eth0"}, Tenant: "default", Groups: []string{"g"}})
	realised := func(records int) string {
		return fmt.Sprintf(`"realised":{"hosts":1,"of":2,"revision":%d,"since":"2001-09-09T01:46:40Z","missing":["h2"]}`, records)
	}
	paths := map[string][]string{
		"policys/default:p":        {realised(2), `"hits":{"packets":22,"bytes":2}`, `"drops":{"packets":11,"bytes":1}`},
		"rules/default:p:1":        {realised(1), `"hits":{"packets":11,"bytes":1}`},
		"endpointGroups/default:g": {realised(5), `"drops":{"packets":27,"bytes":2}`},
		"netprofiles/default:q":    {realised(1)},
		"serviceLBs/default:s":     {realised(1), `"hits":{"packetsIn":1,"bytesIn":2,"packetsOut":3,"bytesOut":4}`},
		"endpoints/h1/c1234/eth0":  {`"hits":{"rxPackets":7,"rxBytes":0,"txPackets":0,"txBytes":0}`, `"hostDrops":{"spoof":{"packets":5,"bytes":0}}`},
	}
	var asked []string
	leader := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { asked = append(asked, q.URL.Path) }))
	t.Cleanup(leader.Close)
	for path, want := range paths {
		path = "/api/v1/inspect/" + path + "/"
		got := r.must("GET", path, "")
		for _, fragment := range want {
			if !strings.Contains(got, fragment) {
				t.Errorf("%s lacks %s:\n%s", path, fragment, got)
			}
		}
		r.cluster.follow(strings.TrimPrefix(leader.URL, "http://"))
		r.must("GET", path, "")
		if !slices.Contains(asked, path) {
			t.Errorf("%s is not asked of the leader: %v", path, asked)
		}
		r.cluster.follow("")
		var bare struct{ Oper map[string]json.RawMessage }
		if err := json.Unmarshal([]byte(r.must("GET", path, "")), &bare); err != nil || bare.Oper["realised"] != nil || bare.Oper["hits"] != nil {
			t.Errorf("%s while nobody leads: %v, %v", path, bare, err)
		}
		r.cluster.lead()
	}
}
