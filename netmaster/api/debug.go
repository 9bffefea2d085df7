package api

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// ofnetState is what /debug/ofnet shows. The members with capitals are those of the original's: what the master has for
// the agents, in its words. AgentDb goes by the address of the agent's connection, EndpointDb by endpoint id, PolicyDb
// by "attachment:rule:direction", AgentStats by host.
type ofnetState struct {
	MyAddr     string                   `json:"MyAddr"`
	MyPort     int                      `json:"MyPort"`
	AgentDB    map[string]ofnetAgent    `json:"AgentDb"`
	EndpointDB map[string]ofnetEndpoint `json:"EndpointDb"`
	PolicyDB   map[string]ofnetRule     `json:"PolicyDb"`
	AgentStats map[string]ofnetStats    `json:"AgentStats"`
	Leader     string                   `json:"leader"`
	IsLeader   bool                     `json:"isLeader"`
	Agents     []distribute.HostStatus  `json:"agents"`
	Orphans    []ofnetOrphan            `json:"orphans,omitempty"`
}

// ofnetAgent is where an agent is.
type ofnetAgent struct {
	HostAddr string `json:"HostAddr"`
	HostPort int    `json:"HostPort"`
	Hostname string `json:"Hostname"`
}

// ofnetEndpoint is an endpoint as agents know it.
type ofnetEndpoint struct {
	EndpointID    string `json:"EndpointID"`
	EndpointType  string `json:"EndpointType"`
	EndpointGroup int    `json:"EndpointGroup"`
	IPAddr        string `json:"IpAddr"`
	IPv6Addr      string `json:"Ipv6Addr"`
	MacAddr       string `json:"MacAddrStr"`
	Vrf           string `json:"Vrf"` // the tenant
	Vlan          int    `json:"Vlan"`
	Vni           int    `json:"Vni"`
	OriginatorIP  string `json:"OriginatorIp"` // of its host
}

// ofnetRule is one direction of a rule of one group.
type ofnetRule struct {
	RuleID           string `json:"RuleId"`
	Priority         int    `json:"Priority"`
	SrcEndpointGroup int    `json:"SrcEndpointGroup"`
	DstEndpointGroup int    `json:"DstEndpointGroup"`
	SrcIPAddr        string `json:"SrcIpAddr"`
	DstIPAddr        string `json:"DstIpAddr"`
	IPProtocol       int    `json:"IpProtocol"`
	SrcPort          int    `json:"SrcPort"`
	DstPort          int    `json:"DstPort"`
	TCPFlags         string `json:"TcpFlags"`
	Action           string `json:"Action"`
}

// ofnetStats says how far an agent is.
type ofnetStats struct {
	Desired      int64 `json:"Desired"`
	Acknowledged int64 `json:"Acknowledged"`
	NotRealised  int   `json:"NotRealised"`
}

// ofnetOrphan is an endpoint that its host no longer has.
type ofnetOrphan struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
	Held  bool      `json:"held,omitempty"` // waits for an operator
}

// debugAgents shows what the agents are given, how far they are, and what the hosts have lost; only the leader knows all
// of it. It does not ask the store, so that it is answered also when that is away.
func (s *server) debugAgents(*http.Request) (any, error) {
	out := ofnetState{
		AgentDB: map[string]ofnetAgent{}, EndpointDB: map[string]ofnetEndpoint{}, PolicyDB: map[string]ofnetRule{},
		AgentStats: map[string]ofnetStats{}, Agents: s.Agents.Hosts(),
	}
	out.MyAddr, out.MyPort = splitAddress(s.Cluster.LocalAddress())
	out.Leader, out.IsLeader = s.Cluster.Leader()
	for _, agent := range out.Agents {
		if agent.Connected {
			host, port := splitAddress(agent.Address)
			out.AgentDB[agent.Address] = ofnetAgent{host, port, agent.Host}
		}
		out.AgentStats[agent.Host] = ofnetStats{agent.Desired, agent.Acknowledged, len(agent.NotRealised)}
	}
	for _, o := range s.Changes.Orphans("") {
		out.Orphans = append(out.Orphans, ofnetOrphan{o.ID.String(), o.Since, o.Held})
	}
	s.Reader.ViewCached(func(m *ledger.Model) { out.show(m) })
	return out, nil
}

func (out *ofnetState) show(m *ledger.Model) {
	for _, t := range m.Tenants() {
		for _, e := range m.EndpointsOf(ledger.EndpointsOfTenant(t.TenantName)) {
			out.EndpointDB[e.EndpointID.String()] = ofnetEndpointOf(m, e)
		}
		for _, p := range m.Policies(t.TenantName) {
			for _, g := range m.GroupsIn(ledger.GroupsWithPolicy(p.Key())) {
				for _, r := range m.RulesIn(ledger.RulesOfPolicy(p.Key())) {
					for _, one := range directions(m, g, p, r) {
						out.PolicyDB[one.RuleID] = one
					}
				}
			}
		}
	}
}

