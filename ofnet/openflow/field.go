package openflow

import (
	of "github.com/contiv/libOpenflow/openflow13"
)

// Field is a header field, register or piece of metadata of a packet. Its order is that of the wire: a field comes
// after those it depends on (nw_src after eth_type), because Open vSwitch checks dependencies while it reads.
type Field uint8

// Fields that matches and actions know.
const (
	FieldInPort Field = iota
	FieldMetadata
	FieldConjID
	FieldCTState
	FieldCTZone
	FieldCTMark
	FieldCTLabel
	FieldReg0 // and fifteen more

	FieldTunID Field = iota + 15
	FieldTunSrc
	FieldTunDst
	FieldTunSrc6
	FieldTunDst6
	FieldEthDst
	FieldEthSrc
	FieldEthType
	FieldVLAN
	FieldIPSrc
	FieldIPDst
	FieldIP6Src
	FieldIP6Dst
	FieldIPDSCP
	FieldIPProto
	FieldIPTTL
	FieldIPFrag
	FieldTCPSrc
	FieldTCPDst
	FieldTCPFlags
	FieldUDPSrc
	FieldUDPDst
	FieldSCTPSrc
	FieldSCTPDst
	FieldARPOp
	FieldARPSpa
	FieldARPTpa
	FieldARPSha
	FieldARPTha
	FieldICMPType
	FieldICMPCode
	FieldICMP6Type
	FieldICMP6Code
	FieldNDTarget
	FieldNDSll
	FieldNDTll
	FieldNDFlags  // the 32 bits before the target: R, S, O and reserved
	FieldNDOption // type of the first option
	FieldXXReg0   // and three more: four registers as one, for actions; XXReg.Is matches

	numFields Field = iota + 18
)

// How a value is written.
type format uint8

const (
	formatDec format = iota
	formatHex
	formatPort
	formatMAC
	formatIP
	formatState
	formatTCPFlags
	formatFrag
)

// classEricsson is the plain class of two neighbour discovery fields, a number of Open vSwitch's own.
const classEricsson = 0x1000

type fieldInfo struct {
	class  uint16
	num    uint8
	size   int    // bytes
	bits   int    // of size that count
	name   string // in a match
	set    string // in set_field
	nxm    string // in load and move
	format format
}

var fields = makeFields()

// fieldByHeader finds a field by class and number.
var fieldByHeader = func() map[uint32]Field {
	m := make(map[uint32]Field, numFields)
	for f := range numFields {
		m[uint32(fields[f].class)<<8|uint32(fields[f].num)] = f
	}
	// Loads and moves name some fields by their Nicira header.
	for header, f := range nxmAliases {
		m[header] = f
	}
	return m
}()

var nxmAliases = map[uint32]Field{
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_TUN_ID):      FieldTunID,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ETH_SRC):     FieldEthSrc,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ETH_DST):     FieldEthDst,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ARP_OP):      FieldARPOp,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ARP_SPA):     FieldARPSpa,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ARP_TPA):     FieldARPTpa,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ARP_SHA):     FieldARPSha,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ARP_THA):     FieldARPTha,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_IP_SRC):      FieldIPSrc,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_IP_DST):      FieldIPDst,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_IPV6_SRC):    FieldIP6Src,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_IPV6_DST):    FieldIP6Dst,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ND_TARGET):   FieldNDTarget,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ND_SLL):      FieldNDSll,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ND_TLL):      FieldNDTll,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ICMPV6_TYPE): FieldICMP6Type,
	uint32(of.OXM_CLASS_NXM_1)<<8 | uint32(of.NXM_NX_ICMPV6_CODE): FieldICMP6Code,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ETH_TYPE):    FieldEthType,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_IP_PROTO):    FieldIPProto,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_TCP_SRC):     FieldTCPSrc,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_TCP_DST):     FieldTCPDst,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_UDP_SRC):     FieldUDPSrc,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_UDP_DST):     FieldUDPDst,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ICMP_TYPE):   FieldICMPType,
	uint32(of.OXM_CLASS_NXM_0)<<8 | uint32(of.NXM_OF_ICMP_CODE):   FieldICMPCode,
}

