package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/state"
)

// Hosts and endpoints as they run are no configuration: they are read and released, by the leader, which alone knows
// who is connected.

// census is what the leader knows of the hosts beside the model.
type census struct {
	status  map[string]distribute.HostStatus
	orphans map[state.EndpointID]objects.Orphan
	lost    map[string]int // orphans by host
	held    map[string]int // those of them that wait for an operator
}

func (s *server) census() census {
	c := census{map[string]distribute.HostStatus{}, map[state.EndpointID]objects.Orphan{}, map[string]int{}, map[string]int{}}
	for _, status := range s.Agents.Hosts() {
		c.status[status.Host] = status
	}
	for _, orphan := range s.Changes.Orphans("") {
		c.orphans[orphan.ID] = orphan
		c.lost[orphan.ID.Host]++
		if orphan.Held {
			c.held[orphan.ID.Host]++
		}
	}
	return c
}

func (c census) stateOf(h *state.Host) string {
	switch {
	case c.status[h.Name].Connected:
		return client.HostConnected
	case h.Dead:
		return client.HostDead
	}
	return client.HostSilent
}

func (c census) since(h *state.Host) time.Time {
	status := c.status[h.Name]
	switch {
	case status.Connected:
		return status.Since
	case !h.SilentSince.IsZero():
		return h.SilentSince
	}
	return status.LastSeen
}

func (c census) host(m *ledger.Model, h *state.Host, warnings []string) client.Host {
	status := c.status[h.Name]
	out := client.Host{
		ModelKey: h.Name, Name: h.Name, State: c.stateOf(h), Since: c.since(h).UTC(),
		VTEP: vtepOf(h), MTU: h.MTU, Datapath: h.Datapath, Version: h.Version,
		Endpoints: m.Count(ledger.EndpointsOfHost(h.Name)),
		Desired:   status.Desired, Acknowledged: status.Acknowledged, NotRealised: len(status.NotRealised),
		Orphans: c.lost[h.Name],
	}
	quoted := fmt.Sprintf("host %q ", h.Name)
	for _, text := range warnings {
		if rest, ok := strings.CutPrefix(text, quoted); ok {
			out.Warnings = append(out.Warnings, rest)
		}
	}
	if out.NotRealised > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("did not realise %d records; \"netctl host inspect %s\" names them", out.NotRealised, h.Name))
	}
	if held := c.held[h.Name]; held > 0 {
		out.Warnings = append(out.Warnings, heldWarning(h.Name, held))
	}
	return out
}

// onlyWords refuses a query with other words: a filter that was misspelt must not answer more than was asked for.
func onlyWords(r *http.Request, known ...string) (url.Values, error) {
	words, err := wordsOf(r)
	for name := range words {
		if name != askConsistency && !slices.Contains(known, name) {
			return nil, badRequest("%q is unknown; known are %s", shorten(name), strings.Join(append(known, askConsistency), ", "))
		}
	}
	return words, err
}

func (s *server) listHosts(r *http.Request) (any, error) {
	if _, err := onlyWords(r); err != nil {
		return nil, err
	}
	c, out := s.census(), []client.Host{}
	err := s.view(r, func(m *ledger.Model) {
		warnings := normalise.LateMTUs(m)
		for _, h := range m.Hosts() {
			out = append(out, c.host(m, h, warnings))
		}
	})
	return out, err
}

func (s *server) oneHost(r *http.Request) (any, error) {
	found, err := s.hostOper(r)
	if err != nil {
		return nil, err
	}
	return found.Host, nil
}

func (s *server) inspectHost(r *http.Request) (any, error) {
	found, err := s.hostOper(r)
	if err != nil {
		return nil, err
	}
	return client.HostInspection{Oper: *found}, nil
}

func (s *server) hostOper(r *http.Request) (*client.HostOper, error) {
	name, c := mux.Vars(r)["key"], s.census()
	var out *client.HostOper
	err := s.view(r, func(m *ledger.Model) {
		h := m.Host(name)
		if h == nil {
			return
		}
		out = &client.HostOper{Host: c.host(m, h, normalise.LateMTUs(m))}
		for _, e := range m.EndpointsOf(ledger.EndpointsOfHost(name)) {
			out.EndpointList = append(out.EndpointList, c.endpoint(m, e))
		}
		for _, problem := range c.status[name].NotRealised {
			out.Problems = append(out.Problems, client.HostProblem{Kind: string(problem.Kind), Key: problem.Key, Reason: problem.Reason})
		}
	})
	if err == nil && out == nil {
		err = notFound("host", shorten(name))
	}
	return out, err
}

// releaseHost declares a host dead and releases its endpoints. Who is connected is refused by the transaction itself.
func (s *server) releaseHost(r *http.Request) (any, error) {
	name := mux.Vars(r)["key"]
	before, host, err := s.endpointsOfHost(r, name)
	switch {
	case err != nil:
		return nil, err
	case host == nil:
		return nil, notFound("host", shorten(name))
	case !host.Dead && host.SilentSince.IsZero() && !s.connected()[name] && !forced(r):
		return nil, justGone(name)
	}
	if _, err := s.Changes.ReleaseHost(r.Context(), name); err != nil {
		return nil, err
	}
	after, _, err := s.endpointsOfHost(r, name)
	if err != nil {
		return nil, err
	}
	gone := slices.DeleteFunc(before, func(id string) bool { return slices.Contains(after, id) })
	return client.Released{Released: gone}, nil
}

