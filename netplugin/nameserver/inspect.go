package nameserver

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Inspection is what GET /inspect/nameserver shows.
type Inspection struct {
	Domain     string                       `json:"domain"`
	Synced     bool                         `json:"synced"` // netmaster has said which names there are
	Servers    []string                     `json:"servers"`
	Waiting    int                          `json:"waiting"` // queries that wait for resolvers
	DNSRecords map[string]TenantNames       `json:"dnsRecords"`
	Stats      map[string]map[string]uint64 `json:"stats"` // queries of each tenant by outcome
}

// TenantNames are the names of a tenant with their addresses.
type TenantNames struct {
	Services       map[string][]netip.Addr `json:"services"`
	EndpointGroups map[string][]netip.Addr `json:"endpointGroups"`
	CommonNames    map[string][]netip.Addr `json:"commonNames"`
	// Endpoints by the key of their record.
	Endpoints map[string][]netip.Addr `json:"endpoints"`
}

// Inspect tells all that the server knows.
func (s *Server) Inspect() Inspection {
	out := Inspection{Domain: s.resolver.domain, DNSRecords: s.tables.all(), Synced: s.tables.Synced(), Stats: map[string]map[string]uint64{}}
	out.Servers = append([]string{}, s.upstream.servers()...)
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Waiting = s.all
	for tenant, counts := range s.counts {
		out.Stats[tenant] = maps.Clone(counts)
	}
	return out
}

// Found is what a name means to a tenant.
type Found struct {
	Tenant    string       `json:"tenant"`
	Name      string       `json:"name"`
	Kind      string       `json:"kind"` // service, group or container
	Addresses []netip.Addr `json:"addresses"`
}

// Lookup finds a name as a container of the tenant would; ok is false if the cluster does not have it. No resolver is
// asked.
func (s *Server) Lookup(tenant, name string) (found Found, ok bool) {
	got, ok := s.resolver.lookup(Asker{Tenant: tenant}, name)
	if !ok {
		return Found{}, false
	}
	addrs := slices.SortedFunc(slices.Values(append(got.near, got.far...)), netip.Addr.Compare)
	return Found{Tenant: tenant, Name: name, Kind: got.class.String(), Addresses: addrs}, true
}

// all lists the tables.
func (t *Tables) all() map[string]TenantNames {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := map[string]TenantNames{}
	for name, of := range t.tenants {
		out[name] = TenantNames{
			addresses(of.names[classService]), addresses(of.names[classGroup]), addresses(of.names[classContainer]), map[string][]netip.Addr{},
		}
	}
	for ref, f := range t.facts {
		if strings.Contains(ref.Key, "/") { // a service's has none
			out[f.tenant].Endpoints[ref.Key] = f.addrs
		}
	}
	return out
}

func addresses(names map[string][]*fact) map[string][]netip.Addr {
	out := make(map[string][]netip.Addr, len(names))
	for name, facts := range names {
		for _, f := range facts {
			out[name] = append(out[name], f.addrs...)
		}
		slices.SortFunc(out[name], netip.Addr.Compare)
		out[name] = slices.Compact(out[name])
	}
	return out
}
