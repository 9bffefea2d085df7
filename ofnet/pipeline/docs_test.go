package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

const docsPath = "../../docs/pipeline.md"

// TestDocs holds docs/pipeline.md to the declarations and to flows as they are compiled.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsIntro)
	b.WriteString("\n## Tables\n\n| id | name | purpose | no flow takes it |\n|---|---|---|---|\n")
	for _, table := range Tables() {
		miss := "dropped"
		if table.Miss != 0 {
			miss = fmt.Sprintf("to %d", table.Miss)
		}
		purpose := table.Purpose
		if table.Reserved {
			purpose = "(reserved) " + purpose
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", table.ID, table.Name, purpose, miss)
	}
	b.WriteString("\n## Registers\n\n| field | bits | content |\n|---|---|---|\n")
	for _, r := range Registers() {
		fmt.Fprintf(&b, "| %s | reg%d, %d bits from %d | %s |\n", r.Name, r.Index, r.Bits, r.First, r.Content)
	}
	b.WriteString(docsNumbers)
	b.WriteString("\n## One flow of each kind\n\nAs `ovs-ofctl` prints them, without cookies. Network 3 of tenant 3 has VNI 0x3eb; " +
		"endpoint 10.1.0.2 is here on port 5, 10.1.0.4 on the host with the tunnel address 172.31.0.2; the tunnel port is 100.\n")
	for _, e := range docsExamples {
		fmt.Fprintf(&b, "\n%s\n\n```\n%s\n```\n", e.says, exampleFlow(t, e))
	}
	b.WriteString(docsEnd)
	compareFile(t, docsPath, b.String())
}

type example struct {
	mode     string
	table    uint8
	priority uint16
	has      string // what the flow's text contains
	says     string
}