func (s *server) endpointsOfHost(r *http.Request, name string) (ids []string, host *state.Host, err error) {
	ids = []string{}
	err = s.Reader.View(r.Context(), func(m *ledger.Model) {
		host = m.Host(name)
		for _, e := range m.EndpointsOf(ledger.EndpointsOfHost(name)) {
			ids = append(ids, e.EndpointID.String())
		}
	})
	return ids, host, err
}

// forced reports whether the operator said that it is to be done all the same.
func forced(r *http.Request) bool { return r.URL.Query().Get("force") == "true" }

func justGone(host string) error {
	return &statusError{http.StatusConflict, fmt.Sprintf(
		"host %q was heard of less than a minute or so ago and may only be restarting its agent; nothing was released: "+
			"try again later, or force it (netctl: --force, REST: ?force=true) if it is gone for good", host)}
}

func (c census) endpoint(m *ledger.Model, e *state.Endpoint) client.Endpoint {
	out := client.Endpoint{
		ModelKey: e.EndpointID.String(), EndpointOper: endpointOper(m, e), HostState: client.HostSilent,
		TenantName: e.TenantName, NetworkName: e.NetworkName, Groups: e.Groups, Created: e.Created, Stopped: e.Stopped,
	}
	if h := m.Host(e.Host); h != nil {
		out.HostState = c.stateOf(h)
	}
	if orphan, is := c.orphans[e.EndpointID]; is {
		out.Orphaned = &client.Orphaned{Since: orphan.Since.UTC(), Held: orphan.Held}
	}
	return out
}

// listEndpoints takes the filters tenant, network, group, host and orphaned=true.
func (s *server) listEndpoints(r *http.Request) (any, error) {
	query, err := onlyWords(r, "tenant", "network", "group", "host", "orphaned")
	if err != nil {
		return nil, err
	}
	wanted := client.EndpointFilter{
		Tenant: query.Get("tenant"), Network: query.Get("network"), Group: query.Get("group"), Host: query.Get("host"),
	}
	switch text := query.Get("orphaned"); text {
	case "", "false":
	case "true":
		wanted.Orphaned = true
	default:
		return nil, badRequest("orphaned %q is unknown; use true, or leave it out", shorten(text))
	}
	c, out := s.census(), []client.Endpoint{}
	err = s.view(r, func(m *ledger.Model) {
		for _, e := range m.EndpointsOf(narrowest(wanted)) {
			if _, orphaned := c.orphans[e.EndpointID]; chosen(wanted, e, orphaned) {
				out = append(out, c.endpoint(m, e))
			}
		}
	})
	return out, err
}

// narrowest is an index that holds all endpoints that the filter chooses.
func narrowest(f client.EndpointFilter) ledger.Index {
	switch {
	case f.Tenant != "" && f.Group != "":
		return ledger.EndpointsOfGroup(state.ModelKey(f.Tenant, f.Group))
	case f.Tenant != "" && f.Network != "":
		return ledger.EndpointsOfNetwork(state.ModelKey(f.Tenant, f.Network))
	case f.Host != "":
		return ledger.EndpointsOfHost(f.Host)
	case f.Tenant != "":
		return ledger.EndpointsOfTenant(f.Tenant)
	}
	return ledger.AllEndpoints()
}

func chosen(f client.EndpointFilter, e *state.Endpoint, orphaned bool) bool {
	is := func(wanted, have string) bool { return wanted == "" || wanted == have }
	return is(f.Tenant, e.TenantName) && is(f.Network, e.NetworkName) && is(f.Host, e.Host) &&
		(f.Group == "" || slices.Contains(e.Groups, f.Group)) && (!f.Orphaned || orphaned)
}

func (s *server) oneEndpoint(r *http.Request) (any, error) {
	c := s.census()
	var out client.Endpoint
	_, err := s.endpointCalled(r, func(m *ledger.Model, e *state.Endpoint) { out = c.endpoint(m, e) })
	return out, err
}

// endpointCalled finds the one endpoint that the URL means and reads it.
func (s *server) endpointCalled(r *http.Request, read func(*ledger.Model, *state.Endpoint)) (id state.EndpointID, err error) {
	key := mux.Vars(r)["key"]
	var ids []state.EndpointID
	err = s.view(r, func(m *ledger.Model) {
		found := endpointsMatching(m, key)
		if len(found) == 1 {
			read(m, found[0])
		}
		ids = idsOf(found)
	})
	switch {
	case err != nil:
		return id, err
	case len(ids) == 0:
		return id, notFound("endpoint", shorten(key))
	case len(ids) > 1:
		return id, &statusError{http.StatusConflict,
			fmt.Sprintf("%q is the name of %d endpoints; give one of these ids: %s", shorten(key), len(ids), idList(ids))}
	}
	return ids[0], nil
}

// releaseEndpoint releases an endpoint that is left over: orphaned, or of a host that is silent.
func (s *server) releaseEndpoint(r *http.Request) (any, error) {
	recent := false
	id, err := s.endpointCalled(r, func(m *ledger.Model, e *state.Endpoint) {
		h := m.Host(e.Host)
		recent = h != nil && !h.Dead && h.SilentSince.IsZero()
	})
	if err != nil {
		return nil, err
	}
	switch {
	case s.orphaned()[id]:
	case s.connected()[id.Host]:
		return nil, &statusError{http.StatusConflict, fmt.Sprintf(
			"endpoint %s is plugged in on host %q, which is connected; remove its container there", id, id.Host)}
	case recent && !forced(r):
		return nil, justGone(id.Host)
	}
	if _, err := s.Changes.ReleaseEndpoint(r.Context(), id); err != nil {
		return nil, err
	}
	return client.Released{Released: []string{id.String()}}, nil
}
