package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// String writes the match as ovs-ofctl does: "ip,reg5=0x1/0xffff,nw_src=10.1.1.2". Empty for the match of all packets.
func (m Match) String() string {
	terms, err := decodeTerms(m.oxm)
	if err != nil {
		return "invalid:" + hex.EncodeToString([]byte(m.oxm))
	}
	var by [numFields]*Term
	for i := range terms {
		by[terms[i].field] = &terms[i]
	}
	word, hidesType, hidesProto := shorthand(by[FieldEthType], by[FieldIPProto])
	var out []byte
	for _, f := range printOrder {
		t := by[f]
		if f == FieldEthType && hidesType {
			out = append(append(out, word...), ',')
		}
		if t == nil || f == FieldEthType && hidesType || f == FieldIPProto && hidesProto {
			continue
		}
		out = append(t.appendText(out), ',')
	}
	return strings.TrimSuffix(string(out), ",")
}

// shorthand is the word that stands for an Ethernet type and protocol.
func shorthand(ethType, proto *Term) (word string, hidesType, hidesProto bool) {
	if ethType == nil {
		return "", false, false
	}
	six := ""
	switch binary.BigEndian.Uint16(ethType.value[:2]) {
	case EtherARP:
		return "arp", true, false
	case EtherIPv6:
		six = "6"
	case EtherIPv4:
	default:
		return "", false, false
	}
	p := uint8(0)
	if proto != nil {
		p = proto.value[0]
	}
	switch {
	case p == ProtoTCP:
		return "tcp" + six, true, true
	case p == ProtoUDP:
		return "udp" + six, true, true
	case p == ProtoSCTP:
		return "sctp" + six, true, true
	case p == ProtoICMP && six == "":
		return "icmp", true, true
	case p == ProtoICMPv6 && six != "":
		return "icmp6", true, true
	case six != "":
		return "ipv6", true, false
	}
	return "ip", true, false
}

func (t *Term) appendText(out []byte) []byte {
	info := fields[t.field]
	if t.field == FieldVLAN && !t.masked {
		vid := binary.BigEndian.Uint16(t.value[:2])
		if vid == 0 {
			return append(out, "vlan_tci=0x0000/0x1fff"...)
		}
		return strconv.AppendUint(append(out, "dl_vlan="...), uint64(vid&0xfff), 10)
	}
	out = append(append(out, info.name...), '=')
	if t.field == FieldVLAN {
		return fmt.Appendf(out, "%#x/%#x", t.value[:2], t.mask[:2])
	}
	switch {
	case info.format == formatState:
		return appendFlags(out, t, 4, stateNames)
	case info.format == formatTCPFlags:
		return appendFlags(out, t, 2, tcpFlagNames)
	case info.format == formatFrag && t.value[0] == fragLater:
		return append(out, "later"...)
	case info.format == formatFrag && t.value[0] == fragFirst:
		return append(out, "first"...)
	case t.field == FieldIPDSCP: // as the byte it is a part of
		return strconv.AppendUint(out, uint64(t.value[0])<<2, 10)
	}
	if info.format == formatIP && t.masked {
		return appendMaskedIP(out, t, info.size)
	}
	if t.masked && info.name[:3] == "tp_" { // ports are decimal, but not in parts
		return fmt.Appendf(out, "%#x/%#x", toNumber(t.value[:2]), toNumber(t.mask[:2]))
	}
	out = appendValue(out, info, t.value[:info.size])
	if t.masked {
		out = appendValue(append(out, '/'), info, t.mask[:info.size])
	}
	return out
}

func appendValue(out []byte, info fieldInfo, value []byte) []byte {
	switch info.format {
	case formatMAC:
		return appendMAC(out, value)
	case formatIP:
		addr, _ := netip.AddrFromSlice(value)
		return addr.AppendTo(out)
	case formatPort:
		return appendPort(out, binary.BigEndian.Uint32(value))
	case formatHex:
		if info.size > 8 {
			return appendWideHex(out, value)
		}
		return appendHex(out, toNumber(value))
	}
	return strconv.AppendUint(out, toNumber(value), 10)
}

// appendHex writes as C's %#x does, which gives zero no prefix.
// appendHex writes as C's %#x does, which gives zero no prefix.
func appendHex(out []byte, v uint64) []byte {
	if v != 0 {
		out = append(out, "0x"...)
	}
	return strconv.AppendUint(out, v, 16)
}

// appendWideHex writes a number that may be longer than 64 bits.
func appendWideHex(out, value []byte) []byte {
	for len(value) > 0 && value[0] == 0 {
		value = value[1:]
	}
	if len(value) == 0 {
		return append(out, '0')
	}
	out = strconv.AppendUint(append(out, "0x"...), uint64(value[0]), 16)
	return hex.AppendEncode(out, value[1:])
}

func toNumber(value []byte) uint64 {
	var v uint64
	for _, b := range value {
		v = v<<8 | uint64(b)
	}
	return v
}

func appendMAC(out, mac []byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range mac {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return out
}

func appendMaskedIP(out []byte, t *Term, size int) []byte {
	addr, _ := netip.AddrFromSlice(t.value[:size])
	out = append(addr.AppendTo(out), '/')
	bits := 0
	for bits < 8*size && t.mask[bits/8]&(0x80>>(bits%8)) != 0 {
		bits++
	}
	for i := bits; i < 8*size; i++ {
		if t.mask[i/8]&(0x80>>(i%8)) != 0 {
			mask, _ := netip.AddrFromSlice(t.mask[:size])
			return mask.AppendTo(out)
		}
	}
	return strconv.AppendInt(out, int64(bits), 10)
}

var stateNames = []string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}

func appendFlags(out []byte, t *Term, size int, names []string) []byte {
	value, mask := toNumber(t.value[:size]), ^uint64(0)
	if t.masked {
		mask = toNumber(t.mask[:size])
	}
	for i, name := range names {
		if mask&(1<<i) == 0 {
			continue
		}
		sign := byte('-')
		if value&(1<<i) != 0 {
			sign = '+'
		}
		out = append(append(out, sign), name...)
	}
	return out
}

// Port numbers with a meaning of their own.
const (
	PortMax        uint32 = 0xff00 // numbers of real ports are below
	PortIn         uint32 = 0xfffffff8
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff
)

func appendPort(out []byte, port uint32) []byte {
	switch port {
	case PortIn:
		return append(out, "IN_PORT"...)
	case PortNormal:
		return append(out, "NORMAL"...)
	case PortFlood:
		return append(out, "FLOOD"...)
	case PortAll:
		return append(out, "ALL"...)
	case PortController:
		return append(out, "CONTROLLER"...)
	case PortLocal:
		return append(out, "LOCAL"...)
	case PortAny:
		return append(out, "ANY"...)
	}
	return strconv.AppendUint(out, uint64(port), 10)
}

// bitRange writes which bits of a field: "[0..15]", "[3]", "[]" for all.
func bitRange(first, bits, all int) string {
	switch {
	case first == 0 && bits == all:
		return "[]"
	case bits == 1:
		return fmt.Sprintf("[%d]", first)
	}
	return fmt.Sprintf("[%d..%d]", first, first+bits-1)
}
