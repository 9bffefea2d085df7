// Package mgmtfn holds the words that the orchestrator front ends (sub-packages cni and docker) share: what they ask
// the agent to plug in and what they get. Each front end declares the small interface it needs of the agent itself.
package mgmtfn

import (
	"net/netip"

	"github.com/contiv/contiv/ofnet/protocol"
)

// AttachRequest asks the agent to plug a container's interface into a network. The agent fills in its host's name.
// Repeating a request for the same ContainerID and IfName answers the same interface.
type AttachRequest struct {
	ContainerID string
	IfName      string
	Tenant      string
	Network     string   // may be empty if Groups is not
	Groups      []string // names in the tenant
	// NetNS is the path of the container's network namespace; empty: leave the link in the host's namespace for the
	// orchestrator to move.
	NetNS string
	// IPv4, IPv6: wanted addresses, zero for any. Token, Token6: of their reservations, if they were reserved before.
	IPv4, IPv6    netip.Addr
	Token, Token6 string
	MAC           string // wanted, empty for the usual one
	ContainerName string
	Labels        map[string]string
	RuntimeID     string
	// Owner is the front end ("cni", "docker"); Notes are its own facts, kept with the attachment over restarts.
	Owner string
	Notes map[string]string
}

// Attachment is a plugged-in interface.
type Attachment struct {
	ID       protocol.EndpointID
	Tenant   string
	Network  string
	Groups   []string
	NetNS    string
	MAC      string
	MTU      int
	IPv4     netip.Prefix
	IPv6     netip.Prefix // zero without
	Gateway  netip.Addr   // zero: no default route
	Gateway6 netip.Addr
	// HostLink is the end in the host; ContainerLink the name of the other end (IfName, or the name to move).
	HostLink      string
	ContainerLink string
	Owner         string
	Notes         map[string]string
}
