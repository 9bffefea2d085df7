package pipeline

import (
	"net/netip"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Forward mode routing: the switch of each host is the router of every network that is there. It has one MAC address
// everywhere, so that an endpoint meets the same neighbour wherever it runs.

// routerMAC is the router's address, on every host.
var routerMAC = of.MAC{0x00, 0x00, 0x11, 0x11, 0x11, 0x11}

// routedNetwork answers for all addresses of a network, who it is that asks for them; whether somebody has the address
// shows when a packet for it comes: what no endpoint has is dropped.
func (v *view) routedNetwork(u *unit, n *protocol.Network) {
	c, bd, from := cookie(categoryNetwork, uint32(n.ID)), regBD.Is(uint32(n.ID)), regSrcClass.Is(v.class(n))
	if n.Subnet.IsValid() {
		u.add(c, tableARPND, 100, of.NewMatch(isARP, of.ARPOp(1), from, bd, of.ARPTpaIn(n.Subnet)), arpReply(routerMAC), 0)
	}
	if n.Subnet6.IsValid() {
		answers(u, c, func(more ...of.Term) of.Match {
			return icmp6(neighbourSolicitation, append(more, from, bd, of.NDTargetIn(n.Subnet6))...)
		})
	}
	v.gatewayEcho(u, n)
	v.blackhole(u, n)
}

// answers answers neighbour solicitations with the router's address.
func answers(u *unit, cookie uint64, asks func(more ...of.Term) of.Match) {
	u.add(cookie, tableARPND, 100, asks(), ndReply(routerMAC), tableNDReply)
	// Without the sender's link-layer option there is no room for ours; in the answer to one neighbour it may lack.
	u.add(cookie, tableARPND, 120, asks(of.NDSll(of.MAC{}), toUnicast), ndReplyBare(routerMAC), 0)
	u.add(cookie, tableARPND, 119, asks(of.NDSll(of.MAC{})), nothing, 0)
}

// Types of echo messages.
const (
	echoRequest, echoReply   = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// gatewayEcho answers pings of the gateway's addresses, from whatever network of the tenant, after the rules.
func (v *view) gatewayEcho(u *unit, n *protocol.Network) {
	c, domain := cookie(categoryNetwork, uint32(n.ID)), v.domain(n)
	swap := func(src, dst of.Field, gateway netip.Addr, answer of.Action) of.Actions {
		return of.Do(
			of.Move(of.Whole(of.FieldEthSrc), of.Whole(of.FieldEthDst)), of.SetEthSrc(routerMAC),
			of.Move(of.Whole(src), of.Whole(dst)), of.SetIPSrc(gateway), answer, of.OutputIn(),
		)
	}
	if a := n.Gateway; a.Is4() {
		request := of.NewMatch(fromLocal, domain, isIP4, of.IPProto(of.ProtoICMP), of.ICMPType(echoRequest), of.IPDstAddr(a))
		u.add(c, tableIP, 100, request, swap(of.FieldIPSrc, of.FieldIPDst, a, of.SetICMPType(echoReply)), 0)
	}
	if a := n.Gateway6; a.Is6() {
		request := icmp6(echoRequest6, fromLocal, domain, of.IPDstAddr(a))
		u.add(c, tableIP, 100, request, swap(of.FieldIP6Src, of.FieldIP6Dst, a, of.SetICMPv6Type(echoReply6)), 0)
	}
}

// ndReplyBare is an answer without the link-layer option.
func ndReplyBare(mac of.MAC) of.Actions {
	return of.Do(
		of.Move(of.Whole(of.FieldEthSrc), of.Whole(of.FieldEthDst)), of.SetEthSrc(mac),
		of.Move(of.Whole(of.FieldIP6Src), of.Whole(of.FieldIP6Dst)), of.Move(of.Whole(of.FieldNDTarget), of.Whole(of.FieldIP6Src)),
		of.SetICMPv6Type(neighbourAdvert), of.SetNDFlags(of.NDSolicited|of.NDOverride), of.OutputIn(),
	)
}

// routedEndpoint routes packets to an endpoint. The hop is counted where the packet arrives, so that it counts once,
// whether a tunnel lies between or not.
func (v *view) routedEndpoint(u *unit, e *endpoint) {
	for _, a := range e.addresses() {
		to := of.NewMatch(a.version, v.domain(e.network), of.IPDstAddr(a.Addr))
		if e.local() {
			u.add(e.cookie, tableIP, 100, to,
				of.Do(of.SetEthSrc(routerMAC), of.SetEthDst(e.mac), of.DecTTL(), regOutPort.Load(e.port)), tableOutput)
			continue
		}
		u.add(e.cookie, tableIP, 100, to, of.Do(of.SetEthSrc(routerMAC), of.SetEthDst(routerMAC),
			of.SetTunID(uint64(e.network.VNI)), of.SetTunDst(e.vtep), regOutPort.Load(v.TunnelPort)), tableOutput)
	}
}
