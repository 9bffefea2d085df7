package api

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// What the control plane accepts and no host does yet is said with every change of it, in a Warning header. It is not
// an error: the objects are stored, and hosts of a later version will realise them.

const (
	warnPolicies = "hosts do not enforce policies on VLANs yet: the traffic of the group is not restricted"
	warnProfiles = "hosts do not enforce network profiles on VLANs yet: the traffic of the group is neither limited nor marked"
	warnVLAN     = "hosts do not carry VLANs yet: endpoints of the network reach nobody"
	warnRouting  = "hosts do not route VLANs yet: forwarding mode \"routing\" has no effect on networks of encap \"vlan\""
	warnServices = "hosts do not balance load on VLANs yet: nothing answers at the service's address"
	warnBgp      = "hosts do not speak BGP yet: nothing is announced"
	warnGateway  = "the fabric mode is not \"aci\": nobody is told of application profiles"
	warnACI      = "hosts do not know fabric mode \"aci\" yet: it has no effect on them"
)

// warned is an answer with warnings.
type warned struct {
	result   any
	warnings []string
}

// setWarnings writes the header of RFC 7234, section 5.5; code 299 is "miscellaneous, persistent".
func setWarnings(w http.ResponseWriter, warnings []string) {
	for _, text := range warnings {
		w.Header().Add("Warning", "299 - "+strconv.Quote(text))
	}
}

// warnAlways warns of every object of a type.
func warnAlways(text string) func(*ledger.Model, string) []string {
	return func(*ledger.Model, string) []string { return []string{text} }
}

// onVLAN tells whether a network, by its model key, is a VLAN, which hosts do not carry yet.
func onVLAN(m *ledger.Model, key string) bool {
	n := m.Network(key)
	return n != nil && n.Encap == state.EncapVLAN
}

// anyOnVLAN tells whether one of the groups is on a VLAN.
func anyOnVLAN(m *ledger.Model, groups []*state.EndpointGroup) bool {
	return slices.ContainsFunc(groups, func(g *state.EndpointGroup) bool {
		return onVLAN(m, state.ModelKey(g.TenantName, g.NetworkName))
	})
}

func warnOfNetwork(m *ledger.Model, key string) []string {
	if onVLAN(m, key) {
		return []string{warnVLAN}
	}
	return nil
}

func warnOfGroup(m *ledger.Model, key string) (warnings []string) {
	g := m.Group(key)
	if g == nil || !onVLAN(m, state.ModelKey(g.TenantName, g.NetworkName)) {
		return nil
	}
	restricted := g.DefaultDeny != ""
	for _, name := range g.Policies {
		p := m.Policy(state.ModelKey(g.TenantName, name))
		restricted = restricted || p != nil && (p.DefaultDeny != "" || m.Count(ledger.RulesOfPolicy(p.Key())) > 0)
	}
	if restricted {
		warnings = append(warnings, warnPolicies)
	}
	if g.NetProfile != "" {
		warnings = append(warnings, warnProfiles)
	}
	return warnings
}

func warnOfNetprofile(m *ledger.Model, key string) []string {
	if anyOnVLAN(m, m.GroupsIn(ledger.GroupsWithNetprofile(key))) {
		return []string{warnProfiles}
	}
	return nil
}

func warnOfPolicy(m *ledger.Model, key string) []string {
	if p := m.Policy(key); p != nil && p.DefaultDeny != "" && anyOnVLAN(m, m.GroupsIn(ledger.GroupsWithPolicy(key))) {
		return []string{warnPolicies}
	}
	return nil
}

func warnOfRule(m *ledger.Model, key string) []string {
	if r := m.Rule(key); r != nil && anyOnVLAN(m, m.GroupsIn(ledger.GroupsWithPolicy(r.PolicyKey()))) {
		return []string{warnPolicies}
	}
	return nil
}

func warnOfService(m *ledger.Model, key string) []string {
	if s := m.Service(key); s != nil && onVLAN(m, state.ModelKey(s.TenantName, s.NetworkName)) {
		return []string{warnServices}
	}
	return nil
}

func warnOfGlobal(m *ledger.Model, _ string) (warnings []string) {
	g := m.Global()
	if g == nil {
		return nil
	}
	if g.FwdMode == state.ForwardRouting && slices.ContainsFunc(m.Networks(""), func(n *state.Network) bool { return n.Encap == state.EncapVLAN }) {
		warnings = append(warnings, warnRouting)
	}
	if g.NetworkInfraType != "" && g.NetworkInfraType != state.DefaultInfraType {
		warnings = append(warnings, warnACI)
	}
	return warnings
}
