package state

// GatewayProfilePrefix begins the keys of GatewayProfile records.
const GatewayProfilePrefix = "state/aciProfiles/"

// GatewayProfile says that the ACI gateway may know an application profile. It is written before the gateway is told of
// one and removed after the gateway confirmed that it is gone, so that no leader forgets what an earlier one began.
type GatewayProfile struct {
	TenantName     string `json:"tenantName"`
	AppProfileName string `json:"appProfileName"`
	Extra          `json:"-"`
}

// Key is the model key of the application profile.
func (g *GatewayProfile) Key() string { return ModelKey(g.TenantName, g.AppProfileName) }

// StoreKey implements Record.
func (g *GatewayProfile) StoreKey() string { return GatewayProfilePrefix + g.Key() }
