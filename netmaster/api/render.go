package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Every function here makes a copy of what it shows, to be encoded when the model is no longer held.

func tenant(m *ledger.Model, t *state.Tenant) any {
	out := client.Tenant{ModelKey: t.Key(), ResourceVersion: versionOf(m, t), Tenant: *t}
	out.LinkSets.Networks = links("network", m.Networks(t.TenantName))
	out.LinkSets.EndpointGroups = links("endpointGroup", m.Groups(t.TenantName))
	out.LinkSets.AppProfiles = links("appProfile", m.AppProfiles(t.TenantName))
	out.LinkSets.NetProfiles = links("netprofile", m.Netprofiles(t.TenantName))
	out.LinkSets.Policies = links("policy", m.Policies(t.TenantName))
	out.LinkSets.Servicelbs = links("serviceLB", m.Services(t.TenantName))
	return out
}

func network(m *ledger.Model, n *state.Network) any {
	out := client.Network{ModelKey: n.Key(), ResourceVersion: versionOf(m, n), Network: *n}
	out.LinkSets.EndpointGroups = links("endpointGroup", m.GroupsOfNetwork(n.Key()))
	out.LinkSets.Servicelbs = links("serviceLB", m.ServicesOfNetwork(n.Key()))
	out.Links.Tenant = client.Link{Type: "tenant", Key: n.TenantName}
	return out
}

func group(m *ledger.Model, g *state.EndpointGroup) any {
	out := client.EndpointGroup{ModelKey: g.Key(), ResourceVersion: versionOf(m, g), EndpointGroup: *g}
	out.LinkSets.MatchRules = links("rule", m.RulesIn(ledger.RulesNaming(g.Key())))
	out.LinkSets.Policies = linksInTenant("policy", g.TenantName, g.Policies)
	out.LinkSets.ExtContractsGrps = linksInTenant("extContractsGroup", g.TenantName, g.ExtContractsGrps)
	out.Links.Network = client.Link{Type: "network", Key: state.ModelKey(g.TenantName, g.NetworkName)}
	out.Links.Tenant = client.Link{Type: "tenant", Key: g.TenantName}
	out.Links.NetProfile = linkTo("netprofile", g.TenantName, g.NetProfile)
	if profile := m.AppProfileOfGroup(g.Key()); profile != nil {
		out.Links.AppProfile = client.Link{Type: "appProfile", Key: profile.Key()}
	}
	return out
}

func global(m *ledger.Model, g *state.Global) any {
	return client.Global{ModelKey: g.Key(), ResourceVersion: versionOf(m, g), Global: *g}
}

// links points to records of a type.
func links[T interface{ Key() string }](kind string, records []T) client.LinkSet {
	set := make(client.LinkSet, len(records))
	for _, r := range records {
		set[r.Key()] = client.Link{Type: kind, Key: r.Key()}
	}
	return set
}

func linksInTenant(kind, tenant string, names []string) client.LinkSet {
	set := make(client.LinkSet, len(names))
	for _, name := range names {
		key := state.ModelKey(tenant, name)
		set[key] = client.Link{Type: kind, Key: key}
	}
	return set
}

func inspectTenant(m *ledger.Model, t *state.Tenant) any {
	networks, groups := m.Networks(t.TenantName), m.Groups(t.TenantName)
	oper := client.TenantOper{
		TotalAppProfiles: m.Count(ledger.AppProfilesOfTenant(t.TenantName)),
		TotalEPGs:        len(groups),
		TotalEndpoints:   m.Count(ledger.EndpointsOfTenant(t.TenantName)),
		TotalNetprofiles: m.Count(ledger.NetprofilesOfTenant(t.TenantName)),
		TotalNetworks:    len(networks),
		TotalPolicies:    m.Count(ledger.PoliciesOfTenant(t.TenantName)),
		TotalServicelbs:  m.Count(ledger.ServicesOfTenant(t.TenantName)),
	}
	for _, n := range networks {
		figures := networkOper(m, n)
		figures.NetworkTag = ""
		oper.Networks = append(oper.Networks, figures)
	}
	for _, g := range groups {
		figures := groupOper(m, g)
		figures.GroupTag, figures.AllocatedIPAddresses, figures.AvailableIPAddresses = "", "", ""
		oper.EndpointGroups = append(oper.EndpointGroups, figures)
	}
	oper.Endpoints = endpointOpers(m, ledger.EndpointsOfTenant(t.TenantName))
	for _, p := range m.Policies(t.TenantName) {
		oper.Policies = append(oper.Policies, policyOper(m, p))
	}
	for _, s := range m.Services(t.TenantName) {
		oper.Servicelbs = append(oper.Servicelbs, serviceOper(m, s))
	}
	return client.Inspection[any, client.TenantOper]{Config: tenant(m, t), Oper: oper}
}

func inspectNetwork(m *ledger.Model, n *state.Network) any {
	return client.Inspection[any, client.NetworkOper]{Config: network(m, n), Oper: networkOper(m, n)}
}

func inspectGroup(m *ledger.Model, g *state.EndpointGroup) any {
	return client.Inspection[any, client.EndpointGroupOper]{Config: group(m, g), Oper: groupOper(m, g)}
}

