package pipeline

import (
	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// DNS packets of local endpoints go to the agent through two stages. A gate, in PUNT and for TCP in DST_GRP, leads there
// only while the agent lives: its flows end by themselves, and are not part of a Program but of NameGate, for the agent to
// renew. Behind it, in PUNT_METER, each endpoint has a flow and a meter of its own, so that none can keep the agent from
// the others.

// NameController is the controller id to which DNS packets are punted.
const NameController = 53

// dnsPort is where DNS servers listen.
const dnsPort = 53

// What an endpoint may send to the agent, in packets a second.
const (
	puntRate  = 100
	puntBurst = 200
)

var nameServerMAC = of.MAC{2, 2, 169, 254, 254, 53}

// puntMeter is the number of the meter for what the endpoint on a port sends to the agent.
func puntMeter(port uint32) uint32 { return port | 1<<16 }

// ownCookies mark flows that the rounds of writing leave alone; they expire.
const ownCookies = uint64(0xffff) << 48

// NameGate are the flows that lead DNS packets to the agent, each for hold seconds from when it was last added.
func NameGate(hold uint16) []of.Flow {
	u := &unit{}
	c := ownCookies | cookie(categoryBase, 0)
	dns := func(family of.Term, transport uint8, port of.Term, more ...of.Term) of.Match {
		return of.NewMatch(append(more, family, of.IPProto(transport), port, fromLocal, regPuntDone.Is(0))...)
	}
	toServer := dns(isIP4, of.ProtoTCP, of.TCPDst(dnsPort), of.IPDstAddr(protocol.NameServer))
	u.add(c, tablePunt, 100, toServer, nothing, tablePuntMeter)
	for _, family := range []of.Term{isIP4, isIP6} {
		u.add(c, tablePunt, 100, dns(family, of.ProtoUDP, of.UDPDst(dnsPort)), nothing, tablePuntMeter)
		// A connection to an endpoint, who may be a real server, was recognised above.
		u.add(c, tableDstGroup, 50, dns(family, of.ProtoTCP, of.TCPDst(dnsPort)), of.Do(of.Resubmit(tablePuntMeter)), 0)
	}
	for i := range u.flows {
		u.flows[i].HardTimeout = hold
	}
	return u.flows
}

// BackIntoPipeline are the actions for a packet that the agent had and lets go on as if it had never seen it.
func BackIntoPipeline() of.Actions {
	return of.Do(regPuntDone.Load(1), of.Resubmit(tableTenant))
}

// names lets an endpoint reach the agent.
func (u *unit) names(e *endpoint) {
	meter := puntMeter(e.port)
	u.meters = append(u.meters, of.Meter{ID: meter, Rate: puntRate, Burst: puntBurst, Packets: true})
	u.flows = append(u.flows, of.Flow{
		Table: tablePuntMeter, Priority: 100, Cookie: e.cookie, Match: of.NewMatch(of.InPort(e.port)), Meter: meter,
		Actions: of.Do(of.Punt{ID: NameController}.Action()),
	})
}

// nameServer answers ARP for the name server: DNS packets to it go to the agent like all others, and nothing else is there.
func (u *unit) nameServer() {
	u.add(cookie(categoryBase, 0), tableARPND, 105, of.NewMatch(isARP, of.ARPOp(1), fromLocal, of.ARPTpa(protocol.NameServer)),
		arpReply(nameServerMAC), 0)
}
