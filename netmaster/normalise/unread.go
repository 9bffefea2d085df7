package normalise

import (
	"slices"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Records that cannot be read at all must not open anything either. What a group is allowed is unknown when its own record
// cannot be read, or one of its policies, or one of their rules, which may have been a deny: such a group is shut, nothing
// passes to or from its members. When only its numbers cannot be read, its members are known by their endpoints.

// strongest is the priority of the rules that shut a group: a deny of the largest that a rule can have wins.
const strongest = 100

// shut tells whether it is unknown what a group is allowed.
func shut(m *ledger.Model, key string) bool {
	if unread(m, state.EndpointGroupPrefix+key) {
		return true
	}
	g := m.Group(key)
	return g != nil && slices.ContainsFunc(g.Policies, func(name string) bool {
		policy := state.ModelKey(g.TenantName, name)
		return unread(m, state.PolicyPrefix+policy) || len(m.Unreadable(state.RulePrefix+policy+":")) > 0
	})
}

func unread(m *ledger.Model, storeKey string) bool {
	return slices.Contains(m.Unreadable(storeKey), storeKey)
}

// numbersUnread tells whether identities of a group may be missing among its numbers and sets.
func numbersUnread(m *ledger.Model, key string) bool {
	tenant, _ := splitKey(key)
	return unread(m, state.GroupStatePrefix+key) ||
		slices.ContainsFunc(m.Unreadable(state.GroupSetPrefix+tenant+":"), func(set string) bool {
			return slices.Contains(groupsOfSet(strings.TrimPrefix(set, state.GroupSetPrefix)), key)
		})
}

// groupsOfSet are the model keys of the groups in a set, by the set's key.
func groupsOfSet(set string) []string {
	tenant, names := splitKey(set)
	groups := strings.Split(names, ",")
	for i, name := range groups {
		groups[i] = state.ModelKey(tenant, name)
	}
	return groups
}

// standIn is what can be known of a group whose record cannot be read; nil if it has no endpoints, and so concerns nobody.
func standIn(m *ledger.Model, key string) *state.EndpointGroup {
	for _, e := range m.EndpointsOf(ledger.EndpointsOfGroup(key)) {
		tenant, name := splitKey(key)
		return &state.EndpointGroup{TenantName: tenant, GroupName: name, NetworkName: e.NetworkName}
	}
	return nil
}

// groupID is the number of a group; of one whose numbers cannot be read that which was allocated for it, or 0. False: it
// has none.
func groupID(m *ledger.Model, key string) (int, bool) {
	if decided := m.GroupState(key); decided != nil {
		return decided.ID, fits16(decided.ID)
	}
	owner := state.GroupStatePrefix + key
	if !unread(m, owner) {
		return 0, false
	}
	for _, a := range m.Allocations(state.PoolGroup) {
		if a.Owner == owner {
			return a.Number, true
		}
	}
	return 0, true
}

// unread adds what a record says that could not be read before, or cannot be now.
func (c *collector) unread(storeKey string) {
	for prefix, touched := range map[string]func(key string){
		state.RulePrefix: func(key string) { c.policyGroups(key[:max(strings.LastIndexByte(key, ':'), 0)]) },
		state.PolicyPrefix: func(key string) {
			c.rulesIn(ledger.RulesOfPolicy(key))
			c.policyGroups(key)
		},
		state.EndpointGroupPrefix: c.membersOf,
		state.GroupStatePrefix:    c.membersOf,
		state.GroupSetPrefix: func(key string) {
			for _, group := range groupsOfSet(key) {
				c.membersOf(group)
			}
		},
	} {
		if key, ok := strings.CutPrefix(storeKey, prefix); ok {
			touched(key)
		}
	}
}

func (c *collector) policyGroups(policy string) {
	for _, g := range c.model.GroupsIn(ledger.GroupsWithPolicy(policy)) {
		c.defaults(g.Key())
	}
}

// members adds what an endpoint may say of its groups that their own records cannot.
func (c *collector) members(e *state.Endpoint) {
	for _, name := range e.Groups {
		key := state.ModelKey(e.TenantName, name)
		if unread(c.model, state.EndpointGroupPrefix+key) || numbersUnread(c.model, key) {
			c.membersOf(key)
		}
	}
}
