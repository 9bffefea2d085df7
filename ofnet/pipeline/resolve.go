package pipeline

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// view is a State with what is needed to tell which of its records can be realised.
type view struct {
	State
	networkClaims  claims[string]
	endpointClaims claims[protocol.EndpointID]
	serviceClaims  claims[string]
}

func newView(host string) *view {
	return &view{
		State: State{
			Host: host, Networks: map[string]protocol.Network{}, Groups: map[string]protocol.Group{},
			Endpoints: map[protocol.EndpointID]protocol.Endpoint{}, Hosts: map[string]protocol.Host{},
			Ports: map[protocol.EndpointID]uint32{}, Rules: map[string]protocol.Rule{}, Zones: map[string]uint16{},
			Services: map[string]protocol.Service{}, Backends: map[Backend]uint32{},
		},
		networkClaims:  claims[string]{map[claim][]string{}, cmp.Compare[string]},
		endpointClaims: claims[protocol.EndpointID]{map[claim][]protocol.EndpointID{}, compareIDs},
		serviceClaims:  claims[string]{map[claim][]string{}, cmp.Compare[string]},
	}
}

// refusal says why a record is not realised.
type refusal string

func refuse(format string, args ...any) refusal { return refusal(fmt.Sprintf(format, args...)) }

// global tells whether the modes of the cluster are ones we have.
func (v *view) global() refusal {
	switch {
	case v.Global == nil:
		return "global settings are not known yet"
	case v.Global.ForwardMode != protocol.ForwardBridge && v.Global.ForwardMode != protocol.ForwardRouting:
		return refuse("forward mode %q is unknown, want %q or %q", v.Global.ForwardMode, protocol.ForwardBridge, protocol.ForwardRouting)
	case v.Global.ARPMode != protocol.ARPProxy && v.Global.ARPMode != protocol.ARPFlood:
		return refuse("ARP mode %q is unknown, want %q or %q", v.Global.ARPMode, protocol.ARPProxy, protocol.ARPFlood)
	}
	return ""
}

// floods tells flood mode from proxy mode. Where the switch routes, it answers for everybody and nothing is flooded.
func (v *view) floods() bool { return v.Global.ARPMode == protocol.ARPFlood && !v.routed() }

// routed tells whether the switch is the router of each network (forward mode routing), not a switch for each.
func (v *view) routed() bool {
	return v.Global != nil && v.Global.ForwardMode == protocol.ForwardRouting
}

const (
	maxVNI = 1<<24 - 1
	maxVRF = 4095
)

// network finds a network that can be realised.
func (v *view) network(key string) (*protocol.Network, refusal) {
	n, known := v.Networks[key]
	if !known {
		return nil, refuse("network %q is not known", key)
	}
	if why := v.global(); why != "" {
		return nil, why
	}
	switch {
	case n.Encap == protocol.EncapVLAN:
		return nil, `encapsulation "vlan" is not available yet`
	case n.Encap != protocol.EncapVXLAN:
		return nil, refuse("encapsulation %q is unknown", n.Encap)
	case n.ID == 0:
		return nil, "network id 0"
	case n.VRF == 0 || n.VRF > maxVRF:
		return nil, refuse("tenant number %d is not within 1..%d", n.VRF, maxVRF)
	case n.VNI == 0 || n.VNI > maxVNI:
		return nil, refuse("VNI %d is not within 1..%d", n.VNI, maxVNI)
	}
	if zone := v.Zones[key]; (zone == 0 || zone > maxZone) && !v.routed() {
		return nil, refuse("conntrack zone %d is not within 1..%d", zone, maxZone)
	}
	if rival, lost := v.networkClaims.rival(networkClaims(&n), key); lost {
		return nil, refuse("network %q has the same id, VNI or subnet", rival)
	}
	return &n, ""
}

// zone is where conntrack keeps the connections of a network.
func (v *view) zone(n *protocol.Network) uint32 {
	if v.routed() {
		return zoneRouting | uint32(n.VRF)
	}
	return zoneBridge | uint32(v.Zones[n.Key()])
}

// domain matches packets of a network; where the switch routes, of its tenant.
func (v *view) domain(n *protocol.Network) of.Term {
	if v.routed() {
		return regVRF.Is(uint32(n.VRF))
	}
	return regBD.Is(uint32(n.ID))
}

