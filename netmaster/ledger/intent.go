package ledger

import (
	"cmp"
	"slices"

	"github.com/contiv/contiv/state"
)

// Policy is a policy by model key.
func (m *Model) Policy(key string) *state.Policy {
	return get[*state.Policy](m, state.PolicyPrefix+key)
}

// Rule is a rule by model key, nil also while only its policy's removal has not reached it yet.
func (m *Model) Rule(key string) *state.Rule {
	if r := get[*state.Rule](m, state.RulePrefix+key); r != nil && m.Policy(r.PolicyKey()) != nil {
		return r
	}
	return nil
}

// Netprofile is a network profile by model key.
func (m *Model) Netprofile(key string) *state.Netprofile {
	return get[*state.Netprofile](m, state.NetprofilePrefix+key)
}

// Service is a service by model key.
func (m *Model) Service(key string) *state.ServiceLB {
	return get[*state.ServiceLB](m, state.ServiceLBPrefix+key)
}

// ServiceState is what was decided for a service.
func (m *Model) ServiceState(key string) *state.ServiceState {
	return get[*state.ServiceState](m, state.ServiceStatePrefix+key)
}

// GroupSetsIn are the sets of several groups in an index such as AllGroupSets() or GroupSetsOf(group).
func (m *Model) GroupSetsIn(in Index) []*state.GroupSet { return list[*state.GroupSet](m, in) }

// Bgp is the BGP speaker of a host.
func (m *Model) Bgp(host string) *state.Bgp {
	return get[*state.Bgp](m, state.BgpPrefix+host)
}

// AciGw is the settings for ACI.
func (m *Model) AciGw() *state.AciGw {
	return get[*state.AciGw](m, state.AciGwPrefix+state.AciGwName)
}

// AppProfile is an application profile by model key.
func (m *Model) AppProfile(key string) *state.AppProfile {
	return get[*state.AppProfile](m, state.AppProfilePrefix+key)
}

// ExtContractsGroup is a group of external contracts by model key.
func (m *Model) ExtContractsGroup(key string) *state.ExtContractsGroup {
	return get[*state.ExtContractsGroup](m, state.ExtContractsGroupPrefix+key)
}

// Policies are the policies of a tenant, or of all for "".
func (m *Model) Policies(tenant string) []*state.Policy {
	return list[*state.Policy](m, PoliciesOfTenant(tenant))
}

// RulesIn are the rules in an index such as RulesOfPolicy(key), AllRules() or RulesNaming(group), without those whose
// policy is gone.
func (m *Model) RulesIn(in Index) []*state.Rule {
	return slices.DeleteFunc(list[*state.Rule](m, in), func(r *state.Rule) bool { return m.Policy(r.PolicyKey()) == nil })
}

// EachRule calls visit with each rule in an index, in no order, also with those whose policy is gone.
func (m *Model) EachRule(in Index, visit func(*state.Rule)) {
	for found := range m.index[in] {
		if r, ok := found.record.(*state.Rule); ok {
			visit(r)
		}
	}
}

// GroupsIn are the groups in an index such as GroupsWithPolicy(key).
func (m *Model) GroupsIn(in Index) []*state.EndpointGroup { return list[*state.EndpointGroup](m, in) }

// Netprofiles are the network profiles of a tenant, or of all for "".
func (m *Model) Netprofiles(tenant string) []*state.Netprofile {
	return list[*state.Netprofile](m, NetprofilesOfTenant(tenant))
}

// Services are the services of a tenant, or of all for "".
func (m *Model) Services(tenant string) []*state.ServiceLB {
	return list[*state.ServiceLB](m, ServicesOfTenant(tenant))
}

// ServicesOfNetwork are the services of a network, by its model key.
func (m *Model) ServicesOfNetwork(key string) []*state.ServiceLB {
	return list[*state.ServiceLB](m, ServicesOfNetwork(key))
}

// Bgps are all BGP speakers.
func (m *Model) Bgps() []*state.Bgp { return list[*state.Bgp](m, AllBgps()) }

// GatewayProfiles are the application profiles that the ACI gateway may know.
func (m *Model) GatewayProfiles() []*state.GatewayProfile {
	return list[*state.GatewayProfile](m, GatewayProfiles())
}

