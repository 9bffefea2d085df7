package pipeline

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// service is one that can be realised.
type service struct {
	key     string
	id      uint16
	vrf     uint16
	network *protocol.Network
	cookie  uint64
	ports   []protocol.ServicePort // sorted
	faces   []face
	// affinity is in seconds, 0 for none.
	affinity uint16
	partly   []string // why providers are left out
}

// face is a service in one family.
type face struct {
	version   of.Term
	etherType uint16
	vip       netip.Addr
	group     uint32 // kind of its groups
	providers []provider
}

// provider is one address that serves.
type provider struct {
	addr   netip.Addr
	number uint32 // of the backend
	mac    of.MAC // where the switch does not route
}

// serviceUnit is what a service contributes. One that cannot be realised has its addresses dropped, as if it had no port.
func (v *view) serviceUnit(key string) *unit {
	u := &unit{}
	record := v.Services[key]
	s, why := v.service(key, &record)
	v.closeService(u, key, &record)
	if why != "" {
		u.why = why
		return u
	}
	v.serviceFlows(u, s)
	if len(s.partly) > 0 {
		u.why = partly(s.partly)
	}
	return u
}

// maxNamed is how many providers a refusal names.
const maxNamed = 3

func partly(whys []string) refusal {
	named := strings.Join(whys[:min(len(whys), maxNamed)], "; ")
	if more := len(whys) - maxNamed; more > 0 {
		named += fmt.Sprintf("; and %d more", more)
	}
	return refusal(named)
}

// closeService drops what is for the addresses of a service and that no port takes.
func (v *view) closeService(u *unit, key string, s *protocol.Service) {
	if s.VRF == 0 || s.VRF > maxVRF {
		return // nothing is of that tenant
	}
	for _, vip := range []netip.Addr{s.VIP, s.VIP6} {
		if !vip.IsValid() || !vip.IsGlobalUnicast() || vip.Is4In6() || vip.Zone() != "" {
			continue
		}
		if holders := v.serviceClaims.holders[vipClaim(s.VRF, vip)]; holders[0] != key {
			continue // its holder does it
		}
		u.drop(dropService, tableSvcDNAT, 90, of.NewMatch(versionOf(vip), regVRF.Is(uint32(s.VRF)), of.IPDstAddr(vip)))
	}
}

func versionOf(a netip.Addr) of.Term {
	if a.Is4() {
		return isIP4
	}
	return isIP6
}

func vipClaim(vrf uint16, vip netip.Addr) claim {
	return claim{kind: claimVIP, num: uint32(vrf), addr: vip}
}

func serviceClaims(s *protocol.Service) []claim {
	out := []claim{{kind: claimService, num: uint32(s.ID)}}
	for _, vip := range []netip.Addr{s.VIP, s.VIP6} {
		if vip.IsValid() {
			out = append(out, vipClaim(s.VRF, vip))
		}
	}
	return out
}

// service finds a service that can be realised.
func (v *view) service(key string, record *protocol.Service) (*service, refusal) {
	networkKey := record.Tenant + ":" + record.Network
	n, why := v.network(networkKey)
	if why != "" {
		return nil, refuse("network %q: %s", networkKey, why)
	}
	if why := checkService(record); why != "" {
		return nil, why
	}
	if n.VRF != record.VRF {
		return nil, refuse("tenant number %d is not that of network %q, %d", record.VRF, networkKey, n.VRF)
	}
	if rival, lost := v.serviceClaims.rival(serviceClaims(record), key); lost {
		return nil, refuse("service %q has the same id or address", rival)
	}
	s := &service{
		key: key, id: record.ID, vrf: record.VRF, network: n, cookie: cookie(categoryService, uint32(record.ID)),
		ports: slices.SortedFunc(slices.Values(record.Ports), comparePorts), affinity: uint16(record.Affinity), //nolint:gosec // checked
	}
	four := face{version: isIP4, etherType: of.EtherIPv4, vip: record.VIP, group: groupService}
	six := face{version: isIP6, etherType: of.EtherIPv6, vip: record.VIP6, group: groupService6}
	for i := range record.Providers {
		v.provide(s, &four, &six, record, &record.Providers[i])
	}
	for _, f := range []face{four, six} {
		if f.vip.IsValid() {
			slices.SortFunc(f.providers, func(a, b provider) int { return a.addr.Compare(b.addr) })
			f.providers = slices.CompactFunc(f.providers, func(a, b provider) bool { return a.addr == b.addr })
			s.faces = append(s.faces, f)
		}
	}
	return s, ""
}

func comparePorts(a, b protocol.ServicePort) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}

// maxPorts of a service is what the numbers of its groups can tell apart.
const maxPorts = 1 << 12

func checkService(s *protocol.Service) refusal {
	switch {
	case s.ID == 0:
		return "service id 0"
	case !s.VIP.IsValid() && !s.VIP6.IsValid():
		return "no address"
	case s.VIP.IsValid() && (!s.VIP.Is4() || !s.VIP.IsGlobalUnicast()):
		return refuse("%q is not an IPv4 address of a service", s.VIP)
	case s.VIP6.IsValid() && (!s.VIP6.Is6() || s.VIP6.Is4In6() || s.VIP6.Zone() != "" || !s.VIP6.IsGlobalUnicast()):
		return refuse("%q is not an IPv6 address of a service", s.VIP6)
	case s.Affinity < 0 || s.Affinity > 65535:
		return refuse("affinity of %d seconds is not within 0..65535", s.Affinity)
	case len(s.Ports) > maxPorts:
		return refuse("%d ports, more than %d", len(s.Ports), maxPorts)
	}
	return checkServicePorts(s.Ports)
}

