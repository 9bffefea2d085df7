package ledger

import "github.com/contiv/contiv/state"

// Kinds of indexes of the records below; they go on where those of index.go end.
const (
	policiesByTenant indexKind = 64 + iota
	goingPolicies
	rules
	rulesByPolicy
	rulesByPeer
	groupsByPolicy
	groupsByNetprofile
	groupsByContracts
	netprofilesByTenant
	servicesByTenant
	servicesByNetwork
	bgps
	appProfilesByTenant
	appProfilesByGroup
	contractsByTenant
	labelledEndpointsByTenant
	rulesByNetwork
	groupSets
	groupSetsByGroup
	endpointsByGroupSet
	gatewayProfiles
)

// PoliciesOfTenant is the policies of a tenant, or of all for "".
func PoliciesOfTenant(name string) Index { return Index{policiesByTenant, name} }

// GoingPolicies is every policy that was deleted and still has rules.
func GoingPolicies() Index { return Index{kind: goingPolicies} }

// AllRules is every rule.
func AllRules() Index { return Index{kind: rules} }

// RulesOfPolicy is the rules of a policy, by its model key.
func RulesOfPolicy(key string) Index { return Index{rulesByPolicy, key} }

// RulesNaming is the rules that name a group as peer, by its model key.
func RulesNaming(group string) Index { return Index{rulesByPeer, group} }

// RulesNamingNetwork is the rules that name a network as peer, by its model key.
func RulesNamingNetwork(network string) Index { return Index{rulesByNetwork, network} }

// AllGroupSets is every set of several groups that endpoints are in.
func AllGroupSets() Index { return Index{kind: groupSets} }

// GroupSetsOf is those of them that hold a group, by its model key.
func GroupSetsOf(group string) Index { return Index{groupSetsByGroup, group} }

// EndpointsOfGroupSet is the endpoints that are in exactly those groups, several, by state.GroupSetKey.
func EndpointsOfGroupSet(key string) Index { return Index{endpointsByGroupSet, key} }

// GroupsWithPolicy is the groups that have a policy, by its model key.
func GroupsWithPolicy(key string) Index { return Index{groupsByPolicy, key} }

// GroupsWithNetprofile is the groups that have a network profile, by its model key.
func GroupsWithNetprofile(key string) Index { return Index{groupsByNetprofile, key} }

// GroupsWithContracts is the groups that have a group of external contracts, by its model key.
func GroupsWithContracts(key string) Index { return Index{groupsByContracts, key} }

// NetprofilesOfTenant is the network profiles of a tenant, or of all for "".
func NetprofilesOfTenant(name string) Index { return Index{netprofilesByTenant, name} }

// ServicesOfTenant is the services of a tenant, or of all for "".
func ServicesOfTenant(name string) Index { return Index{servicesByTenant, name} }

// ServicesOfNetwork is the services of a network, by its model key.
func ServicesOfNetwork(key string) Index { return Index{servicesByNetwork, key} }

// AllBgps is every BGP speaker.
func AllBgps() Index { return Index{kind: bgps} }

// GatewayProfiles is every application profile that the ACI gateway may know.
func GatewayProfiles() Index { return Index{kind: gatewayProfiles} }

// AppProfilesOfTenant is the application profiles of a tenant, or of all for "".
func AppProfilesOfTenant(name string) Index { return Index{appProfilesByTenant, name} }

// AppProfilesOfGroup is the application profile of a group, by the group's model key.
func AppProfilesOfGroup(key string) Index { return Index{appProfilesByGroup, key} }

// ContractsOfTenant is the groups of external contracts of a tenant, or of all for "".
func ContractsOfTenant(name string) Index { return Index{contractsByTenant, name} }

// LabelledEndpointsOfTenant is the endpoints of a tenant that have labels: those that may provide a service.
func LabelledEndpointsOfTenant(name string) Index { return Index{labelledEndpointsByTenant, name} }

// indexesOfIntent are the indexes of the records that this file is about.
func indexesOfIntent(record state.Record) []Index {
	switch r := record.(type) {
	case *state.Policy:
		return []Index{PoliciesOfTenant(""), PoliciesOfTenant(r.TenantName)}
	case *state.GoingPolicy:
		return []Index{GoingPolicies()}
	case *state.Rule:
		return indexesOfRule(r)
	case *state.GroupSet:
		out := []Index{AllGroupSets()}
		for _, group := range r.Groups {
			out = append(out, GroupSetsOf(state.ModelKey(r.TenantName, group)))
		}
		return out
	case *state.Netprofile:
		return []Index{NetprofilesOfTenant(""), NetprofilesOfTenant(r.TenantName)}
	case *state.ServiceLB:
		network := state.ModelKey(r.TenantName, r.NetworkName)
		return []Index{ServicesOfTenant(""), ServicesOfTenant(r.TenantName), ServicesOfNetwork(network)}
	case *state.Bgp:
		return []Index{AllBgps()}
	case *state.GatewayProfile:
		return []Index{GatewayProfiles()}
	case *state.AppProfile:
		out := []Index{AppProfilesOfTenant(""), AppProfilesOfTenant(r.TenantName)}
		for _, group := range r.EndpointGroups {
			out = append(out, AppProfilesOfGroup(state.ModelKey(r.TenantName, group)))
		}
		return out
	case *state.ExtContractsGroup:
		return []Index{ContractsOfTenant(""), ContractsOfTenant(r.TenantName)}
	}
	return nil
}

func indexesOfRule(r *state.Rule) []Index {
	out := []Index{AllRules(), RulesOfPolicy(r.PolicyKey())}
	for _, peer := range []string{r.FromEndpointGroup, r.ToEndpointGroup} {
		if peer != "" {
			out = append(out, RulesNaming(state.ModelKey(r.TenantName, peer)))
		}
	}
	for _, peer := range []string{r.FromNetwork, r.ToNetwork} {
		if peer != "" {
			out = append(out, RulesNamingNetwork(state.ModelKey(r.TenantName, peer)))
		}
	}
	return out
}

// indexesOfAttached are those of what a group uses.
func indexesOfAttached(g *state.EndpointGroup) []Index {
	var out []Index
	for _, policy := range g.Policies {
		out = append(out, GroupsWithPolicy(state.ModelKey(g.TenantName, policy)))
	}
	if g.NetProfile != "" {
		out = append(out, GroupsWithNetprofile(state.ModelKey(g.TenantName, g.NetProfile)))
	}
	for _, contracts := range g.ExtContractsGrps {
		out = append(out, GroupsWithContracts(state.ModelKey(g.TenantName, contracts)))
	}
	return out
}
