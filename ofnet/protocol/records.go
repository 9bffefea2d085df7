package protocol

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Kind of a record.
type Kind string

// Kinds known to this version.
const (
	KindGlobal   Kind = "global"   // Global, key "global"
	KindNetwork  Kind = "network"  // Network, key "tenant:network"
	KindGroup    Kind = "group"    // Group, key "tenant:group"
	KindEndpoint Kind = "endpoint" // Endpoint, key EndpointID.String()
	KindHost     Kind = "host"     // Host, key its name
)

// Words used in records.
const (
	EncapVLAN      = "vlan"
	EncapVXLAN     = "vxlan"
	ForwardBridge  = "bridge"
	ForwardRouting = "routing"
	ARPProxy       = "proxy"
	ARPFlood       = "flood"
	NetworkInfra   = "infra"
)

// Global is what every host needs to know of the cluster-wide settings.
type Global struct {
	ForwardMode   string `json:"forwardMode"`
	ARPMode       string `json:"arpMode"`
	PrivateSubnet string `json:"privateSubnet"`
	// MTUs for new interfaces: the smallest registered underlay MTU less the encapsulation.
	MTUVXLAN int `json:"mtuVXLAN"`
	MTUVLAN  int `json:"mtuVLAN"`
}

// Network is a bridge domain (forward mode bridge) or a subnet of a VRF (routing).
type Network struct {
	Tenant   string       `json:"tenant"`
	Name     string       `json:"name"`
	Type     string       `json:"type"` // data or infra
	ID       uint16       `json:"id"`   // bridge domain, never 0
	VRF      uint16       `json:"vrf"`  // of the tenant, 1..4095
	Encap    string       `json:"encap"`
	VNI      uint32       `json:"vni,omitempty"`
	VLAN     uint16       `json:"vlan,omitempty"`
	Subnet   netip.Prefix `json:"subnet"` // masked
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
	Tag      string       `json:"tag"` // networkTag of inspect
	// DockerNetworkID, DockerHost: set when a docker network of a user owns it.
	DockerNetworkID string `json:"dockerNetworkID,omitempty"`
	DockerHost      string `json:"dockerHost,omitempty"`
}

// Key is "tenant:network".
func (n *Network) Key() string { return n.Tenant + ":" + n.Name }

// Group is an endpoint group.
type Group struct {
	Tenant  string `json:"tenant"`
	Name    string `json:"name"`
	Network string `json:"network"`
	ID      uint16 `json:"id"`
	Tag     string `json:"tag"` // groupTag of inspect
}

// Key is "tenant:group".
func (g *Group) Key() string { return g.Tenant + ":" + g.Name }

// Endpoint is an attached interface somewhere in the cluster.
type Endpoint struct {
	ID       EndpointID `json:"id"`
	Tenant   string     `json:"tenant"`
	Network  string     `json:"network"`
	Groups   []string   `json:"groups,omitempty"`
	Identity uint16     `json:"identity,omitempty"` // of the set of groups; 0 without groups
	IPv4     netip.Addr `json:"ipv4"`
	IPv6     netip.Addr `json:"ipv6,omitzero"`
	MAC      string     `json:"mac"`
	Name     string     `json:"name,omitempty"` // container name
}

// NetworkKey is the key of its network.
func (e *Endpoint) NetworkKey() string { return e.Tenant + ":" + e.Network }

// Host is where endpoints live.
type Host struct {
	Name      string     `json:"name"`
	VTEP      netip.Addr `json:"vtep,omitzero"`
	VTEP6     netip.Addr `json:"vtep6,omitzero"`
	VXLANPort int        `json:"vxlanPort,omitempty"`
}

// Body is a decoded record body: *Global, *Network, *Group, *Endpoint or *Host.
type Body interface{ kind() Kind }

func (*Global) kind() Kind   { return KindGlobal }
func (*Network) kind() Kind  { return KindNetwork }
func (*Group) kind() Kind    { return KindGroup }
func (*Endpoint) kind() Kind { return KindEndpoint }
func (*Host) kind() Kind     { return KindHost }

// NewRecord encodes a body. It fails only on programmer error.
func NewRecord(key string, revision int64, body Body) (Record, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return Record{}, fmt.Errorf("encoding %s %q: %w", body.kind(), key, err)
	}
	return Record{Kind: body.kind(), Key: key, Revision: revision, Body: data}, nil
}

// UnknownKindError reports a record of a newer peer.
type UnknownKindError struct{ Kind Kind }

func (e *UnknownKindError) Error() string { return fmt.Sprintf("unknown kind of record %q", e.Kind) }

// Decode reads a record's body. *UnknownKindError for a kind that this version does not know.
func (r Record) Decode() (Body, error) {
	var body Body
	switch r.Kind {
	case KindGlobal:
		body = new(Global)
	case KindNetwork:
		body = new(Network)
	case KindGroup:
		body = new(Group)
	case KindEndpoint:
		body = new(Endpoint)
	case KindHost:
		body = new(Host)
	default:
		return nil, &UnknownKindError{r.Kind}
	}
	if err := json.Unmarshal(r.Body, body); err != nil {
		return nil, fmt.Errorf("decoding %s %q: %w", r.Kind, r.Key, err)
	}
	return body, nil
}