func networkOper(m *ledger.Model, n *state.Network) client.NetworkOper {
	pool := state.AddressPool(n.Key())
	oper := client.NetworkOper{
		AllocatedAddressesCount: m.Used(pool),
		Endpoints:               endpointOpers(m, ledger.EndpointsOfNetwork(n.Key())),
		NetworkTag:              n.CfgdTag,
	}
	oper.NumEndpoints = len(oper.Endpoints)
	oper.PktTag, oper.ExternalPktTag = tags(m, n.Key())
	if oper.NetworkTag == "" {
		oper.NetworkTag = n.NetworkName + "." + n.TenantName
	}
	if subnet, err := state.ParseSubnet(n.Subnet); err == nil {
		usage := m.Usage(pool, addresses(subnet.Usable()), reservedBlocks(m, n)...)
		oper.AllocatedIPAddresses = alloc.FormatAddresses(usage.Used)
		oper.AvailableIPAddresses = alloc.FormatAddresses(usage.Free)
	}
	oper.RestingIPAddresses = alloc.FormatAddresses(restingAddresses(m, n))
	return oper
}

// reservedBlocks are what a network cannot give to everybody: its gateway, and the pools of its groups.
func reservedBlocks(m *ledger.Model, n *state.Network) []alloc.Range {
	var blocks []alloc.Range
	if gateway, err := netip.ParseAddr(n.Gateway); err == nil {
		blocks = append(blocks, alloc.Addresses(gateway, gateway))
	}
	for _, record := range m.GroupsOfNetwork(n.Key()) {
		if pool, err := state.ParsePool(record.IPPool); err == nil {
			blocks = append(blocks, addresses(pool))
		}
	}
	return blocks
}

func addresses(r state.AddrRange) alloc.Range { return alloc.Addresses(r.First, r.Last) }

// tags are the numbers that packets of a network carry inside and outside of hosts: for vxlan the id of its bridge
// domain and the VNI, else the VLAN and none.
func tags(m *ledger.Model, networkKey string) (inside, outside int) {
	decided := m.NetworkState(networkKey)
	switch {
	case decided == nil:
		return 0, 0
	case decided.VNI != 0:
		return decided.ID, decided.VNI
	}
	return decided.VLAN, 0
}

func groupOper(m *ledger.Model, g *state.EndpointGroup) client.EndpointGroupOper {
	networkKey := state.ModelKey(g.TenantName, g.NetworkName)
	oper := client.EndpointGroupOper{
		Endpoints: endpointOpers(m, ledger.EndpointsOfGroup(g.Key())),
		GroupTag:  g.CfgdTag,
	}
	oper.NumEndpoints = len(oper.Endpoints)
	oper.PktTag, oper.ExternalPktTag = tags(m, networkKey)
	if decided := m.GroupState(g.Key()); decided != nil && decided.VLAN != 0 {
		oper.PktTag = decided.VLAN
	}
	if oper.GroupTag == "" {
		oper.GroupTag = g.GroupName + "." + g.TenantName
	}
	if pool, err := state.ParsePool(g.IPPool); err == nil {
		usage := m.Usage(state.AddressPool(networkKey), addresses(pool))
		oper.AllocatedIPAddresses = alloc.FormatAddresses(usage.Used)
		oper.AvailableIPAddresses = alloc.FormatAddresses(usage.Free)
	}
	return oper
}

func globalOper(m *ledger.Model, g *state.Global, mode string) client.GlobalOper {
	oper := client.GlobalOper{
		ClusterMode: mode,
		NumNetworks: m.Used(state.PoolVLAN) + m.Used(state.PoolVNI),
		VlansInUse:  alloc.FormatNumbers(m.Usage(state.PoolVLAN, alloc.Numbers(1, 1<<12-1)).Used),
		VxlansInUse: alloc.FormatNumbers(m.Usage(state.PoolVNI, alloc.Numbers(1, 1<<24-1)).Used),
	}
	if vxlans, err := state.ParseRange(g.Vxlans); err == nil {
		oper.FreeVXLANsStart = vxlans.First - 1
	}
	oper.QuarantinedIDs = quarantined(m)
	return oper
}

func endpointOpers(m *ledger.Model, in ledger.Index) []client.EndpointOper {
	found := m.EndpointsOf(in)
	out := make([]client.EndpointOper, 0, len(found))
	for _, e := range found {
		out = append(out, endpointOper(m, e))
	}
	return out
}

func endpointOper(m *ledger.Model, e *state.Endpoint) client.EndpointOper {
	out := client.EndpointOper{
		ContainerID:   cmp.Or(e.EngineID, e.ContainerID),
		ContainerName: e.ContainerName,
		EndpointID:    e.RuntimeID,
		HomingHost:    e.Host,
		IntfName:      e.IfName,
		IPAddress:     []string{addrText(e.IPv4), addrText(e.IPv6)},
		Labels:        "map[]",
		MacAddress:    e.MAC,
		Network:       e.NetworkName + "." + e.TenantName,
		ServiceName:   strings.Join(e.Groups, ","),
	}
	if out.EndpointID == "" {
		out.EndpointID = e.ContainerID
	}
	if len(e.Labels) > 0 {
		out.Labels = fmt.Sprint(e.Labels) // map[k:v], sorted
	}
	keys := make([]string, 0, len(e.Groups))
	for _, name := range e.Groups {
		keys = append(keys, name+":"+e.TenantName)
	}
	out.EndpointGroupKey = strings.Join(keys, ",")
	if len(e.Groups) > 0 {
		if g := m.GroupState(state.ModelKey(e.TenantName, e.Groups[0])); g != nil {
			out.EndpointGroupID = g.ID
		}
	}
	if host := m.Host(e.Host); host != nil {
		out.VtepIP = vtepOf(host)
	}
	return out
}

// addrText is the address, or nothing for none.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
