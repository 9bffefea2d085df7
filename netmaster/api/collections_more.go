package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/state"
)

// MoreChanges is how the objects beside tenants, networks, groups and settings are changed.
type MoreChanges struct {
	Policies    Change[state.Policy]
	Rules       Change[state.Rule]
	Netprofiles Change[state.Netprofile]
	Services    Change[state.ServiceLB]
	Bgps        Change[state.Bgp]
	AciGws      Change[state.AciGw]
	AppProfiles Change[state.AppProfile]
	Contracts   Change[state.ExtContractsGroup]
}

func moreChangesOf(o *objects.Objects) MoreChanges {
	return MoreChanges{
		Policies:    Change[state.Policy]{o.PutPolicy, o.DeletePolicy},
		Rules:       Change[state.Rule]{o.CreateRule, o.DeleteRule},
		Netprofiles: Change[state.Netprofile]{o.PutNetprofile, o.DeleteNetprofile},
		Services:    Change[state.ServiceLB]{o.PutService, o.DeleteService},
		Bgps:        Change[state.Bgp]{o.PutBgp, o.DeleteBgp},
		AciGws:      Change[state.AciGw]{o.PutAciGw, o.DeleteAciGw},
		AppProfiles: Change[state.AppProfile]{o.PutAppProfile, o.DeleteAppProfile},
		Contracts:   Change[state.ExtContractsGroup]{o.CreateExtContractsGroup, o.DeleteExtContractsGroup},
	}
}

// moreCollections are those of MoreChanges, and two that are always empty.
func (s *server) moreCollections() []collection {
	return []collection{
		s.policies(), s.rules(), s.netprofiles(), s.services(), s.bgps(), s.aciGws(), s.appProfiles(), s.contracts(),
		emptyCollection("volumes", "volume"), emptyCollection("volumeProfiles", "volumeProfile"),
	}
}

func (s *server) policies() collection {
	c := collectionOf(kind[state.Policy]{
		"policys", "policy", s.Changes.More.Policies, (*ledger.Model).Policy, policy, inspectPolicy,
	})
	c.warn, c.complete = warnOfPolicy, s.reportPolicy()
	return c
}

func (s *server) rules() collection {
	c := collectionOf(kind[state.Rule]{"rules", "rule", s.Changes.More.Rules, (*ledger.Model).Rule, rule, inspectRule})
	c.warn, c.complete = warnOfRule, s.reportRule()
	return c
}

func (s *server) netprofiles() collection {
	c := collectionOf(kind[state.Netprofile]{
		"netprofiles", "netprofile", s.Changes.More.Netprofiles, (*ledger.Model).Netprofile,
		netprofile, inspectNetprofile,
	})
	c.warn, c.complete = warnOfNetprofile, s.reportNetprofile()
	return c
}

func (s *server) services() collection {
	c := collectionOf(kind[state.ServiceLB]{
		"serviceLBs", "serviceLB", s.Changes.More.Services, (*ledger.Model).Service, service, inspectService,
	})
	c.warn, c.complete = warnOfService, s.reportService()
	return c
}

func (s *server) bgps() collection {
	c := collectionOf(kind[state.Bgp]{"Bgps", "Bgp", s.Changes.More.Bgps, (*ledger.Model).Bgp, bgp, inspectBgp})
	c.warn = warnAlways(warnBgp)
	c.complete = s.askAgent
	return c
}

func (s *server) aciGws() collection {
	find := func(m *ledger.Model, key string) *state.AciGw {
		if key != state.AciGwName {
			return nil
		}
		return m.AciGw()
	}
	c := collectionOf(kind[state.AciGw]{"aciGws", "aciGw", s.Changes.More.AciGws, find, aciGw, inspectAciGw})
	c.warn = warnOfGateway
	c.complete = s.askFabric
	return c
}

func (s *server) appProfiles() collection {
	c := collectionOf(kind[state.AppProfile]{
		"appProfiles", "appProfile", s.Changes.More.AppProfiles, (*ledger.Model).AppProfile,
		appProfile, inspectOnly(appProfile),
	})
	c.warn = warnOfGateway
	return c
}

func (s *server) contracts() collection {
	return collectionOf(kind[state.ExtContractsGroup]{
		"extContractsGroups", "extContractsGroup", s.Changes.More.Contracts,
		(*ledger.Model).ExtContractsGroup, extContractsGroup, inspectOnly(extContractsGroup),
	})
}

// emptyCollection is of a type that the original declared and nothing ever made.
func emptyCollection(name, kind string) collection {
	none := func(*ledger.Model, string) any { return nil }
	return collection{
		name: name, kind: kind,
		one: none, inspect: none,
		put: func(context.Context, string, []byte) error {
			return badRequest("Invalid object type: there is no %s in this version", kind)
		},
		remove: func(_ context.Context, key string) (int64, error) { return 0, notFound(kind, shorten(key)) },
	}
}

// serviceStates shows all services as the original's records.
func (s *server) serviceStates(r *http.Request) (any, error) {
	out := []client.ServiceState{}
	err := s.view(r, func(m *ledger.Model) {
		for _, service := range m.Services("") {
			out = append(out, serviceState(m, service))
		}
	})
	return out, err
}

// serviceState shows one service, by the name that it had as a record: "service:tenant". The original answered a list.
func (s *server) serviceState(r *http.Request) (any, error) {
	id := mux.Vars(r)["id"]
	name, tenant, _ := strings.Cut(id, ":")
	var out []client.ServiceState
	err := s.view(r, func(m *ledger.Model) {
		if found := m.Service(state.ModelKey(tenant, name)); found != nil {
			out = append(out, serviceState(m, found))
		}
	})
	if err == nil && out == nil {
		err = notFound("service", shorten(id))
	}
	return out, err
}
