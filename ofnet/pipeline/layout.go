package pipeline

import "github.com/contiv/contiv/ofnet/openflow"

// Register fields. What is not used by a stage that exists is reserved for the stage its comment names.
var (
	regSrcClass    = openflow.Reg{Index: 0, First: 0, Bits: 4, Name: "SRC_CLASS"}
	regDstClass    = openflow.Reg{Index: 0, First: 4, Bits: 4, Name: "DST_CLASS"}
	regHairpin     = openflow.Reg{Index: 0, First: 8, Bits: 1, Name: "HAIRPIN"}
	regLocalDst    = openflow.Reg{Index: 0, First: 9, Bits: 1, Name: "LOCAL_DST"}
	regPuntDone    = openflow.Reg{Index: 0, First: 12, Bits: 1, Name: "PUNT_DONE"}
	regServiceHit  = openflow.Reg{Index: 0, First: 13, Bits: 1, Name: "SVC_HIT"}
	regProbe       = openflow.Reg{Index: 0, First: 14, Bits: 1, Name: "PROBE"}
	regCTZone      = openflow.Reg{Index: 0, First: 16, Bits: 16, Name: "CT_ZONE"}
	regSrcIdentity = openflow.Reg{Index: 1, First: 0, Bits: 16, Name: "SRC_IDENTITY"}
	regDstIdentity = openflow.Reg{Index: 1, First: 16, Bits: 16, Name: "DST_IDENTITY"}
	regOutPort     = openflow.Reg{Index: 2, First: 0, Bits: 32, Name: "OUT_PORT"}
	regBackend     = openflow.Reg{Index: 3, First: 0, Bits: 32, Name: "BACKEND"}
	regChoice      = openflow.Reg{Index: 4, First: 0, Bits: 16, Name: "CHOICE"}
	regVRF         = openflow.Reg{Index: 5, First: 0, Bits: 16, Name: "VRF"}
	regBD          = openflow.Reg{Index: 5, First: 16, Bits: 16, Name: "BD"}
	regRuleID      = openflow.Reg{Index: 6, First: 0, Bits: 32, Name: "RULE_ID"}
	regSwap        = openflow.Reg{Index: 9, First: 0, Bits: 32, Name: "SWAP"}
)

// Values of SRC_CLASS and DST_CLASS.
const (
	classLocal = 1
	classVTEP  = 2
	classFlood = 5 // DST_CLASS only
)

// Register documents a register field.
type Register struct {
	openflow.Reg
	Content string
}

// Bits of the mark of a connection.
var (
	markOrigin   = openflow.Bits(openflow.FieldCTMark, 0, 4)    // SRC_CLASS of the first packet
	markService  = openflow.Bits(openflow.FieldCTMark, 4, 1)    // was made to a service address
	markMAC      = openflow.Bits(openflow.FieldCTMark, 6, 1)    // labelMAC is there
	markBlocked  = openflow.Bits(openflow.FieldCTMark, 7, 1)    // a rule denies it since it was made
	markID       = openflow.Bits(openflow.FieldCTMark, 16, 16)  // of the service
	labelRuleID  = openflow.Bits(openflow.FieldCTLabel, 0, 32)  // the rule that allowed it
	labelBackend = openflow.Bits(openflow.FieldCTLabel, 32, 32) // number of the provider on this host
	labelMAC     = openflow.Bits(openflow.FieldCTLabel, 64, 48) // MAC address of the provider
)

// Zones of conntrack. Bridge modes have one for each network, by a number of the host's own: a packet may pass the host
// once in each of two networks. Routing modes have one for each tenant. Beside each is one for connections of providers
// to their own services, see services.go.
const (
	zoneRouting        = 0x1000
	zoneRoutingHairpin = 0x2000
	zoneBridge         = 0x4000
	zoneBridgeHairpin  = 0x6000
	maxZone            = 0x0fff
)

