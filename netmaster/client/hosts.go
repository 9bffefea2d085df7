package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// States of a host.
const (
	HostConnected = "connected" // its agent is registered with the leader
	HostSilent    = "silent"    // it is not; the host keeps its endpoints until it is declared dead
	HostDead      = "dead"      // declared so by an operator or by time: its endpoints are released
)

// Host is a machine that runs an agent. Hosts appear when their agent registers; they are only read, and released.
type Host struct {
	ModelKey string `json:"key"`
	Name     string `json:"hostname"`
	State    string `json:"state"`
	// Since is when the agent connected or, of a host that is not connected, when it was last heard of. It is left out
	// where that is not known: the leader changed, and the host was not heard of since.
	Since    time.Time `json:"since,omitzero"`
	VTEP     string    `json:"vtep,omitempty"`
	MTU      int       `json:"mtu,omitempty"` // of the underlay
	Datapath string    `json:"datapath,omitempty"`
	Version  string    `json:"version,omitempty"` // of the agent
	// Endpoints counts what the store gives to the host, Orphans those of them that it says it does not have.
	Endpoints int `json:"endpoints"`
	Orphans   int `json:"orphans,omitempty"`
	// Desired is the store revision that the host shall have realised, Acknowledged the one that it says it has.
	Desired      int64 `json:"desired,omitempty"`
	Acknowledged int64 `json:"acknowledged,omitempty"`
	// NotRealised counts what the host could not realise.
	NotRealised int      `json:"notRealised,omitempty"`
	Warnings    []string `json:"warnings,omitempty"` // for people
}

// HostInspection is a host with what it has; it has no configuration of its own.
type HostInspection struct {
	Oper HostOper `json:"Oper"`
}

// HostOper are a host, its endpoints, and what it could not realise.
type HostOper struct {
	Host
	EndpointList []Endpoint    `json:"endpointList,omitempty"`
	Problems     []HostProblem `json:"problems,omitempty"`
}

// HostProblem is a record that a host could not realise, and why.
type HostProblem struct {
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// Endpoint is an interface of a container as lists show it.
type Endpoint struct {
	ModelKey string `json:"key"` // "host/container/interface"
	EndpointOper
	TenantName  string    `json:"tenantName"`
	NetworkName string    `json:"networkName"`
	Groups      []string  `json:"groups,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	Stopped     bool      `json:"stopped,omitempty"` // its container is known not to run
	// HostState is that of the endpoint's host.
	HostState string `json:"hostState"`
	// Orphaned is set when the host is connected and does not have the endpoint.
	Orphaned *Orphaned `json:"orphaned,omitempty"`
}

// Orphaned tells of an endpoint that its host no longer has. It is released by itself half a minute later, unless Held.
type Orphaned struct {
	Since time.Time `json:"since"`
	// Held: the host lost more than half of its endpoints at once, so an operator must say that they are to go.
	Held bool `json:"held,omitempty"`
}

// EndpointFilter chooses endpoints; empty fields choose all.
type EndpointFilter struct {
	Tenant, Network, Group, Host string
	Orphaned                     bool // those only that their hosts no longer have
}

func (f EndpointFilter) query() string {
	values := url.Values{}
	for name, value := range map[string]string{"tenant": f.Tenant, "network": f.Network, "group": f.Group, "host": f.Host} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if f.Orphaned {
		values.Set("orphaned", "true")
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// Released are endpoints that were released, by key.
type Released struct {
	Released []string `json:"released"`
}

// Hosts are all hosts, dead ones too, by name.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) {
	var out []Host
	return out, c.do(ctx, http.MethodGet, "/api/v1/hosts/", nil, &out)
}

// InspectHost shows a host with its endpoints.
func (c *Client) InspectHost(ctx context.Context, name string) (*HostInspection, error) {
	out := new(HostInspection)
	return out, c.do(ctx, http.MethodGet, "/api/v1/inspect/hosts/"+url.PathEscape(name)+"/", nil, out)
}

// ReleaseHost declares a host dead and releases its endpoints. One whose agent is connected is refused; so is, without
// force, one that was heard of less than a minute or so ago.
func (c *Client) ReleaseHost(ctx context.Context, name string, force bool) (*Released, error) {
	out := new(Released)
	return out, c.do(ctx, http.MethodDelete, "/api/v1/hosts/"+url.PathEscape(name)+"/"+forceQuery(force), nil, out)
}

// Endpoints are the endpoints that the filter chooses, by key.
func (c *Client) Endpoints(ctx context.Context, which EndpointFilter) ([]Endpoint, error) {
	var out []Endpoint
	return out, c.do(ctx, http.MethodGet, "/api/v1/endpoints/"+which.query(), nil, &out)
}

// ReleaseEndpoint releases an endpoint, which is given as for InspectEndpoint, if it is orphaned or its host is silent.
// Without force, the host must have been silent for a minute or so.
func (c *Client) ReleaseEndpoint(ctx context.Context, id string, force bool) (*Released, error) {
	out := new(Released)
	return out, c.do(ctx, http.MethodDelete, "/api/v1/endpoints/"+url.PathEscape(id)+"/"+forceQuery(force), nil, out)
}

func forceQuery(force bool) string {
	if force {
		return "?force=true"
	}
	return ""
}
