package api

import (
	"net/http"
	"strconv"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// What the control plane accepts and no host does yet is said with every change of it, in a Warning header. It is not
// an error: the objects are stored, and hosts of a later version will realise them.

const (
	warnPolicies = "hosts do not enforce policies yet: the traffic of the group is not restricted"
	warnProfiles = "hosts do not enforce network profiles yet: the traffic of the group is neither limited nor marked"
	warnVLAN     = "hosts do not carry VLANs yet: endpoints of the network reach nobody"
	warnRouting  = "hosts do not route yet: forwarding mode \"routing\" has no effect on them"
	warnServices = "hosts do not balance load yet: nothing answers at the service's address"
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

func warnOfNetwork(m *ledger.Model, key string) []string {
	if n := m.Network(key); n != nil && n.Encap == state.EncapVLAN {
		return []string{warnVLAN}
	}
	return nil
}

func warnOfGroup(m *ledger.Model, key string) (warnings []string) {
	g := m.Group(key)
	if g == nil {
		return nil
	}
	for _, name := range g.Policies {
		if m.Count(ledger.RulesOfPolicy(state.ModelKey(g.TenantName, name))) > 0 {
			warnings = append(warnings, warnPolicies)
			break
		}
	}
	if g.NetProfile != "" {
		warnings = append(warnings, warnProfiles)
	}
	return warnings
}

func warnOfNetprofile(m *ledger.Model, key string) []string {
	if m.Count(ledger.GroupsWithNetprofile(key)) > 0 {
		return []string{warnProfiles}
	}
	return nil
}

func warnOfRule(m *ledger.Model, key string) []string {
	if r := m.Rule(key); r != nil && m.Count(ledger.GroupsWithPolicy(r.PolicyKey())) > 0 {
		return []string{warnPolicies}
	}
	return nil
}

func warnOfGlobal(m *ledger.Model, _ string) (warnings []string) {
	g := m.Global()
	if g == nil {
		return nil
	}
	if g.FwdMode == state.ForwardRouting {
		warnings = append(warnings, warnRouting)
	}
	if g.NetworkInfraType != "" && g.NetworkInfraType != state.DefaultInfraType {
		warnings = append(warnings, warnACI)
	}
	return warnings
}
