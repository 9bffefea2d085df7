package state

// Prefixes of intent records; the last part is the model key of REST URLs ("tenant:name").
const (
	TenantPrefix        = "obj/modeldb/tenant/"
	NetworkPrefix       = "obj/modeldb/network/"
	EndpointGroupPrefix = "obj/modeldb/endpointGroup/"
	GlobalPrefix        = "obj/modeldb/global/"
)

// Words used by intent fields.
const (
	EncapVLAN  = "vlan"
	EncapVXLAN = "vxlan"

	NetworkData  = "data"
	NetworkInfra = "infra"

	ForwardBridge  = "bridge"
	ForwardRouting = "routing"

	ARPProxy = "proxy"
	ARPFlood = "flood"

	GlobalName    = "global"
	DefaultTenant = "default"
)

// Tenant is a name space of networks, groups and addresses.
type Tenant struct {
	DefaultNetwork string `json:"defaultNetwork,omitempty"`
	TenantName     string `json:"tenantName,omitempty"`
	Extra          `json:"-"`
}

// Key is the model key.
func (t *Tenant) Key() string { return t.TenantName }

// StoreKey implements Record.
func (t *Tenant) StoreKey() string { return TenantPrefix + t.Key() }

// Network is a subnet of a tenant with an encapsulation. PktTag is what the user asked for (a VLAN or VNI by Encap),
// 0 if netmaster chose; the number in use is in NetworkState.
type Network struct {
	CfgdTag     string `json:"cfgdTag,omitempty"`
	Encap       string `json:"encap,omitempty"`
	Gateway     string `json:"gateway,omitempty"`
	IPv6Gateway string `json:"ipv6Gateway,omitempty"`
	IPv6Subnet  string `json:"ipv6Subnet,omitempty"`
	NetworkName string `json:"networkName,omitempty"`
	NwType      string `json:"nwType,omitempty"`
	PktTag      int    `json:"pktTag,omitempty"`
	Subnet      string `json:"subnet,omitempty"`
	TenantName  string `json:"tenantName,omitempty"`
	Extra       `json:"-"`
}

// Key is the model key.
func (n *Network) Key() string { return ModelKey(n.TenantName, n.NetworkName) }

// StoreKey implements Record.
func (n *Network) StoreKey() string { return NetworkPrefix + n.Key() }

// EndpointGroup is a set of endpoints of one network. DefaultDeny is the direction (DirectionIn, DirectionOut or
// DenyBoth) in which connections of its members are denied that no rule allows; empty: none is.
type EndpointGroup struct {
	CfgdTag          string   `json:"cfgdTag,omitempty"`
	DefaultDeny      string   `json:"defaultDeny,omitempty"`
	ExtContractsGrps []string `json:"extContractsGrps,omitempty"`
	GroupName        string   `json:"groupName,omitempty"`
	IPPool           string   `json:"ipPool,omitempty"`
	NetProfile       string   `json:"netProfile,omitempty"`
	NetworkName      string   `json:"networkName,omitempty"`
	Policies         []string `json:"policies,omitempty"`
	TenantName       string   `json:"tenantName,omitempty"`
	Extra            `json:"-"`
}

// Key is the model key.
func (g *EndpointGroup) Key() string { return ModelKey(g.TenantName, g.GroupName) }

// StoreKey implements Record.
func (g *EndpointGroup) StoreKey() string { return EndpointGroupPrefix + g.Key() }

// Global is the one object of cluster-wide settings.
type Global struct {
	ArpMode          string `json:"arpMode,omitempty"`
	FwdMode          string `json:"fwdMode,omitempty"`
	Name             string `json:"name,omitempty"`
	NetworkInfraType string `json:"networkInfraType,omitempty"`
	PvtSubnet        string `json:"pvtSubnet,omitempty"`
	Vlans            string `json:"vlans,omitempty"`
	Vxlans           string `json:"vxlans,omitempty"`
	Extra            `json:"-"`
}

// Key is the model key, always "global".
func (g *Global) Key() string { return GlobalName }

// StoreKey implements Record.
func (g *Global) StoreKey() string { return GlobalPrefix + GlobalName }

// ModelKey composes a key of REST URLs and of the store: tenant first. Names hold no colon.
func ModelKey(tenant, name string) string { return tenant + ":" + name }
