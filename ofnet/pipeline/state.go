package pipeline

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// State is everything that the flows of a host follow from.
type State struct {
	Host       string // name of this host
	TunnelPort uint32 // OpenFlow port of the flow-based VXLAN port; 0: there is none yet
	HostPort   uint32 // OpenFlow port to the host itself, for host access; 0: there is none
	// Global is nil until it is known; then nothing but the base flows is realised.
	Global    *protocol.Global
	Networks  map[string]protocol.Network // by Key
	Groups    map[string]protocol.Group   // by Key
	Endpoints map[protocol.EndpointID]protocol.Endpoint
	Hosts     map[string]protocol.Host       // by name
	Ports     map[protocol.EndpointID]uint32 // OpenFlow ports of local endpoints
	Rules     map[string]protocol.Rule       // by key of the record
	Services  map[string]protocol.Service    // by Key
	// Zones are numbers of this host, 1..4095, one for each network: what conntrack tells the networks apart by.
	Zones map[string]uint16 // by Key of the network
	// Backends are numbers of this host, not 0 and each different, by which connections remember their provider.
	Backends map[Backend]uint32
}

// Backend is a provider as a service sees it.
type Backend struct {
	Tenant string
	Addr   netip.Addr
}

// Changes of a State. In the maps, a nil pointer or the number 0 removes.
type Changes struct {
	TunnelPort *uint32 // nil: unchanged
	HostPort   *uint32 // nil: unchanged
	// Global replaces the settings; NoGlobal removes them.
	Global    *protocol.Global
	NoGlobal  bool
	Networks  map[string]*protocol.Network
	Groups    map[string]*protocol.Group
	Endpoints map[protocol.EndpointID]*protocol.Endpoint
	Hosts     map[string]*protocol.Host
	Ports     map[protocol.EndpointID]uint32
	Rules     map[string]*protocol.Rule
	Services  map[string]*protocol.Service
	Zones     map[string]uint16
	Backends  map[Backend]uint32
}

// Program is what a bridge must have.
type Program struct {
	Flows       map[openflow.Key]openflow.Flow
	Groups      map[uint32]openflow.Group
	Meters      map[uint32]openflow.Meter
	NotRealised []protocol.NotRealised // sorted
}

// SortedFlows are the flows by table, falling priority and match.
func (p *Program) SortedFlows() []openflow.Flow {
	flows := make([]openflow.Flow, 0, len(p.Flows))
	for _, f := range p.Flows {
		flows = append(flows, f)
	}
	sortFlows(flows)
	return flows
}

// SortedGroups are the groups, each behind those that it hands on to.
func (p *Program) SortedGroups() []openflow.Group {
	groups := make([]openflow.Group, 0, len(p.Groups))
	for _, g := range p.Groups {
		groups = append(groups, g)
	}
	sortGroups(groups)
	return groups
}

// SortedMeters are the meters by number.
func (p *Program) SortedMeters() []openflow.Meter {
	return slices.SortedFunc(maps.Values(p.Meters), compareMeters)
}

// Diff is what must be done to a bridge. Order: Meters, Groups, Flows, then DropFlows, DropGroups, DropMeters.
type Diff struct {
	Flows      []openflow.Flow // new or different; sorted
	DropFlows  []openflow.Key  // never the key of one in Flows; sorted
	Groups     []openflow.Group
	DropGroups []uint32
	Meters     []openflow.Meter
	DropMeters []uint32
}

// Empty tells a diff without anything to do.
func (d *Diff) Empty() bool {
	return len(d.Flows)+len(d.DropFlows)+len(d.Groups)+len(d.DropGroups)+len(d.Meters)+len(d.DropMeters) == 0
}

func sortFlows(flows []openflow.Flow) {
	slices.SortFunc(flows, func(a, b openflow.Flow) int { return a.Key().Compare(b.Key()) })
}

// sortGroups puts parts before the group that hands on to them.
func sortGroups(groups []openflow.Group) {
	slices.SortFunc(groups, func(a, b openflow.Group) int { return cmp.Compare(b.ID, a.ID) })
}

func compareMeters(a, b openflow.Meter) int { return cmp.Compare(a.ID, b.ID) }

func sortNotRealised(list []protocol.NotRealised) {
	slices.SortFunc(list, func(a, b protocol.NotRealised) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
}
