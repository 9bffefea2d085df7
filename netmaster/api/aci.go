package api

import (
	"fmt"
	"net/http"

	"github.com/contiv/contiv/netmaster/aci"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
)

// askFabric fills in how far the ACI gateway is.
func (s *server) askFabric(_ *http.Request, inspected any) any {
	out, ok := inspected.(client.Inspection[any, client.AciGwOper])
	if !ok || s.Fabric == nil {
		return inspected
	}
	for _, one := range s.Fabric() {
		out.Oper.Profiles = append(out.Oper.Profiles, client.AciProfile{Key: one.Profile, State: one.State, Problem: one.Problem})
	}
	return out
}

// fabricProblems tells what the ACI gateway could not be told.
func (s *server) fabricProblems() (warnings []string) {
	if s.Fabric == nil {
		return nil
	}
	for _, one := range s.Fabric() {
		if one.State == aci.Failed {
			warnings = append(warnings, fmt.Sprintf("the ACI gateway does not know app profile %q as it is stored: %s", one.Profile, one.Problem))
		}
	}
	return warnings
}

// warnOfGateway warns of application profiles that no gateway is told of, and of those that it cannot be told.
func warnOfGateway(m *ledger.Model, key string) []string {
	if global := m.Global(); global == nil || global.NetworkInfraType != aci.Fabric {
		return []string{warnGateway}
	}
	if profile := m.AppProfile(key); profile != nil {
		if _, err := aci.SpecOf(m, profile); err != nil {
			return []string{fmt.Sprintf("the ACI gateway cannot be told of app profile %q: %v", key, err)}
		}
	}
	return nil
}
