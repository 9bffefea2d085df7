package normalise

import (
	"math"
	"slices"
	"strings"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// service makes the record of a service with the endpoints that provide it, by its model key.
func service(m *ledger.Model, key string) index.ScopedRecord {
	s, decided := m.Service(key), m.ServiceState(key)
	if s == nil || decided == nil || !fits16(decided.ID) || !decided.VIP.IsValid() {
		return gone(protocol.KindService, key)
	}
	tenant := m.TenantState(s.TenantName)
	ports, err := state.ParseServicePorts(s.Ports)
	if err != nil || tenant == nil || !fits16(tenant.VRF) {
		return gone(protocol.KindService, key)
	}
	body := protocol.Service{
		Tenant: s.TenantName, Name: s.ServiceName, Network: decided.NetworkName, VIP: decided.VIP, VIP6: decided.VIP6,
		VRF: uint16(tenant.VRF), ID: uint16(decided.ID), Affinity: min(max(s.Affinity, 0), math.MaxUint16), //nolint:gosec // checked
	}
	for _, p := range ports {
		body.Ports = append(body.Ports, protocol.ServicePort{Protocol: uint8(p.Protocol), Port: p.Port, ProviderPort: p.ProviderPort})
	}
	routing := forwardMode(m.Global()) == state.ForwardRouting
	for _, e := range m.Providers(s) {
		if routing || e.NetworkName == decided.NetworkName { // others cannot be reached
			body.Providers = append(body.Providers, provider(e))
		}
	}
	slices.SortFunc(body.Providers, func(a, b protocol.Provider) int {
		if c := a.IPv4.Compare(b.IPv4); c != 0 {
			return c
		}
		return a.IPv6.Compare(b.IPv6)
	})
	return made(key, m.Revision(), &body, index.ScopedRecord{Scopes: scopes(m, s.TenantName, decided.NetworkName)})
}

func provider(e *state.Endpoint) protocol.Provider {
	return protocol.Provider{Network: e.NetworkName, IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC}
}

// provides tells whether an endpoint, which may be nil, provides for a service.
func provides(e *state.Endpoint, s *state.ServiceLB) bool {
	if e == nil || e.Stopped || len(e.Labels) == 0 || e.TenantName != s.TenantName {
		return false
	}
	selectors, err := state.ParseSelectors(s.Selectors)
	return err == nil && selectors.Match(e.Labels)
}

// profile puts into a group's record what its netprofile says. One that cannot be read says nothing.
func profile(m *ledger.Model, g *state.EndpointGroup, body *protocol.Group) (revision int64) {
	p := m.Netprofile(state.ModelKey(g.TenantName, g.NetProfile))
	if g.NetProfile == "" || p == nil {
		return 0
	}
	const bitsPerKilobit, kilobitsPerKilobyte = 1000, 8
	if rate, err := state.ParseBandwidth(p.Bandwidth); err == nil {
		body.RateKbps = uint32(min(rate.BitsPerSecond()/bitsPerKilobit, math.MaxUint32))    //nolint:gosec // bounded
		body.BurstKbit = uint32(min(max(p.Burst, 0), math.MaxUint16)) * kilobitsPerKilobyte //nolint:gosec // bounded
	}
	if p.DSCP > 0 && p.DSCP < 64 {
		body.DSCP = uint8(p.DSCP)
	}
	return m.RevisionOf(p.StoreKey())
}

// splitKey takes a model key apart.
func splitKey(key string) (tenant, name string) {
	tenant, name, _ = strings.Cut(key, ":")
	return tenant, name
}
