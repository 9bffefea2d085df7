package objects

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func (b *bed) policy(name string) {
	b.t.Helper()
	b.ok(b.PutPolicy(b.t.Context(), &state.Policy{TenantName: "default", PolicyName: name}))
}

func ruleOf(policy, id string, change func(*state.Rule)) *state.Rule {
	r := &state.Rule{TenantName: "default", PolicyName: policy, RuleID: id, Action: state.ActionDeny, Direction: state.DirectionIn}
	if change != nil {
		change(r)
	}
	return r
}

func (b *bed) rule(r *state.Rule) {
	b.t.Helper()
	b.ok(b.CreateRule(b.t.Context(), r))
}

func TestPolicyAndRules(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.network(net4("default:n", "10.1.0.0/24"))
	_, err := b.PutPolicy(ctx, &state.Policy{TenantName: "nobody", PolicyName: "p"})
	b.refused(err, NotFound, "Tenant not found")
	b.policy("p")
	b.policy("p") // the same again is no error
	withPolicy := group("default:g", "n", "")
	withPolicy.Policies = []string{"p", "p"}
	b.group(withPolicy)

	b.rule(ruleOf("p", "1", nil))
	b.rule(ruleOf("p", "1", nil))
	b.rule(ruleOf("p", "1", func(r *state.Rule) { r.Priority = 1 })) // the default, said
	_, err = b.CreateRule(ctx, ruleOf("p", "1", func(r *state.Rule) { r.Priority = 2 }))
	b.refused(err, Conflict, "cannot change")
	b.rule(ruleOf("p", "2", func(r *state.Rule) { r.FromEndpointGroup = "g" }))
	for want, change := range map[string]func(*state.Rule){
		"endpoint group not found": func(r *state.Rule) { r.FromEndpointGroup = "x" },
		"from Network not found":   func(r *state.Rule) { r.FromNetwork = "x" },
		"to Network not found":     func(r *state.Rule) { r.Direction, r.ToNetwork = state.DirectionOut, "x" },
		"Policy not found":         func(r *state.Rule) { r.PolicyName = "x" },
	} {
		_, err := b.CreateRule(ctx, ruleOf("p", "3", change))
		b.refused(err, NotFound, want)
	}
	_, err = b.CreateRule(ctx, ruleOf("p", "3", func(r *state.Rule) { r.ToEndpointGroup = "g" }))
	b.refused(err, Invalid, "toEndpointGroup")

	_, err = b.DeletePolicy(ctx, "default:p")
	b.refused(err, InUse, "Policy is being used", `"default:g"`)
	b.group(group("default:g", "n", "")) // replaces the list
	b.ok(b.DeleteEndpointGroup(ctx, "default:g"))
	b.view(func(m *ledger.Model) { // the rule stays, and means nobody
		if got := m.RulesIn(ledger.RulesNaming("default:g")); len(got) != 1 {
			t.Errorf("rules that name the group: %v", got)
		}
	})
	b.ok(b.DeleteRule(ctx, "default:p:2"))
	_, err = b.DeleteRule(ctx, "default:p:2")
	b.refused(err, NotFound, "rule not found")
	b.ok(b.DeletePolicy(ctx, "default:p"))
	_, err = b.DeletePolicy(ctx, "default:p")
	b.refused(err, NotFound, "policy not found")
	_, err = b.DeleteRule(ctx, "default:p:1")
	b.refused(err, NotFound, "rule not found")
}

// TestPolicyWithManyRules: more than one transaction can remove; the policy goes at once, and whoever sees the store in
// between, even another leader, sees no rule of it.
func TestPolicyWithManyRules(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	const many = 200
	b.policy("p")
	for i := range many {
		b.rule(ruleOf("p", strconv.Itoa(i), nil))
	}
	rules := func() (stored, shown int) {
		b.view(func(m *ledger.Model) {
			stored, shown = m.Count(ledger.AllRules()), len(m.RulesIn(ledger.AllRules()))
		})
		return stored, shown
	}
	// The first step alone, as if netmaster had been killed after it.
	b.ok(b.commit(ctx, "test", func(tx *txn) error { return tx.deletePolicy("default:p") }))
	if stored, shown := rules(); stored == 0 || stored == many || shown != 0 {
		t.Errorf("%d rules stored, %d shown", stored, shown)
	}
	_, err := b.DeleteRule(ctx, "default:p:199")
	b.refused(err, NotFound, "rule not found")
	_, err = b.DeletePolicy(ctx, "default:p")
	b.refused(err, NotFound, "policy not found")
	b.policy("p") // a new one has none of the old rules
	if stored, shown := rules(); stored != 0 || shown != 0 {
		t.Errorf("%d rules stored, %d shown", stored, shown)
	}

	for i := range many {
		b.rule(ruleOf("p", strconv.Itoa(i), nil))
	}
	b.ok(b.commit(ctx, "test", func(tx *txn) error { return tx.deletePolicy("default:p") }))
	b.sweep()
	if stored, _ := rules(); stored != 0 {
		t.Errorf("%d rules left after a sweep", stored)
	}
}