func ofnetEndpointOf(m *ledger.Model, e *state.Endpoint) ofnetEndpoint {
	shown := endpointOper(m, e)
	inside, outside := tags(m, state.ModelKey(e.TenantName, e.NetworkName))
	return ofnetEndpoint{
		EndpointID: e.EndpointID.String(), EndpointType: "internal", EndpointGroup: shown.EndpointGroupID,
		IPAddr: shown.IPAddress[0], IPv6Addr: shown.IPAddress[1], MacAddr: e.MAC, Vrf: e.TenantName, Vlan: inside, Vni: outside,
		OriginatorIP: shown.VtepIP,
	}
}

// directions takes a rule of a group apart as the original did: "in" is what the group receives (Rx), "out" what it
// sends; a rule with a port has a second direction for the answers.
func directions(m *ledger.Model, g *state.EndpointGroup, p *state.Policy, r *state.Rule) []ofnetRule {
	own, peer := groupID(m, g.Key()), groupID(m, state.ModelKey(r.TenantName, cmp.Or(r.FromEndpointGroup, r.ToEndpointGroup)))
	protocol, _ := state.ParseProtocol(r.Protocol) // was checked
	towards := ofnetRule{Priority: r.Priority, IPProtocol: int(protocol), Action: r.Action, SrcEndpointGroup: peer, DstEndpointGroup: own, DstPort: r.Port}
	towards.SrcIPAddr, towards.DstIPAddr = peerText(m, r), r.ToIPAddress
	names := []string{"inRx", "inTx"}
	if r.Direction == state.DirectionOut {
		names = []string{"outTx", "outRx"}
		towards.SrcEndpointGroup, towards.DstEndpointGroup = own, peer
		towards.SrcIPAddr, towards.DstIPAddr = "", peerText(m, r)
	}
	if r.Protocol == "tcp" && r.Port == 0 {
		towards.TCPFlags = "syn,!ack"
	}
	base := g.Key() + ":" + p.Key() + ":" + r.Key() + ":"
	towards.RuleID = base + names[0]
	if r.Port == 0 {
		return []ofnetRule{towards}
	}
	back := towards
	back.RuleID = base + names[1]
	back.SrcEndpointGroup, back.DstEndpointGroup = towards.DstEndpointGroup, towards.SrcEndpointGroup
	back.SrcIPAddr, back.DstIPAddr = towards.DstIPAddr, towards.SrcIPAddr
	back.SrcPort, back.DstPort = towards.DstPort, 0
	return []ofnetRule{towards, back}
}

// peerText is the address or subnet of a rule's peer.
func peerText(m *ledger.Model, r *state.Rule) string {
	text, network := r.FromIPAddress, r.FromNetwork
	if r.Direction == state.DirectionOut {
		text, network = r.ToIPAddress, r.ToNetwork
	}
	if n := m.Network(state.ModelKey(r.TenantName, network)); network != "" && n != nil {
		if subnet, err := state.ParseSubnet(n.Subnet); err == nil {
			return subnet.Prefix.String()
		}
	}
	return text
}

func groupID(m *ledger.Model, key string) int {
	if g := m.GroupState(key); g != nil {
		return g.ID
	}
	return 0
}

func splitAddress(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	port, _ = strconv.Atoi(text)
	return host, port
}

// goneRoutes are what the original had before 2016 and then took away. Who still asks is told where it went.
func goneRoutes() map[string]methods {
	every := func(instead string) methods {
		say := func(r *http.Request) (any, error) {
			return nil, &statusError{http.StatusGone, fmt.Sprintf("%s was taken away in 2016; %s", shorten(r.URL.Path), instead)}
		}
		return methods{get: say, put: say, post: say, remove: say}
	}
	objects := every("objects are created and removed one by one with PUT and DELETE /api/v1/COLLECTION/KEY/; /openapi.json lists the collections")
	networks := every("use /api/v1/networks/ and /api/v1/inspect/networks/TENANT:NAME/")
	endpoints := every("use /api/v1/inspect/endpoints/ID/, or the endpoints in /api/v1/inspect/networks/TENANT:NAME/")
	return map[string]methods{
		"/desired-config": objects, "/add-config": objects, "/del-config": objects, "/host-bindings-config": objects,
		"/network": networks, "/networks": networks, "/network/{id}": networks, "/networks/{id}": networks,
		"/endpoint": endpoints, "/endpoints": endpoints, "/endpoint/{id}": endpoints, "/endpoints/{id}": endpoints,
	}
}

// describeGone describes the same.
func describeGone(docs map[string]operation) {
	for path := range goneRoutes() {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
			docs[method+" "+path] = operation{
				id: "gone-" + method + path, tag: "gone", summary: "Taken away; the message says what to use", errors: []int{http.StatusGone},
			}
		}
	}
}
