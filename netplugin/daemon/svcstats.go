package daemon

import (
	"cmp"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/contiv/contiv/ofnet/protocol"
)

// GET /svcstats answers in the original's form: a map by client address. VrfName is the tenant, and what the original
// never filled is filled: the sums by client and by service.

type serviceBytes struct {
	PacketsIn  uint64
	BytesIn    uint64
	PacketsOut uint64
	BytesOut   uint64
}

func (b *serviceBytes) add(c *protocol.ServiceCounters) {
	b.PacketsIn, b.BytesIn = b.PacketsIn+c.PacketsIn, b.BytesIn+c.BytesIn
	b.PacketsOut, b.BytesOut = b.PacketsOut+c.PacketsOut, b.BytesOut+c.BytesOut
}

type clientStats struct {
	EndpointIP string
	VrfName    string
	PortStats  serviceBytes
	SvcStats   map[string]*serviceStats // by address of the service; by its key if that is not known
}

type serviceStats struct {
	ServiceIP  string
	ServiceVRF string
	Protocol   string
	SvcPort    string // of the first port
	ProvPort   string
	SvcStats   serviceBytes
	ProvStats  map[string]*providerStats // by address of the provider
}

type providerStats struct {
	ProviderIP string
	ServiceIP  string
	ServiceVrf string
	serviceBytes
}

// tellServices answers what is known: the form has no place for what is not.
func tellServices(w http.ResponseWriter, r *http.Request, host inspector) {
	statistics, err := host.Statistics(r.Context())
	if err != nil && len(statistics.Services) == 0 {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writeJSON(w, http.StatusOK, svcStats(statistics.Services, host.Services()))
}

// svcStats puts counters into that form. A client whose address another tenant has too is found by "tenant/address".
func svcStats(counted []protocol.ServiceCounters, services map[string]*protocol.Service) map[string]*clientStats {
	out := map[string]*clientStats{}
	for i := range counted {
		c := &counted[i]
		tenant, _, _ := strings.Cut(c.Service, ":")
		key := c.Client.String()
		if other := out[key]; other != nil && other.VrfName != tenant {
			key = tenant + "/" + key
		}
		client := out[key]
		if client == nil {
			client = &clientStats{EndpointIP: c.Client.String(), VrfName: tenant, SvcStats: map[string]*serviceStats{}}
			out[key] = client
		}
		client.PortStats.add(c)
		client.service(c, tenant, services[c.Service])
	}
	return out
}

func (client *clientStats) service(c *protocol.ServiceCounters, tenant string, record *protocol.Service) {
	address := cmp.Or(addressOf(record, c.Client), c.Service)
	s := client.SvcStats[address]
	if s == nil {
		s = &serviceStats{ServiceIP: address, ServiceVRF: tenant, ProvStats: map[string]*providerStats{}}
		if record != nil && len(record.Ports) > 0 {
			s.describe(record.Ports[0])
		}
		client.SvcStats[address] = s
	}
	s.SvcStats.add(c)
	provider := c.Provider.String()
	p := s.ProvStats[provider]
	if p == nil {
		p = &providerStats{ProviderIP: provider, ServiceIP: s.ServiceIP, ServiceVrf: tenant}
		s.ProvStats[provider] = p
	}
	p.add(c)
}

func (s *serviceStats) describe(p protocol.ServicePort) {
	s.Protocol = map[uint8]string{6: "TCP", 17: "UDP", 132: "SCTP"}[p.Protocol]
	s.SvcPort, s.ProvPort = strconv.Itoa(int(p.Port)), strconv.Itoa(int(p.ProviderPort))
}

func addressOf(s *protocol.Service, client netip.Addr) string {
	switch {
	case s == nil:
		return ""
	case client.Is6() && s.VIP6.IsValid():
		return s.VIP6.String()
	case s.VIP.IsValid():
		return s.VIP.String()
	}
	return ""
}
