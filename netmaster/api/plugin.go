package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// The calls below /plugin/ are those by which the original's plugins asked for addresses and endpoints; ours use the
// agents' protocol. They are kept for programs that call them. What they make belongs to no agent: an agent of ours that
// registers under the host's name does not list it, and it is released like anything else that a host has lost.

// pluginHost owns addresses that were asked for and have no endpoint yet. No host can have that name.
const pluginHost = "/plugin"

// pluginInterface begins the interface names of the endpoints made here, which have one on each network.
const pluginInterface = "plugin-"

// PluginCalls does what the calls ask for.
type PluginCalls struct {
	Reserve func(ctx context.Context, host string, request *protocol.ReserveAddressRequest) (objects.Reserved, error)
	Release func(ctx context.Context, token string) (int64, error)
	Create  func(ctx context.Context, request *protocol.CreateEndpointRequest) (*state.Endpoint, int64, error)
	Update  func(ctx context.Context, event *protocol.ProviderEvent) (int64, error)
}

func pluginCallsOf(o *objects.Objects) PluginCalls {
	return PluginCalls{o.ReserveAddress, o.ReleaseAddress, o.CreateEndpoint, o.UpdateEndpoint}
}

type allocAddress struct {
	NetworkID            string
	AddressPool          string
	PreferredIPv4Address string
}

type allocatedAddress struct {
	NetworkID   string
	IPv4Address string // with prefix length; of either family
}

type releaseAddress struct {
	NetworkID   string
	IPv4Address string
}

type createEndpoint struct {
	TenantName, NetworkName  string
	EndpointID, EPCommonName string
	ConfigEP                 struct {
		Container, Host        string
		IPAddress, IPv6Address string
		ServiceName            string // group
	}
}

type deleteEndpoint struct {
	TenantName, NetworkName, EndpointID string
}

type updateEndpoint struct {
	IPAddress, ContainerID, Tenant, Network, EndpointID, EPCommonName, Event string
	Labels                                                                   map[string]string
}

type updatedEndpoint struct{ IPAddress string }

// endpointAnswer is the record of an endpoint with the names of the original's.
type endpointAnswer struct {
	EndpointConfig endpointConfig
}

type endpointConfig struct {
	ID               string            `json:"id"`
	NetID            string            `json:"netID"`
	EndpointID       string            `json:"endpointID"`
	ServiceName      string            `json:"serviceName"`
	EndpointGroupID  int               `json:"endpointGroupId"`
	EndpointGroupKey string            `json:"endpointGroupKey"`
	IPAddress        string            `json:"ipAddress"`
	IPv6Address      string            `json:"ipv6Address"`
	MacAddress       string            `json:"macAddress"`
	HomingHost       string            `json:"homingHost"`
	IntfName         string            `json:"intfName"`
	VtepIP           string            `json:"vtepIP"`
	Labels           map[string]string `json:"labels"`
	ContainerID      string            `json:"containerId"`
	EPCommonName     string            `json:"epCommonName"`
}

func endpointConfigOf(m *ledger.Model, e *state.Endpoint) endpointAnswer {
	shown := endpointOper(m, e)
	return endpointAnswer{endpointConfig{
		ID: shown.Network + "-" + e.ContainerID, NetID: shown.Network, EndpointID: shown.EndpointID, ServiceName: shown.ServiceName,
		EndpointGroupID: shown.EndpointGroupID, EndpointGroupKey: shown.EndpointGroupKey,
		IPAddress: shown.IPAddress[0], IPv6Address: shown.IPAddress[1], MacAddress: e.MAC, HomingHost: e.Host,
		IntfName: e.IfName, VtepIP: shown.VtepIP, Labels: e.Labels, ContainerID: e.ContainerID, EPCommonName: e.ContainerName,
	}}
}

// pluginCall reads the request of a call and answers it.
func pluginCall[T any](call func(context.Context, *T) (any, error)) answer {
	return func(r *http.Request) (any, error) {
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		request := new(T)
		if err := decodeBody(body, request); err != nil {
			return nil, err
		}
		return call(r.Context(), request)
	}
}

// place is a network, perhaps with a group of it, that a request means.
type place struct {
	network *state.Network
	group   string
}

