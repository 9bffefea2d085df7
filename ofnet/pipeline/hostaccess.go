package pipeline

import (
	"fmt"
	"net/netip"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Host access, in forward mode routing. What no network of the tenant has goes to the host, through a port of its own
// (contivh0), and the host sends it on. Endpoints of several tenants may have one address, so each local endpoint gets
// another for this, from a subnet that is private to each host: the number of its port, within that subnet. The
// translation is one to one and without state, behind connection tracking on the way out and before it on the way back.
//
// The host itself has endpoints too, in networks of type infra. They are as others, but for what they may not do: get
// out through the host, where they are.

// classHost is SRC_CLASS of what comes from the host's port, classInfra of the host's endpoints.
const (
	classHost  = 4
	classInfra = 5
)

var (
	fromHost  = regSrcClass.Is(classHost)
	fromInfra = regSrcClass.Is(classInfra)
)

// HostAccess is what a host must have besides flows for its containers to get out through it.
type HostAccess struct {
	// Subnet and Subnet6 are private to each host; Addr and Addr6 in them are the host's, with MAC.
	Subnet, Subnet6 netip.Prefix
	Addr, Addr6     netip.Addr
	MAC             of.MAC
	// MTU is that of containers; 0 if netmaster has not said.
	MTU int
	// IPv6: some network has it, so that the host should forward it.
	IPv6 bool
}

// hostNumber is the host's number in the private subnets; those of ports are below.
const hostNumber = 0xfffe

// PrivateAccess derives addresses from the global setting, an IPv4 subnet of length 16. The IPv6 subnet has the
// setting's first two bytes behind a prefix that spells "contv": 172.19.0.0/16 goes with fd63:6f6e:7476:ac13::/64.
func PrivateAccess(subnet string) (HostAccess, error) {
	p, err := netip.ParsePrefix(subnet)
	if err != nil || !p.Addr().Is4() || p.Bits() != 16 {
		return HostAccess{}, fmt.Errorf("private subnet %q is not an IPv4 subnet of length 16", subnet)
	}
	b := p.Addr().As4()
	six := netip.AddrFrom16([16]byte{0xfd, 'c', 'o', 'n', 't', 'v', b[0], b[1]})
	h := HostAccess{
		Subnet: p.Masked(), Subnet6: netip.PrefixFrom(six, 64),
		MAC: of.MAC{0x02, 0x02, b[0], b[1], hostNumber >> 8, hostNumber & 0xff},
	}
	h.Addr, h.Addr6 = h.of(hostNumber)
	return h, nil
}

// of are the private addresses of the endpoint on a port. Numbers of endpoints' ports are below hostNumber.
func (h *HostAccess) of(port uint16) (four, six netip.Addr) {
	a, b := h.Subnet.Addr().As4(), h.Subnet6.Addr().As16()
	hi, lo := byte(port>>8), byte(port)
	a[2], a[3], b[14], b[15] = hi, lo, hi, lo
	return netip.AddrFrom4(a), netip.AddrFrom16(b)
}

// HostAccess tells what the host must have. ok is false where containers do not get out through it: in forward mode
// bridge, without a private subnet, and as long as the settings are not known.
func (c *Compiler) HostAccess() (h HostAccess, ok bool) {
	if !c.routed() || c.Global.PrivateSubnet == "" {
		return HostAccess{}, false
	}
	h, err := PrivateAccess(c.Global.PrivateSubnet)
	if err != nil {
		return HostAccess{}, false
	}
	h.MTU = c.Global.MTUVXLAN
	for _, n := range c.Networks {
		h.IPv6 = h.IPv6 || n.Subnet6.IsValid()
	}
	return h, true
}

// access is what flows follow from; ok is false without a port to the host.
func (v *view) access() (h HostAccess, ok bool) {
	if !v.routed() || v.HostPort == 0 {
		return h, false
	}
	h, err := PrivateAccess(v.Global.PrivateSubnet)
	return h, err == nil
}

// hostAccess is the base of host access: the port, its ARP and neighbour discovery, and what never goes through it.
func (v *view) hostAccess(u *unit) {
	if !v.routed() {
		return
	}
	if _, err := PrivateAccess(v.Global.PrivateSubnet); err != nil && v.Global.PrivateSubnet != "" && u.why == "" {
		u.why = refuse("%v: containers do not get out through the host", err)
	}
	base := cookie(categoryBase, 0)
	for _, kind := range []uint8{neighbourSolicitation, neighbourAdvert} {
		u.drop(dropSpoof, tableSpoof, 105, icmp6(kind, fromInfra))
	}
	h, ok := v.access()
	if !ok {
		return
	}
	port, class := of.InPort(v.HostPort), of.Do(regSrcClass.Load(classHost))
	u.add(base, tableInput, 100, of.NewMatch(port, isARP), class, tableARPND)
	u.add(base, tableInput, 100, of.NewMatch(port, isIP4), class, tablePreNAT)
	u.add(base, tableInput, 100, of.NewMatch(port, isIP6), class, tablePreNAT)
	u.add(base, tableInput, 110, icmp6(neighbourSolicitation, port), class, tableARPND)

	u.add(base, tableARPND, 110, of.NewMatch(isARP, fromHost, of.ARPTpa(h.Addr)), nothing, 0)
	u.add(base, tableARPND, 100, of.NewMatch(isARP, of.ARPOp(1), fromHost, of.ARPTpaIn(h.Subnet)), arpReply(routerMAC), 0)
	asks := func(more ...of.Term) of.Match { return icmp6(neighbourSolicitation, append(more, fromHost)...) }
	u.add(base, tableARPND, 121, asks(of.NDTarget(h.Addr6)), nothing, 0)
	answers(u, base, func(more ...of.Term) of.Match { return asks(append(more, of.NDTargetIn(h.Subnet6))...) })

	u.add(base, tablePreNAT, 90, of.NewMatch(fromHost), nothing, 0)

	for _, one := range []struct {
		version of.Term
		host    netip.Addr
		never   []netip.Prefix
	}{
		{isIP4, h.Addr, []netip.Prefix{h.Subnet, netip.MustParsePrefix("224.0.0.0/3")}},
		{isIP6, h.Addr6, []netip.Prefix{h.Subnet6, netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8")}},
	} {
		// Of the private subnet only the host itself can be reached: not other containers.
		u.add(base, tableIP, 51, of.NewMatch(one.version, of.IPDstAddr(one.host)), nothing, tableHostSNAT)
		for _, p := range one.never {
			u.add(base, tableIP, 50, of.NewMatch(one.version, of.IPDst(p)), nothing, 0)
		}
	}
}

// blackhole keeps what nobody has of a tenant's own networks from the host.
func (v *view) blackhole(u *unit, n *protocol.Network) {
	c := cookie(categoryNetwork, uint32(n.ID))
	if n.Subnet.IsValid() {
		u.add(c, tableIP, 20, of.NewMatch(isIP4, v.domain(n), of.IPDst(n.Subnet)), nothing, 0)
	}
	if n.Subnet6.IsValid() {
		u.add(c, tableIP, 20, of.NewMatch(isIP6, v.domain(n), of.IPDst(n.Subnet6)), nothing, 0)
	}
}

// outThroughHost translates what a local endpoint sends to the host, and what comes back. The hop is counted here on
// the way out, and where it arrives (table IP) on the way back.
func (v *view) outThroughHost(u *unit, e *endpoint) {
	h, ok := v.access()
	if !ok || e.infra() || e.port >= hostNumber {
		return
	}
	four, six := h.of(uint16(e.port)) //nolint:gosec // below hostNumber
	for _, a := range e.addresses() {
		private := four
		if a.Is6() {
			private = six
		}
		back := of.NewMatch(fromHost, a.version, of.IPDstAddr(private))
		u.add(e.cookie, tablePreNAT, 100, back, of.Do(
			of.SetIPDst(a.Addr), regVRF.Load(uint32(e.network.VRF)), regBD.Load(uint32(e.network.ID)), regCTZone.Load(v.zone(e.network)),
		), tableCTIn)
		out := of.NewMatch(of.InPort(e.port), fromLocal, a.version, of.IPSrcAddr(a.Addr))
		u.add(e.cookie, tableHostSNAT, 100, out, of.Do(
			of.SetIPSrc(private), of.SetEthSrc(routerMAC), of.SetEthDst(h.MAC), of.DecTTL(), regOutPort.Load(v.HostPort),
		), tableOutput)
	}
}

// infra tells an endpoint of a host itself.
func (e *endpoint) infra() bool { return e.network.Type == protocol.NetworkInfra }

// class is SRC_CLASS of what a local endpoint sends. Bridge modes do not tell the host's endpoints from others.
func (v *view) class(n *protocol.Network) uint32 {
	if v.routed() && n.Type == protocol.NetworkInfra {
		return classInfra
	}
	return classLocal
}
