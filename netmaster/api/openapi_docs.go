package api

import (
	"maps"
	"net/http"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

// shape is the wire form of the objects of one collection.
type shape struct {
	// config is what is sent, object what is answered, inspection the object with its figures.
	config, object, inspection any
	required                   []string // members of config
	about                      string
}

// inspectionOf is the wire form of an inspection.
func inspectionOf[T, O any]() any { return client.Inspection[T, O]{} }

// shapes are those of all collections, by type of object.
var shapes = map[string]shape{
	"tenant": {
		state.Tenant{}, client.Tenant{}, inspectionOf[client.Tenant, client.TenantOper](),
		[]string{"tenantName"}, "a name space of networks, groups and addresses",
	},
	"network": {
		state.Network{}, client.Network{}, inspectionOf[client.Network, client.NetworkOper](),
		[]string{"networkName", "subnet", "tenantName"}, "a subnet of a tenant with an encapsulation",
	},
	"endpointGroup": {
		state.EndpointGroup{}, client.EndpointGroup{}, inspectionOf[client.EndpointGroup, client.EndpointGroupOper](),
		[]string{"groupName", "networkName", "tenantName"}, "a set of endpoints of one network",
	},
	"global": {
		state.Global{}, client.Global{}, inspectionOf[client.Global, client.GlobalOper](),
		nil, "the settings of the cluster, of which there is one",
	},
	"policy": {
		state.Policy{}, client.Policy{}, inspectionOf[client.Policy, client.PolicyOper](),
		[]string{"policyName", "tenantName"}, "a set of rules for the groups that have it",
	},
	"rule": {
		state.Rule{}, client.Rule{}, inspectionOf[client.Rule, *client.RuleOper](),
		[]string{"action", "direction", "policyName", "ruleId", "tenantName"}, "a rule of a policy",
	},
	"netprofile": {
		state.Netprofile{}, client.Netprofile{}, inspectionOf[client.Netprofile, *client.NetprofileOper](),
		[]string{"profileName", "tenantName"}, "limits and marks of the traffic of groups",
	},
	"serviceLB": {
		state.ServiceLB{}, client.ServiceLB{}, inspectionOf[client.ServiceLB, client.ServiceLBOper](),
		[]string{"networkName", "ports", "selectors", "serviceName", "tenantName"}, "a virtual address served by the containers with some labels",
	},
	"Bgp": {
		state.Bgp{}, client.Bgp{}, inspectionOf[client.Bgp, client.BgpOper](),
		[]string{"hostname", "routerip"}, "the BGP speaker of a host",
	},
	"aciGw": {
		state.AciGw{}, client.AciGw{}, inspectionOf[client.AciGw, client.AciGwOper](),
		[]string{"physicalDomain"}, "the settings for Cisco ACI, of which there is one",
	},
	"appProfile": {
		state.AppProfile{}, client.AppProfile{}, inspectionOf[client.AppProfile, client.NoOper](),
		[]string{"appProfileName", "tenantName"}, "groups that ACI sees as one application",
	},
	"extContractsGroup": {
		state.ExtContractsGroup{}, client.ExtContractsGroup{}, inspectionOf[client.ExtContractsGroup, client.NoOper](),
		[]string{"contractsGroupName", "contractsType", "tenantName"}, "contracts that exist in ACI",
	},
	"volume":        {emptyObject{}, emptyObject{}, emptyObject{}, nil, "a kind of object of which there are none; kept for old clients"},
	"volumeProfile": {emptyObject{}, emptyObject{}, emptyObject{}, nil, "a kind of object of which there are none; kept for old clients"},
}

// emptyObject is the form of objects of which there are none.
type emptyObject struct{}

// operationDocs describes everything that is served, by method and path.
func operationDocs(collections []collection) map[string]operation {
	docs := map[string]operation{}
	for _, c := range collections {
		describeCollection(docs, c)
	}
	maps.Copy(docs, singleDocs())
	describeGone(docs)
	return docs
}

// describeCollection adds the five operations that all collections have.
func describeCollection(docs map[string]operation, c collection) {
	form := shapes[c.kind]
	if form.object == nil {
		return // said by the builder, and by its test
	}
	all, one := "/api/v1/"+c.name+"/", "/api/v1/"+c.name+"/{key}/"
	docs["GET "+all] = operation{
		id: "list-" + c.name, tag: c.name, summary: "All of " + c.name + ", sorted by key", description: form.about,
		parameters: []string{"consistency", "limit", "continue", "watch", "since", "Last-Event-ID"}, filters: c.fields,
		answer: listOf(form.object), headers: []string{revisionHeader, "Link"}, errors: []int{http.StatusBadRequest},
	}
	docs["GET "+one] = operation{
		id: "get-" + c.kind, tag: c.name, summary: "One " + c.kind, parameters: []string{"consistency", "If-None-Match"},
		answer: form.object, headers: []string{"ETag", revisionHeader}, errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}
	docs["GET /api/v1/inspect/"+c.name+"/{key}/"] = operation{
		id: "inspect-" + c.kind, tag: c.name, summary: "One " + c.kind + " with its figures", parameters: []string{"consistency"},
		answer: form.inspection, errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}
	write := operation{
		tag: c.name, body: form.config, required: form.required, answer: form.object, errors: append(writeErrors(), http.StatusPreconditionFailed),
		parameters: []string{"If-Match", "If-None-Match"}, headers: []string{"ETag", revisionHeader},
		description: form.about + ". Doing it again is no error. Members that are not known are no error either; key, links and link-sets are " +
			"ignored. With a resourceVersion the object must still be at it, else the answer is 409.",
	}
	write.id, write.summary = "put-"+c.kind, "Create a "+c.kind+", or change it"
	docs["PUT "+one] = write
	write.id = "post-" + c.kind
	docs["POST "+one] = write
	docs["DELETE "+one] = operation{
		id: "delete-" + c.kind, tag: c.name, summary: "Remove a " + c.kind + "; the answer is its key", answer: "", parameters: []string{"If-Match", "If-None-Match"},
		errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}
}

func writeErrors() []int {
	return []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge}
}