func makeFields() [numFields]fieldInfo {
	const basic, nx = of.OXM_CLASS_OPENFLOW_BASIC, of.OXM_CLASS_NXM_1
	t := [numFields]fieldInfo{
		FieldInPort:    {basic, of.OXM_FIELD_IN_PORT, 4, 32, "in_port", "in_port", "NXM_OF_IN_PORT", formatPort},
		FieldMetadata:  {basic, of.OXM_FIELD_METADATA, 8, 64, "metadata", "metadata", "OXM_OF_METADATA", formatHex},
		FieldConjID:    {nx, of.NXM_NX_CONJ_ID, 4, 32, "conj_id", "conj_id", "NXM_NX_CONJ_ID", formatDec},
		FieldCTState:   {nx, of.NXM_NX_CT_STATE, 4, 32, "ct_state", "ct_state", "NXM_NX_CT_STATE", formatState},
		FieldCTZone:    {nx, of.NXM_NX_CT_ZONE, 2, 16, "ct_zone", "ct_zone", "NXM_NX_CT_ZONE", formatDec},
		FieldCTMark:    {nx, of.NXM_NX_CT_MARK, 4, 32, "ct_mark", "ct_mark", "NXM_NX_CT_MARK", formatHex},
		FieldCTLabel:   {nx, of.NXM_NX_CT_LABEL, 16, 128, "ct_label", "ct_label", "NXM_NX_CT_LABEL", formatHex},
		FieldTunID:     {basic, of.OXM_FIELD_TUNNEL_ID, 8, 64, "tun_id", "tun_id", "NXM_NX_TUN_ID", formatHex},
		FieldTunSrc:    {nx, of.NXM_NX_TUN_IPV4_SRC, 4, 32, "tun_src", "tun_src", "NXM_NX_TUN_IPV4_SRC", formatIP},
		FieldTunDst:    {nx, of.NXM_NX_TUN_IPV4_DST, 4, 32, "tun_dst", "tun_dst", "NXM_NX_TUN_IPV4_DST", formatIP},
		FieldTunSrc6:   {nx, of.NXM_NX_TUN_IPV6_SRC, 16, 128, "tun_ipv6_src", "tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC", formatIP},
		FieldTunDst6:   {nx, of.NXM_NX_TUN_IPV6_DST, 16, 128, "tun_ipv6_dst", "tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST", formatIP},
		FieldEthDst:    {basic, of.OXM_FIELD_ETH_DST, 6, 48, "dl_dst", "eth_dst", "NXM_OF_ETH_DST", formatMAC},
		FieldEthSrc:    {basic, of.OXM_FIELD_ETH_SRC, 6, 48, "dl_src", "eth_src", "NXM_OF_ETH_SRC", formatMAC},
		FieldEthType:   {basic, of.OXM_FIELD_ETH_TYPE, 2, 16, "dl_type", "eth_type", "NXM_OF_ETH_TYPE", formatHex},
		FieldVLAN:      {basic, of.OXM_FIELD_VLAN_VID, 2, 13, "vlan_tci", "vlan_vid", "OXM_OF_VLAN_VID", formatDec},
		FieldIPSrc:     {basic, of.OXM_FIELD_IPV4_SRC, 4, 32, "nw_src", "ip_src", "NXM_OF_IP_SRC", formatIP},
		FieldIPDst:     {basic, of.OXM_FIELD_IPV4_DST, 4, 32, "nw_dst", "ip_dst", "NXM_OF_IP_DST", formatIP},
		FieldIP6Src:    {basic, of.OXM_FIELD_IPV6_SRC, 16, 128, "ipv6_src", "ipv6_src", "NXM_NX_IPV6_SRC", formatIP},
		FieldIP6Dst:    {basic, of.OXM_FIELD_IPV6_DST, 16, 128, "ipv6_dst", "ipv6_dst", "NXM_NX_IPV6_DST", formatIP},
		FieldIPDSCP:    {basic, of.OXM_FIELD_IP_DSCP, 1, 6, "nw_tos", "ip_dscp", "OXM_OF_IP_DSCP", formatDec},
		FieldIPProto:   {basic, of.OXM_FIELD_IP_PROTO, 1, 8, "nw_proto", "nw_proto", "NXM_OF_IP_PROTO", formatDec},
		FieldIPTTL:     {nx, of.NXM_NX_IP_TTL, 1, 8, "nw_ttl", "nw_ttl", "NXM_NX_IP_TTL", formatDec},
		FieldIPFrag:    {nx, of.NXM_NX_IP_FRAG, 1, 8, "nw_frag", "nw_frag", "NXM_NX_IP_FRAG", formatFrag},
		FieldTCPSrc:    {basic, of.OXM_FIELD_TCP_SRC, 2, 16, "tp_src", "tcp_src", "NXM_OF_TCP_SRC", formatDec},
		FieldTCPDst:    {basic, of.OXM_FIELD_TCP_DST, 2, 16, "tp_dst", "tcp_dst", "NXM_OF_TCP_DST", formatDec},
		FieldTCPFlags:  {nx, of.NXM_NX_TCP_FLAGS, 2, 12, "tcp_flags", "tcp_flags", "NXM_NX_TCP_FLAGS", formatTCPFlags},
		FieldUDPSrc:    {basic, of.OXM_FIELD_UDP_SRC, 2, 16, "tp_src", "udp_src", "NXM_OF_UDP_SRC", formatDec},
		FieldUDPDst:    {basic, of.OXM_FIELD_UDP_DST, 2, 16, "tp_dst", "udp_dst", "NXM_OF_UDP_DST", formatDec},
		FieldSCTPSrc:   {basic, of.OXM_FIELD_SCTP_SRC, 2, 16, "tp_src", "sctp_src", "OXM_OF_SCTP_SRC", formatDec},
		FieldSCTPDst:   {basic, of.OXM_FIELD_SCTP_DST, 2, 16, "tp_dst", "sctp_dst", "OXM_OF_SCTP_DST", formatDec},
		FieldARPOp:     {basic, of.OXM_FIELD_ARP_OP, 2, 16, "arp_op", "arp_op", "NXM_OF_ARP_OP", formatDec},
		FieldARPSpa:    {basic, of.OXM_FIELD_ARP_SPA, 4, 32, "arp_spa", "arp_spa", "NXM_OF_ARP_SPA", formatIP},
		FieldARPTpa:    {basic, of.OXM_FIELD_ARP_TPA, 4, 32, "arp_tpa", "arp_tpa", "NXM_OF_ARP_TPA", formatIP},
		FieldARPSha:    {basic, of.OXM_FIELD_ARP_SHA, 6, 48, "arp_sha", "arp_sha", "NXM_NX_ARP_SHA", formatMAC},
		FieldARPTha:    {basic, of.OXM_FIELD_ARP_THA, 6, 48, "arp_tha", "arp_tha", "NXM_NX_ARP_THA", formatMAC},
		FieldICMPType:  {basic, of.OXM_FIELD_ICMPV4_TYPE, 1, 8, "icmp_type", "icmp_type", "NXM_OF_ICMP_TYPE", formatDec},
		FieldICMPCode:  {basic, of.OXM_FIELD_ICMPV4_CODE, 1, 8, "icmp_code", "icmp_code", "NXM_OF_ICMP_CODE", formatDec},
		FieldICMP6Type: {basic, of.OXM_FIELD_ICMPV6_TYPE, 1, 8, "icmp_type", "icmpv6_type", "NXM_NX_ICMPV6_TYPE", formatDec},
		FieldICMP6Code: {basic, of.OXM_FIELD_ICMPV6_CODE, 1, 8, "icmp_code", "icmpv6_code", "NXM_NX_ICMPV6_CODE", formatDec},
		FieldNDTarget:  {basic, of.OXM_FIELD_IPV6_ND_TARGET, 16, 128, "nd_target", "nd_target", "NXM_NX_ND_TARGET", formatIP},
		FieldNDSll:     {basic, of.OXM_FIELD_IPV6_ND_SLL, 6, 48, "nd_sll", "nd_sll", "NXM_NX_ND_SLL", formatMAC},
		FieldNDTll:     {basic, of.OXM_FIELD_IPV6_ND_TLL, 6, 48, "nd_tll", "nd_tll", "NXM_NX_ND_TLL", formatMAC},
		FieldNDFlags:   {classEricsson, 1, 4, 32, "nd_reserved", "nd_reserved", "ERICOXM_OF_ICMPV6_ND_RESERVED", formatDec},
		FieldNDOption:  {classEricsson, 2, 1, 8, "nd_options_type", "nd_options_type", "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", formatDec},
	}
	for i := range 16 {
		name := "reg" + string("0123456789"[i%10])
		if i >= 10 {
			name = "reg1" + string("0123456789"[i-10])
		}
		t[FieldReg0+Field(i)] = fieldInfo{nx, uint8(of.NXM_NX_REG0 + i), 4, 32, name, name, "NXM_NX_REG" + name[3:], formatHex}
	}
	for i := range 4 {
		name := "xxreg" + string("0123"[i])
		t[FieldXXReg0+Field(i)] = fieldInfo{nx, uint8(of.NXM_NX_XXREG0 + i), 16, 128, name, name, "NXM_NX_XXREG" + name[5:], formatHex}
	}
	return t
}

