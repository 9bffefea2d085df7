package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

const (
	// minPrefix is how much of a container id must be given at least.
	minPrefix = 4
	// maxNamed is how many endpoints a message names.
	maxNamed = 10
)

func (s *server) inspectEndpoint(r *http.Request) (any, error) {
	var out client.EndpointInspection
	found, err := s.endpointCalled(r, func(m *ledger.Model, e *state.Endpoint) { out.Oper = endpointOper(m, e) })
	if err == nil {
		s.reportEndpoint(&out.Oper, protocol.EndpointID(found))
	}
	return out, err
}

// endpointsMatching finds endpoints by their id, else by container id, container name or runtime id, else by the
// beginning of their container id.
func endpointsMatching(m *ledger.Model, key string) []*state.Endpoint {
	if exact := endpointsCalled(m, key); len(exact) > 0 || len(key) < minPrefix {
		return exact
	}
	return slices.DeleteFunc(m.EndpointsOf(ledger.EndpointsOfContainer(key)), func(e *state.Endpoint) bool {
		return !strings.HasPrefix(e.ContainerID, key) && !strings.HasPrefix(e.EngineID, key)
	})
}

// endpointsCalled finds endpoints by the whole of their id, container id, container name or runtime id.
func endpointsCalled(m *ledger.Model, key string) []*state.Endpoint {
	if id, ok := parseEndpointID(key); ok {
		if e := m.Endpoint(id); e != nil {
			return []*state.Endpoint{e}
		}
		return nil
	}
	found := slices.DeleteFunc(m.EndpointsOf(ledger.EndpointsOfContainer(key)), func(e *state.Endpoint) bool {
		return e.ContainerID != key && e.EngineID != key
	})
	for _, e := range m.EndpointsOf(ledger.EndpointsNamed(key)) {
		if e.ContainerID != key && e.EngineID != key {
			found = append(found, e)
		}
	}
	return found
}

// parseEndpointID reads "host/container/interface".
func parseEndpointID(text string) (state.EndpointID, bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return state.EndpointID{}, false
	}
	return state.EndpointID{Host: parts[0], ContainerID: parts[1], IfName: parts[2]}, true
}

func idsOf(endpoints []*state.Endpoint) []state.EndpointID {
	out := make([]state.EndpointID, 0, len(endpoints))
	for _, e := range endpoints {
		out = append(out, e.EndpointID)
	}
	return out
}

func idList(ids []state.EndpointID) string {
	var names []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		names = append(names, id.String())
	}
	if len(ids) > maxNamed {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// cleanHost gives up a host that will not come back: its endpoints are released, and nothing waits for it any more.
func (s *server) cleanHost(r *http.Request) (any, error) {
	name := mux.Vars(r)["host"]
	if _, err := s.Changes.ReleaseHost(r.Context(), name); err != nil {
		return nil, err
	}
	return text(fmt.Sprintf("host %s is given up; its endpoints are released", name)), nil
}

// cleanEndpoints releases the endpoints of a network, of a group, or one, that are left over: orphaned ones, and those
// of hosts that have been silent for some time; with ?force=true also those of hosts that fell silent just now, whose
// agent may only be restarting. What a connected host has plugged in is not touched.
func (s *server) cleanEndpoints(r *http.Request) (any, error) {
	vars := mux.Vars(r)
	ids, err := s.leftOver(r, vars["tenant"], vars["category"], vars["id"])
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if _, err := s.Changes.ReleaseEndpoint(r.Context(), id); err != nil {
			return nil, fmt.Errorf("released %d of %d endpoints, then %s: %w", i, len(ids), id, err)
		}
	}
	return text(fmt.Sprintf("released %d endpoint(s) of %s %s in tenant %s: %s",
		len(ids), vars["category"], vars["id"], vars["tenant"], idList(ids))), nil
}

func (s *server) leftOver(r *http.Request, tenant, category, name string) ([]state.EndpointID, error) {
	var found []*state.Endpoint
	var known bool
	recent := make(map[string]bool) // hosts that were connected until recently
	err := s.Reader.View(r.Context(), func(m *ledger.Model) {
		key := state.ModelKey(tenant, name)
		switch category {
		case "net":
			found, known = m.EndpointsOf(ledger.EndpointsOfNetwork(key)), true
		case "group":
			found, known = m.EndpointsOf(ledger.EndpointsOfGroup(key)), true
		case "ep":
			found, known = exactly(m, tenant, name), true
		}
		for _, e := range found {
			host := m.Host(e.Host)
			recent[e.Host] = host != nil && !host.Dead && host.SilentSince.IsZero()
		}
	})
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, badRequest("category %q is unknown; allowed are net, group and ep", shorten(category))
	}
	connected, orphaned := s.connected(), s.orphaned()
	plugged := len(found)
	found = slices.DeleteFunc(found, func(e *state.Endpoint) bool { return connected[e.Host] && !orphaned[e.EndpointID] })
	plugged -= len(found)
	for _, e := range found {
		if recent[e.Host] && !orphaned[e.EndpointID] && !forced(r) {
			return nil, justGone(e.Host)
		}
	}
	if len(found) == 0 {
		return nil, &statusError{http.StatusNotFound, fmt.Sprintf(
			"no endpoint to release for %s %q in tenant %q; %d are plugged in on hosts that are connected: remove them there",
			category, shorten(name), shorten(tenant), plugged)}
	}
	return idsOf(found), nil
}

// connected are the hosts whose agent is connected.
func (s *server) connected() map[string]bool {
	connected := make(map[string]bool)
	for _, host := range s.Agents.Hosts() {
		connected[host.Host] = host.Connected
	}
	return connected
}

// orphaned are the endpoints that their host no longer lists.
func (s *server) orphaned() map[state.EndpointID]bool {
	orphaned := make(map[state.EndpointID]bool)
	for _, orphan := range s.Changes.Orphans("") {
		orphaned[orphan.ID] = true
	}
	return orphaned
}

// exactly finds the endpoints of a tenant that have the given id, in any of its forms, but no part of one.
func exactly(m *ledger.Model, tenant, id string) []*state.Endpoint {
	return slices.DeleteFunc(endpointsCalled(m, id), func(e *state.Endpoint) bool { return e.TenantName != tenant })
}
