package state

// Prefixes of further intent records.
const (
	PolicyPrefix            = "obj/modeldb/policy/"
	RulePrefix              = "obj/modeldb/rule/"
	NetprofilePrefix        = "obj/modeldb/netprofile/"
	ServiceLBPrefix         = "obj/modeldb/serviceLB/"
	BgpPrefix               = "obj/modeldb/Bgp/"
	AciGwPrefix             = "obj/modeldb/aciGw/"
	AppProfilePrefix        = "obj/modeldb/appProfile/"
	ExtContractsGroupPrefix = "obj/modeldb/extContractsGroup/"
)

// Words used by the records below.
const (
	DirectionIn  = "in"
	DirectionOut = "out"

	ActionAllow = "allow"
	ActionDeny  = "deny"

	DenyNone = "none"
	DenyBoth = "both"

	ContractsProvided = "provided"
	ContractsConsumed = "consumed"

	AciGwName = "aciGw"
)

// Policy is a named set of rules that groups refer to. DefaultDeny is as that of a group, for all groups that have the
// policy.
type Policy struct {
	DefaultDeny string `json:"defaultDeny,omitempty"`
	PolicyName  string `json:"policyName,omitempty"`
	TenantName  string `json:"tenantName,omitempty"`
	Extra       `json:"-"`
}

// Key is the model key.
func (p *Policy) Key() string { return ModelKey(p.TenantName, p.PolicyName) }

// StoreKey implements Record.
func (p *Policy) StoreKey() string { return PolicyPrefix + p.Key() }

// Rule says what traffic towards ("in") or from ("out") the members of the groups that have the policy is allowed or
// denied. Port is that of the server, or with PortEnd the first of several; 0 for any. The larger Priority wins, and at
// the same priority a deny.
type Rule struct {
	Action            string `json:"action,omitempty"`
	Direction         string `json:"direction,omitempty"`
	FromEndpointGroup string `json:"fromEndpointGroup,omitempty"`
	FromIPAddress     string `json:"fromIpAddress,omitempty"`
	FromNetwork       string `json:"fromNetwork,omitempty"`
	ICMPCode          *int   `json:"icmpCode,omitempty"` // nil: any
	ICMPType          *int   `json:"icmpType,omitempty"` // nil: any
	PolicyName        string `json:"policyName,omitempty"`
	Port              int    `json:"port,omitempty"`
	PortEnd           int    `json:"portEnd,omitempty"` // the last port; 0: Port alone
	Priority          int    `json:"priority,omitempty"`
	Protocol          string `json:"protocol,omitempty"`
	RuleID            string `json:"ruleId,omitempty"`
	TenantName        string `json:"tenantName,omitempty"`
	ToEndpointGroup   string `json:"toEndpointGroup,omitempty"`
	ToIPAddress       string `json:"toIpAddress,omitempty"`
	ToNetwork         string `json:"toNetwork,omitempty"`
	Extra             `json:"-"`
}

// Key is the model key, "tenant:policy:rule".
func (r *Rule) Key() string { return r.PolicyKey() + ":" + r.RuleID }

// PolicyKey is the model key of the rule's policy.
func (r *Rule) PolicyKey() string { return ModelKey(r.TenantName, r.PolicyName) }

// StoreKey implements Record.
func (r *Rule) StoreKey() string { return RulePrefix + r.Key() }

// Netprofile limits and marks the traffic of the groups that refer to it.
type Netprofile struct {
	DSCP        int    `json:"DSCP,omitempty"`
	Bandwidth   string `json:"bandwidth,omitempty"` // such as "10 Mbps"; empty: unlimited
	Burst       int    `json:"burst,omitempty"`     // kilobytes
	ProfileName string `json:"profileName,omitempty"`
	TenantName  string `json:"tenantName,omitempty"`
	Extra       `json:"-"`
}

// Key is the model key.
func (n *Netprofile) Key() string { return ModelKey(n.TenantName, n.ProfileName) }

// StoreKey implements Record.
func (n *Netprofile) StoreKey() string { return NetprofilePrefix + n.Key() }

// ServiceLB is a virtual address whose ports are served by the containers that its selectors choose.
type ServiceLB struct {
	Affinity    int      `json:"affinity,omitempty"`  // seconds that a client stays with a container; 0: not at all
	IPAddress   string   `json:"ipAddress,omitempty"` // wanted; empty: netmaster chooses
	NetworkName string   `json:"networkName,omitempty"`
	Ports       []string `json:"ports,omitempty"`     // "servicePort:providerPort:protocol"
	Selectors   []string `json:"selectors,omitempty"` // "key=value", all must match
	ServiceName string   `json:"serviceName,omitempty"`
	TenantName  string   `json:"tenantName,omitempty"`
	Extra       `json:"-"`
}

// Key is the model key.
func (s *ServiceLB) Key() string { return ModelKey(s.TenantName, s.ServiceName) }

// StoreKey implements Record.
func (s *ServiceLB) StoreKey() string { return ServiceLBPrefix + s.Key() }

// Bgp is the BGP speaker of one host.
type Bgp struct {
	AS         string `json:"as,omitempty"`
	Hostname   string `json:"hostname,omitempty"`
	Neighbor   string `json:"neighbor,omitempty"`
	NeighborAS string `json:"neighbor-as,omitempty"`
	RouterIP   string `json:"routerip,omitempty"` // with prefix length
	Extra      `json:"-"`
}

// Key is the model key, the host's name.
func (b *Bgp) Key() string { return b.Hostname }

// StoreKey implements Record.
func (b *Bgp) StoreKey() string { return BgpPrefix + b.Key() }

// AciGw is the one object of settings for Cisco ACI.
type AciGw struct {
	EnforcePolicies     string `json:"enforcePolicies,omitempty"`
	IncludeCommonTenant string `json:"includeCommonTenant,omitempty"`
	Name                string `json:"name,omitempty"`
	NodeBindings        string `json:"nodeBindings,omitempty"`
	PathBindings        string `json:"pathBindings,omitempty"`
	PhysicalDomain      string `json:"physicalDomain,omitempty"`
	Extra               `json:"-"`
}

// Key is the model key, always "aciGw".
func (a *AciGw) Key() string { return AciGwName }

// StoreKey implements Record.
func (a *AciGw) StoreKey() string { return AciGwPrefix + AciGwName }

// AppProfile is a set of groups that ACI sees as one application.
type AppProfile struct {
	AppProfileName string   `json:"appProfileName,omitempty"`
	EndpointGroups []string `json:"endpointGroups,omitempty"`
	TenantName     string   `json:"tenantName,omitempty"`
	Extra          `json:"-"`
}

// Key is the model key.
func (a *AppProfile) Key() string { return ModelKey(a.TenantName, a.AppProfileName) }

// StoreKey implements Record.
func (a *AppProfile) StoreKey() string { return AppProfilePrefix + a.Key() }

// ExtContractsGroup names contracts that exist in ACI and that groups provide or consume.
type ExtContractsGroup struct {
	Contracts          []string `json:"contracts,omitempty"`
	ContractsGroupName string   `json:"contractsGroupName,omitempty"`
	ContractsType      string   `json:"contractsType,omitempty"`
	TenantName         string   `json:"tenantName,omitempty"`
	Extra              `json:"-"`
}

// Key is the model key.
func (e *ExtContractsGroup) Key() string { return ModelKey(e.TenantName, e.ContractsGroupName) }

// StoreKey implements Record.
func (e *ExtContractsGroup) StoreKey() string { return ExtContractsGroupPrefix + e.Key() }
