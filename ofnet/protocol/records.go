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
	KindRule     Kind = "rule"     // Rule, key "tenant:policy:rule", or that of a default (DefaultRuleKey)
	KindService  Kind = "service"  // Service, key "tenant:service"
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
	ActionAllow    = "allow"
	ActionDeny     = "deny"
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
	// What the group's netprofile says. RateKbps limits what each member sends, in kbit/s (1 000 bits), BurstKbit is
	// the bucket's size in kbit; 0: no limit, or the default burst. DSCP marks what members send; 0 leaves it.
	// A member of several groups gets the smallest rate, and the DSCP of the first by name that has one.
	RateKbps  uint32 `json:"rateKbps,omitempty"`
	BurstKbit uint32 `json:"burstKbit,omitempty"`
	DSCP      uint8  `json:"dscp,omitempty"` // 0..63
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

// Rule is one rule of a policy, normalised: however many groups have the policy, it is one record. It is about the first
// packet of a connection; replies follow their connection. Of the rules that match, the one with the largest Priority
// decides, and among those a deny; what no rule matches is allowed.
type Rule struct {
	Tenant string `json:"tenant"`
	// Policy and Name are the user's; a group's default has no policy and the group as name.
	Policy string `json:"policy,omitempty"`
	Name   string `json:"name"`
	// ID tells the rule from every other rule of the cluster, as long as the rule exists; never 0.
	ID       uint32 `json:"id"`
	Priority uint8  `json:"priority"` // 1..100; 0: a default
	Action   string `json:"action"`   // ActionAllow or ActionDeny
	// Direction is the user's, for people: "in" or "out". Src and Dst say it all.
	Direction string `json:"direction,omitempty"`
	Src       Peer   `json:"src"`
	Dst       Peer   `json:"dst"`
	// Protocols are IP protocol numbers, sorted; none: any. "icmp" of a rule is 1 and 58.
	Protocols Protocols `json:"protocols,omitempty"`
	// PortFirst..PortLast are destination ports, of protocols 6, 17 and 132 only; 0..0: any.
	PortFirst uint16 `json:"portFirst,omitempty"`
	PortLast  uint16 `json:"portLast,omitempty"`
	// ICMPType and ICMPCode: of protocols 1 and 58 only; nil: any. A code comes with a type.
	ICMPType *uint8 `json:"icmpType,omitempty"`
	ICMPCode *uint8 `json:"icmpCode,omitempty"`
}

// Protocols are IP protocol numbers, in JSON an array of numbers.
type Protocols []uint8

// MarshalJSON writes numbers, not the text that JSON makes of bytes otherwise.
func (p Protocols) MarshalJSON() ([]byte, error) {
	numbers := make([]uint16, len(p))
	for i, number := range p {
		numbers[i] = uint16(number)
	}
	return json.Marshal(numbers)
}

// Peer is one side of a rule. A packet matches if its identity does and its address does.
type Peer struct {
	// Any: the identity does not matter; else it is one of Identities, and without Identities nothing matches.
	Any        bool     `json:"any,omitempty"`
	Identities []uint16 `json:"identities,omitempty"` // sorted, never 0
	// Prefixes: the address is in one of them; none: any address. Masked and sorted.
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
}

// DefaultRuleKey is the key of the rule that denies what no other rule of a group allows: direction "in" or "out".
func DefaultRuleKey(tenant, group, direction string) string {
	return tenant + "::" + group + ":" + direction
}

// Service is a virtual address whose ports are served by providers.
type Service struct {
	Tenant  string     `json:"tenant"`
	Name    string     `json:"name"`
	Network string     `json:"network"` // that the virtual addresses are of
	VRF     uint16     `json:"vrf"`
	ID      uint16     `json:"id"` // never 0
	VIP     netip.Addr `json:"vip"`
	VIP6    netip.Addr `json:"vip6,omitzero"`
	// Affinity is for how many seconds a client stays with a provider after its last new connection; 0: not at all.
	Affinity  int           `json:"affinity,omitempty"`
	Ports     []ServicePort `json:"ports"`
	Providers []Provider    `json:"providers,omitempty"` // sorted by address
}

// Key is "tenant:service".
func (s *Service) Key() string { return s.Tenant + ":" + s.Name }

// ServicePort is a port of a service.
type ServicePort struct {
	Protocol     uint8  `json:"protocol"` // 6, 17 or 132
	Port         uint16 `json:"port"`
	ProviderPort uint16 `json:"providerPort"`
}

// Provider is an endpoint that serves. One in another network than the service can be reached only in routing mode.
type Provider struct {
	Network string     `json:"network"`
	IPv4    netip.Addr `json:"ipv4,omitzero"`
	IPv6    netip.Addr `json:"ipv6,omitzero"`
	MAC     string     `json:"mac"`
}

// Body is a decoded record body: *Global, *Network, *Group, *Endpoint, *Host, *Rule or *Service.
type Body interface{ kind() Kind }

func (*Global) kind() Kind   { return KindGlobal }
func (*Network) kind() Kind  { return KindNetwork }
func (*Group) kind() Kind    { return KindGroup }
func (*Endpoint) kind() Kind { return KindEndpoint }
func (*Host) kind() Kind     { return KindHost }
func (*Rule) kind() Kind     { return KindRule }
func (*Service) kind() Kind  { return KindService }

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
	case KindRule:
		body = new(Rule)
	case KindService:
		body = new(Service)
	default:
		return nil, &UnknownKindError{r.Kind}
	}
	if err := json.Unmarshal(r.Body, body); err != nil {
		return nil, fmt.Errorf("decoding %s %q: %w", r.Kind, r.Key, err)
	}
	return body, nil
}
