package state

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Prefixes of runtime records.
const (
	TenantStatePrefix  = "state/tenants/"
	NetworkStatePrefix = "state/nets/"
	GroupStatePrefix   = "state/endpointGroups/"
	EndpointPrefix     = "state/eps/"
	HostPrefix         = "state/hosts/"
	AllocationPrefix   = "alloc/"
)

// TenantState is what netmaster decided for a tenant.
type TenantState struct {
	TenantName string `json:"tenantName"`
	VRF        int    `json:"vrf"` // 1..4095, pool PoolVRF
	Extra      `json:"-"`
}

// StoreKey implements Record.
func (t *TenantState) StoreKey() string { return TenantStatePrefix + t.TenantName }

// NetworkState is what netmaster decided for a network.
type NetworkState struct {
	TenantName  string `json:"tenantName"`
	NetworkName string `json:"networkName"`
	ID          int    `json:"id"`             // 1..65535, pool PoolNetwork; the bridge domain in registers
	VLAN        int    `json:"vlan,omitempty"` // encap vlan: pool PoolVLAN
	VNI         int    `json:"vni,omitempty"`  // encap vxlan: pool PoolVNI
	// Docker is set on a network that a user made with "docker network create" and that goes with it.
	Docker *DockerOwner `json:"docker,omitempty"`
	Extra  `json:"-"`
}

// DockerOwner names the docker network that a Contiv network was made for.
type DockerOwner struct {
	Host      string `json:"host"`
	NetworkID string `json:"networkID"`
}

// StoreKey implements Record.
func (n *NetworkState) StoreKey() string {
	return NetworkStatePrefix + ModelKey(n.TenantName, n.NetworkName)
}

// GroupState is what netmaster decided for an endpoint group.
type GroupState struct {
	TenantName string `json:"tenantName"`
	GroupName  string `json:"groupName"`
	ID         int    `json:"id"`       // 1..65535, pool PoolGroup
	Identity   int    `json:"identity"` // 1..65535, pool PoolIdentity: the set that holds this group alone
	// VLAN is the group's own in fabric mode aci, pool PoolVLAN; 0 in other modes: that of its network counts.
	VLAN  int `json:"vlan,omitempty"`
	Extra `json:"-"`
}

// StoreKey implements Record.
func (g *GroupState) StoreKey() string { return GroupStatePrefix + ModelKey(g.TenantName, g.GroupName) }

// EndpointID identifies an endpoint: one interface of one container on one host.
type EndpointID struct {
	Host        string `json:"host"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// String is "host/containerID/ifName"; the parts hold no slash.
func (id EndpointID) String() string { return id.Host + "/" + id.ContainerID + "/" + id.IfName }

// Endpoint is an attached interface. Creating the same EndpointID again answers the same record.
type Endpoint struct {
	EndpointID
	TenantName    string            `json:"tenantName"`
	NetworkName   string            `json:"networkName"`
	Groups        []string          `json:"groups,omitempty"`   // names in the tenant, sorted
	Identity      int               `json:"identity,omitempty"` // of that set; 0 without groups
	IPv4          netip.Addr        `json:"ipv4"`
	IPv6          netip.Addr        `json:"ipv6,omitzero"`
	MAC           string            `json:"mac"`
	ContainerName string            `json:"containerName,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	// RuntimeID is the id by which the orchestrator's own tools know the endpoint (docker's endpoint id).
	RuntimeID string `json:"runtimeID,omitempty"`
	// EngineID is the id of the container as its engine's tools show it, told when it started; empty where that is
	// ContainerID. Docker's drivers are told of endpoints before they are told of containers, and never of both.
	EngineID string    `json:"engineID,omitempty"`
	Created  time.Time `json:"created"`
	// Stopped is set while the container is known not to run: it serves nothing then.
	Stopped bool `json:"stopped,omitempty"`
	Extra   `json:"-"`
}

// StoreKey implements Record.
func (e *Endpoint) StoreKey() string { return EndpointPrefix + e.EndpointID.String() }

