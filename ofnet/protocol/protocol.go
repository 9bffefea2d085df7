// Package protocol defines what netmaster and the agents (netplugin) say to each other: JSON-RPC 2.0 over TCP port
// 9001, dialled by the agent, both sides calling. It has messages and desired-state records only; no OpenFlow, no
// store, no I/O. docs/protocol.md tells the same as prose with examples.
//
// # A session
//
// The agent calls host.register. A netmaster that is not the leader answers CodeNotLeader with the leader's address.
// The leader answers with what the host lost while it was away, then sends notifications: one state.snapshot in
// chunks, then state.change whenever something the host needs changes. The agent realises them in order and notifies
// state.ack. Calls of the agent (endpoint.create, ...) may be made at any time after register and are answered between
// the chunks of a snapshot.
//
// # Records and revisions
//
// What a host needs is a set of records, each with a kind, a key and a body. A Position is (store id, store revision).
// Records with an older revision than the one held are ignored, unless the message's position is not older than the
// one held, so that the answer of a call and the stream may arrive in any order. Records of an answer that the stream
// has not confirmed when it reaches the answer's position are undone.
//
// To resume on any leader, the agent sends with register its position and one digest for each of Buckets buckets of
// its records (Digest). The leader sends, as a snapshot, whole buckets whose digest differs, in most cases none. With
// another store id or a smaller store revision it sends all.
//
// # Versions
//
// Peers interwork across one minor version (Version). Unknown JSON members are ignored; an unknown record kind, or a
// record whose body does not decode, is kept unrealised: the agent names it in Ack.NotRealised, and forwards nothing
// for the networks that the record guards (Record.Guards).
package protocol

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Version of the protocol, "major.minor". A peer of another major or more than one minor apart is refused.
const Version = "1.1"

// Port is the default TCP port of netmaster for agents.
const Port = 9001

// Limits of one message; a reader drops the connection when a peer exceeds MaxMessageBytes.
const (
	MaxChunkBytes   = 256 << 10 // snapshot chunks and changes
	MaxMessageBytes = 4 << 20
)

// Methods the agent calls (C) or notifies (N).
const (
	MethodRegister       = "host.register"    // C RegisterRequest -> RegisterReply
	MethodPing           = "host.ping"        // C {} -> {}; every PingInterval
	MethodCreateEndpoint = "endpoint.create"  // C CreateEndpointRequest -> CreateEndpointReply
	MethodSettleEndpoint = "endpoint.settle"  // C SettleRequest -> SettleReply
	MethodDeleteEndpoint = "endpoint.delete"  // C DeleteEndpointRequest -> {}; unknown endpoint is no error
	MethodReserveAddress = "address.reserve"  // C ReserveAddressRequest -> ReserveAddressReply
	MethodReleaseAddress = "address.release"  // C ReleaseAddressRequest -> {}; unknown token is no error
	MethodCreateNetwork  = "network.create"   // C CreateNetworkRequest -> CreateNetworkReply
	MethodDeleteNetwork  = "network.delete"   // C DeleteNetworkRequest -> {}; unknown network is no error
	MethodProviderEvent  = "provider.event"   // C ProviderEvent -> {}
	MethodAck            = "state.ack"        // N Ack
	MethodStatistics     = "state.statistics" // N Statistics
)

// Methods netmaster notifies.
const (
	MethodSnapshot = "state.snapshot" // N Snapshot
	MethodChange   = "state.change"   // N Change
)

// PingInterval is how often an agent calls host.ping; either side drops a connection that was silent for PingTimeout.
const (
	PingInterval = 3 * time.Second
	PingTimeout  = 10 * time.Second
)

// Position is a place in the history of one store.
type Position struct {
	Store    string `json:"store"`
	Revision int64  `json:"revision"`
}

