package check

import (
	"net/netip"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// intent is what users asked for beside tenants, networks and groups.
type intent struct {
	policies    map[string]*state.Policy
	going       map[string]*state.GoingPolicy
	rules       map[string]*state.Rule
	netprofiles map[string]*state.Netprofile
	services    map[string]*state.ServiceLB
	decided     map[string]*state.ServiceState
	bgps        map[string]*state.Bgp
	aciGws      map[string]*state.AciGw
	profiles    map[string]*state.AppProfile
	contracts   map[string]*state.ExtContractsGroup
}

func newIntent() intent {
	return intent{
		policies: map[string]*state.Policy{}, going: map[string]*state.GoingPolicy{}, rules: map[string]*state.Rule{},
		netprofiles: map[string]*state.Netprofile{}, services: map[string]*state.ServiceLB{}, decided: map[string]*state.ServiceState{},
		bgps: map[string]*state.Bgp{}, aciGws: map[string]*state.AciGw{}, profiles: map[string]*state.AppProfile{},
		contracts: map[string]*state.ExtContractsGroup{},
	}
}

func (c *contents) readIntent(kv objdb.KV) bool {
	return keep(c, kv, state.PolicyPrefix, new(state.Policy), c.policies) ||
		keep(c, kv, state.GoingPolicyPrefix, new(state.GoingPolicy), c.going) ||
		keep(c, kv, state.RulePrefix, new(state.Rule), c.rules) ||
		keep(c, kv, state.NetprofilePrefix, new(state.Netprofile), c.netprofiles) ||
		keep(c, kv, state.ServiceLBPrefix, new(state.ServiceLB), c.services) ||
		keep(c, kv, state.ServiceStatePrefix, new(state.ServiceState), c.decided) ||
		keep(c, kv, state.BgpPrefix, new(state.Bgp), c.bgps) ||
		keep(c, kv, state.AciGwPrefix, new(state.AciGw), c.aciGws) ||
		keep(c, kv, state.AppProfilePrefix, new(state.AppProfile), c.profiles) ||
		keep(c, kv, state.ExtContractsGroupPrefix, new(state.ExtContractsGroup), c.contracts)
}

func (c *contents) checkIntent() {
	for key, p := range c.policies {
		c.inTenant("policy", key, p.TenantName)
		if c.going[key] != nil {
			c.fail("policy %s is there and being removed", key)
		}
	}
	for key, n := range c.netprofiles {
		c.inTenant("netprofile", key, n.TenantName)
	}
	for key, e := range c.contracts {
		c.inTenant("external contracts group", key, e.TenantName)
	}
	c.checkRules()
	c.checkAttached()
	c.checkProfiles()
	c.checkServices()
}

func (c *contents) inTenant(what, key, tenant string) {
	if c.tenants[tenant] == nil {
		c.fail("%s %s has no tenant", what, key)
	}
}

func (c *contents) checkRules() {
	for key, r := range c.rules {
		if c.policies[r.PolicyKey()] == nil && c.going[r.PolicyKey()] == nil {
			c.fail("rule %s has no policy", key)
		}
	}
}

// checkAttached: what a group refers to exists.
func (c *contents) checkAttached() {
	for key, g := range c.groups {
		for _, name := range g.Policies {
			if c.policies[state.ModelKey(g.TenantName, name)] == nil {
				c.fail("group %s has the policy %s, which does not exist", key, name)
			}
		}
		if g.NetProfile != "" && c.netprofiles[state.ModelKey(g.TenantName, g.NetProfile)] == nil {
			c.fail("group %s has the netprofile %s, which does not exist", key, g.NetProfile)
		}
		for _, name := range g.ExtContractsGrps {
			if c.contracts[state.ModelKey(g.TenantName, name)] == nil {
				c.fail("group %s has the contracts %s, which do not exist", key, name)
			}
		}
	}
}

func (c *contents) checkProfiles() {
	of := map[string]string{}
	for key, a := range c.profiles {
		c.inTenant("app profile", key, a.TenantName)
		for _, name := range a.EndpointGroups {
			group := state.ModelKey(a.TenantName, name)
			if c.groups[group] == nil {
				c.fail("app profile %s has the group %s, which does not exist", key, group)
			}
			if other, twice := of[group]; twice {
				c.fail("group %s is in app profiles %s and %s", group, other, key)
			}
			of[group] = key
		}
	}
}

func (c *contents) checkServices() {
	pairs(c, "service", c.services, c.decided)
	for key, s := range c.decided {
		c.inTenant("service", key, s.TenantName)
		c.holds(s.StoreKey(), state.Allocation{Pool: state.PoolService, Number: s.ID})
		network := state.ModelKey(s.TenantName, s.NetworkName)
		n := c.networks[network]
		if n == nil {
			c.fail("service %s has no network", key)
			continue
		}
		c.holds(s.StoreKey(), state.Allocation{Pool: state.AddressPool(network), Addr: s.VIP})
		if all := subnets(n); len(all) == 0 || !all[0].Usable().Contains(s.VIP) || s.VIP.String() == n.Gateway {
			c.fail("service %s has the address %s, which its network cannot give", key, s.VIP)
		}
		c.checkPools(key, network, s.VIP)
		if s.VIP6.IsValid() {
			c.holds(s.StoreKey(), state.Allocation{Pool: state.AddressPool(network), Addr: s.VIP6})
			if all := subnets(n); len(all) < 2 || !all[1].Usable().Contains(s.VIP6) || s.VIP6.String() == n.IPv6Gateway {
				c.fail("service %s has the address %s, which its network cannot give", key, s.VIP6)
			}
		}
		if want := c.services[key]; want != nil && want.NetworkName != s.NetworkName {
			c.fail("service %s is of network %s, its address of %s", key, want.NetworkName, s.NetworkName)
		}
	}
}

// checkPools: the address of a service is in no group's pool.
func (c *contents) checkPools(service, network string, vip netip.Addr) {
	for key, g := range c.groups {
		pool, err := state.ParsePool(g.IPPool)
		if err == nil && state.ModelKey(g.TenantName, g.NetworkName) == network && pool.Contains(vip) {
			c.fail("service %s has the address %s of the pool of group %s", service, vip, key)
		}
	}
}
