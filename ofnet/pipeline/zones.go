package pipeline

// What is added to a zone for the second pass of a connection that a provider of a service makes to itself.
const (
	hairpinTwinBridge  = 0x2000
	hairpinTwinRouting = 0x1000
)

// BridgeZones are all zones of conntrack that a network uses which has this zone number, where the switch bridges.
func BridgeZones(number uint16) []uint16 {
	return []uint16{zoneBridge | number, (zoneBridge + hairpinTwinBridge) | number}
}

// TenantZones are all zones that the networks of a tenant use, where the switch routes.
func TenantZones(vrf uint16) []uint16 {
	return []uint16{zoneRouting | vrf, (zoneRouting + hairpinTwinRouting) | vrf}
}
