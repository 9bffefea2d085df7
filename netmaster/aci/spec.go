// Package aci keeps the ACI gateway, a helper beside netmaster that talks to Cisco's fabric controller, in step with the
// application profiles of the store.
//
// SpecOf and the types here are pure; Client and Reconciler are edges.
package aci

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// APIVersion is the version of the gateway's API that is spoken.
const APIVersion = "v1.2"

// Fabric is the mode of the global object in which there is a gateway.
const Fabric = "aci"

// Words of a ContractLink.
const (
	Provide  = "PROVIDE"
	Consume  = "CONSUME"
	Internal = "INTERNAL"
	External = "EXTERNAL"
)

// Spec is an application profile as the gateway is told of it. All lists are sorted by name.
type Spec struct {
	APIVersion string       `json:"aci-gw-api-version"`
	Tenant     string       `json:"tenant"`
	AppProfile string       `json:"app-prof"`
	Gateway    *state.AciGw `json:"gw-config,omitempty"` // without it the gateway uses its own environment
	Contracts  []Contract   `json:"contract-defs"`
	Groups     []Group      `json:"epgs"`
}

// Contract is what some groups provide and others consume.
type Contract struct {
	Name    string   `json:"name"`
	Filters []Filter `json:"filter-info"`
}

// Filter is traffic that a contract allows.
type Filter struct {
	Protocol string `json:"protocol"`
	Port     string `json:"servport"` // "0": any
}

// Group is an endpoint group of the profile.
type Group struct {
	Name    string         `json:"name"`
	Network string         `json:"nw-name"`
	Gateway string         `json:"gw-cidr"` // "10.1.1.254/24", "/24" without a gateway
	VLAN    string         `json:"vlan-tag"`
	Links   []ContractLink `json:"contract-links"`
}

// ContractLink ties a group to a contract: an Internal one by its name, an External one by its distinguished name.
type ContractLink struct {
	Kind         string `json:"link-kind"`
	ContractName string `json:"contract-name"`
	ContractDN   string `json:"contract-dn"`
	ContractKind string `json:"contract-kind"`
}

// SpecOf is what the gateway must know of a profile. It fails, and nothing may be told, if the fabric cannot do what the
// policies of the profile say: a contract in the place of a narrower rule would allow more.
func SpecOf(m *ledger.Model, profile *state.AppProfile) (*Spec, error) {
	out := &Spec{
		APIVersion: APIVersion, Tenant: profile.TenantName, AppProfile: profile.AppProfileName,
		Contracts: []Contract{}, Groups: []Group{},
	}
	enforced := true
	if settings := m.AciGw(); settings != nil {
		clone := *settings
		out.Gateway, enforced = &clone, settings.EnforcePolicies != state.No
	}
	contracts := map[string][]Filter{}
	var problems []error
	for _, name := range slices.Sorted(slices.Values(profile.EndpointGroups)) {
		group, err := groupOf(m, state.ModelKey(profile.TenantName, name))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if enforced {
			problems = append(problems, addPolicies(m, group, state.ModelKey(profile.TenantName, name), contracts))
		}
		out.Groups = append(out.Groups, *group)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(contracts)) {
		out.Contracts = append(out.Contracts, Contract{name, contracts[name]})
	}
	return out, nil
}

func groupOf(m *ledger.Model, key string) (*Group, error) {
	group, decided := m.Group(key), m.GroupState(key)
	if group == nil || decided == nil {
		return nil, fmt.Errorf("group %q does not exist", key)
	}
	if decided.VLAN == 0 {
		return nil, fmt.Errorf("group %q has no VLAN of its own, because it is older than fabric mode %q; make it again", key, Fabric)
	}
	network := m.Network(state.ModelKey(group.TenantName, group.NetworkName))
	if network == nil {
		return nil, fmt.Errorf("network %q of group %q does not exist", group.NetworkName, key)
	}
	subnet, err := state.ParseSubnet(network.Subnet)
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", network.Key(), err)
	}
	out := &Group{
		Name: group.GroupName, Network: group.NetworkName, Gateway: network.Gateway + "/" + strconv.Itoa(subnet.Prefix.Bits()),
		VLAN: strconv.Itoa(decided.VLAN), Links: []ContractLink{},
	}
	for _, name := range slices.Sorted(slices.Values(group.ExtContractsGrps)) {
		external := m.ExtContractsGroup(state.ModelKey(group.TenantName, name))
		if external == nil {
			return nil, fmt.Errorf("external contracts group %q of group %q does not exist", name, key)
		}
		kind := Provide
		if external.ContractsType == "consumed" {
			kind = Consume
		}
		for _, dn := range external.Contracts {
			out.link(ContractLink{kind, "", dn, External})
		}
	}
	return out, nil
}

