package normalise

import (
	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// The functions below name the records that an object is made into, by the object's model key. Records that there are
// none of may be among them.

// RefsOfRule is the record of a rule.
func RefsOfRule(_ *ledger.Model, key string) []index.Ref {
	return []index.Ref{{Kind: protocol.KindRule, Key: key}}
}

// RefsOfPolicy are the rules of a policy, and the defaults of its groups if it has one.
func RefsOfPolicy(m *ledger.Model, key string) []index.Ref {
	return policyRefs(m, key, func(*state.Rule) bool { return true })
}

// DeniesOfPolicy are those of them that deny.
func DeniesOfPolicy(m *ledger.Model, key string) []index.Ref {
	return policyRefs(m, key, func(r *state.Rule) bool { return r.Action == state.ActionDeny })
}

func policyRefs(m *ledger.Model, key string, which func(*state.Rule) bool) []index.Ref {
	var out []index.Ref
	for _, r := range m.RulesIn(ledger.RulesOfPolicy(key)) {
		if which(r) {
			out = append(out, RefsOfRule(m, r.Key())...)
		}
	}
	if p := m.Policy(key); p == nil || p.DefaultDeny == "" {
		return out
	}
	for _, g := range m.GroupsIn(ledger.GroupsWithPolicy(key)) {
		out = append(out, DefaultsOfGroup(g.Key())...)
	}
	return out
}

// DefaultsOfGroup are the defaults of a group.
func DefaultsOfGroup(key string) []index.Ref {
	tenant, name := splitKey(key)
	var out []index.Ref
	for _, direction := range directions() {
		out = append(out, index.Ref{Kind: protocol.KindRule, Key: protocol.DefaultRuleKey(tenant, name, direction)})
	}
	return out
}

// RefsOfGroup are a group's own record, its defaults, and the rules of its policies.
func RefsOfGroup(m *ledger.Model, key string) []index.Ref {
	out := append(DefaultsOfGroup(key), index.Ref{Kind: protocol.KindGroup, Key: key})
	if g := m.Group(key); g != nil {
		for _, name := range g.Policies {
			for _, r := range m.RulesIn(ledger.RulesOfPolicy(state.ModelKey(g.TenantName, name))) {
				out = append(out, RefsOfRule(m, r.Key())...)
			}
		}
	}
	return out
}

// RefsOfNetprofile are the groups that have a network profile.
func RefsOfNetprofile(m *ledger.Model, key string) []index.Ref {
	var out []index.Ref
	for _, g := range m.GroupsIn(ledger.GroupsWithNetprofile(key)) {
		out = append(out, index.Ref{Kind: protocol.KindGroup, Key: g.Key()})
	}
	return out
}

// RefsOfService is the record of a service.
func RefsOfService(_ *ledger.Model, key string) []index.Ref {
	return []index.Ref{{Kind: protocol.KindService, Key: key}}
}
