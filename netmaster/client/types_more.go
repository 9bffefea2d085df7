package client

import "github.com/contiv/contiv/state"

// NoOper stands for the figures of objects that have none; it is always nil.
type NoOper = *struct{}

// Policy is a policy with its rules and the groups that have it.
type Policy struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Policy
	LinkSets PolicyLinkSets `json:"link-sets"`
	Links    TenantLinks    `json:"links"`
}

// PolicyLinkSets are the groups and rules of a policy.
type PolicyLinkSets struct {
	EndpointGroups LinkSet `json:"EndpointGroups,omitempty"`
	Rules          LinkSet `json:"Rules,omitempty"`
}

// TenantLinks are the links of objects that belong to a tenant and to nothing else.
type TenantLinks struct {
	Tenant Link `json:"Tenant"`
}

// PolicyOper are the figures of a policy: the endpoints of the groups that have it.
type PolicyOper struct {
	Drops        *Traffic       `json:"drops,omitempty"` // those of Hits that were denied
	Endpoints    []EndpointOper `json:"endpoints,omitempty"`
	Hits         *Traffic       `json:"hits,omitempty"` // what its rules decided
	NumEndpoints int            `json:"numEndpoints,omitempty"`
	Realised     *Realised      `json:"realised,omitempty"`
}

// Rule is a rule with its policy and the group that it names as peer.
type Rule struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Rule
	LinkSets RuleLinkSets `json:"link-sets"`
	Links    RuleLinks    `json:"links"`
}

// RuleLinkSets hold the policy of a rule.
type RuleLinkSets struct {
	Policies LinkSet `json:"Policies,omitempty"`
}

// RuleLinks hold the group that a rule names as peer.
type RuleLinks struct {
	MatchEndpointGroup Link `json:"MatchEndpointGroup"`
}

// Netprofile is a network profile with the groups that have it.
type Netprofile struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Netprofile
	LinkSets GroupLinkSets `json:"link-sets"`
	Links    TenantLinks   `json:"links"`
}

// GroupLinkSets are the link sets of objects that groups use.
type GroupLinkSets struct {
	EndpointGroups LinkSet `json:"EndpointGroups,omitempty"`
}

// ServiceLB is a service with its network. It has no link sets.
type ServiceLB struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.ServiceLB
	Links ServiceLBLinks `json:"links"`
}

// ServiceLBLinks are the objects a service belongs to.
type ServiceLBLinks struct {
	Network Link `json:"Network"`
	Tenant  Link `json:"Tenant"`
}

// ServiceLBOper are the figures of a service. ServiceName of its providers is the service's, not that of a group.
type ServiceLBOper struct {
	Hits         *ServiceTraffic `json:"hits,omitempty"`
	NumProviders int             `json:"numProviders,omitempty"`
	Providers    []EndpointOper  `json:"providers,omitempty"`
	Realised     *Realised       `json:"realised,omitempty"`
	ServiceVip   string          `json:"serviceVip,omitempty"`
	ServiceVip6  string          `json:"serviceVip6,omitempty"`
}

// Bgp is the BGP speaker of a host. It has no links.
type Bgp struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.Bgp
}

// BgpOper is how the speaker stands, as the host's agent says. The states are "unknown" if it cannot be asked.
type BgpOper struct {
	AdminStatus    string   `json:"adminStatus,omitempty"`
	NeighborStatus string   `json:"neighborStatus,omitempty"`
	NumRoutes      int      `json:"numRoutes,omitempty"`
	Routes         []string `json:"routes,omitempty"`
	// Problem says why the host's agent could not be asked, or that it runs no speaker.
	Problem string `json:"problem,omitempty"`
}

// AciGw is the one object of settings for ACI. It has no links.
type AciGw struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.AciGw
}

// AciGwOper are the figures of ACI.
type AciGwOper struct {
	NumAppProfiles int `json:"numAppProfiles,omitempty"`
	// Profiles tells how far the gateway is with each application profile; only the leader knows, in fabric mode aci.
	Profiles []AciProfile `json:"profiles,omitempty"`
}

// AciProfile is how far the ACI gateway is with an application profile: "in step" with the store, "pending" or "failed".
type AciProfile struct {
	Key     string `json:"key"`
	State   string `json:"state"`
	Problem string `json:"problem,omitempty"` // why it failed
}

// AppProfile is an application profile with its groups.
type AppProfile struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.AppProfile
	LinkSets GroupLinkSets `json:"link-sets"`
	Links    TenantLinks   `json:"links"`
}

// ExtContractsGroup is contracts of ACI with the groups that have them. It has no links.
type ExtContractsGroup struct {
	ModelKey        string `json:"key,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	state.ExtContractsGroup
	LinkSets GroupLinkSets `json:"link-sets"`
}

// ServiceState is a service as GET /services shows it, with the names of the original's records.
type ServiceState struct {
	ID          string                   `json:"id"` // "service:tenant"
	ServiceName string                   `json:"servicename"`
	TenantName  string                   `json:"tenantname"`
	Network     string                   `json:"subnet"` // the network's name, in spite of its own
	Ports       []string                 `json:"ports"`
	Selectors   map[string]string        `json:"selectors"`
	IPAddress   string                   `json:"ipaddress"`
	Providers   map[string]ProviderState `json:"providers"` // by "address:tenant"
}

// ProviderState is a container that serves a service.
type ProviderState struct {
	IPAddress   string            `json:"IPAddress"`
	ContainerID string            `json:"ContainerID"`
	Labels      map[string]string `json:"Labels"`
	Tenant      string            `json:"Tenant"`
	Network     string            `json:"Network"`
	Services    []string          `json:"Services"`
	Container   string            `json:"Container"` // its name
	EpIDKey     string            `json:"EpIDKey"`   // "network.tenant-container"
}
