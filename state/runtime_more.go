package state

import (
	"net/netip"
	"slices"
	"strings"
)

// Prefixes of further runtime records.
const (
	ServiceStatePrefix = "state/serviceLB/"
	GoingPolicyPrefix  = "state/goingPolicies/"
	GroupSetPrefix     = "state/groupSets/"
)

// PoolService is the pool of the ids of services, 1..65535.
const PoolService Pool = "service"

// ServiceState is what netmaster decided for a service.
type ServiceState struct {
	TenantName  string `json:"tenantName"`
	ServiceName string `json:"serviceName"`
	ID          int    `json:"id"` // 1..65535, pool PoolService
	// NetworkName is the network that VIP is from, the service's virtual address.
	NetworkName string     `json:"networkName"`
	VIP         netip.Addr `json:"vip"`
	// VIP6 is from the network's IPv6 subnet, not valid if it has none.
	VIP6  netip.Addr `json:"vip6,omitzero"`
	Extra `json:"-"`
}

// Key is the model key of the service.
func (s *ServiceState) Key() string { return ModelKey(s.TenantName, s.ServiceName) }

// StoreKey implements Record.
func (s *ServiceState) StoreKey() string { return ServiceStatePrefix + s.Key() }

// GoingPolicy is a policy that was deleted and had more rules than one transaction can remove. The rules that are left
// mean nothing; the record goes with the last of them.
type GoingPolicy struct {
	PolicyName string `json:"policyName"`
	TenantName string `json:"tenantName"`
	Extra      `json:"-"`
}

// Key is the model key of the policy.
func (g *GoingPolicy) Key() string { return ModelKey(g.TenantName, g.PolicyName) }

// StoreKey implements Record.
func (g *GoingPolicy) StoreKey() string { return GoingPolicyPrefix + g.Key() }

// GroupSet is a set of several groups that some endpoint is in. It is there as long as such an endpoint is; what is in
// one group alone has the identity of that group.
type GroupSet struct {
	TenantName string   `json:"tenantName"`
	Groups     []string `json:"groups"`   // names in the tenant, sorted, two at least
	Identity   int      `json:"identity"` // 1..65535, pool PoolIdentity
	Extra      `json:"-"`
}

// GroupSetKey is the key of the set of those groups, whatever their order.
func GroupSetKey(tenant string, groups []string) string {
	return ModelKey(tenant, strings.Join(slices.Sorted(slices.Values(groups)), ","))
}

// Key is "tenant:group,group".
func (g *GroupSet) Key() string { return GroupSetKey(g.TenantName, g.Groups) }

// StoreKey implements Record.
func (g *GroupSet) StoreKey() string { return GroupSetPrefix + g.Key() }
