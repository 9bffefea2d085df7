package nameserver

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// datagram is one over UDP.
type datagram struct {
	src, dst netip.AddrPort
	payload  []byte
}

var (
	errFragment = errors.New("a fragment")
	errProtocol = errors.New("neither TCP nor UDP")
)

// readIP reads an IP packet. tcp tells that it is one of TCP, of which no more is read than the addresses. payload is the
// packet's memory.
func readIP(ip []byte) (d datagram, tcp bool, err error) {
	if len(ip) == 0 {
		return datagram{}, false, errors.New("an empty packet")
	}
	var (
		v4     layers.IPv4
		v6     layers.IPv6
		ext    layers.IPv6ExtensionSkipper
		udp    layers.UDP
		first  = layers.LayerTypeIPv4
		seen   []gopacket.LayerType
		hasUDP bool
	)
	if ip[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	parser := gopacket.NewDecodingLayerParser(first, &v4, &v6, &ext, &udp)
	parser.IgnoreUnsupported = true
	if err := parser.DecodeLayers(ip, &seen); err != nil {
		return datagram{}, false, fmt.Errorf("a packet that is damaged: %w", err)
	}
	next := v4.Protocol
	for _, layer := range seen {
		switch layer {
		case layers.LayerTypeIPv6:
			next = v6.NextHeader
		case layers.LayerTypeUDP:
			hasUDP = true
		}
	}
	var src, dst netip.Addr
	if first == layers.LayerTypeIPv4 {
		src, _ = netip.AddrFromSlice(v4.SrcIP)
		dst, _ = netip.AddrFromSlice(v4.DstIP)
	} else {
		src, _ = netip.AddrFromSlice(v6.SrcIP)
		dst, _ = netip.AddrFromSlice(v6.DstIP)
	}
	switch {
	case v4.FragOffset != 0 || v4.Flags&layers.IPv4MoreFragments != 0:
		return datagram{}, false, errFragment
	case hasUDP:
		return datagram{
			netip.AddrPortFrom(src, uint16(udp.SrcPort)), netip.AddrPortFrom(dst, uint16(udp.DstPort)), udp.Payload,
		}, false, nil
	case next == layers.IPProtocolTCP:
		return datagram{src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0)}, true, nil
	}
	return datagram{}, false, errProtocol
}

// packet is the datagram as an IP packet.
func (d *datagram) packet() ([]byte, error) {
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	src, dst := d.src.Addr(), d.dst.Addr()
	if src.Is4() {
		ip = &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(d.src.Port()), DstPort: layers.UDPPort(d.dst.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("a datagram from %v to %v: %w", d.src, d.dst, err)
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, ip, udp, gopacket.Payload(d.payload)); err != nil {
		return nil, fmt.Errorf("a datagram from %v to %v: %w", d.src, d.dst, err)
	}
	return buf.Bytes(), nil
}