// printOrder is the order in which ovs-ofctl writes the fields of a match. Where eth_type and protocol give a
// short word ("udp6") it stands at the place of FieldEthType here.
var printOrder = [...]Field{
	FieldConjID, FieldCTState, FieldCTZone, FieldCTMark, FieldCTLabel, FieldEthType,
	FieldReg0, FieldReg0 + 1, FieldReg0 + 2, FieldReg0 + 3, FieldReg0 + 4, FieldReg0 + 5, FieldReg0 + 6, FieldReg0 + 7,
	FieldReg0 + 8, FieldReg0 + 9, FieldReg0 + 10, FieldReg0 + 11, FieldReg0 + 12, FieldReg0 + 13, FieldReg0 + 14, FieldReg0 + 15,
	FieldTunID, FieldTunSrc, FieldTunDst, FieldTunSrc6, FieldTunDst6, FieldMetadata, FieldInPort, FieldVLAN,
	FieldEthSrc, FieldEthDst, FieldIPSrc, FieldIPDst, FieldIP6Src, FieldIP6Dst, FieldARPSpa, FieldARPTpa, FieldIPProto, FieldARPOp,
	FieldARPSha, FieldARPTha, FieldIPDSCP, FieldIPTTL, FieldIPFrag, FieldTCPSrc, FieldTCPDst, FieldTCPFlags, FieldUDPSrc, FieldUDPDst,
	FieldSCTPSrc, FieldSCTPDst,
	FieldICMPType, FieldICMPCode, FieldICMP6Type, FieldICMP6Code, FieldNDTarget, FieldNDSll, FieldNDTll, FieldNDFlags, FieldNDOption,
}

// String is the name that ovs-ofctl uses in set_field.
func (f Field) String() string {
	if f >= numFields {
		return "unknown"
	}
	return fields[f].set
}

// appendHeader writes the field's header as Nicira actions want it: how they name it differs from matches for some.
func (f Field) appendHeader(buf []byte) []byte {
	h := f.header()
	return append(buf, byte(h.Class>>8), byte(h.Class), h.Field<<1, h.Length)
}

// header is what the library calls a field without value, as loads and moves want it.
func (f Field) header() *of.MatchField {
	info := fields[f]
	if found, err := of.FindFieldHeaderByName(info.nxm, false); err == nil {
		return found
	}
	return &of.MatchField{Class: info.class, Field: info.num, Length: uint8(info.size)}
}
