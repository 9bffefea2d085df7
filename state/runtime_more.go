package state

import "net/netip"

// Prefixes of further runtime records.
const (
	ServiceStatePrefix = "state/serviceLB/"
	GoingPolicyPrefix  = "state/goingPolicies/"
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
	Extra       `json:"-"`
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
