package api

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Reports tells what hosts say of what they were sent; *distribute.Server does. Only the leader knows.
type Reports interface {
	Realised(refs ...distribute.Ref) distribute.Realisation
	RuleCounters(keys ...string) protocol.RuleCounters
	ServiceCounters(key string) protocol.ServiceCounters
	Counters(id protocol.EndpointID) (protocol.EndpointCounters, bool)
	Drops(host string) []protocol.DropCounter
}

// reported tells whether this netmaster has reports to show.
func (s *server) reported() bool {
	_, self := s.Cluster.Leader()
	return self && s.Reports != nil
}

// forReports passes a request on that only the leader can answer in full. While nobody else leads, or the leader does not
// answer, it is answered here, without what is not known.
func (s *server) forReports(next answer) answer {
	return func(r *http.Request) (any, error) {
		leader, self := s.Cluster.Leader()
		if self || leader == "" || r.Header.Get(forwardedHeader) != "" || r.URL.Query().Get("consistency") != "" {
			return next(r)
		}
		return nil, &forwardError{leader, next}
	}
}

// withReports completes inspections: refs are the records that the object with a key is made into, fill puts in how they
// stand.
func withReports[O any](
	s *server, refs func(*ledger.Model, string) []distribute.Ref, fill func(*O, string, []distribute.Ref, *client.Realised),
) func(*http.Request, any) any {
	return func(r *http.Request, inspected any) any {
		out, ok := inspected.(client.Inspection[any, O])
		if !ok || !s.reported() {
			return inspected
		}
		key := mux.Vars(r)["key"]
		var about []distribute.Ref
		s.Reader.ViewCached(func(m *ledger.Model) { about = refs(m, key) })
		fill(&out.Oper, key, about, realised(s.Reports.Realised(about...)))
		return out
	}
}

func realised(r distribute.Realisation) *client.Realised {
	return &client.Realised{Hosts: r.Hosts, Of: r.Of, Revision: r.Revision, Since: r.Since.UTC(), Missing: append([]string{}, r.Missing...)}
}

// hits are what rules decided.
func (s *server) hits(keys ...string) *client.Traffic {
	c := s.Reports.RuleCounters(keys...)
	return &client.Traffic{Packets: c.Packets, Bytes: c.Bytes}
}

func keysOf(refs []distribute.Ref, kind protocol.Kind) []string {
	var keys []string
	for _, ref := range refs {
		if ref.Kind == kind {
			keys = append(keys, ref.Key)
		}
	}
	return keys
}

func (s *server) reportPolicy() func(*http.Request, any) any {
	return withReports(s, normalise.RefsOfPolicy, func(oper *client.PolicyOper, key string, refs []distribute.Ref, how *client.Realised) {
		var denies []string
		s.Reader.ViewCached(func(m *ledger.Model) { denies = keysOf(normalise.DeniesOfPolicy(m, key), protocol.KindRule) })
		oper.Realised, oper.Hits, oper.Drops = how, s.hits(keysOf(refs, protocol.KindRule)...), s.hits(denies...)
	})
}

func (s *server) reportRule() func(*http.Request, any) any {
	return withReports(s, normalise.RefsOfRule, func(oper **client.RuleOper, key string, _ []distribute.Ref, how *client.Realised) {
		*oper = &client.RuleOper{Realised: how, Hits: s.hits(key)}
	})
}

func (s *server) reportGroup() func(*http.Request, any) any {
	return withReports(s, normalise.RefsOfGroup, func(oper *client.EndpointGroupOper, key string, _ []distribute.Ref, how *client.Realised) {
		oper.Realised, oper.Drops = how, s.hits(keysOf(normalise.DefaultsOfGroup(key), protocol.KindRule)...)
	})
}

func (s *server) reportNetprofile() func(*http.Request, any) any {
	return withReports(s, normalise.RefsOfNetprofile, func(oper **client.NetprofileOper, _ string, _ []distribute.Ref, how *client.Realised) {
		*oper = &client.NetprofileOper{Realised: how}
	})
}

func (s *server) reportService() func(*http.Request, any) any {
	return withReports(s, normalise.RefsOfService, func(oper *client.ServiceLBOper, key string, _ []distribute.Ref, how *client.Realised) {
		c := s.Reports.ServiceCounters(key)
		oper.Realised = how
		oper.Hits = &client.ServiceTraffic{PacketsIn: c.PacketsIn, BytesIn: c.BytesIn, PacketsOut: c.PacketsOut, BytesOut: c.BytesOut}
	})
}

// reportEndpoint puts in what the endpoint's host counted.
func (s *server) reportEndpoint(oper *client.EndpointOper, id protocol.EndpointID) {
	if !s.reported() {
		return
	}
	if c, ok := s.Reports.Counters(id); ok {
		oper.Hits = &client.EndpointTraffic{RxPackets: c.RxPackets, RxBytes: c.RxBytes, TxPackets: c.TxPackets, TxBytes: c.TxBytes}
	}
	for _, d := range s.Reports.Drops(id.Host) {
		if oper.HostDrops == nil {
			oper.HostDrops = map[string]client.Traffic{}
		}
		oper.HostDrops[d.Reason] = client.Traffic{Packets: d.Packets, Bytes: d.Bytes}
	}
}
