// Package api is netmaster's REST server: the original's paths and JSON on top of the ledger. Reading is answered from
// the model; writing is handed to Changes. It keeps no state of its own.
//
// An edge package. The wire types are those of netmaster/client.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/aci"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/state"
)

// Reader gives consistent views of the model; *ledger.Ledger is one.
type Reader interface {
	View(ctx context.Context, read func(*ledger.Model)) error
	ViewCached(read func(*ledger.Model))
	// Subscribe calls notify with the model as it is and after every change; see ledger.Ledger.
	Subscribe(notify func(*ledger.Model, ledger.Change)) (cancel func())
}

// Change is how objects of one type are changed. Both calls are one transaction each, answer the revision it was written
// in when the model that Reader shows contains it, and do not keep or change what they are given.
type Change[T any] struct {
	// Put creates the object, with defaults for what is left out, or updates the one with its key.
	Put func(ctx context.Context, object *T) (int64, error)
	// Delete removes the object with the model key; nil if it is never removed.
	Delete func(ctx context.Context, key string) (int64, error)
}

// Changes is how everything is changed. Errors are classified by objects.KindOf.
type Changes struct {
	Tenants  Change[state.Tenant]
	Networks Change[state.Network]
	Groups   Change[state.EndpointGroup]
	Globals  Change[state.Global]
	More     MoreChanges
	Plugin   PluginCalls
	// ReleaseEndpoint removes an endpoint, whatever its host says.
	ReleaseEndpoint func(ctx context.Context, id state.EndpointID) (int64, error)
	// ReleaseHost declares a host dead whose agent is not connected, and releases all its endpoints.
	ReleaseHost func(ctx context.Context, name string) (int64, error)
	// Orphans are the endpoints of a host, or of all for "", that the host no longer has.
	Orphans func(host string) []objects.Orphan
}

// ChangesOf makes the objects' operations the changes of the server.
func ChangesOf(o *objects.Objects) Changes {
	return Changes{
		Tenants:         Change[state.Tenant]{o.CreateTenant, o.DeleteTenant},
		Networks:        Change[state.Network]{o.CreateNetwork, o.DeleteNetwork},
		Groups:          Change[state.EndpointGroup]{o.PutEndpointGroup, o.DeleteEndpointGroup},
		Globals:         Change[state.Global]{Put: o.PutGlobal},
		More:            moreChangesOf(o),
		Plugin:          pluginCallsOf(o),
		ReleaseEndpoint: o.DeleteEndpoint,
		ReleaseHost:     o.ReleaseHost,
		Orphans:         o.Orphans,
	}
}

// Agents tells how far the agents are; *distribute.Server does.
type Agents interface {
	Hosts() []distribute.HostStatus
}

// Cluster tells how this netmaster stands to the others. Its methods do no I/O.
type Cluster interface {
	// Leader is the REST address (host:port) of the netmaster that leads, empty if nobody is known to, and whether
	// that is this one.
	Leader() (address string, self bool)
	// LocalAddress is the REST address (host:port) under which the others reach this netmaster.
	LocalAddress() string
	// Masters are the REST addresses of all netmasters.
	Masters() []string
}

// Options of the server. All are required but Reports, Timeout, Fabric, Forward, Log and Observe.
type Options struct {
	Reader  Reader
	Changes Changes
	Agents  Agents
	// Reports are shown in inspections; nil: there are none.
	Reports Reports
	Cluster Cluster
	// Mode is the orchestrator that netmaster was started for ("docker", ...), shown as clusterMode.
	Mode string
	// Timeout is how long a request may take before it fails with 503; 0: 5 s.
	Timeout time.Duration
	// Forward carries requests that only the leader can answer to it; nil for http.DefaultTransport.
	Forward http.RoundTripper
	// Fabric tells how far the ACI gateway is, where this netmaster leads; nil: it is not asked.
	Fabric func() []aci.Status
	Log    *logrus.Entry
	// Observe is told of every request; nil: nobody is.
	Observe Observer
	// History is how many changes are kept for those who watch and come back; 0: 8192.
	History int
	// Heartbeat is how often a stream shows that it lives; 0: 15 s.
	Heartbeat time.Duration
}