// placesNamed finds what "network.tenant" or "network:group.tenant" may mean: names may have dots themselves.
func placesNamed(m *ledger.Model, id string) (found []place) {
	network, dotted, hasGroup := strings.Cut(id, ":")
	if !hasGroup {
		dotted = id
	}
	for i := range len(dotted) {
		if dotted[i] != '.' {
			continue
		}
		name, tenant := dotted[:i], dotted[i+1:]
		p := place{}
		if hasGroup {
			p.group, name = name, network
			if g := m.Group(state.ModelKey(tenant, p.group)); g == nil || g.NetworkName != network {
				continue
			}
		}
		if p.network = m.Network(state.ModelKey(tenant, name)); p.network != nil {
			found = append(found, p)
		}
	}
	return found
}

// placesWithPool finds the networks that have a subnet, "10.1.2.0/24" or "10.1.2.0/24:tenant".
func placesWithPool(m *ledger.Model, pool string) (found []place) {
	tenant := ""
	prefix, err := netip.ParsePrefix(pool)
	if colon := strings.LastIndexByte(pool, ':'); err != nil && colon > 0 {
		tenant = pool[colon+1:]
		prefix, err = netip.ParsePrefix(pool[:colon])
	}
	if err != nil {
		return nil
	}
	for _, n := range m.Networks(tenant) {
		subnet, _ := state.ParseSubnet(n.Subnet)
		subnet6, _ := state.ParseSubnet6(n.IPv6Subnet)
		if wanted := prefix.Masked(); subnet.Prefix == wanted || subnet6.Prefix == wanted {
			found = append(found, place{network: n})
		}
	}
	return found
}

// placeOf is the one network that a request for an address means.
func (s *server) placeOf(ctx context.Context, id, pool string) (place, error) {
	var found []place
	err := s.Reader.View(ctx, func(m *ledger.Model) {
		if found = placesNamed(m, id); id == "" {
			found = placesWithPool(m, pool)
		}
	})
	switch {
	case err != nil:
		return place{}, err
	case len(found) == 0:
		return place{}, &statusError{http.StatusNotFound, fmt.Sprintf("network not found: NetworkID %q, AddressPool %q", shorten(id), shorten(pool))}
	case len(found) > 1:
		return place{}, &statusError{http.StatusConflict, fmt.Sprintf("NetworkID %q, AddressPool %q mean %d networks, %q and %q among them",
			shorten(id), shorten(pool), len(found), found[0].network.Key(), found[1].network.Key())}
	}
	return found[0], nil
}

func (s *server) allocAddress(ctx context.Context, request *allocAddress) (any, error) {
	at, err := s.placeOf(ctx, request.NetworkID, request.AddressPool)
	if err != nil {
		return nil, err
	}
	want := &protocol.ReserveAddressRequest{Tenant: at.network.TenantName, Network: at.network.NetworkName, Group: at.group}
	if subnet, err := netip.ParsePrefix(at.network.IPv6Subnet); err == nil && request.NetworkID == "" {
		want.IPv6 = strings.HasPrefix(request.AddressPool, subnet.String())
	}
	if request.PreferredIPv4Address != "" {
		if want.Addr, err = netip.ParseAddr(request.PreferredIPv4Address); err != nil {
			return nil, badRequest("PreferredIPv4Address %q is not an IP address", shorten(request.PreferredIPv4Address))
		}
	}
	got, err := s.Changes.Plugin.Reserve(ctx, pluginHost, want)
	if err != nil {
		return nil, err
	}
	return allocatedAddress{request.NetworkID, netip.PrefixFrom(got.Addr, got.Bits).String()}, nil
}

// reservation is the token under which a call reserved an address, "" if none did.
func (s *server) reservation(ctx context.Context, network *state.Network, addr netip.Addr) (token string, err error) {
	if !addr.IsValid() {
		return "", nil
	}
	err = s.Reader.View(ctx, func(m *ledger.Model) {
		held := m.Allocation(state.Allocation{Pool: state.AddressPool(network.Key()), Addr: addr})
		if held != nil && held.Reserved != nil && held.Reserved.Host == pluginHost {
			token = held.Reserved.Token
		}
	})
	return token, err
}

