package client

import "github.com/contiv/contiv/state"

// Link points to another object.
type Link struct {
	Type string `json:"type,omitempty"`
	Key  string `json:"key,omitempty"`
}

// LinkSet is links by the model key of what they point to.
type LinkSet map[string]Link

// Tenant is a tenant with the objects in it.
type Tenant struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Tenant
	LinkSets TenantLinkSets `json:"link-sets"`
}

// TenantLinkSets are the objects of a tenant by type.
type TenantLinkSets struct {
	AppProfiles    LinkSet `json:"AppProfiles,omitempty"`
	EndpointGroups LinkSet `json:"EndpointGroups,omitempty"`
	NetProfiles    LinkSet `json:"NetProfiles,omitempty"`
	Networks       LinkSet `json:"Networks,omitempty"`
	Policies       LinkSet `json:"Policies,omitempty"`
	Servicelbs     LinkSet `json:"Servicelbs,omitempty"`
	VolumeProfiles LinkSet `json:"VolumeProfiles,omitempty"`
	Volumes        LinkSet `json:"Volumes,omitempty"`
}

// TenantOper are the figures of a tenant. Its lists are sorted by the keys of what they are about, as in the link sets.
type TenantOper struct {
	EndpointGroups   []EndpointGroupOper `json:"endpointGroups,omitempty"`
	Endpoints        []EndpointOper      `json:"endpoints,omitempty"`
	Networks         []NetworkOper       `json:"networks,omitempty"`
	Policies         []PolicyOper        `json:"policies,omitempty"`
	Servicelbs       []ServiceLBOper     `json:"servicelbs,omitempty"`
	TotalAppProfiles int                 `json:"totalAppProfiles,omitempty"`
	TotalEPGs        int                 `json:"totalEPGs,omitempty"`
	TotalEndpoints   int                 `json:"totalEndpoints,omitempty"`
	TotalNetprofiles int                 `json:"totalNetprofiles,omitempty"`
	TotalNetworks    int                 `json:"totalNetworks,omitempty"`
	TotalPolicies    int                 `json:"totalPolicies,omitempty"`
	TotalServicelbs  int                 `json:"totalServicelbs,omitempty"`
}

// Network is a network with its tenant and groups.
type Network struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Network
	LinkSets NetworkLinkSets `json:"link-sets"`
	Links    NetworkLinks    `json:"links"`
}

// NetworkLinkSets are the objects that use a network.
type NetworkLinkSets struct {
	EndpointGroups LinkSet `json:"EndpointGroups,omitempty"`
	Servicelbs     LinkSet `json:"Servicelbs,omitempty"`
	Services       LinkSet `json:"Services,omitempty"`
}

// NetworkLinks are the objects a network belongs to.
type NetworkLinks struct {
	Tenant Link `json:"Tenant"`
}

// NetworkOper are the figures of a network. PktTag is the VLAN, or for vxlan the VNI, and ExternalPktTag the VNI.
type NetworkOper struct {
	AllocatedAddressesCount int            `json:"allocatedAddressesCount,omitempty"`
	AllocatedIPAddresses    string         `json:"allocatedIPAddresses,omitempty"`
	AvailableIPAddresses    string         `json:"availableIPAddresses,omitempty"`
	Endpoints               []EndpointOper `json:"endpoints,omitempty"`
	ExternalPktTag          int            `json:"externalPktTag,omitempty"`
	NetworkTag              string         `json:"networkTag,omitempty"`
	NumEndpoints            int            `json:"numEndpoints,omitempty"`
	PktTag                  int            `json:"pktTag,omitempty"`
	// RestingIPAddresses were released just now and are given only when nothing else is free; they are available ones.
	RestingIPAddresses string `json:"restingIPAddresses,omitempty"`
}

// EndpointGroup is a group with what it uses and belongs to.
type EndpointGroup struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.EndpointGroup
	LinkSets EndpointGroupLinkSets `json:"link-sets"`
	Links    EndpointGroupLinks    `json:"links"`
}

// EndpointGroupLinkSets are the policies and contracts of a group and the rules that name it.
type EndpointGroupLinkSets struct {
	ExtContractsGrps LinkSet `json:"ExtContractsGrps,omitempty"`
	MatchRules       LinkSet `json:"MatchRules,omitempty"`
	Policies         LinkSet `json:"Policies,omitempty"`
	Services         LinkSet `json:"Services,omitempty"`
}

// EndpointGroupLinks are the objects a group belongs to.
type EndpointGroupLinks struct {
	AppProfile Link `json:"AppProfile"`
	NetProfile Link `json:"NetProfile"`
	Network    Link `json:"Network"`
	Tenant     Link `json:"Tenant"`
}

