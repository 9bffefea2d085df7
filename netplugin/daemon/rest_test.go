package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/ofnet/protocol"
)

// testHost is an agent with two attachments.
type testHost struct {
	detached []string
	notReady error
}

func (h *testHost) Status(context.Context) agent.Status { return agent.Status{Host: "host1"} }
func (h *testHost) Ready(context.Context) error         { return h.notReady }
func (h *testHost) Attachments(context.Context) ([]mgmtfn.Attachment, error) {
	id := protocol.EndpointID{Host: "host1", ContainerID: "c1", IfName: "eth0"}
	other := id
	other.IfName = "eth1"
	return []mgmtfn.Attachment{{ID: id, Tenant: "blue", Network: "web"}, {ID: other, Tenant: "blue", Network: "db"}}, nil
}
func (h *testHost) Detach(_ context.Context, containerID, ifName string) error {
	h.detached = append(h.detached, containerID+"/"+ifName)
	return nil
}

func (h *testHost) Services() map[string]*protocol.Service { return testServices() }

func (h *testHost) Statistics(context.Context) (protocol.Statistics, error) {
	return protocol.Statistics{
		Services: testServed(),
		Rules:    []protocol.RuleCounters{{Key: "blue:p:1", Packets: 5, Bytes: 500}}, Drops: []protocol.DropCounter{{Reason: "spoof", Packets: 2}},
	}, errors.New("the switch does not answer")
}

func TestREST(t *testing.T) {
	host := &testHost{}
	server := httptest.NewServer(restHandler(host, nil))
	defer server.Close()
	ask := func(method, path string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	host.notReady = &mgmtfn.NotReady{Reason: "netmaster cannot be reached"}
	for _, one := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/inspect/driver", 200, `"host": "host1"`},
		{"GET", "/inspect/counters", 200, `"reason": "spoof"`},
		{"GET", "/inspect/counters", 200, `"problem": "the switch does not answer"`},
		{"GET", "/svcstats", 200, svcStatsJSON},
		{"GET", "/inspect/bgp", 200, "{\n  \"Peers\": [],\n  \"Dsts\": []\n}"},
		{"GET", "/version", 200, `"GitCommit"`},
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/readyz", 503, "not ready: netmaster cannot be reached\n"},
		{"GET", "/debug/pprof/", 404, ""},
		{"POST", "/inspect/driver", 405, ""},
		{"GET", "/nothing", 404, ""},
		{"DELETE", "/debug/reclaimEndpoint/c2", 404, "GET /inspect/driver"},
		{"DELETE", "/debug/reclaimEndpoint/", 404, ""},
		{"DELETE", "/debug/reclaimEndpoint/c1", 204, ""},
		{"DELETE", "/debug/reclaimEndpoint/c1/eth1", 204, ""},
		{"DELETE", "/debug/reclaimEndpoint/host1/c1/eth0", 204, ""},
		{"DELETE", "/debug/reclaimEndpoint/web.blue-c1", 204, ""},
	} {
		status, body := ask(one.method, one.path)
		if status != one.status || !strings.Contains(body, one.body) {
			t.Errorf("%s %s: status %d, %s", one.method, one.path, status, body)
		}
	}
	want := []string{"c1/eth0", "c1/eth1", "c1/eth1", "c1/eth0", "c1/eth0"}
	if !slices.Equal(host.detached, want) {
		t.Errorf("detached %q, want %q", host.detached, want)
	}
}
