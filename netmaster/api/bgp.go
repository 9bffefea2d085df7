package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

const (
	// agentPatience is how long an agent may take to say how it stands.
	agentPatience = time.Second
	// maxInspection bounds what an agent may say.
	maxInspection = 4 << 20
	// unknownState stands for figures that nobody could be asked for.
	unknownState = "unknown"
)

// askAgent fills in how the BGP speaker of a host stands, which only the host's agent knows. That it cannot be asked is
// a state, said in Problem: the configuration is answered all the same.
func (s *server) askAgent(r *http.Request, inspected any) any {
	out, ok := inspected.(client.Inspection[any, client.BgpOper])
	if !ok {
		return inspected
	}
	found, err := s.bgpOf(r.Context(), mux.Vars(r)["key"])
	if err != nil {
		out.Oper = client.BgpOper{AdminStatus: unknownState, NeighborStatus: unknownState, Problem: err.Error()}
		return out
	}
	out.Oper = bgpOper(found)
	return out
}

func bgpOper(found *protocol.BgpInspection) client.BgpOper {
	oper := client.BgpOper{AdminStatus: "down", NeighborStatus: "idle", NumRoutes: len(found.Dsts), Routes: found.Dsts}
	if len(found.Peers) == 0 {
		oper.Problem = "the host's agent runs no BGP speaker"
		return oper
	}
	oper.AdminStatus, oper.NeighborStatus = found.Peers[0].AdminState, found.Peers[0].SessionState
	return oper
}

// bgpOf asks the agent of a host.
func (s *server) bgpOf(ctx context.Context, name string) (*protocol.BgpInspection, error) {
	var host *state.Host
	s.Reader.ViewCached(func(m *ledger.Model) {
		if found := m.Host(name); found != nil {
			clone := *found
			host = &clone
		}
	})
	if host == nil {
		return nil, fmt.Errorf("host %q has not registered", name)
	}
	base, err := agentURL(host, s.connectionOf(name))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	out := new(protocol.BgpInspection)
	if err := s.getFromAgent(ctx, name, base.JoinPath(protocol.PathInspectBgp).String(), out); err != nil {
		return nil, fmt.Errorf("asking the agent of host %q: %w", name, err)
	}
	return out, nil
}

// connectionOf is the address that the agent of a host calls from, empty if it is not connected here.
func (s *server) connectionOf(name string) string {
	for _, agent := range s.Agents.Hosts() {
		if agent.Host == name && agent.Connected {
			return hostOf(agent.Address)
		}
	}
	return ""
}

// agentURL is where the REST server of a host's agent is, if it can be reached from here. Only the port, the scheme and
// an address of its own are the agent's to say.
func agentURL(host *state.Host, connection string) (*url.URL, error) {
	if host.REST == "" {
		return nil, fmt.Errorf("the agent of host %q did not say where it answers inspections; start it with --inspect-address", host.Name)
	}
	said, err := url.Parse(host.REST)
	if err != nil || said.Scheme != "http" && said.Scheme != "https" || said.Port() == "" {
		return nil, fmt.Errorf("the agent of host %q gave %q as the place to inspect it, which is no URL with a port", host.Name, host.REST)
	}
	address := said.Hostname()
	switch ip, err := netip.ParseAddr(address); {
	case address == "" || err == nil && ip.IsUnspecified():
		address = cmp.Or(connection, vtepOf(host))
	case err != nil:
		return nil, fmt.Errorf("the agent of host %q gave %q as the place to inspect it, which is no address", host.Name, host.REST)
	case ip.IsLoopback() && !isLoopback(connection):
		return nil, fmt.Errorf("the agent of host %q answers inspections on its loopback address only; start it with --inspect-address 0.0.0.0:%s "+
			"to let netmaster ask", host.Name, said.Port())
	}
	if address == "" {
		return nil, fmt.Errorf("host %q has no address that is known here", host.Name)
	}
	return &url.URL{Scheme: said.Scheme, Host: net.JoinHostPort(address, said.Port())}, nil
}

func isLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.IsLoopback()
}

// getFromAgent decodes what an agent answers. With TLS the agent must show a certificate with the host's name.
func (s *server) getFromAgent(ctx context.Context, host, url string, into any) error {
	transport := http.DefaultTransport
	if s.Forward != nil {
		transport = s.Forward
	}
	if own, ok := transport.(*http.Transport); ok {
		own = own.Clone()
		own.DisableKeepAlives = true
		if own.TLSClientConfig != nil {
			own.TLSClientConfig.ServerName = host
		}
		transport = own
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxInspection))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s answers what is no inspection: %w", url, err)
	}
	return nil
}