var docsExamples = []example{
	{protocol.ARPProxy, tableInput, 100, "in_port=100", "A packet from the tunnel is marked as such. What comes with a multicast source, a VLAN tag or for a bridge's own protocols (01:80:c2) is dropped before."},
	{protocol.ARPProxy, tableTenant, 100, "in_port=5", "A local port means an endpoint: its tenant, network and identity are written down. There is no flow for a port without an endpoint record, so nothing passes."},
	{protocol.ARPProxy, tableTenant, 100, "tun_id=0x3eb", "A VNI means a network."},
	{protocol.ARPProxy, tableSpoof, 100, "ip,in_port=5", "An endpoint sends from its own MAC and IPv4 address."},
	{protocol.ARPProxy, tableSpoof, 100, "arp,in_port=5", "It speaks for itself in ARP."},
	{protocol.ARPProxy, tableSpoof, 100, "ipv6,in_port=5,dl_src=02:02:0a:01:00:02,ipv6_src=fd00::2", "It sends from its own IPv6 address, or from the link-local one that follows from its MAC address (EUI-64)."},
	{protocol.ARPProxy, tableSpoof, 110, "ipv6_src=fd00::2,icmp_type=135,nd_sll=02", "It speaks for itself in neighbour discovery: a solicitation names its own MAC address, or none."},
	{protocol.ARPProxy, tableSpoof, 110, "ipv6_src=fd00::2,icmp_type=136,nd_target=fd00::2,nd_tll=02", "An advertisement is about its own address. Router advertisements and redirects are dropped; so are probes for duplicates (source ::), whose sender then uses the address, as it should."},
	{protocol.ARPProxy, tableARPND, 100, "arp,reg0=0x1/0xf,reg5=0x30000/0xffff0000,arp_tpa=10.1.0.4", "ARP mode proxy: the switch answers a local endpoint's request for any endpoint of its network, here or elsewhere. Other ARP is dropped: every endpoint of the network is known."},
	{protocol.ARPProxy, tableARPND, 110, "arp_tpa=10.1.0.2", "An announcement of the own address is not answered."},
	{protocol.ARPProxy, tableARPND, 100, "nd_target=fd00::4", "A neighbour solicitation is answered likewise: it becomes an advertisement here ..."},
	{protocol.ARPProxy, tableNDReply, 100, "ND_TLL", "... and gets the link-layer address in the next table, because Open vSwitch writes that field only where the packet is known to be an advertisement."},
	{protocol.ARPProxy, tableARPND, 120, "nd_sll", "A unicast solicitation without the sender's MAC address leaves no room for an answer; it goes to the neighbour itself."},
	{protocol.ARPFlood, tableARPND, 100, "arp", "ARP mode flood: ARP goes its way like a broadcast, neighbour discovery too."},
	{protocol.ARPProxy, tableSpoof, 100, "nw_src=10.1.0.4", "A packet from the tunnel has the MAC and IP address of an endpoint of the network, and comes from the tunnel address of that endpoint's host. Anything else is dropped."},
	{protocol.ARPFlood, tableSpoof, 100, "arp_spa=10.1.0.4", "The same for flooded ARP."},
	{protocol.ARPProxy, tableARPND, 105, "arp_tpa=169.254.254.53", "The address of the name server is answered for on every network."},
	{protocol.ARPProxy, tablePuntMeter, 100, "in_port=5", "DNS queries get here while the agent lives: at most 100 a second of each endpoint go on to it, 200 at once. The flows of PUNT and DST_GRP that lead here expire unless the agent renews them (docs/names.md), so they are not listed."},
	{protocol.ARPProxy, tableQoS, 100, "ip,in_port=6", "An endpoint whose netprofile has a DSCP gets it on what it sends; a bandwidth is a meter of its first flow, in table 10."},
	{protocol.ARPProxy, tableCTIn, 100, "ip", "Each unicast packet is looked up by the connection tracker, in the zone of its network (where the switch routes: of its tenant)."},
	{protocol.ARPProxy, tableCTState, 200, "ip", "What belongs to no connection and could begin none (a wrong checksum, a TCP segment out of the window) is dropped and counted."},
	{protocol.ARPProxy, tableCTState, 190, "+est+rpl", "So is an answer in a connection that a rule denies by now."},
	{protocol.ARPProxy, tableCTState, 180, "+est+rpl", "Other answers go on without being judged; so do ICMP errors about a connection."},
	{protocol.ARPProxy, tableCTState, 170, "+est", "Later packets in the direction of the first are judged again, so that a change of the rules reaches the connection, but choose no provider."},
	{protocol.ARPProxy, tableCTState, 100, "+new", "The first packet asks for a remembered provider, then for any."},
	{protocol.ARPProxy, tableDstGroup, 100, "nw_dst=10.1.0.4", "The destination's identity."},
	{protocol.ARPProxy, tablePolicy, 31, "reg1=0x80000/0xffff0000", "A rule of priority 10 that denies identity 8 everything from a subnet."},
	{protocol.ARPProxy, tablePolicy, 40, "tcp,", "One of priority 15 that allows identity 7 to reach port 80 of identity 8: one flow, and its twin for IPv6."},
	{protocol.ARPProxy, tablePolicy, 50, "reg1=0x7/0xffff", "Three groups to three others by three ports would be 27 flows, twice: a conjunction has one for each group and port. Flows of rules with the same priority are shared ..."},
	{protocol.ARPProxy, tablePolicy, 50, "conj_id", "... and this decides when one of each kind matched."},
	{protocol.ARPProxy, tableCTCommit, 100, "+new", "An allowed connection is remembered, with the rule that allowed it."},
	{protocol.ARPProxy, tableCTCommit, 110, "ct_mark=0x80/0x80", "One that was denied for a while and is allowed again loses its mark."},
	{protocol.ARPProxy, tableDeny, 100, "+est", "A connection that is denied now gets a mark, by which its answers are dropped; the packet ends here, like all that come to this table."},
	{protocol.ARPProxy, tableARPND, 105, "arp_tpa=10.1.0.100", "Services. Their addresses are answered for on the network (where the switch routes, it answers for the whole subnet anyway)."},
	{protocol.ARPProxy, tableSvcDNAT, 100, "nw_dst=10.1.0.100,tp_dst=80", "A new connection of a local endpoint to a port of a service: a group chooses among up to 16 providers, by the datapath's hash of addresses and ports. Each bucket has conntrack translate the destination and remember the service, the number of the provider on this host and, where the switch does not route, its MAC address. (The first provider has two buckets, so that the places of the hash fall to all evenly.)"},
	{protocol.ARPProxy, tableSvcDNAT, 100, "udp", "More providers, UDP (whose ports the datapath's hash leaves out) and services with affinity: a number is chosen ..."},
	{protocol.ARPProxy, tableSvcPick, 100, "reg4=0x1/0xffff", "... and the provider of that number taken. With affinity the switch learns to take it again, in table 28, ..."},
	{protocol.ARPProxy, tableAffDNAT, 100, "reg3=", "... which writes its number for the client's next connections; while the provider is there, they go to it."},
	{protocol.ARPProxy, tableSvcDNAT, 90, "nw_dst=10.1.0.100", "What is for a service and none of its ports, or has no provider, is dropped and counted; so is a packet that another host did not translate."},
	{protocol.ARPProxy, tableSvcPost, 110, ",ip ", "The first packet has counters learned, for both directions. They go when they counted nothing for ten minutes."},
	{protocol.ARPProxy, tableSvcStats, 100, ",ip ", "Each packet of a service's connection is counted there."},
	{protocol.ARPProxy, tableL2Fix, 100, ",ip ", "Conntrack restores addresses and ports of each packet, but not the provider's MAC address."},
	{protocol.ARPProxy, tableSvcSNAT, 100, "ip,", "A provider that is its own client and got itself ..."},
	{protocol.ARPProxy, tableHairpin, 100, "ct_mark=0x150010", "... is sent its packets back with the service's address as source, from a zone of its own, ..."},
	{protocol.ARPProxy, tablePreNAT, 100, "nw_dst=10.1.0.100,tp_src=8080", "... so that what it answers comes by here. Whether such a packet is an answer or a new connection, that zone tells ..."},
	{protocol.ARPProxy, tableUnSNAT, 100, "ip", "... here."},
	{protocol.ARPProxy, tableOutput, 100, "", "Both leave where they came in."},
	{protocol.ARPProxy, tableMACDest, 100, "dl_dst=02:02:0a:01:00:02", "A MAC address of the network that is here."},
	{protocol.ARPProxy, tableMACDest, 100, "dl_dst=02:02:0a:01:00:04", "One that is elsewhere: through the tunnel port to its host. (A packet that came from the tunnel cannot leave by it: the switch never sends out of the port of entry.)"},
	{protocol.ARPProxy, tableMACDest, 10, "reg0=0x1/0xf,reg5=0x30000", "Broadcast and multicast of a local endpoint: to the network's local ports and to every host that has endpoints in it."},
	{protocol.ARPProxy, tableMACDest, 10, "reg0=0x2/0xf,reg5=0x30000", "From a host: to local ports only."},
	{protocol.ARPFlood, tableMACDest, 10, "reg0=0x1/0xf,reg5=0x30000", "In ARP mode flood unknown unicast goes there as well; in proxy mode it is dropped."},
	{protocol.ForwardRouting, tableInput, 100, "ip,in_port=2", "Forward mode routing: the host's port, 2, to `contivh0` (docs/host-access.md)."},
	{protocol.ForwardRouting, tablePreNAT, 100, "nw_dst=172.19.0.5", "What comes back from the host for the private address of port 5 is for its endpoint."},
	{protocol.ForwardRouting, tableARPND, 100, "arp_tpa=10.1.0.0/16", "The switch is the router of each network, with one MAC address on every host: it answers for all addresses of the network."},
	{protocol.ForwardRouting, tableIP, 100, "nw_dst=10.1.0.2", "An address of the tenant that is here: the hop is counted where the packet arrives."},
	{protocol.ForwardRouting, tableIP, 100, "nw_dst=10.1.0.4", "One that is elsewhere: through the tunnel, with the number of its network."},
	{protocol.ForwardRouting, tableIP, 20, "nw_dst=10.1.0.0/16", "What nobody has of a tenant's networks ends here; other addresses go to the host."},
	{protocol.ForwardRouting, tableIP, 50, "nw_dst=172.19.0.0/16", "The private subnet is for the host alone: no container reaches another by it."},
	{protocol.ForwardRouting, tableHostSNAT, 100, "in_port=5,nw_src=10.1.0.2", "To the host, from the private address. Connection tracking and the rules saw the packet with its own."},
}