// Registers lists all register fields, in order.
func Registers() []Register {
	return []Register{
		{regSrcClass, "where the packet comes from: 1 local endpoint, 2 tunnel, 3 uplink, 4 host NAT, 5 host infrastructure, 6 the agent"},
		{regDstClass, "where it goes: 1 local endpoint, 2 tunnel, 3 uplink, 4 host NAT, 5 flooded"},
		{regHairpin, "goes out of the port it came in through"},
		{regLocalDst, "the destination address is that of a local endpoint"},
		{regPuntDone, "skip the DNS punt: the agent sent it"},
		{regServiceHit, "the client has a provider already (service with affinity)"},
		{regProbe, "made by the agent to have a connection judged again; never leaves"},
		{regCTZone, "zone of connection tracking"},
		{regSrcIdentity, "identity of the source, 0 for none"},
		{regDstIdentity, "identity of the destination, 0 for none"},
		{regOutPort, "OpenFlow port to leave through"},
		{regBackend, "number of that provider"},
		{regChoice, "which provider of many a connection gets"},
		{regVRF, "tenant"},
		{regBD, "network (bridge domain)"},
		{regRuleID, "policy rule that decided"},
		{regSwap, "scratch, to swap two fields"},
	}
}

// Table numbers.
const (
	tableInput     = 0
	tableTenant    = 10
	tableSpoof     = 12
	tableARPND     = 13
	tableNDReply   = 14
	tablePunt      = 15
	tablePuntMeter = 16
	tableQoS       = 17
	tablePreNAT    = 20
	tableUnSNAT    = 22
	tableCTIn      = 25
	tableCTState   = 27
	tableAffinity  = 28
	tableAffDNAT   = 29
	tableSvcDNAT   = 30
	tableSvcPost   = 31
	tableSvcPick   = 32
	tableSrcGroup  = 35
	tableDstGroup  = 40
	tablePolicy    = 50
	tableCTCommit  = 55
	tableDeny      = 58
	tableSvcSNAT   = 60
	tableHairpin   = 61
	tableSvcStats  = 65
	tableStatsFwd  = 66
	tableStatsRev  = 67
	tableIP        = 70
	tableHostSNAT  = 80
	tableL2Fix     = 85
	tableMACDest   = 90
	tableOutput    = 100
)

// Table declares one stage.
type Table struct {
	ID      uint8
	Name    string
	Purpose string
	// Miss is the table a packet goes on in when no flow takes it; 0: it is dropped. MissRouting is the same in forward
	// mode routing, if that is another.
	Miss, MissRouting uint8
	// Reserved: nothing is in it yet but the miss, or nothing leads to it.
	Reserved bool
}

