package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

type host struct{}

func (host) Status(context.Context) agent.Status {
	missing := protocol.NotRealised{Kind: protocol.KindNetwork, Key: "default:web"}
	return agent.Status{
		Session: session.Status{Connected: true, Registrations: 3, Records: 7,
			Desired: protocol.Position{Revision: 12}, Realised: protocol.Position{Revision: 11},
			NotRealised: []protocol.NotRealised{missing, {Kind: "new", Key: "x"}}},
		Datapath: drivers.Status{Connected: false, NotRealised: []protocol.NotRealised{missing},
			Details: map[string]any{"flows": 100, "groups": 4, "pending": 2, "round": uint16(3)}},
		Attachments: []protocol.Attachment{{}, {}},
	}
}

func (host) Statistics(context.Context) (protocol.Statistics, error) {
	return protocol.Statistics{
		Rules: []protocol.RuleCounters{{Key: "a", Packets: 3}, {Key: "b", Packets: 4}},
		Drops: []protocol.DropCounter{{Reason: "no service"}, {Reason: "spoof", Packets: 5, Bytes: 700}},
	}, errors.New("the switch does not answer")
}

func TestMetrics(t *testing.T) {
	m := New()
	m.Follow(host{})
	m.Attached(time.Now(), nil)
	m.Attached(time.Now(), errors.New("no"))
	m.Detached(time.Now(), nil)
	m.Call(protocol.MethodCreateEndpoint, time.Millisecond, nil)
	m.Call(protocol.MethodSettleEndpoint, time.Millisecond, errors.New("no"))
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`connected 1`, `switch_connected 0`, `registrations_total 3`, `records 7`, `desired_revision 12`, `realised_revision 11`,
		`not_realised_records 2`, `flows 100`, `groups 4`, `meters 0`, `pending_changes 2`, `endpoints 2`,
		`attach_seconds_count{phase="all"} 2`, `attach_seconds_count{phase="netmaster"} 1`, `attach_seconds_count{phase="port"} 0`,
		`attach_seconds_count{phase="settle"} 1`, `detach_seconds_count 1`, `errors_total{operation="attach"} 1`,
		`errors_total{operation="call"} 1`, `errors_total{operation="apply"} 0`, `call_seconds_count{method="endpoint.create"} 1`,
		`dropped_packets_total{reason="spoof"} 5`, `dropped_bytes_total{reason="spoof"} 700`, `dropped_packets_total{reason="no service"} 0`,
		`rule_packets_total 7`,
	} {
		if !strings.Contains(answer.Body.String(), "\n"+prefix+want+"\n") {
			t.Errorf("no line %q", prefix+want)
		}
	}
}