// addPolicies makes contracts of the rules of the group's policies, and links of those of all rules that name it.
func addPolicies(m *ledger.Model, group *Group, key string, contracts map[string][]Filter) error {
	var problems []error
	record := m.Group(key)
	for _, name := range record.Policies {
		policy := state.ModelKey(record.TenantName, name)
		rules := m.RulesIn(ledger.RulesOfPolicy(policy))
		if len(m.Unreadable(state.RulePrefix+policy+":")) > 0 {
			problems = append(problems, fmt.Errorf("a rule of policy %q cannot be read", policy))
		}
		for _, rule := range rules {
			if rule.Action != state.ActionAllow {
				continue // what no contract allows is denied
			}
			if err := tellable(rule, rules); err != nil {
				problems = append(problems, err)
				continue
			}
			contract, holder, _ := contractOf(rule)
			filter := Filter{rule.Protocol, strconv.Itoa(rule.Port)}
			if !slices.Contains(contracts[contract], filter) {
				contracts[contract] = append(contracts[contract], filter)
				slices.SortFunc(contracts[contract], compareFilters)
			}
			group.link(ContractLink{holder, contract, "", Internal})
		}
	}
	for _, rule := range m.RulesIn(ledger.RulesNaming(key)) {
		if rule.Action == state.ActionAllow && m.Count(ledger.GroupsWithPolicy(rule.PolicyKey())) > 0 {
			contract, _, peer := contractOf(rule)
			group.link(ContractLink{peer, contract, "", Internal})
		}
	}
	return errors.Join(problems...)
}

// tellable refuses an allow that no contract can stand for, because the contract would allow more.
func tellable(rule *state.Rule, all []*state.Rule) error {
	switch {
	case rule.FromIPAddress != "" || rule.ToIPAddress != "" || rule.FromNetwork != "" || rule.ToNetwork != "":
		return fmt.Errorf("rule %q names an address or a network; ACI knows groups only", rule.Key())
	case rule.PortEnd > rule.Port || rule.ICMPType != nil:
		return fmt.Errorf("rule %q has a range of ports or an ICMP type; ACI knows single ports only", rule.Key())
	}
	for _, other := range all {
		if other.Action != state.ActionAllow && takesFrom(other, rule) {
			return fmt.Errorf("rule %q takes away from what rule %q allows; ACI only knows what is allowed", other.Key(), rule.Key())
		}
	}
	return nil
}

// takesFrom tells whether a deny may come before an allow of the same policy, for some traffic of both.
func takesFrom(deny, allow *state.Rule) bool {
	both := func(a, b string) bool { return a == "" || b == "" || a == b }
	first, last := deny.Port, max(deny.Port, deny.PortEnd)
	return deny.Priority >= allow.Priority && deny.Direction == allow.Direction && both(deny.Protocol, allow.Protocol) &&
		both(deny.FromEndpointGroup, allow.FromEndpointGroup) && both(deny.ToEndpointGroup, allow.ToEndpointGroup) &&
		(first == 0 || allow.Port == 0 || first <= allow.Port && allow.Port <= last)
}

// contractOf names the contract of a rule, and what the group with the policy and the rule's peer do with it.
func contractOf(rule *state.Rule) (name, holder, peer string) {
	switch {
	case rule.FromEndpointGroup != "":
		return rule.PolicyName + "Frm" + rule.FromEndpointGroup, Provide, Consume
	case rule.ToEndpointGroup != "":
		return rule.PolicyName + "To" + rule.ToEndpointGroup, Consume, Provide
	}
	return rule.PolicyName + "Expose", Provide, ""
}

// link adds a link once.
func (g *Group) link(link ContractLink) {
	if !slices.Contains(g.Links, link) {
		g.Links = append(g.Links, link)
		slices.SortFunc(g.Links, compareLinks)
	}
}

func compareFilters(a, b Filter) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}

func compareLinks(a, b ContractLink) int {
	return cmp.Or(cmp.Compare(a.ContractKind, b.ContractKind), cmp.Compare(a.ContractName, b.ContractName),
		cmp.Compare(a.ContractDN, b.ContractDN), cmp.Compare(a.Kind, b.Kind))
}