// EndpointID identifies an endpoint: one interface of one container on one host. The parts hold no slash.
type EndpointID struct {
	Host        string `json:"host"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// String is "host/containerID/ifName", also the key of an endpoint record.
func (id EndpointID) String() string { return id.Host + "/" + id.ContainerID + "/" + id.IfName }

// RegisterRequest announces a host. With TLS the host's name must be that of the client certificate.
type RegisterRequest struct {
	Host    string `json:"host"`
	Version string `json:"version"` // of this protocol
	Build   string `json:"build"`   // of the binary, for people
	// Instance is made up anew by each process of the agent: with the same instance a registration replaces the host's
	// present session, which is then the broken one of before; with another it is refused while that one lives.
	Instance  string     `json:"instance,omitempty"`
	VTEP      netip.Addr `json:"vtep,omitzero"`
	VTEP6     netip.Addr `json:"vtep6,omitzero"`
	VXLANPort int        `json:"vxlanPort,omitempty"`
	Uplinks   []string   `json:"uplinks,omitempty"`
	MTU       int        `json:"mtu"` // of the underlay
	Datapath  string     `json:"datapath"`
	// REST is where the agent's REST server answers, as a URL: "http://127.0.0.1:9090". Without a host, or with an
	// unspecified address, it is at every address of the host; empty: nowhere.
	REST string `json:"rest,omitempty"`
	// Catalog asks for every network and group record, not only those with endpoints on this host (docker mode).
	Catalog bool `json:"catalog,omitempty"`
	// Attachments is everything plugged in on the host now.
	Attachments []Attachment `json:"attachments"`
	// Removed are endpoints that were deleted on the host while no netmaster could be told.
	Removed []EndpointID `json:"removed,omitempty"`
	// Position and Digests say what the agent still holds; nil Digests: nothing.
	Position Position `json:"position"`
	Digests  []uint64 `json:"digests,omitempty"` // Buckets of them
}

// Attachment is an endpoint that is plugged in on a host, as the host remembers it.
type Attachment struct {
	ID      EndpointID `json:"id"`
	Tenant  string     `json:"tenant"`
	Network string     `json:"network"`
	Groups  []string   `json:"groups,omitempty"`
	IPv4    netip.Addr `json:"ipv4"`
	IPv6    netip.Addr `json:"ipv6,omitzero"`
	MAC     string     `json:"mac"`
}

// RegisterReply precedes the snapshot.
type RegisterReply struct {
	Version string `json:"version"`
	Build   string `json:"build"`
	// Masters are the addresses (host:port) of all netmasters, to try when this one is gone.
	Masters []string `json:"masters"`
	// Lost are attachments of the request that are no longer the host's: it removes them before it forwards for them.
	Lost []EndpointID `json:"lost,omitempty"`
}

// Snapshot is one chunk of whole buckets. After the chunk with Last, the host's records in the Buckets of all chunks
// of this snapshot are exactly those sent, except for records newer than Position.
type Snapshot struct {
	Position Position `json:"position"`
	Buckets  []int    `json:"buckets"` // all that the snapshot replaces, repeated in every chunk
	Records  []Record `json:"records"`
	Last     bool     `json:"last"`
}

// Change carries the newest form of records that changed up to Position. A change of one revision is never split over
// messages unless it is over MaxChunkBytes; then only the last of them carries its revision as Position.
type Change struct {
	Position Position `json:"position"`
	Records  []Record `json:"records"`
	// Requests are the ids of requests that led to the change, as far as they are known, for the agent's log. A snapshot
	// names none.
	Requests []string `json:"requests,omitempty"`
}

// Ack says that everything up to Position is realised in the datapath, except what NotRealised names.
type Ack struct {
	Position    Position      `json:"position"`
	NotRealised []NotRealised `json:"notRealised,omitempty"`
}

// NotRealised names a record that the host could not or would not realise.
type NotRealised struct {
	Kind   Kind   `json:"kind"`
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// Statistics are kept in memory by netmaster and shown by inspect.
type Statistics struct {
	Endpoints []EndpointCounters `json:"endpoints,omitempty"`
	Rules     []RuleCounters     `json:"rules,omitempty"`    // that were hit
	Services  []ServiceCounters  `json:"services,omitempty"` // of clients on this host
	Drops     []DropCounter      `json:"drops,omitempty"`
}

// RuleCounters are what a rule decided on this host since its flows were made. A packet between two hosts counts on both.
type RuleCounters struct {
	Key     string `json:"key"` // of the rule's record
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// ServiceCounters are what a client on this host and a provider of a service said to each other.
type ServiceCounters struct {
	Service  string     `json:"service"` // key of its record
	Client   netip.Addr `json:"client"`
	Provider netip.Addr `json:"provider"`
	// In and Out as the client sees them.
	PacketsIn  uint64 `json:"packetsIn"`
	BytesIn    uint64 `json:"bytesIn"`
	PacketsOut uint64 `json:"packetsOut"`
	BytesOut   uint64 `json:"bytesOut"`
}

// DropCounter is how many packets a host dropped for a reason: "spoof", "policy", "blocked", "no service", "invalid", ...
type DropCounter struct {
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// EndpointCounters are totals since the port was made, seen from the container.
type EndpointCounters struct {
	ID        EndpointID `json:"id"`
	RxPackets uint64     `json:"rxPackets"`
	RxBytes   uint64     `json:"rxBytes"`
	TxPackets uint64     `json:"txPackets"`
	TxBytes   uint64     `json:"txBytes"`
}

// DefaultGroup is the group that netmaster gives to an endpoint that names none, in fabric mode aci.
const DefaultGroup = "default-group"

// CreateEndpointRequest allocates and records an endpoint in one step. Repeating it for the same ID answers the same
// endpoint, and is refused (CodeConflict) when tenant, network, group or a requested address differ from the recorded ones.
type CreateEndpointRequest struct {
	ID      EndpointID `json:"id"`
	Tenant  string     `json:"tenant"`
	Network string     `json:"network,omitempty"` // may be empty if Groups is not: then the groups' network
	Groups  []string   `json:"groups,omitempty"`
	// IPv4, IPv6: requested addresses, refused if taken or not in the pool. Token: from address.reserve of that address.
	IPv4          netip.Addr        `json:"ipv4,omitzero"`
	IPv6          netip.Addr        `json:"ipv6,omitzero"`
	Token         string            `json:"token,omitempty"`
	Token6        string            `json:"token6,omitempty"`
	MAC           string            `json:"mac,omitempty"` // requested; else derived from the IPv4 address
	ContainerName string            `json:"containerName,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	RuntimeID     string            `json:"runtimeID,omitempty"`
}