// releaseAddress gives back an address that has no endpoint; those of endpoints go with them.
func (s *server) releaseAddress(ctx context.Context, request *releaseAddress) (any, error) {
	id, _, _ := strings.Cut(request.NetworkID, "|") // docker's pools end in "|pool"
	at, err := s.placeOf(ctx, id, "")
	if err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(request.IPv4Address, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, badRequest("IPv4Address %q is not an IP address", shorten(request.IPv4Address))
	}
	token, err := s.reservation(ctx, at.network, addr)
	if err == nil && token != "" {
		_, err = s.Changes.Plugin.Release(ctx, token)
	}
	return "success", err
}

func (s *server) createEndpoint(ctx context.Context, request *createEndpoint) (any, error) {
	want := &protocol.CreateEndpointRequest{
		ID:     protocol.EndpointID{Host: request.ConfigEP.Host, ContainerID: request.ConfigEP.Container, IfName: pluginInterface + request.NetworkName},
		Tenant: request.TenantName, Network: request.NetworkName, ContainerName: request.EPCommonName, RuntimeID: request.EndpointID,
	}
	if request.ConfigEP.ServiceName != "" {
		want.Groups = []string{request.ConfigEP.ServiceName}
	}
	network := &state.Network{TenantName: want.Tenant, NetworkName: want.Network}
	for _, f := range []struct {
		text  string
		addr  *netip.Addr
		token *string
	}{
		{request.ConfigEP.IPAddress, &want.IPv4, &want.Token}, {request.ConfigEP.IPv6Address, &want.IPv6, &want.Token6},
	} {
		if f.text == "" {
			continue
		}
		var err error
		if *f.addr, err = netip.ParseAddr(f.text); err != nil {
			return nil, badRequest("%q is not an IP address", shorten(f.text))
		}
		if *f.token, err = s.reservation(ctx, network, *f.addr); err != nil {
			return nil, err
		}
	}
	made, _, err := s.Changes.Plugin.Create(ctx, want)
	if err != nil {
		return nil, err
	}
	var out endpointAnswer
	s.Reader.ViewCached(func(m *ledger.Model) { out = endpointConfigOf(m, made) })
	return out, nil
}

// pluginEndpoint finds an endpoint of a network or group by one of its ids; nil if there is none.
func (s *server) pluginEndpoint(ctx context.Context, tenant, network string, ids ...string) (found *state.Endpoint, out endpointAnswer, err error) {
	err = s.Reader.View(ctx, func(m *ledger.Model) {
		for _, id := range ids {
			for _, e := range exactly(m, tenant, id) {
				if id != "" && found == nil && (e.NetworkName == network || slices.Contains(e.Groups, network)) {
					found, out = e, endpointConfigOf(m, e)
				}
			}
		}
	})
	return found, out, err
}

func (s *server) deleteEndpoint(ctx context.Context, request *deleteEndpoint) (any, error) {
	found, out, err := s.pluginEndpoint(ctx, request.TenantName, request.NetworkName, request.EndpointID)
	switch {
	case err != nil:
		return nil, err
	case found == nil:
		return nil, notFound("endpoint", shorten(request.EndpointID))
	case !strings.HasPrefix(found.IfName, pluginInterface):
		return nil, &statusError{http.StatusConflict, fmt.Sprintf("endpoint %s was not made by /plugin/createEndpoint: its host's agent removes it", found.EndpointID)}
	}
	_, err = s.Changes.ReleaseEndpoint(ctx, found.EndpointID)
	return out, err
}

// updateEndpoint hears that a container started or died. One that is not known any more is no error when it died.
func (s *server) updateEndpoint(ctx context.Context, request *updateEndpoint) (any, error) {
	found, _, err := s.pluginEndpoint(ctx, request.Tenant, request.Network, request.EndpointID, request.ContainerID)
	switch {
	case err != nil:
		return nil, err
	case found == nil && request.Event == "die":
		return nil, nil
	case found == nil:
		return nil, notFound("endpoint", shorten(request.EndpointID))
	}
	_, err = s.Changes.Plugin.Update(ctx, &protocol.ProviderEvent{
		Event: request.Event, ID: protocol.EndpointID(found.EndpointID), ContainerName: request.EPCommonName, Labels: request.Labels,
		RuntimeID: request.ContainerID,
	})
	return updatedEndpoint{request.IPAddress}, err
}
