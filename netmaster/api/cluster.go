package api

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
	"github.com/contiv/contiv/state"
)

// forwardedHeader marks a request that another netmaster passed on; it is not passed on again.
const forwardedHeader = "X-Contiv-Forwarded"

func (s *server) version(*http.Request) (any, error) { return version.Get(), nil }

// info does not ask the store while this netmaster leads, so that it is answered also when the store is away.
func (s *server) info(r *http.Request) (any, error) {
	leader, self := s.Cluster.Leader()
	out := client.Info{
		LocalIP: hostOf(s.Cluster.LocalAddress()), LeaderIP: leader, CurrentState: "follower",
		NetmasterNodes: sorted(s.Cluster.Masters()),
	}
	var agents []distribute.HostStatus
	if self {
		out.CurrentState = "leader"
		agents = s.Agents.Hosts()
	}
	show := func(m *ledger.Model) {
		out.Hosts, out.Warnings = hostInfos(m, agents), append(normalise.LateMTUs(m), unreadable(m)...)
		out.NetpluginNodes = registeredAgents(m)
	}
	if !self {
		return out, s.view(r, show)
	}
	s.Reader.ViewCached(show)
	out.NetpluginNodes = connectedAgents(agents)
	out.Warnings = append(out.Warnings, heldOrphans(s.Changes.Orphans(""))...)
	out.Warnings = append(out.Warnings, s.fabricProblems()...)
	return out, nil
}

// heldOrphans tells which hosts have lost so much at once that nothing is released without an operator.
func heldOrphans(orphans []objects.Orphan) (warnings []string) {
	held := make(map[string]int)
	for _, orphan := range orphans {
		if orphan.Held {
			held[orphan.ID.Host]++
		}
	}
	for _, host := range slices.Sorted(maps.Keys(held)) {
		warnings = append(warnings, fmt.Sprintf("host %q %s", host, heldWarning(host, held[host])))
	}
	return warnings
}

func heldWarning(host string, held int) string {
	return fmt.Sprintf("no longer has %d of its endpoints, more than half; they are kept until \"netctl endpoint release "+
		"--orphaned --host %s\" (\"netctl endpoint ls --orphaned\" lists them)", held, host)
}

// connectedAgents are the addresses of the agents that are attached to this netmaster.
func connectedAgents(agents []distribute.HostStatus) []string {
	nodes := []string{}
	for _, agent := range agents {
		if agent.Connected {
			nodes = append(nodes, hostOf(agent.Address))
		}
	}
	return sorted(nodes)
}

// registeredAgents are the hosts that are not given up, for a netmaster that no agent is attached to.
func registeredAgents(m *ledger.Model) []string {
	nodes := []string{}
	for _, host := range m.Hosts() {
		if !host.Dead {
			nodes = append(nodes, cmp.Or(addrText(host.VTEP), host.Name))
		}
	}
	return sorted(nodes)
}

// hostInfos joins what is recorded of the hosts with how far their agents are.
func hostInfos(m *ledger.Model, agents []distribute.HostStatus) []client.HostInfo {
	status := make(map[string]distribute.HostStatus, len(agents))
	for _, agent := range agents {
		status[agent.Host] = agent
	}
	var out []client.HostInfo
	for _, host := range m.Hosts() {
		if host.Dead {
			continue
		}
		is := status[host.Name]
		out = append(out, client.HostInfo{
			Host: host.Name, VTEP: vtepOf(host), MTU: host.MTU,
			Connected: is.Connected, Desired: is.Desired, Acknowledged: is.Acknowledged, NotRealised: len(is.NotRealised),
		})
	}
	return out
}

// vtepOf is the address by which other hosts reach a host.
func vtepOf(host *state.Host) string { return cmp.Or(addrText(host.VTEP), addrText(host.VTEP6)) }

// hostOf is an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	if out = slices.Compact(out); out == nil {
		out = []string{}
	}
	return out
}

// leaderOnly sends requests that only the leader may answer to it.
func (s *server) leaderOnly(next answer) answer {
	return func(r *http.Request) (any, error) {
		leader, self := s.Cluster.Leader()
		switch {
		case self:
			return next(r)
		case leader == "" || r.Header.Get(forwardedHeader) != "":
			return nil, &statusError{http.StatusServiceUnavailable, "no netmaster leads at the moment; try again in a few seconds"}
		}
		return nil, &forwardError{leader: leader}
	}
}

// forwardError says that the request is for another netmaster.
type forwardError struct {
	leader string
	// otherwise is answered if that does not answer; nil: an error is.
	otherwise answer
}

func (e *forwardError) Error() string { return "this is for the leader at " + e.leader }

// forwarder passes requests on to the leader.
type forwarder struct {
	transport http.RoundTripper
}

func newForwarder(transport http.RoundTripper) *forwarder {
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &forwarder{transport}
}

// forward passes a request on. If the leader does not answer, otherwise does, unless it is nil; the request has no body
// then.
func (f *forwarder) forward(w http.ResponseWriter, r *http.Request, leader string, otherwise func()) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	proxy := httputil.ReverseProxy{
		Transport: f.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: scheme, Host: leader})
			p.Out.Header.Set(forwardedHeader, "1")
		},
		ModifyResponse: func(answer *http.Response) error {
			answer.Header.Del(requestid.Header) // the answer names it already
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if otherwise != nil {
				otherwise()
				return
			}
			status, message := http.StatusServiceUnavailable, fmt.Sprintf("the leader at %s does not answer; try again in a few seconds", leader)
			if strings.Contains(err.Error(), "request body too large") {
				status, message = http.StatusRequestEntityTooLarge, fmt.Sprintf("passing the request on to the leader at %s: %v", leader, err)
			}
			writeError(w, r, &statusError{status, message})
		},
	}
	proxy.ServeHTTP(w, r)
}

// unknownPath answers for every path that nothing is at.
func (s *server) unknownPath(r *http.Request) (any, error) {
	message := fmt.Sprintf("there is nothing at %s", shorten(r.URL.Path))
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !ok {
		return nil, &statusError{http.StatusNotFound, message}
	}
	rest, _ = strings.CutPrefix(rest, "inspect/")
	name, key, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	names := []string{}
	for _, c := range s.collections {
		if c.name == name && strings.Contains(key, "/") {
			return nil, &statusError{http.StatusNotFound, fmt.Sprintf("%s not found: %q; no name or key holds a slash", c.kind, shorten(key))}
		}
		names = append(names, c.name)
	}
	message += "; collections are " + strings.Join(names, ", ") + ", hosts and endpoints"
	return nil, &statusError{http.StatusNotFound, message}
}