// exampleRules are the rules and the netprofile of the examples.
func (w *world) exampleRules() {
	w.rule(protocol.Rule{ID: 1, Priority: 10, Action: "deny", Src: protocol.Peer{Any: true, Prefixes: prefixes("10.9.0.0/16")}, Dst: identities(8)})
	w.rule(protocol.Rule{ID: 2, Priority: 15, Action: "allow", Src: identities(7), Dst: identities(8), Protocols: []uint8{6}, PortFirst: 80, PortLast: 80})
	for id, port := range map[uint32]uint16{3: 80, 4: 443} {
		w.rule(protocol.Rule{ID: id, Priority: 20, Action: "allow", Src: identities(7, 9, 10), Dst: identities(8, 11, 12), Protocols: []uint8{6}, PortFirst: port, PortLast: port})
	}
	w.Groups["red:marked"] = protocol.Group{Tenant: "red", Name: "marked", DSCP: 46, RateKbps: 10000}
	marked := w.Endpoints[id("h1", "b")]
	marked.Groups = []string{"marked"}
	w.Endpoints[marked.ID] = marked
}

func exampleFlow(t *testing.T, e example) string {
	t.Helper()
	w := servedWorld(e.mode)
	if e.mode == protocol.ForwardRouting {
		w = accessWorld()
	}
	w.exampleRules()
	p := Compile(w.State)
	for _, f := range p.SortedFlows() {
		f.Cookie = 0
		if f.Table == e.table && f.Priority == e.priority && strings.Contains(f.String(), e.has) {
			return f.String()
		}
	}
	t.Errorf("no flow in table %d with priority %d and %q", e.table, e.priority, e.has)
	return ""
}