// Host is a machine whose agent registered at least once.
type Host struct {
	Name      string     `json:"name"`
	VTEP      netip.Addr `json:"vtep,omitzero"`
	VTEP6     netip.Addr `json:"vtep6,omitzero"`
	VXLANPort int        `json:"vxlanPort,omitempty"`
	Uplinks   []string   `json:"uplinks,omitempty"`
	MTU       int        `json:"mtu"` // of the underlay
	Datapath  string     `json:"datapath,omitempty"`
	Version   string     `json:"version,omitempty"`
	REST      string     `json:"rest,omitempty"` // URL of the agent's REST server, as it said
	// Registered is when the record last changed by a registration; registering again as before does not write it.
	Registered time.Time `json:"registered"`
	// MTUSince is since when the host counts with this MTU: interfaces that are older may be made for a larger one.
	MTUSince time.Time `json:"mtuSince,omitzero"`
	// SilentSince is when the host's agent was last heard of, set a while after it fell silent, zero while it talks.
	SilentSince time.Time `json:"silentSince,omitzero"`
	// Dead is set when the host was silent for --host-dead-after or by an operator: its endpoints are released.
	Dead  bool `json:"dead,omitempty"`
	Extra `json:"-"`
}

// StoreKey implements Record.
func (h *Host) StoreKey() string { return HostPrefix + h.Name }

// Pool names a space of numbers or addresses of which each has one owner.
type Pool string

// Pools of numbers. AddressPool gives those of addresses.
const (
	PoolVRF      Pool = "vrf"
	PoolNetwork  Pool = "network"
	PoolGroup    Pool = "group"
	PoolIdentity Pool = "identity"
	PoolVLAN     Pool = "vlan"
	PoolVNI      Pool = "vni"
)

// AddressPool is the pool of all addresses of a network, both families; group pools are ranges of it.
func AddressPool(networkKey string) Pool { return Pool(addressPools + networkKey) }

const addressPools = "addr/"

// IsAddresses reports whether the pool is of addresses, not numbers.
func (p Pool) IsAddresses() bool { return strings.HasPrefix(string(p), addressPools) }

// NetworkKey is the model key of the network whose addresses the pool holds, empty for a pool of numbers.
func (p Pool) NetworkKey() string {
	key, _ := strings.CutPrefix(string(p), addressPools)
	if !p.IsAddresses() {
		return ""
	}
	return key
}

// Allocation is one number or address of a pool in use or resting. There is at most one record per number: creating
// it only if absent is what makes an allocation exclusive.
type Allocation struct {
	Pool   Pool       `json:"-"`
	Number int        `json:"-"` // number pools
	Addr   netip.Addr `json:"-"` // address pools
	// Owner is the store key of the record that holds the number; empty while it rests or is reserved.
	Owner string `json:"owner,omitempty"`
	// Reserved is set while an address waits for its endpoint.
	Reserved *Reservation `json:"reserved,omitempty"`
	// Released is set while a number or address rests before it may be given again.
	Released *Release `json:"released,omitempty"`
	Extra    `json:"-"`
}

// Reservation holds an address for whoever presents the token, until it expires.
type Reservation struct {
	Token   string    `json:"token"`
	Host    string    `json:"host"`
	Expires time.Time `json:"expires"`
}

// Release says when and by whom a number was given up. An address is free again some time after At. Any other number
// is free when every host that is not dead has acknowledged the revision in which this record was written.
type Release struct {
	At    time.Time `json:"at"`
	Owner string    `json:"owner"` // who held it, for messages
}

// StoreKey implements Record.
func (a *Allocation) StoreKey() string {
	if a.Addr.IsValid() {
		return AllocationPrefix + string(a.Pool) + "/" + a.Addr.String()
	}
	return AllocationPrefix + string(a.Pool) + "/" + strconv.Itoa(a.Number)
}

// ParseAllocationKey fills pool and number of an allocation from its key.
func ParseAllocationKey(key string) (Allocation, error) {
	rest, ok := strings.CutPrefix(key, AllocationPrefix)
	slash := strings.LastIndexByte(rest, '/')
	if !ok || slash <= 0 {
		return Allocation{}, fmt.Errorf("%q is not the key of an allocation", key)
	}
	a := Allocation{Pool: Pool(rest[:slash])}
	last := rest[slash+1:]
	var err error
	if a.Pool.IsAddresses() {
		a.Addr, err = netip.ParseAddr(last)
	} else {
		a.Number, err = strconv.Atoi(last)
	}
	if err != nil {
		return Allocation{}, fmt.Errorf("key %q of an allocation: %w", key, err)
	}
	return a, nil
}
