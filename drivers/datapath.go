// Package drivers declares what netplugin needs of a datapath. Implementations live in sub-packages: ovs (Open
// vSwitch) and fake (in memory, for tests and scale runs).
package drivers

import (
	"context"
	"errors"
	"net/netip"

	"github.com/contiv/contiv/ofnet/protocol"
)

// ErrNoPort says that the endpoint has no port on this host.
var ErrNoPort = errors.New("no such port on this host")

// Datapath forwards the packets of one host.
//
// It is declarative: Apply tells it what the world should be like, and it makes the switch so, by itself also after
// the switch was restarted. Ports are made and removed one by one. Everything a host must remember over a restart of
// the agent (attachments, removals netmaster was not told of, local numbers) is kept with the switch, not in files.
//
// All methods may be called at once; calls that touch the same endpoint or the flow tables wait for each other.
type Datapath interface {
	// PreparePort makes a link for a local endpoint and plugs its host end into the switch, fail-closed: until Apply
	// was given the endpoint's record, nothing passes. The two may come in any order or at once: what the endpoint needs
	// is in the switch when both have returned. Idempotent for the same ID: the existing port is answered if
	// its container end is still where it should be, else it is made again. On error nothing is left behind.
	PreparePort(ctx context.Context, want Port) (Attachment, error)

	// RemovePort unplugs an endpoint and remembers it as removed until Forget. A port that is not there is no error.
	RemovePort(ctx context.Context, id protocol.EndpointID) error

	// Attachments are the ports of this host as remembered by the switch, sorted by ID.
	Attachments(ctx context.Context) ([]Attachment, error)

	// Removed are the endpoints that RemovePort removed and Forget has not seen yet.
	Removed(ctx context.Context) ([]protocol.EndpointID, error)

	// Forget drops the memory of removed endpoints: netmaster knows.
	Forget(ctx context.Context, ids ...protocol.EndpointID) error

	// Apply changes the desired state and returns when the switch has it. After an error the desired state is taken
	// all the same and the datapath goes on trying by itself; Status tells how far it is. Records it cannot realise
	// are named in the result and are not an error; nothing wider than written is installed for them.
	Apply(ctx context.Context, update Update) ([]protocol.NotRealised, error)

	// Statistics are what this host counted until now: ports by ID (one whose link is gone is left out), rules that were
	// hit by key, drops by reason, each sorted. A switch that does not answer leaves out only what it counts; what is
	// there is answered with the error. See docs/reliability.md for what a counter survives.
	Statistics(ctx context.Context) (protocol.Statistics, error)

	// Status tells, for inspect and for acknowledgements, what is wanted and what is realised. It does not block.
	Status() Status

	// Close stops the driver; the switch goes on forwarding as it is.
	Close() error
}

// Port is what PreparePort is asked for.
type Port struct {
	ID       protocol.EndpointID
	Tenant   string
	Network  string
	Groups   []string
	Encap    string // of the network: protocol.EncapVXLAN or EncapVLAN
	MAC      string
	IPv4     netip.Prefix // address with the length of its subnet
	IPv6     netip.Prefix // zero without IPv6
	Gateway  netip.Addr   // zero: no default route
	Gateway6 netip.Addr
	MTU      int
	// NetNS is the path of the namespace that the container end goes to, named ID.IfName, with addresses, routes and
	// link up. Empty: the container end stays in the host's namespace, down and without addresses, for an
	// orchestrator that moves it by itself (docker).
	NetNS string
	// Owner is the orchestrator ("cni", "docker"); Notes are its own small facts about the attachment. Both are only kept.
	Owner string
	Notes map[string]string
}

// Attachment is a port that exists.
type Attachment struct {
	Port
	// HostLink is the end in the switch, ContainerLink the name of the other: ID.IfName, or the name that waits in
	// the host's namespace.
	HostLink      string
	ContainerLink string
}

// Update is a change of the desired state.
type Update struct {
	// Position that the desired state is at after this update.
	Position protocol.Position
	// Replace: Set is all there is; everything else is gone.
	Replace bool
	// Set are new or changed objects by record key, Gone those that went. An object of another host, or a local
	// endpoint without a port, is part of the desired state too.
	Set  map[Ref]protocol.Body
	Gone []Ref
}

// Ref names a record.
type Ref struct {
	Kind protocol.Kind
	Key  string
}

// Status is a glance at a datapath.
type Status struct {
	Desired protocol.Position `json:"desired"`
	// Realised is what the switch is known to have: zero while it does not answer, and after it was restarted until it has
	// everything again.
	Realised protocol.Position `json:"realised"`
	// Connected to the switch; Problem says in words why Realised lags, empty if it does not.
	Connected   bool                   `json:"connected"`
	Problem     string                 `json:"problem,omitempty"`
	NotRealised []protocol.NotRealised `json:"notRealised,omitempty"`
	// Details are the driver's own: bridges, datapath type, counts of flows and groups.
	Details map[string]any `json:"details,omitempty"`
}