// AppProfiles are the application profiles of a tenant, or of all for "".
func (m *Model) AppProfiles(tenant string) []*state.AppProfile {
	return list[*state.AppProfile](m, AppProfilesOfTenant(tenant))
}

// AppProfileOfGroup is the application profile that a group is in, by the group's model key; nil if it is in none.
func (m *Model) AppProfileOfGroup(key string) *state.AppProfile {
	for _, found := range list[*state.AppProfile](m, AppProfilesOfGroup(key)) {
		return found
	}
	return nil
}

// ExtContractsGroups are the groups of external contracts of a tenant, or of all for "".
func (m *Model) ExtContractsGroups(tenant string) []*state.ExtContractsGroup {
	return list[*state.ExtContractsGroup](m, ContractsOfTenant(tenant))
}

// GoingPolicies are the policies whose rules are still being removed.
func (m *Model) GoingPolicies() []*state.GoingPolicy {
	return list[*state.GoingPolicy](m, GoingPolicies())
}

// Providers are the running endpoints of the service's tenant that have all the labels it selects, sorted by key.
func (m *Model) Providers(s *state.ServiceLB) []*state.Endpoint {
	selectors, err := state.ParseSelectors(s.Selectors)
	if err != nil {
		return nil
	}
	var out []*state.Endpoint
	for r := range m.index[LabelledEndpointsOfTenant(s.TenantName)] {
		if e, ok := r.record.(*state.Endpoint); ok && !e.Stopped && selectors.Match(e.Labels) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *state.Endpoint) int { return cmp.Compare(a.StoreKey(), b.StoreKey()) })
	return out
}

// Policy is a policy by model key.
func (tx *Tx) Policy(key string) *state.Policy {
	return read[*state.Policy](tx, state.PolicyPrefix+key)
}

// GoingPolicy tells that rules of a deleted policy are still to be removed, by the policy's model key.
func (tx *Tx) GoingPolicy(key string) *state.GoingPolicy {
	return read[*state.GoingPolicy](tx, state.GoingPolicyPrefix+key)
}

// Rule is a rule by model key, also of a policy that is gone.
func (tx *Tx) Rule(key string) *state.Rule {
	return read[*state.Rule](tx, state.RulePrefix+key)
}

// Netprofile is a network profile by model key.
func (tx *Tx) Netprofile(key string) *state.Netprofile {
	return read[*state.Netprofile](tx, state.NetprofilePrefix+key)
}

// Service is a service by model key.
func (tx *Tx) Service(key string) *state.ServiceLB {
	return read[*state.ServiceLB](tx, state.ServiceLBPrefix+key)
}

// ServiceState is what was decided for a service.
func (tx *Tx) ServiceState(key string) *state.ServiceState {
	return read[*state.ServiceState](tx, state.ServiceStatePrefix+key)
}

// GroupSet is a set of several groups by state.GroupSetKey.
func (tx *Tx) GroupSet(key string) *state.GroupSet {
	return read[*state.GroupSet](tx, state.GroupSetPrefix+key)
}

// Bgp is the BGP speaker of a host.
func (tx *Tx) Bgp(host string) *state.Bgp {
	return read[*state.Bgp](tx, state.BgpPrefix+host)
}

// AciGw is the settings for ACI.
func (tx *Tx) AciGw() *state.AciGw {
	return read[*state.AciGw](tx, state.AciGwPrefix+state.AciGwName)
}

// GatewayProfile says by model key whether the ACI gateway may know an application profile.
func (tx *Tx) GatewayProfile(key string) *state.GatewayProfile {
	return read[*state.GatewayProfile](tx, state.GatewayProfilePrefix+key)
}

// AppProfile is an application profile by model key.
func (tx *Tx) AppProfile(key string) *state.AppProfile {
	return read[*state.AppProfile](tx, state.AppProfilePrefix+key)
}

// ExtContractsGroup is a group of external contracts by model key.
func (tx *Tx) ExtContractsGroup(key string) *state.ExtContractsGroup {
	return read[*state.ExtContractsGroup](tx, state.ExtContractsGroupPrefix+key)
}