// Tables lists all stages, in order.
func Tables() []Table {
	return []Table{
		{ID: tableInput, Name: "INPUT", Purpose: "sanity; class of the source by kind of port", Miss: tableTenant},
		{ID: tableTenant, Name: "TENANT", Purpose: "port or VNI to tenant, network and source identity; unknown ports and VNIs end here"},
		{ID: tableSpoof, Name: "SPOOF", Purpose: "a local endpoint sends only with its own MAC, IPv4 and IPv6 addresses, in ARP and ND messages too; a packet from the tunnel has the addresses of an endpoint of the network that lives on the sending host, and gets its identity"},
		{ID: tableARPND, Name: "ARP_ND", Purpose: "answers ARP and neighbour solicitations (proxy mode) or floods them; drops what only a router may say; splits unicast IP from the rest"},
		{ID: tableNDReply, Name: "ND_REPLY", Purpose: "second half of answering a neighbour solicitation"},
		{ID: tablePunt, Name: "PUNT", Purpose: "DNS queries to the agent, while it lives", Miss: tableQoS},
		{ID: tablePuntMeter, Name: "PUNT_METER", Purpose: "how many packets an endpoint may send to the agent; those above are dropped"},
		{ID: tableQoS, Name: "QOS", Purpose: "DSCP of an endpoint whose netprofile says so", Miss: tablePreNAT},
		{ID: tablePreNAT, Name: "PRE_NAT", Purpose: "finds what may be a provider's answer to itself; forward mode routing: what the host sends to an endpoint's private address goes to the endpoint", Miss: tableCTIn},
		{ID: tableUnSNAT, Name: "UN_SNAT", Purpose: "sends a provider's answer to itself back to it", Miss: tableCTIn},
		{ID: tableCTIn, Name: "CT_IN", Purpose: "connection tracking, in the zone of the network"},
		{ID: tableCTState, Name: "CT_STATE", Purpose: "dispatch by connection state: replies go on, the rest is judged"},
		{ID: tableAffinity, Name: "AFFINITY", Purpose: "learned: the provider of a client, of services with affinity"},
		{ID: tableAffDNAT, Name: "AFF_DNAT", Purpose: "to the provider that the client had before", Miss: tableSvcDNAT},
		{ID: tableSvcDNAT, Name: "SVC_DNAT", Purpose: "service address to provider; what a service does not have is dropped", Miss: tableSrcGroup},
		{ID: tableSvcPost, Name: "SVC_POST", Purpose: "after the choice of a provider: has traffic counted", Miss: tableSrcGroup},
		{ID: tableSvcPick, Name: "SVC_PICK", Purpose: "the chosen one of many providers"},
		{ID: tableSrcGroup, Name: "SRC_GRP", Purpose: "identity of a source beyond an uplink (VLAN modes)", Miss: tableDstGroup, Reserved: true},
		{ID: tableDstGroup, Name: "DST_GRP", Purpose: "identity of the destination", Miss: tablePolicy},
		{ID: tablePolicy, Name: "POLICY", Purpose: "rules, at priority 10 and twice the rule's, a deny one above", Miss: tableCTCommit},
		{ID: tableCTCommit, Name: "CT_COMMIT", Purpose: "remembers allowed connections", Miss: tableSvcSNAT},
		{ID: tableDeny, Name: "DENY", Purpose: "drops; marks a connection that was allowed before, so that its replies are dropped too"},
		{ID: tableSvcSNAT, Name: "SVC_SNAT", Purpose: "finds connections of providers to themselves", Miss: tableSvcStats},
		{ID: tableHairpin, Name: "HAIRPIN", Purpose: "gives them the service's address as source, so that the answers come by here"},
		{ID: tableSvcStats, Name: "SVC_STATS", Purpose: "counts service traffic", Miss: tableL2Fix, MissRouting: tableIP},
		{ID: tableStatsFwd, Name: "STATS_FWD", Purpose: "learned: counters by client, service and provider"},
		{ID: tableStatsRev, Name: "STATS_REV", Purpose: "the same for the other direction"},
		{ID: tableIP, Name: "IP", Purpose: "forward mode routing: finds the endpoint by its address, writes its MAC address or the tunnel to its host; what is of no network goes to the host", MissRouting: tableHostSNAT},
		{ID: tableHostSNAT, Name: "HOST_SNAT", Purpose: "forward mode routing: to the host, from the endpoint's private address"},
		{ID: tableL2Fix, Name: "L2_FIX", Purpose: "a provider's MAC address, which connection tracking does not restore", Miss: tableMACDest},
		{ID: tableMACDest, Name: "MAC_DEST", Purpose: "MAC lookup; floods multicast, in flood mode unknown unicast too"},
		{ID: tableOutput, Name: "OUTPUT", Purpose: "leaves through OUT_PORT, or where it came in if HAIRPIN is set"},
	}
}

// Cookies: bits 63-48 round (the writer's, 0 here), 47-44 schema, 43-40 mode, 39-32 category, 31-0 object.
const (
	cookieSchema    = 2
	cookieModeVXLAN = 2

	categoryBase     = 1
	categoryNetwork  = 2
	categoryEndpoint = 3
	categoryPolicy   = 4 // object: id of the rule
	categoryDrop     = 5 // object: reason
	categoryService  = 6 // object: id of the service
)

// Reasons for which packets are dropped, as objects of cookies.
const (
	dropSpoof   = 1
	dropInvalid = 2
	dropPolicy  = 3
	dropBlocked = 4
	dropService = 5
)

// DropReasons are the reasons by number, for those who read statistics.
func DropReasons() map[uint32]string {
	return map[uint32]string{dropSpoof: "spoof", dropInvalid: "invalid", dropPolicy: "policy", dropBlocked: "blocked", dropService: "no service"}
}

// Fields of a cookie, for those who read statistics.
const (
	CookieCategoryMask = uint64(0xff) << 32
	CookieObjectMask   = uint64(0xffffffff)
)

func cookie(category uint8, object uint32) uint64 {
	return cookieSchema<<44 | cookieModeVXLAN<<40 | uint64(category)<<32 | uint64(object)
}

// Group numbers: bits 31-28 kind, 27-12 id of the network or service, 11-0 part. Part 0 of a flood group is the one that
// flows use; when its buckets do not fit in one message, it hands on to parts 1, 2, ... The part of a service's group is
// the place of the port among the service's.
const (
	groupFloodAll   = 1
	groupFloodLocal = 2
	groupService    = 3
	groupService6   = 4
)

func groupID(kind uint32, owner uint16, part int) uint32 {
	return kind<<28 | uint32(owner)<<12 | uint32(part) //nolint:gosec // parts are few
}