const docsIntro = `# The OpenFlow pipeline

<!-- Written by "go test ./ofnet/pipeline -update" from the declarations and flows of that package; a test checks that it is current. -->

What is built: VXLAN, in forward modes bridge and routing. A packet goes from table to table; registers carry what is
known about it. Reserved tables have their final numbers and pass packets on, or nothing leads to them yet.
`

const docsNumbers = `
Cookies: bits 63-48 round of writing, 47-44 schema (2), 43-40 mode (2: VXLAN bridge), 39-32 category (1 base, 2 network,
3 endpoint, 4 policy, 5 dropped, 6 service), 31-0 the network's id, a hash of the endpoint's, the rule's id, the reason
(1 spoof, 2 invalid, 3 policy, 4 blocked, 5 no service) or the service's id. With bit 63 a flow was learned by the switch.

Marks of connections: bits 0-3 SRC_CLASS of the first packet, 4 to a service, 6 there is a MAC address, 7 blocked, 16-31 id
of the service. Labels: bits 0-31 rule, 32-63 number of the provider on this host, 64-111 its MAC address. Zones: 0x4000 and
a number of the host's for each network, 0x6000 and that number for connections of providers to themselves; in forward mode
routing 0x1000 and 0x2000 and the tenant's number.

Groups: bits 31-28 kind (1 flood from here, 2 flood from a host, 3 service, 4 service in IPv6), 27-12 id of the network or
the service, 11-0 part, or place of the service's port. A group message stays under
32 KiB; more buckets (about 680 peers) are shared out to parts 1, 2, ..., which part 0 hands on to. Numbers follow from the
network's id alone, so they are the same after a restart.
`

const docsEnd = `
## How many flows

With K networks, L local and R remote endpoints, of which L6 and R6 have IPv6 beside IPv4 (one tunnel port):

| ARP mode | flows | groups |
|---|---|---|
| proxy | base + 4K + 9L + 4R + 13 L6 + 4 R6 | 2K |
| flood | base + 4K + 7L + 4R + 12 L6 + 3 R6 | 2K |
| (forward mode routing) | base + 7K + 8L + 3R + 13 L6 + 3 R6 | 0 |
| (with host access) | 18 + 2L + 2 L6 more | 0 |

A service with P ports (of different provider ports) adds 3 + 2P flows and P groups, and 5 + 2P more flows and P groups for
its IPv6 address; in forward mode routing 2 + 2P and 2 + 2P. For each port of UDP, of a service with affinity, or with more
than 16 providers, there is one flow for each provider and family instead of the group, two with affinity. Counters are at
most two for each client, service and provider that spoke within ten minutes.

The base is below 95; in forward mode routing each address of a gateway adds one, which answers pings. Nothing is multiplied: one more peer or network adds no flow per endpoint.

## What is not realised

The host reports these and installs nothing for them: encapsulation vlan (not available yet); an endpoint whose network, host, tunnel address or local port is not known; an unusable MAC or IP address; of two records that
claim the same address, port, network id, VNI or subnet, the second by key; a service whose network is not realised, whose address or id
another has, or that has a port this version does not know, all of whose traffic is dropped; in forward mode bridge a service's provider in another
network, while its other providers serve.
`