// EndpointGroupOper are the figures of a group. The address texts are those of its own pool, empty without one.
type EndpointGroupOper struct {
	AllocatedIPAddresses string         `json:"allocatedIPAddresses,omitempty"`
	AvailableIPAddresses string         `json:"availableIPAddresses,omitempty"`
	Endpoints            []EndpointOper `json:"endpoints,omitempty"`
	ExternalPktTag       int            `json:"externalPktTag,omitempty"`
	// Drops are what its default denied.
	Drops        *Traffic  `json:"drops,omitempty"`
	GroupTag     string    `json:"groupTag,omitempty"`
	NumEndpoints int       `json:"numEndpoints,omitempty"`
	PktTag       int       `json:"pktTag,omitempty"`
	Realised     *Realised `json:"realised,omitempty"` // of the group, its policies and its default
}

// Global is the one object of cluster-wide settings. It has no links.
type Global struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Global
}

// GlobalOper are the figures of the cluster.
type GlobalOper struct {
	ClusterMode     string `json:"clusterMode,omitempty"`
	FreeVXLANsStart int    `json:"freeVXLANsStart,omitempty"`
	NumNetworks     int    `json:"numNetworks,omitempty"` // VLANs and VXLANs in use
	VlansInUse      string `json:"vlansInUse,omitempty"`  // "1, 10-11, 300"
	VxlansInUse     string `json:"vxlansInUse,omitempty"`
	// QuarantinedIDs are numbers that were released and that some host may still use, by pool: vlan, vni, vrf (tenants),
	// network, group, identity, service. They are given again when every host has acknowledged that they are gone.
	QuarantinedIDs map[string]string `json:"quarantinedIDs,omitempty"`
}

// EndpointOper is one endpoint. IPAddress has always two entries: IPv4, then IPv6 or an empty string.
type EndpointOper struct {
	ContainerID      string             `json:"containerID,omitempty"`
	ContainerName    string             `json:"containerName,omitempty"`
	EndpointGroupID  int                `json:"endpointGroupId,omitempty"`
	EndpointGroupKey string             `json:"endpointGroupKey,omitempty"` // "group:tenant"
	EndpointID       string             `json:"endpointID,omitempty"`
	Hits             *EndpointTraffic   `json:"hits,omitempty"` // in the inspection of the endpoint itself only
	HomingHost       string             `json:"homingHost,omitempty"`
	HostDrops        map[string]Traffic `json:"hostDrops,omitempty"` // what its host dropped, of all its endpoints, by reason; likewise
	IntfName         string             `json:"intfName,omitempty"`
	IPAddress        []string           `json:"ipAddress,omitempty"`
	Labels           string             `json:"labels,omitempty"` // "map[k:v]"
	MacAddress       string             `json:"macAddress,omitempty"`
	Network          string             `json:"network,omitempty"` // "network.tenant"
	ServiceName      string             `json:"serviceName,omitempty"`
	VirtualPort      string             `json:"virtualPort,omitempty"` // in the inspection of the endpoint itself only
	VtepIP           string             `json:"vtepIP,omitempty"`
}

// Inspection is an object with its figures, if objects of the type have any (NoOper: they have none).
type Inspection[T, O any] struct {
	Config T `json:"Config"`
	Oper   O `json:"Oper,omitempty"` // left out for NoOper only
}

// EndpointInspection is an endpoint, which has no configuration of its own.
type EndpointInspection struct {
	Oper EndpointOper `json:"Oper"`
}

// Version says which build a program is.
type Version struct {
	GitCommit string `json:"GitCommit"`
	Version   string `json:"Version"` // begins with x.y.z
	BuildTime string `json:"BuildTime"`
}

// Info says how the control plane stands.
type Info struct {
	LocalIP        string   `json:"local-ip"`
	LeaderIP       string   `json:"leader-ip"`     // host:port, empty while nobody leads
	CurrentState   string   `json:"current-state"` // "leader" or "follower"
	NetpluginNodes []string `json:"netplugin-nodes"`
	NetmasterNodes []string `json:"netmaster-nodes"`
	// Hosts are all that registered and are not given up, by name.
	Hosts []HostInfo `json:"hosts,omitempty"`
	// Warnings are what an operator should know, in words.
	Warnings []string `json:"warnings,omitempty"`
}

// HostInfo is a host and how far its agent is. Only the leader knows the latter.
type HostInfo struct {
	Host      string `json:"host"`
	VTEP      string `json:"vtep,omitempty"`
	MTU       int    `json:"mtu,omitempty"` // of the underlay
	Connected bool   `json:"connected,omitempty"`
	// Desired is the store revision that the host shall have realised, Acknowledged the one that it says it has.
	Desired      int64 `json:"desired,omitempty"`
	Acknowledged int64 `json:"acknowledged,omitempty"`
	// NotRealised counts what it could not realise; its own /inspect/driver names that.
	NotRealised int `json:"notRealised,omitempty"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is the JSON form of an error (RFC 9457), given to clients that accept JSON.
type Problem struct {
	Type     string `json:"type,omitempty"`
	Title    string `json:"title"` // the text of the status code
	Status   int    `json:"status"`
	Detail   string `json:"detail"`             // the message, the same as in the plain text form
	Instance string `json:"instance,omitempty"` // the request's id
}
