package ledger

import "github.com/contiv/contiv/state"

// Index names a set of records that share something; see the functions that make one.
type Index struct {
	kind indexKind
	key  string
}

type indexKind uint8

const (
	tenants indexKind = iota
	networksByTenant
	networksByDocker
	groupsByTenant
	groupsByNetwork
	pooledGroupsByNetwork
	endpoints
	endpointsByTenant
	endpointsByNetwork
	endpointsByGroup
	endpointsByHost
	endpointsByName
	endpointsByContainer
	hosts
	allocationsByPool
	reservationsByToken
	unowned
)

// AllTenants is every tenant.
func AllTenants() Index { return Index{kind: tenants} }

// NetworksOfTenant is the networks of a tenant, or of all for "".
func NetworksOfTenant(name string) Index { return Index{networksByTenant, name} }

// NetworksOfDocker is the NetworkState of the network made for a docker network of a host.
func NetworksOfDocker(host, networkID string) Index {
	return Index{networksByDocker, host + "/" + networkID}
}

// GroupsOfTenant is the groups of a tenant, or of all for "".
func GroupsOfTenant(name string) Index { return Index{groupsByTenant, name} }

// GroupsOfNetwork is the groups of a network, by its model key.
func GroupsOfNetwork(key string) Index { return Index{groupsByNetwork, key} }

// PooledGroupsOfNetwork is those of them that have an address pool of their own.
func PooledGroupsOfNetwork(key string) Index { return Index{pooledGroupsByNetwork, key} }

// AllEndpoints is every endpoint.
func AllEndpoints() Index { return Index{kind: endpoints} }

// EndpointsOfTenant is the endpoints of a tenant.
func EndpointsOfTenant(name string) Index { return Index{endpointsByTenant, name} }

// EndpointsOfNetwork is the endpoints of a network, by its model key.
func EndpointsOfNetwork(key string) Index { return Index{endpointsByNetwork, key} }

// EndpointsOfGroup is the endpoints of a group, by its model key.
func EndpointsOfGroup(key string) Index { return Index{endpointsByGroup, key} }

// EndpointsOfHost is the endpoints of a host.
func EndpointsOfHost(name string) Index { return Index{endpointsByHost, name} }

// containerPrefix is how much of a container id EndpointsOfContainer needs.
const containerPrefix = 4

// EndpointsNamed is the endpoints with that container name or runtime id.
func EndpointsNamed(name string) Index { return Index{endpointsByName, name} }

// EndpointsOfContainer is the endpoints whose container id, or its engine's, begins with the same 4 characters as the argument, which may
// be shorter than a whole id; the caller compares the rest.
func EndpointsOfContainer(id string) Index {
	return Index{endpointsByContainer, id[:min(len(id), containerPrefix)]}
}

// AllHosts is every host, dead or not.
func AllHosts() Index { return Index{kind: hosts} }

// AllocationsOf is every record of a pool.
func AllocationsOf(pool state.Pool) Index { return Index{allocationsByPool, string(pool)} }

// ReservationsOf is the address reserved under a token.
func ReservationsOf(token string) Index { return Index{reservationsByToken, token} }

// Unowned is every allocation that rests or is reserved: what time will free.
func Unowned() Index { return Index{kind: unowned} }

func indexesOf(record state.Record) []Index {
	switch r := record.(type) {
	case *state.Tenant:
		return []Index{AllTenants()}
	case *state.Network:
		return []Index{NetworksOfTenant(""), NetworksOfTenant(r.TenantName)}
	case *state.NetworkState:
		if r.Docker != nil {
			return []Index{NetworksOfDocker(r.Docker.Host, r.Docker.NetworkID)}
		}
	case *state.EndpointGroup:
		return indexesOfGroup(r)
	case *state.Endpoint:
		return indexesOfEndpoint(r)
	case *state.Host:
		return []Index{AllHosts()}
	case *state.Allocation:
		return indexesOfAllocation(r)
	}
	return indexesOfIntent(record)
}

func indexesOfGroup(g *state.EndpointGroup) []Index {
	network := state.ModelKey(g.TenantName, g.NetworkName)
	out := []Index{GroupsOfTenant(""), GroupsOfTenant(g.TenantName), GroupsOfNetwork(network)}
	if g.IPPool != "" {
		out = append(out, PooledGroupsOfNetwork(network))
	}
	return append(out, indexesOfAttached(g)...)
}

func indexesOfEndpoint(e *state.Endpoint) []Index {
	out := []Index{
		AllEndpoints(), EndpointsOfTenant(e.TenantName), EndpointsOfHost(e.Host),
		EndpointsOfNetwork(state.ModelKey(e.TenantName, e.NetworkName)), EndpointsOfContainer(e.ContainerID),
	}
	if e.ContainerName != "" {
		out = append(out, EndpointsNamed(e.ContainerName))
	}
	if e.RuntimeID != "" && e.RuntimeID != e.ContainerName {
		out = append(out, EndpointsNamed(e.RuntimeID))
	}
	if e.EngineID != "" {
		out = append(out, EndpointsOfContainer(e.EngineID))
	}
	if len(e.Labels) > 0 {
		out = append(out, LabelledEndpointsOfTenant(e.TenantName))
	}
	if len(e.Groups) > 1 {
		out = append(out, EndpointsOfGroupSet(state.GroupSetKey(e.TenantName, e.Groups)))
	}
	for _, group := range e.Groups {
		out = append(out, EndpointsOfGroup(state.ModelKey(e.TenantName, group)))
	}
	return out
}

func indexesOfAllocation(a *state.Allocation) []Index {
	out := []Index{AllocationsOf(a.Pool)}
	if a.Reserved != nil {
		out = append(out, ReservationsOf(a.Reserved.Token))
	}
	if a.Owner == "" {
		out = append(out, Unowned())
	}
	return out
}
