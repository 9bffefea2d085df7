package normalise

import (
	"slices"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// Rules and services are made of many stored records, some of which leave no trace when they go. So their revision is
// that of the model they were made of, and two forms of one never have the same.

// policyDelta adds the rules and services that a change touches.
func (c *collector) policyDelta(delta ledger.Delta) {
	if delta.Unread {
		c.unread(delta.Key)
	}
	record := delta.New
	if record == nil {
		record = delta.Old
	}
	switch r := record.(type) {
	case *state.TenantState:
		for _, s := range c.model.Services(r.TenantName) {
			c.service(s.Key())
		}
	case *state.Network:
		c.rulesIn(ledger.RulesNamingNetwork(r.Key()))
	case *state.Policy:
		c.rulesIn(ledger.RulesOfPolicy(r.Key()))
		c.policyGroups(r.Key())
	case *state.Rule:
		c.rule(r.Key())
	case *state.EndpointGroup:
		c.groupPolicies(delta, r)
	case *state.GroupState:
		c.membersOf(state.ModelKey(r.TenantName, r.GroupName))
	case *state.GroupSet:
		for _, name := range r.Groups {
			c.membersOf(state.ModelKey(r.TenantName, name))
		}
	case *state.Netprofile:
		for _, g := range c.model.GroupsIn(ledger.GroupsWithNetprofile(r.Key())) {
			c.group(g.Key())
		}
	case *state.ServiceLB:
		c.service(r.Key())
	case *state.ServiceState:
		c.service(r.Key())
	case *state.Endpoint:
		c.providerOf(delta)
		for _, form := range []state.Record{delta.Old, delta.New} {
			if e, ok := form.(*state.Endpoint); ok && e != nil {
				c.members(e)
			}
		}
	}
}

// groupPolicies adds what a change of a group touches: the rules of the policies that it got or lost, and its defaults.
// It may have been deleted and made again on another network, which touches all its rules.
func (c *collector) groupPolicies(delta ledger.Delta, g *state.EndpointGroup) {
	before, _ := delta.Old.(*state.EndpointGroup)
	after, _ := delta.New.(*state.EndpointGroup)
	var had, has []string
	if before != nil {
		had = before.Policies
	}
	if after != nil {
		has = after.Policies
	}
	moved := before != nil && after != nil && before.NetworkName != after.NetworkName
	for _, name := range slices.Concat(had, has) {
		if moved || !slices.Contains(had, name) || !slices.Contains(has, name) {
			c.rulesIn(ledger.RulesOfPolicy(state.ModelKey(g.TenantName, name)))
		}
	}
	if before == nil || after == nil {
		c.rulesIn(ledger.RulesNaming(g.Key()))
	}
	c.defaults(g.Key())
}

// membersOf adds everything about the identities of a group.
func (c *collector) membersOf(group string) {
	if g := c.model.Group(group); g != nil {
		for _, name := range g.Policies {
			c.rulesIn(ledger.RulesOfPolicy(state.ModelKey(g.TenantName, name)))
		}
	}
	c.rulesIn(ledger.RulesNaming(group))
	c.defaults(group)
}

// providerOf adds the services that an endpoint came to, went from, or is another provider of. It may have been deleted
// and made again in another tenant.
func (c *collector) providerOf(delta ledger.Delta) {
	before, _ := delta.Old.(*state.Endpoint)
	after, _ := delta.New.(*state.Endpoint)
	var tenants []string
	for _, e := range []*state.Endpoint{before, after} {
		if e != nil && len(e.Labels) > 0 && !slices.Contains(tenants, e.TenantName) {
			tenants = append(tenants, e.TenantName)
		}
	}
	for _, tenant := range tenants {
		for _, s := range c.model.Services(tenant) {
			was, is := provides(before, s), provides(after, s)
			if was != is || is && provider(before) != provider(after) {
				c.service(s.Key())
			}
		}
	}
}

func (c *collector) rulesIn(in ledger.Index) {
	c.model.EachRule(in, func(r *state.Rule) { c.rule(r.Key()) })
}

func (c *collector) rule(key string) {
	if !c.has(protocol.KindRule, key) {
		c.add(rule(c.model, key))
	}
}

func (c *collector) defaults(group string) {
	tenant, name := splitKey(group)
	if c.has(protocol.KindRule, protocol.DefaultRuleKey(tenant, name, state.DirectionIn)) {
		return
	}
	for _, record := range defaults(c.model, group) {
		c.add(record)
	}
}

func (c *collector) service(key string) {
	if !c.has(protocol.KindService, key) {
		c.add(service(c.model, key))
	}
}