// TestRulesOfOnePolicyAtOnce: clients that add rules to one policy do not meet, and attaching is not lost among them.
func TestRulesOfOnePolicyAtOnce(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.0.0/24"))
	b.policy("p")
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := b.CreateRule(t.Context(), ruleOf("p", fmt.Sprintf("%d-%d", client, i), nil)); err != nil {
					t.Error(err)
				}
			}
			g := group(fmt.Sprintf("default:g%d", client), "n", "")
			g.Policies = []string{"p"}
			if _, err := b.PutEndpointGroup(t.Context(), g); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.view(func(m *ledger.Model) {
		rules, groups := m.Count(ledger.RulesOfPolicy("default:p")), m.Count(ledger.GroupsWithPolicy("default:p"))
		if rules != 160 || groups != 8 {
			t.Errorf("%d rules, %d groups", rules, groups)
		}
	})
}

// TestPolicyDeletedWhileRulesCome: who adds rules without end does not keep the policy, and none of them stays.
func TestPolicyDeletedWhileRulesCome(t *testing.T) {
	b := newBed(t)
	b.policy("p")
	started := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for client := range cap(started) {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, err := b.CreateRule(t.Context(), ruleOf("p", fmt.Sprintf("%d-%d", client, i), nil))
				if i == 5 {
					started <- struct{}{}
				}
				if err != nil {
					if KindOf(err) != NotFound {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range cap(started) {
		<-started
	}
	b.ok(b.DeletePolicy(t.Context(), "default:p"))
	wg.Wait()
	b.sweep()
	b.view(func(m *ledger.Model) {
		if rules, going := m.Count(ledger.AllRules()), m.GoingPolicies(); rules != 0 || len(going) != 0 {
			t.Errorf("%d rules left, %d policies going", rules, len(going))
		}
	})
}

func TestGroupAttachments(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.network(net4("default:n", "10.1.0.0/24"))
	b.policy("p")
	b.ok(b.PutNetprofile(ctx, &state.Netprofile{TenantName: "default", ProfileName: "np", Bandwidth: "1Mbps"}))
	b.ok(b.CreateExtContractsGroup(ctx, &state.ExtContractsGroup{TenantName: "default", ContractsGroupName: "x", ContractsType: "provided"}))
	for want, change := range map[string]func(*state.EndpointGroup){
		"Policy not found":                     func(g *state.EndpointGroup) { g.Policies = []string{"p", "none"} },
		"netprofile not found":                 func(g *state.EndpointGroup) { g.NetProfile = "none" },
		"External contracts group y not found": func(g *state.EndpointGroup) { g.ExtContractsGrps = []string{"y"} },
	} {
		g := group("default:g", "n", "")
		change(g)
		_, err := b.PutEndpointGroup(ctx, g)
		b.refused(err, NotFound, want)
	}
	full := group("default:g", "n", "")
	full.Policies, full.NetProfile, full.ExtContractsGrps = []string{"p"}, "np", []string{"x"}
	b.group(full)
	_, err := b.DeleteNetprofile(ctx, "default:np")
	b.refused(err, InUse, "NetProfile is being used")
	_, err = b.DeleteExtContractsGroup(ctx, "default:x")
	b.refused(err, InUse, "External contracts group is being used")
	_, err = b.PutEndpointGroup(ctx, func() *state.EndpointGroup { g := *full; g.NetProfile = "none"; return &g }())
	b.refused(err, NotFound, "netprofile not found")
	b.view(func(m *ledger.Model) { // a refused update changed nothing
		if got := m.Group("default:g"); got.NetProfile != "np" || len(got.Policies) != 1 || len(got.ExtContractsGrps) != 1 {
			t.Errorf("group %+v", got)
		}
	})
	b.group(group("default:g", "n", ""))
	b.ok(b.DeletePolicy(ctx, "default:p"))
	b.ok(b.DeleteNetprofile(ctx, "default:np"))
	b.ok(b.DeleteExtContractsGroup(ctx, "default:x"))
}

func TestLimitsOfOneTransaction(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.network(net4("default:n", "10.1.0.0/24"))
	g := group("default:g", "n", "")
	a := &state.AppProfile{TenantName: "default", AppProfileName: "a"}
	for i := range maxAttached {
		name := "p" + strconv.Itoa(i)
		b.policy(name)
		g.Policies = append(g.Policies, name)
		b.group(group("default:"+name+"g", "n", ""))
		a.EndpointGroups = append(a.EndpointGroups, name+"g")
	}
	g.NetProfile = "np"
	b.ok(b.PutNetprofile(ctx, &state.Netprofile{TenantName: "default", ProfileName: "np"}))
	b.group(g) // creates
	g.NetProfile = ""
	b.group(g) // updates
	b.ok(b.PutAppProfile(ctx, a))
	g.Policies = append(g.Policies, "more")
	_, err := b.PutEndpointGroup(ctx, g)
	b.refused(err, TooLarge, "at most 48")
	a.EndpointGroups = append(a.EndpointGroups, "more")
	_, err = b.PutAppProfile(ctx, a)
	b.refused(err, TooLarge, "at most 48")

	big := &state.ExtContractsGroup{TenantName: "default", ContractsGroupName: "big", ContractsType: "provided"}
	for range 1000 {
		big.Contracts = append(big.Contracts, "uni/tn-common/brc-"+fmt.Sprintf("%0100d", 1))
	}
	_, err = b.CreateExtContractsGroup(ctx, big)
	b.refused(err, TooLarge, "at most 65536")
}

func service(name string, change func(*state.ServiceLB)) *state.ServiceLB {
	s := &state.ServiceLB{
		TenantName: "default", ServiceName: name, NetworkName: "n", Ports: []string{"80:8080:TCP"}, Selectors: []string{"tier=web", "env=prod"},
	}
	if change != nil {
		change(s)
	}
	return s
}

func (b *bed) service(s *state.ServiceLB) *state.ServiceState {
	b.t.Helper()
	b.ok(b.PutService(b.t.Context(), s))
	var out *state.ServiceState
	b.view(func(m *ledger.Model) { out = m.ServiceState(s.Key()) })
	return out
}

func TestService(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	n := net4("default:n", "10.1.0.0/24")
	n.Gateway = "10.1.0.1"
	b.network(n)
	b.network(net4("default:m", "10.2.0.0/24"))
	b.group(group("default:pooled", "n", "10.1.0.2-10.1.0.9"))
	first := b.service(service("a", nil))
	if first.ID != 1 || first.VIP.String() != "10.1.0.10" {
		t.Errorf("%+v", first)
	}
	second := b.service(service("b", func(s *state.ServiceLB) { s.IPAddress = "10.1.0.77" }))
	if second.ID != 2 || second.VIP.String() != "10.1.0.77" {
		t.Errorf("%+v", second)
	}
	for ip, want := range map[string]struct {
		kind Kind
		says string
	}{
		"10.1.0.10": {Conflict, `service "default:a"`}, "10.1.0.1": {Conflict, "gateway"}, "10.1.0.5": {Conflict, "pool"},
		"10.1.0.255": {Invalid, "not in subnet"}, "10.2.0.1": {Invalid, "not in subnet"},
	} {
		_, err := b.PutService(ctx, service("c", func(s *state.ServiceLB) { s.IPAddress = ip }))
		b.refused(err, want.kind, want.says)
	}
	_, err := b.PutService(ctx, service("c", func(s *state.ServiceLB) { s.NetworkName = "none" }))
	b.refused(err, NotFound, "Network none not found")
	_, err = b.PutService(ctx, service("c", func(s *state.ServiceLB) { s.TenantName = "none" }))
	b.refused(err, NotFound, "Tenant not found")

	// Ports and selectors change, the address does not.
	again := b.service(service("a", func(s *state.ServiceLB) { s.Selectors, s.IPAddress = []string{"tier=db"}, "10.1.0.10" }))
	if again.ID != first.ID || again.VIP != first.VIP {
		t.Errorf("%+v after an update, %+v before", again, first)
	}
	_, err = b.PutService(ctx, service("a", func(s *state.ServiceLB) { s.IPAddress = "10.1.0.78" }))
	b.refused(err, Conflict, "cannot change")
	// Another network gives another address, and has the old one back.
	moved := b.service(service("b", func(s *state.ServiceLB) { s.NetworkName = "m" }))
	if moved.VIP.String() != "10.2.0.1" || moved.ID != second.ID {
		t.Errorf("%+v", moved)
	}
	_, err = b.DeleteNetwork(ctx, "default:m")
	b.refused(err, InUse, "has 1 services")
	b.ok(b.DeleteService(ctx, "default:b"))
	_, err = b.DeleteService(ctx, "default:b")
	b.refused(err, NotFound, "serviceLB not found")
	b.ok(b.DeleteNetwork(ctx, "default:m"))
}

// TestServiceIDQuarantine: an id does not serve again before every host knows that its service is gone.
func TestServiceIDQuarantine(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.0.0/24"))
	b.host("h1")
	b.service(service("a", nil))
	b.ack("h1", 0)
	b.ok(b.DeleteService(t.Context(), "default:a"))
	if got := b.service(service("b", nil)); got.ID != 2 || got.VIP.String() != "10.1.0.2" {
		t.Errorf("%+v", got)
	}
	b.ack("h1", allAcked)
	b.pass(time.Hour)
	b.sweep()
	if got := b.service(service("c", nil)); got.ID != 1 || got.VIP.String() != "10.1.0.1" {
		t.Errorf("%+v", got)
	}
}

// TestProviders: by subset of labels, in the same tenant, while they run.
func TestProviders(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.tenant("blue")
	b.network(net4("default:n", "10.1.0.0/24"))
	b.network(net4("blue:n", "10.1.0.0/24"))
	b.host("h1")
	s := service("s", nil)
	b.service(s)
	labels := map[string]string{"tier": "web", "env": "prod", "more": "x"}
	known := request("h1", "a", "n", "")
	known.Labels = labels
	blue := request("h1", "blue", "n", "")
	blue.Tenant, blue.Labels = "blue", labels
	less := request("h1", "less", "n", "")
	less.Labels = map[string]string{"tier": "web"}
	a, late := b.endpoint(known), b.endpoint(request("h1", "late", "n", ""))
	b.endpoint(blue)
	b.endpoint(less)
	providers := func() (ids []string) {
		b.view(func(m *ledger.Model) {
			for _, e := range m.Providers(m.Service(s.Key())) {
				ids = append(ids, e.ContainerID)
			}
		})
		return ids
	}
	tell := func(event string, e *state.Endpoint, labels map[string]string) {
		t.Helper()
		b.ok(b.UpdateEndpoint(ctx, &protocol.ProviderEvent{Event: event, ID: protocol.EndpointID(e.EndpointID), Labels: labels}))
	}
	want := func(ids ...string) {
		t.Helper()
		if got := providers(); fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("providers %v, want %v", got, ids)
		}
	}
	want("a")
	tell("start", late, labels)
	want("a", "late")
	tell("die", a, nil)
	want("late")
	tell("start", a, labels)
	want("a", "late")
	b.remove(a)
	want("late")
}

func TestProfilesAndContracts(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.tenant("blue")
	b.network(net4("blue:n", "10.1.0.0/24"))
	b.group(group("blue:g", "n", ""))
	profile := &state.AppProfile{TenantName: "blue", AppProfileName: "a", EndpointGroups: []string{"g", "g"}}
	b.ok(b.PutAppProfile(ctx, profile))
	other := &state.AppProfile{TenantName: "blue", AppProfileName: "b", EndpointGroups: []string{"g"}}
	_, err := b.PutAppProfile(ctx, other)
	b.refused(err, Conflict, "can be in one only", `"blue:a"`)
	other.EndpointGroups = []string{"none"}
	_, err = b.PutAppProfile(ctx, other)
	b.refused(err, NotFound, "endpointGroup not found")
	_, err = b.DeleteEndpointGroup(ctx, "blue:g")
	b.refused(err, InUse, "associated to appProfile")
	b.ok(b.PutAciGw(ctx, &state.AciGw{PhysicalDomain: "dom"}))
	_, err = b.DeleteAciGw(ctx, state.AciGwName)
	b.refused(err, InUse, "1 app profiles still exist")

	contracts := &state.ExtContractsGroup{TenantName: "blue", ContractsGroupName: "x", ContractsType: "provided"}
	b.ok(b.CreateExtContractsGroup(ctx, contracts))
	b.ok(b.CreateExtContractsGroup(ctx, contracts))
	changed := *contracts
	changed.ContractsType = "consumed"
	_, err = b.CreateExtContractsGroup(ctx, &changed)
	b.refused(err, Conflict, "cannot change")

	// A tenant names the first thing that it has, in the original's order, and services and contracts too.
	b.ok(b.PutPolicy(ctx, &state.Policy{TenantName: "blue", PolicyName: "p"}))
	b.ok(b.PutNetprofile(ctx, &state.Netprofile{TenantName: "blue", ProfileName: "np"}))
	b.ok(b.PutService(ctx, service("s", func(s *state.ServiceLB) { s.TenantName = "blue" })))
	for _, step := range []struct {
		says   string
		remove func() (int64, error)
	}{
		{"1 app profiles", func() (int64, error) { return b.DeleteAppProfile(ctx, "blue:a") }},
		{"1 endpoint groups", func() (int64, error) { return b.DeleteEndpointGroup(ctx, "blue:g") }},
		{"1 policies", func() (int64, error) { return b.DeletePolicy(ctx, "blue:p") }},
		{"1 netprofiles", func() (int64, error) { return b.DeleteNetprofile(ctx, "blue:np") }},
		{"1 services", func() (int64, error) { return b.DeleteService(ctx, "blue:s") }},
		{"1 external contracts groups", func() (int64, error) { return b.DeleteExtContractsGroup(ctx, "blue:x") }},
		{"1 networks", func() (int64, error) { return b.DeleteNetwork(ctx, "blue:n") }},
	} {
		_, err := b.DeleteTenant(ctx, "blue")
		b.refused(err, InUse, step.says)
		b.ok(step.remove())
	}
	b.ok(b.DeleteTenant(ctx, "blue"))
	b.ok(b.DeleteAciGw(ctx, state.AciGwName))
	_, err = b.DeleteAciGw(ctx, state.AciGwName)
	b.refused(err, NotFound, "aciGw not found")
}

// TestGroupVLANInACI: each group has a VLAN of its own, which comes back with its deletion.
func TestGroupVLANInACI(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.ok(b.PutGlobal(ctx, &state.Global{NetworkInfraType: fabricACI, Vlans: "400-402"}))
	vlan := net4("default:n", "10.1.0.0/24")
	vlan.Encap = state.EncapVLAN
	b.network(vlan)
	b.network(net4("default:x", "10.2.0.0/24"))
	_, err := b.PutEndpointGroup(ctx, group("default:g", "x", ""))
	b.refused(err, Conflict, `must be "vlan"`)
	tag := func(key string) (vlan int) {
		b.view(func(m *ledger.Model) { vlan = m.GroupState(key).VLAN })
		return vlan
	}
	b.group(group("default:a", "n", ""))
	b.group(group("default:b", "n", ""))
	if a, b := tag("default:a"), tag("default:b"); a != 401 || b != 402 {
		t.Errorf("VLANs %d and %d", a, b)
	}
	_, err = b.PutEndpointGroup(ctx, group("default:c", "n", ""))
	b.refused(err, Exhausted, "no vlans available")
	b.ok(b.DeleteEndpointGroup(ctx, "default:a"))
	b.group(group("default:c", "n", ""))
	if got := tag("default:c"); got != 401 {
		t.Errorf("VLAN %d", got)
	}
}

func TestBgp(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.ok(b.PutGlobal(ctx, &state.Global{FwdMode: state.ForwardRouting}))
	speaker := &state.Bgp{Hostname: "h1", RouterIP: "50.1.1.1/24", AS: "65002", Neighbor: "50.1.1.2", NeighborAS: "500"}
	b.ok(b.PutBgp(ctx, speaker))
	changed := *speaker
	changed.NeighborAS = "501"
	b.ok(b.PutBgp(ctx, &changed))
	_, err := b.PutGlobal(ctx, &state.Global{FwdMode: state.ForwardBridge})
	b.refused(err, InUse, "delete Bgp configs first")
	_, err = b.PutGlobal(ctx, &state.Global{NetworkInfraType: fabricACI})
	b.refused(err, InUse, "delete Bgp configs first")
	b.ok(b.DeleteBgp(ctx, "h1"))
	_, err = b.DeleteBgp(ctx, "h1")
	b.refused(err, NotFound, "Bgp not found")
	b.ok(b.PutGlobal(ctx, &state.Global{FwdMode: state.ForwardBridge, NetworkInfraType: fabricACI}))
	_, err = b.PutBgp(ctx, speaker)
	b.refused(err, Conflict, "fabric mode")
}