func checkServicePorts(ports []protocol.ServicePort) refusal {
	seen := map[[2]uint16]bool{}
	for _, p := range ports {
		if p.Protocol != of.ProtoTCP && p.Protocol != of.ProtoUDP && p.Protocol != of.ProtoSCTP {
			return refuse("protocol %d has no ports that this version knows", p.Protocol)
		}
		if p.Port == 0 || p.ProviderPort == 0 {
			return refuse("port %d to %d: ports are within 1..65535", p.Port, p.ProviderPort)
		}
		which := [2]uint16{uint16(p.Protocol), p.Port}
		if seen[which] {
			return refuse("port %d of protocol %d is there twice", p.Port, p.Protocol)
		}
		seen[which] = true
	}
	return ""
}

// provide adds the addresses of a provider, or why they cannot be reached.
func (v *view) provide(s *service, four, six *face, record *protocol.Service, p *protocol.Provider) {
	mac, err := of.ParseMAC(p.MAC)
	name := p.IPv4
	if !name.IsValid() {
		name = p.IPv6
	}
	leave := func(format string, args ...any) {
		s.partly = append(s.partly, fmt.Sprintf("provider %s ", name)+fmt.Sprintf(format, args...))
	}
	switch {
	case !v.routed() && p.Network != record.Network:
		leave("is in network %q, which cannot be reached in forward mode %q", p.Network, protocol.ForwardBridge)
		return
	case !v.routed() && (err != nil || mac.IsMulticast() || mac == of.MAC{}):
		leave("has no MAC address, but %q", p.MAC)
		return
	case p.IPv4.IsValid() && (!p.IPv4.Is4() || !p.IPv4.IsGlobalUnicast()),
		p.IPv6.IsValid() && (!p.IPv6.Is6() || p.IPv6.Is4In6() || p.IPv6.Zone() != "" || !p.IPv6.IsGlobalUnicast()):
		leave("has addresses that cannot be used: %q and %q", p.IPv4, p.IPv6)
		return
	}
	for _, side := range []struct {
		face *face
		addr netip.Addr
	}{{four, p.IPv4}, {six, p.IPv6}} {
		if !side.addr.IsValid() || !side.face.vip.IsValid() {
			continue
		}
		number := v.Backends[Backend{record.Tenant, side.addr}]
		if number == 0 {
			leave("has no number for its address %s on this host", side.addr)
			continue
		}
		side.face.providers = append(side.face.providers, provider{side.addr, number, mac})
	}
}

// usage tells which services, by key, use something.
type usage[K comparable] map[K]map[string]struct{}

func (x usage[K]) add(k K, service string) {
	if x[k] == nil {
		x[k] = map[string]struct{}{}
	}
	x[k][service] = struct{}{}
}

func (x usage[K]) remove(k K, service string) {
	if delete(x[k], service); len(x[k]) == 0 {
		delete(x, k)
	}
}

func (x usage[K]) mark(k K, d *dirty) {
	for key := range x[k] {
		d.services[key] = struct{}{}
	}
}

func backendsOf(s *protocol.Service) []Backend {
	var out []Backend
	for _, p := range s.Providers {
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() {
				out = append(out, Backend{s.Tenant, a})
			}
		}
	}
	return out
}

// changeServices takes what changes of services and of the numbers of their providers, and marks what to compile again.
func (c *Compiler) changeServices(changes *Changes, d *dirty) {
	for key, s := range changes.Services {
		old, had := c.Services[key]
		if s == nil && !had || s != nil && had && reflect.DeepEqual(*s, old) {
			continue
		}
		if had {
			c.serviceRivals(&old, d)
			c.serviceClaims.remove(serviceClaims(&old), key)
			c.byServiceNetwork.remove(old.Tenant+":"+old.Network, key)
			for _, b := range backendsOf(&old) {
				c.byBackend.remove(b, key)
			}
			delete(c.Services, key)
		}
		if s != nil {
			c.Services[key] = *s
			c.serviceClaims.add(serviceClaims(s), key)
			c.serviceRivals(s, d)
			c.byServiceNetwork.add(s.Tenant+":"+s.Network, key)
			for _, b := range backendsOf(s) {
				c.byBackend.add(b, key)
			}
		}
		d.services[key] = struct{}{}
	}
	for b, number := range changes.Backends {
		if c.Backends[b] == number {
			continue
		}
		if delete(c.Backends, b); number != 0 {
			c.Backends[b] = number
		}
		c.byBackend.mark(b, d)
	}
}

// serviceRivals marks all services that claim what s does.
func (c *Compiler) serviceRivals(s *protocol.Service, d *dirty) {
	for _, w := range serviceClaims(s) {
		for _, key := range c.serviceClaims.holders[w] {
			d.services[key] = struct{}{}
		}
	}
}

func (c *Compiler) compileService(key string, diff *differ) {
	old, now := c.services[key], (*unit)(nil)
	if _, there := c.Services[key]; there {
		now = c.serviceUnit(key)
	}
	diff.unit(old, now)
	c.refuse(record{protocol.KindService, key}, now)
	if delete(c.services, key); now != nil {
		c.services[key] = now
	}
}