type server struct {
	Options
	forwarder   *forwarder
	collections []collection
	document    func() (json.RawMessage, error) // of OpenAPI, made when it is first asked for
	history     *history
	ending      chan struct{} // closed when streams must end
}

// Handler serves the REST API.
func Handler(opts Options) http.Handler {
	s := newServer(opts)
	router := s.router()
	s.document = sync.OnceValues(func() (json.RawMessage, error) { return s.describe(router) })
	return s.withStreams(s.protect(compressed(router)))
}

func newServer(opts Options) *server {
	s := &server{Options: opts}
	if s.Log == nil {
		s.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	s.forwarder = newForwarder(opts.Forward)
	s.collections = append([]collection{s.tenants(), s.networks(), s.groups(), s.globals()}, s.moreCollections()...)
	s.history, s.ending = newHistory(s.collections, cmp.Or(opts.History, defaultHistory)), make(chan struct{})
	return s
}

// optionalSlash ends a path with or without a slash.
const optionalSlash = "{slash:/?}"

func (s *server) router() *mux.Router {
	r := mux.NewRouter()
	// What is asked most comes first: the router goes through them in order.
	for _, c := range s.collections {
		r.Handle("/api/v1/"+c.name+optionalSlash, s.handle(methods{get: s.list(c)}))
		r.Handle("/api/v1/"+c.name+"/{key}"+optionalSlash, s.handle(methods{
			get: s.one(c), put: s.leaderOnly(s.put(c)), post: s.leaderOnly(s.put(c)), remove: s.leaderOnly(s.remove(c)),
		}))
		r.Handle("/api/v1/inspect/"+c.name+"/{key}"+optionalSlash, s.handle(methods{get: s.inspect(c)}))
	}
	for _, route := range []struct {
		path    string
		methods methods
	}{
		{"/openapi.json", methods{get: s.openAPI}},
		{"/api/v1/openapi.json", methods{get: s.openAPI}},
		{"/version", methods{get: s.version}},
		{watchPath, methods{get: s.watchAll}},
		{"/info", methods{get: s.info}},
		{"/plugin/allocAddress", methods{post: s.leaderOnly(pluginCall(s.allocAddress))}},
		{"/plugin/releaseAddress", methods{post: s.leaderOnly(pluginCall(s.releaseAddress))}},
		{"/plugin/createEndpoint", methods{post: s.leaderOnly(pluginCall(s.createEndpoint))}},
		{"/plugin/deleteEndpoint", methods{post: s.leaderOnly(pluginCall(s.deleteEndpoint))}},
		{"/plugin/updateEndpoint", methods{post: s.leaderOnly(pluginCall(s.updateEndpoint))}},
		{"/services", methods{get: s.serviceStates}},
		{"/service/{id}", methods{get: s.serviceState}},
		{"/debug/ofnet", methods{get: s.forReports(s.debugAgents)}},
		{"/debug/epcleanup/tenant/{tenant}/{category}/{id:.*[^/]}", methods{remove: s.leaderOnly(s.cleanEndpoints)}},
		{"/debug/epcleanup/host/{host}", methods{remove: s.leaderOnly(s.cleanHost)}},
		{"/api/v1/inspect/endpoints/{key:.*[^/]}", methods{get: s.forReports(s.inspectEndpoint)}},
		{"/api/v1/endpoints", methods{get: s.leaderOnly(s.listEndpoints)}},
		{"/api/v1/endpoints/{key:.*[^/]}", methods{get: s.leaderOnly(s.oneEndpoint), remove: s.leaderOnly(s.releaseEndpoint)}},
		{"/api/v1/hosts", methods{get: s.leaderOnly(s.listHosts)}},
		{"/api/v1/hosts/{key}", methods{get: s.leaderOnly(s.oneHost), remove: s.leaderOnly(s.releaseHost)}},
		{"/api/v1/inspect/hosts/{key}", methods{get: s.leaderOnly(s.inspectHost)}},
	} {
		r.Handle(route.path+optionalSlash, s.handle(route.methods))
	}
	for path, gone := range goneRoutes() {
		r.Handle(path+optionalSlash, s.handle(gone))
	}
	r.NotFoundHandler = s.handle(methods{any: s.unknownPath})
	return r
}