// CreateEndpointReply carries all that the host needs to plug the endpoint in.
type CreateEndpointReply struct {
	Position Position `json:"position"`
	// Records are the endpoint, its network, its groups and the global record.
	Records []Record `json:"records"`
}

// SettleRequest waits until the hosts that can meet the endpoint have acknowledged it.
type SettleRequest struct {
	ID       EndpointID `json:"id"`
	Revision int64      `json:"revision"`
	Wait     Duration   `json:"wait"` // at most this long, capped at 1 s
}

// SettleReply names the hosts that did not acknowledge in time.
type SettleReply struct {
	Missing []string `json:"missing,omitempty"`
}

// DeleteEndpointRequest releases an endpoint and its addresses.
type DeleteEndpointRequest struct {
	ID EndpointID `json:"id"`
}

// ReserveAddressRequest takes an address for an endpoint that does not exist yet. The reservation ends after 60 s
// unless an endpoint uses its token.
type ReserveAddressRequest struct {
	Tenant  string     `json:"tenant"`
	Network string     `json:"network,omitempty"`
	Group   string     `json:"group,omitempty"` // its pool, if it has one
	Addr    netip.Addr `json:"addr,omitzero"`   // wanted; else the lowest free
	IPv6    bool       `json:"ipv6,omitempty"`
}

// ReserveAddressReply is a reserved address.
type ReserveAddressReply struct {
	Addr  netip.Addr `json:"addr"`
	Bits  int        `json:"bits"` // prefix length of the subnet
	Token string     `json:"token"`
}

// ReleaseAddressRequest gives up a reservation that no endpoint used.
type ReleaseAddressRequest struct {
	Token string `json:"token"`
}

// CreateNetworkRequest makes a network for a docker network that a user created with only a subnet. Repeating it
// answers the same network.
type CreateNetworkRequest struct {
	Host            string `json:"host"`
	DockerNetworkID string `json:"dockerNetworkID"`
	Tenant          string `json:"tenant"`
	Network         string `json:"network"`
	Encap           string `json:"encap,omitempty"` // default vxlan
	PktTag          int    `json:"pktTag,omitempty"`
	Subnet          string `json:"subnet"`
	Gateway         string `json:"gateway,omitempty"`
	IPv6Subnet      string `json:"ipv6Subnet,omitempty"`
	IPv6Gateway     string `json:"ipv6Gateway,omitempty"`
}

// CreateNetworkReply is the network as made.
type CreateNetworkReply struct {
	Position Position `json:"position"`
	Records  []Record `json:"records"` // the network
}

// DeleteNetworkRequest removes a network that CreateNetwork made for this docker network; any other is left alone.
type DeleteNetworkRequest struct {
	Host            string `json:"host"`
	DockerNetworkID string `json:"dockerNetworkID"`
}

// ProviderEvent tells the name and labels of a started container, or that it died.
type ProviderEvent struct {
	Event         string            `json:"event"` // "start" or "die"
	ID            EndpointID        `json:"id"`
	ContainerName string            `json:"containerName,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	// RuntimeID is the container's id as its engine's own tools show it, if it is not that of ID.
	RuntimeID string `json:"runtimeID,omitempty"`
}

// Record is one piece of desired state. Body decodes by Kind; nil Body: the record is gone.
type Record struct {
	Kind     Kind            `json:"kind"`
	Key      string          `json:"key"`
	Revision int64           `json:"revision"`
	Body     json.RawMessage `json:"body,omitempty"`
	// Guards are keys of network records for which a host that does not understand this record forwards nothing. A
	// netmaster sets it on records that restrict traffic, so that an older host never lets more through.
	Guards []string `json:"guards,omitempty"`
}