// endpoint is one that can be realised.
type endpoint struct {
	network    *protocol.Network
	networkKey string
	mac        of.MAC
	ip4        netip.Addr // invalid without
	ip6        netip.Addr // invalid without
	identity   uint16
	cookie     uint64
	port       uint32     // of a local endpoint
	profile    profile    // of a local endpoint
	vtep       netip.Addr // of a remote endpoint's host
}

func (e *endpoint) local() bool { return e.port != 0 }

// linkLocal is the address that an interface gives itself from its MAC address.
func (e *endpoint) linkLocal() netip.Addr {
	m := e.mac
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// resolve finds an endpoint that can be realised.
func (v *view) resolve(id protocol.EndpointID) (*endpoint, refusal) {
	record := v.Endpoints[id]
	network, why := v.network(record.NetworkKey())
	if why != "" {
		return nil, refuse("network %q: %s", record.NetworkKey(), why)
	}
	out := &endpoint{network: network, networkKey: record.NetworkKey(), ip4: record.IPv4, ip6: record.IPv6, identity: record.Identity, cookie: endpointCookie(id)}
	if why := out.takeAddresses(&record); why != "" {
		return nil, why
	}
	if rival, lost := v.endpointClaims.rival(endpointClaims(&record, v.Ports[id]), id); lost {
		return nil, refuse("endpoint %v has the same address or port", rival)
	}
	if id.Host == v.Host {
		out.port, why = v.localPort(id)
		out.profile = v.profile(record.Tenant, record.Groups)
	} else {
		out.vtep, why = v.vtepOf(id.Host)
	}
	if why != "" {
		return nil, why
	}
	return out, ""
}

func (e *endpoint) takeAddresses(record *protocol.Endpoint) refusal {
	mac, err := of.ParseMAC(record.MAC)
	if err != nil || mac.IsMulticast() || mac == (of.MAC{}) {
		return refuse("%q is not the MAC address of an endpoint", record.MAC)
	}
	e.mac = mac
	for _, a := range []struct {
		addr netip.Addr
		six  bool
	}{{record.IPv4, false}, {record.IPv6, true}} {
		if !a.addr.IsValid() {
			continue
		}
		if a.addr.Is4() == a.six || a.addr.Is4In6() || a.addr.Zone() != "" || !a.addr.IsGlobalUnicast() {
			return refuse("%q is not the address of an endpoint", a.addr)
		}
	}
	if !e.ip4.IsValid() && !e.ip6.IsValid() {
		return "no address"
	}
	return ""
}

func (v *view) localPort(id protocol.EndpointID) (uint32, refusal) {
	port := v.Ports[id]
	switch {
	case port == 0:
		return 0, "no port on this host yet"
	case port >= of.PortMax || port == v.TunnelPort || port == v.HostPort:
		return 0, refuse("port %d is not that of an endpoint", port)
	}
	return port, ""
}

// vtepOf is the tunnel address of another host, of the family that both have.
func (v *view) vtepOf(name string) (netip.Addr, refusal) {
	host, known := v.Hosts[name]
	switch {
	case v.TunnelPort == 0:
		return netip.Addr{}, "there is no tunnel port yet"
	case !known:
		return netip.Addr{}, refuse("host %q is not known", name)
	}
	only6 := false
	if own, known := v.Hosts[v.Host]; known {
		only6 = !own.VTEP.IsValid() && own.VTEP6.IsValid()
	}
	if host.VTEP.Is4() && !only6 && usable(host.VTEP) {
		return host.VTEP, ""
	}
	if host.VTEP6.Is6() && !host.VTEP6.Is4In6() && usable(host.VTEP6) {
		return host.VTEP6, ""
	}
	return netip.Addr{}, refuse("host %q has no tunnel address that we can reach", name)
}

func usable(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" }

// endpointCookie hashes the endpoint's id: records have no number. Two endpoints in tens of thousands may share a cookie,
// which costs no more than counters shown as one.
func endpointCookie(id protocol.EndpointID) uint64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.String()))
	return cookie(categoryEndpoint, h.Sum32())
}