// singleDocs are the operations that belong to no collection.
func singleDocs() map[string]operation {
	plugin := func(id, summary string, body, answer any) operation {
		return operation{
			id: id, tag: "plugin", summary: summary, body: body, answer: answer, errors: writeErrors(),
			description: "For programs that call the original's netmaster in the place of its plugin.",
		}
	}
	return map[string]operation{
		"GET /openapi.json":        {id: "openapi", tag: "about", summary: "This document", answer: map[string]any{}},
		"GET /api/v1/openapi.json": {id: "openapi-v1", tag: "about", summary: "This document", answer: map[string]any{}},
		"GET /api/v1/watch/": {
			id: "watch", tag: "watch", summary: "A stream of the changes of all objects", kind: "text/event-stream",
			description: "Server-Sent Events: reset, put, delete and synced. A stream that does not resume begins with everything there is.",
			parameters:  []string{"collection", tenantField, "since", "consistency", "Last-Event-ID"}, errors: []int{http.StatusBadRequest},
		},
		"GET /version": {id: "version", tag: "about", summary: "Which build this is", answer: client.Version{}},
		"GET /info": {
			id: "info", tag: "about", summary: "Who leads, and how the hosts stand", parameters: []string{"consistency"},
			answer: client.Info{}, errors: []int{http.StatusBadRequest},
		},
		"POST /plugin/allocAddress":   plugin("plugin-alloc-address", "Reserve an address", allocAddress{}, allocatedAddress{}),
		"POST /plugin/releaseAddress": plugin("plugin-release-address", "Give a reserved address back", releaseAddress{}, ""),
		"POST /plugin/createEndpoint": plugin("plugin-create-endpoint", "Make an endpoint, or find it", createEndpoint{}, endpointAnswer{}),
		"POST /plugin/deleteEndpoint": plugin("plugin-delete-endpoint", "Remove an endpoint", deleteEndpoint{}, endpointAnswer{}),
		"POST /plugin/updateEndpoint": plugin("plugin-update-endpoint", "A container started or died", updateEndpoint{}, updatedEndpoint{}),
		"GET /services": {
			id: "services", tag: "about", summary: "All services, as records of the original", parameters: []string{"consistency"},
			answer: []client.ServiceState{}, errors: []int{http.StatusBadRequest},
		},
		"GET /service/{id}": {
			id: "service", tag: "about", summary: "A list of the one service", parameters: []string{"consistency"},
			answer: []client.ServiceState{}, errors: []int{http.StatusBadRequest, http.StatusNotFound},
		},
		"GET /debug/ofnet": {id: "debug-ofnet", tag: "debug", summary: "What the agents are given, and how far they are", answer: ofnetState{}},
		"DELETE /debug/epcleanup/tenant/{tenant}/{category}/{id}": {
			id: "clean-endpoints", tag: "debug", summary: "Release endpoints that are left over", parameters: []string{"force"},
			errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
		"DELETE /debug/epcleanup/host/{host}": {
			id: "clean-host", tag: "debug", summary: "Give up a host that will not come back",
			errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
		"GET /api/v1/hosts/": {
			id: "list-hosts", tag: "hosts", summary: "All hosts that registered, and how they stand", parameters: []string{"consistency"},
			answer: []client.Host{}, errors: []int{http.StatusBadRequest},
		},
		"GET /api/v1/hosts/{key}/": {
			id: "get-host", tag: "hosts", summary: "One host", parameters: []string{"consistency"},
			answer: client.Host{}, errors: []int{http.StatusBadRequest, http.StatusNotFound},
		},
		"GET /api/v1/inspect/hosts/{key}/": {
			id: "inspect-host", tag: "hosts", summary: "One host with its endpoints and problems", parameters: []string{"consistency"},
			answer: client.HostInspection{}, errors: []int{http.StatusBadRequest, http.StatusNotFound},
		},
		"DELETE /api/v1/hosts/{key}/": {
			id: "release-host", tag: "hosts", summary: "Give up a host that will not come back; the answer is what was released",
			parameters: []string{"force"}, answer: client.Released{}, errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
		"GET /api/v1/endpoints/": {
			id: "list-endpoints", tag: "endpoints", summary: "All endpoints, or some", answer: []client.Endpoint{},
			parameters: []string{"tenant", "network", "group", "host", "orphaned", "consistency"}, errors: []int{http.StatusBadRequest},
		},
		"GET /api/v1/endpoints/{key}/": {
			id: "get-endpoint", tag: "endpoints", summary: "One endpoint as it runs", parameters: []string{"consistency"},
			answer: client.Endpoint{}, errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
		"DELETE /api/v1/endpoints/{key}/": {
			id: "release-endpoint", tag: "endpoints", summary: "Release an endpoint that is left over; the answer is what was released",
			parameters: []string{"force"}, answer: client.Released{}, errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
		"GET /api/v1/inspect/endpoints/{key}/": {
			id: "inspect-endpoint", tag: "endpoints", summary: "One endpoint", parameters: []string{"consistency"},
			answer: client.EndpointInspection{}, errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
		},
	}
}
