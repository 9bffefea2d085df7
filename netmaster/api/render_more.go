package api

import (
	"fmt"
	"slices"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// linkTo points to an object, or to none if the name is empty.
func linkTo(kind, tenant, name string) client.Link {
	if name == "" {
		return client.Link{}
	}
	return client.Link{Type: kind, Key: state.ModelKey(tenant, name)}
}

func tenantLink(name string) client.Link { return client.Link{Type: "tenant", Key: name} }

// inspectOnly shows a record that has no figures.
func inspectOnly[T any](show func(*ledger.Model, *T) any) func(*ledger.Model, *T) any {
	return func(m *ledger.Model, record *T) any {
		return client.Inspection[any, client.NoOper]{Config: show(m, record)}
	}
}

func policy(m *ledger.Model, p *state.Policy) any {
	out := client.Policy{ModelKey: p.Key(), ResourceVersion: versionOf(m, p), Policy: *p}
	out.LinkSets.EndpointGroups = links("endpointGroup", m.GroupsIn(ledger.GroupsWithPolicy(p.Key())))
	out.LinkSets.Rules = links("rule", m.RulesIn(ledger.RulesOfPolicy(p.Key())))
	out.Links.Tenant = tenantLink(p.TenantName)
	return out
}

func inspectRule(m *ledger.Model, r *state.Rule) any {
	return client.Inspection[any, *client.RuleOper]{Config: rule(m, r)}
}

func inspectNetprofile(m *ledger.Model, n *state.Netprofile) any {
	return client.Inspection[any, *client.NetprofileOper]{Config: netprofile(m, n)}
}

func inspectPolicy(m *ledger.Model, p *state.Policy) any {
	return client.Inspection[any, client.PolicyOper]{Config: policy(m, p), Oper: policyOper(m, p)}
}

func policyOper(m *ledger.Model, p *state.Policy) client.PolicyOper {
	var oper client.PolicyOper
	for _, g := range m.GroupsIn(ledger.GroupsWithPolicy(p.Key())) {
		oper.Endpoints = append(oper.Endpoints, endpointOpers(m, ledger.EndpointsOfGroup(g.Key()))...)
	}
	oper.NumEndpoints = len(oper.Endpoints)
	return oper
}

func rule(m *ledger.Model, r *state.Rule) any {
	out := client.Rule{ModelKey: r.Key(), ResourceVersion: versionOf(m, r), Rule: *r}
	out.LinkSets.Policies = linksInTenant("policy", r.TenantName, []string{r.PolicyName})
	for _, peer := range []string{r.FromEndpointGroup, r.ToEndpointGroup} {
		if peer != "" && m.Group(state.ModelKey(r.TenantName, peer)) != nil {
			out.Links.MatchEndpointGroup = linkTo("endpointGroup", r.TenantName, peer)
		}
	}
	return out
}

func netprofile(m *ledger.Model, n *state.Netprofile) any {
	out := client.Netprofile{ModelKey: n.Key(), ResourceVersion: versionOf(m, n), Netprofile: *n}
	out.LinkSets.EndpointGroups = links("endpointGroup", m.GroupsIn(ledger.GroupsWithNetprofile(n.Key())))
	out.Links.Tenant = tenantLink(n.TenantName)
	return out
}

func service(m *ledger.Model, s *state.ServiceLB) any {
	out := client.ServiceLB{ModelKey: s.Key(), ResourceVersion: versionOf(m, s), ServiceLB: *s}
	out.Links.Network = linkTo("network", s.TenantName, s.NetworkName)
	out.Links.Tenant = tenantLink(s.TenantName)
	return out
}

func inspectService(m *ledger.Model, s *state.ServiceLB) any {
	return client.Inspection[any, client.ServiceLBOper]{Config: service(m, s), Oper: serviceOper(m, s)}
}

func serviceOper(m *ledger.Model, s *state.ServiceLB) client.ServiceLBOper {
	var oper client.ServiceLBOper
	if decided := m.ServiceState(s.Key()); decided != nil {
		oper.ServiceVip, oper.ServiceVip6 = addrText(decided.VIP), addrText(decided.VIP6)
	}
	for _, e := range m.Providers(s) {
		provider := endpointOper(m, e)
		provider.ServiceName = s.ServiceName
		oper.Providers = append(oper.Providers, provider)
	}
	oper.NumProviders = len(oper.Providers)
	return oper
}

// serviceState shows a service as the original's record of it.
func serviceState(m *ledger.Model, s *state.ServiceLB) client.ServiceState {
	out := client.ServiceState{
		ID: s.ServiceName + ":" + s.TenantName, ServiceName: s.ServiceName, TenantName: s.TenantName, Network: s.NetworkName,
		Ports: slices.Clone(s.Ports), Providers: map[string]client.ProviderState{},
	}
	if selectors, err := state.ParseSelectors(s.Selectors); err == nil {
		out.Selectors = selectors
	}
	if decided := m.ServiceState(s.Key()); decided != nil {
		out.IPAddress = addrText(decided.VIP)
	}
	for _, e := range m.Providers(s) {
		out.Providers[addrText(e.IPv4)+":"+e.TenantName] = client.ProviderState{
			IPAddress: addrText(e.IPv4), ContainerID: e.ContainerID, Labels: e.Labels, Tenant: e.TenantName, Network: e.NetworkName,
			Services: []string{out.ID}, Container: e.ContainerName, EpIDKey: fmt.Sprintf("%s.%s-%s", e.NetworkName, e.TenantName, e.ContainerID),
		}
	}
	return out
}

func bgp(m *ledger.Model, b *state.Bgp) any {
	return client.Bgp{ModelKey: b.Key(), ResourceVersion: versionOf(m, b), Bgp: *b}
}

// inspectBgp leaves the figures to askAgent.
func inspectBgp(m *ledger.Model, b *state.Bgp) any {
	return client.Inspection[any, client.BgpOper]{Config: bgp(m, b)}
}

func aciGw(m *ledger.Model, a *state.AciGw) any {
	return client.AciGw{ModelKey: a.Key(), ResourceVersion: versionOf(m, a), AciGw: *a}
}

func inspectAciGw(m *ledger.Model, a *state.AciGw) any {
	oper := client.AciGwOper{NumAppProfiles: m.Count(ledger.AppProfilesOfTenant(""))}
	return client.Inspection[any, client.AciGwOper]{Config: aciGw(m, a), Oper: oper}
}

func appProfile(m *ledger.Model, a *state.AppProfile) any {
	out := client.AppProfile{ModelKey: a.Key(), ResourceVersion: versionOf(m, a), AppProfile: *a}
	out.LinkSets.EndpointGroups = linksInTenant("endpointGroup", a.TenantName, a.EndpointGroups)
	out.Links.Tenant = tenantLink(a.TenantName)
	return out
}

func extContractsGroup(m *ledger.Model, e *state.ExtContractsGroup) any {
	out := client.ExtContractsGroup{ModelKey: e.Key(), ResourceVersion: versionOf(m, e), ExtContractsGroup: *e}
	out.LinkSets.EndpointGroups = links("endpointGroup", m.GroupsIn(ledger.GroupsWithContracts(e.Key())))
	return out
}
