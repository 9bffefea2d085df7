package objects

import (
	"context"
	"fmt"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// attach makes a group refer to policies and the like, mostly to none.
func (m *mix) attach(g *state.EndpointGroup) {
	for m.rnd.IntN(3) == 0 {
		g.Policies = append(g.Policies, m.pick("p", 3))
	}
	if m.rnd.IntN(4) == 0 {
		g.NetProfile = m.pick("np", 2)
	}
	if m.rnd.IntN(4) == 0 {
		g.ExtContractsGrps = append(g.ExtContractsGrps, m.pick("x", 2))
	}
}

// intent does one operation on the objects that refer to others.
func (m *mix) intent(ctx context.Context, tenant string) (string, error) {
	key := func(what string, n int) string { return state.ModelKey(tenant, m.pick(what, n)) }
	switch m.rnd.IntN(16) {
	case 0, 1:
		p := &state.Policy{TenantName: tenant, PolicyName: m.pick("p", 3)}
		return did(m.PutPolicy(ctx, p))("create policy " + p.Key())
	case 2:
		p := key("p", 3)
		return did(m.DeletePolicy(ctx, p))("delete policy " + p)
	case 3, 4, 5, 6:
		return m.manyRules(ctx, tenant)
	case 7:
		r := key("p", 3) + ":" + m.pick("r", 80)
		return did(m.DeleteRule(ctx, r))("delete rule " + r)
	case 8:
		n := &state.Netprofile{TenantName: tenant, ProfileName: m.pick("np", 2), DSCP: m.rnd.IntN(3)}
		return did(m.PutNetprofile(ctx, n))("put netprofile " + n.Key())
	case 9:
		n := key("np", 2)
		return did(m.DeleteNetprofile(ctx, n))("delete netprofile " + n)
	case 10, 11, 12:
		return m.service(ctx, tenant)
	case 13:
		e := &state.ExtContractsGroup{TenantName: tenant, ContractsGroupName: m.pick("x", 2), ContractsType: state.ContractsConsumed}
		if m.rnd.IntN(2) == 0 {
			return did(m.DeleteExtContractsGroup(ctx, e.Key()))("delete contracts " + e.Key())
		}
		return did(m.CreateExtContractsGroup(ctx, e))("create contracts " + e.Key())
	}
	a := &state.AppProfile{TenantName: tenant, AppProfileName: m.pick("a", 2)}
	if m.rnd.IntN(3) == 0 {
		return did(m.DeleteAppProfile(ctx, a.Key()))("delete app profile " + a.Key())
	}
	for m.rnd.IntN(2) == 0 {
		a.EndpointGroups = append(a.EndpointGroups, m.pick("g", 3))
	}
	return did(m.PutAppProfile(ctx, a))("put app profile " + a.Key())
}

// manyRules adds so many that a policy's rules may not fit one transaction.
func (m *mix) manyRules(ctx context.Context, tenant string) (what string, err error) {
	policy := m.pick("p", 3)
	for range 1 + m.rnd.IntN(20) {
		r := &state.Rule{
			TenantName: tenant, PolicyName: policy, RuleID: m.pick("r", 80), Action: state.ActionAllow, Direction: state.DirectionIn,
		}
		if m.rnd.IntN(4) == 0 {
			r.FromEndpointGroup = m.pick("g", 3)
		}
		if _, err = m.CreateRule(ctx, r); err != nil {
			break
		}
	}
	return "add rules to " + state.ModelKey(tenant, policy), err
}

func (m *mix) service(ctx context.Context, tenant string) (string, error) {
	s := &state.ServiceLB{
		TenantName: tenant, ServiceName: m.pick("s", 3), NetworkName: m.pick("n", 4), Ports: []string{fmt.Sprintf("%d:80:tcp", 1+m.rnd.IntN(3))},
		Selectors: []string{"app=web"},
	}
	switch m.rnd.IntN(4) {
	case 0:
		return did(m.DeleteService(ctx, s.Key()))("delete service " + s.Key())
	case 1:
		s.IPAddress = fmt.Sprintf("10.0.%d.%d", m.rnd.IntN(4), 1+m.rnd.IntN(14))
	}
	return did(m.PutService(ctx, s))("put service " + s.Key())
}

// drainUsers removes what keeps groups and networks.
func (b *bed) drainUsers() {
	b.t.Helper()
	var profiles, services []string
	b.view(func(m *ledger.Model) { profiles, services = keysOf(m.AppProfiles("")), keysOf(m.Services("")) })
	b.deleteAll(profiles, b.DeleteAppProfile)
	b.deleteAll(services, b.DeleteService)
}

// drainIntent removes what groups kept.
func (b *bed) drainIntent() {
	b.t.Helper()
	var policies, netprofiles, contracts []string
	b.view(func(m *ledger.Model) {
		policies, netprofiles, contracts = keysOf(m.Policies("")), keysOf(m.Netprofiles("")), keysOf(m.ExtContractsGroups(""))
	})
	b.deleteAll(policies, b.DeletePolicy)
	b.deleteAll(netprofiles, b.DeleteNetprofile)
	b.deleteAll(contracts, b.DeleteExtContractsGroup)
}

func (b *bed) deleteAll(keys []string, remove func(context.Context, string) (int64, error)) {
	b.t.Helper()
	for _, key := range keys {
		b.ok(remove(b.t.Context(), key))
	}
}

func keysOf[T interface{ Key() string }](records []T) []string {
	keys := make([]string, 0, len(records))
	for _, r := range records {
		keys = append(keys, r.Key())
	}
	return keys
}
