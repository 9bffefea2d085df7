package openflow

import "fmt"

// TCPSrc matches a source port. Needs EthType and IPProto(ProtoTCP), as the other TCP fields do.
func TCPSrc(v uint16) Term { return number(FieldTCPSrc, uint64(v)) }

// TCPDst matches a destination port.
func TCPDst(v uint16) Term { return number(FieldTCPDst, uint64(v)) }

// UDPSrc matches a source port. Needs EthType and IPProto(ProtoUDP), as UDPDst does.
func UDPSrc(v uint16) Term { return number(FieldUDPSrc, uint64(v)) }

// UDPDst matches a destination port.
func UDPDst(v uint16) Term { return number(FieldUDPDst, uint64(v)) }

// SCTPSrc matches a source port. Needs EthType and IPProto(ProtoSCTP), as SCTPDst does.
func SCTPSrc(v uint16) Term { return number(FieldSCTPSrc, uint64(v)) }

// SCTPDst matches a destination port.
func SCTPDst(v uint16) Term { return number(FieldSCTPDst, uint64(v)) }

// SrcPorts matches the bits of the source port that are set in mask, which must not be 0, of TCP, UDP or SCTP. Needs
// EthType and IPProto(proto).
func SrcPorts(proto uint8, v, mask uint16) Term {
	return ports([3]Field{FieldTCPSrc, FieldUDPSrc, FieldSCTPSrc}, proto, v, mask)
}

// DstPorts matches the bits of the destination port that are set in mask, which must not be 0, of TCP, UDP or SCTP. Needs
// EthType and IPProto(proto).
func DstPorts(proto uint8, v, mask uint16) Term {
	return ports([3]Field{FieldTCPDst, FieldUDPDst, FieldSCTPDst}, proto, v, mask)
}

func ports(of [3]Field, proto uint8, v, mask uint16) Term {
	if mask == 0 || v&^mask != 0 {
		panic(fmt.Sprintf("openflow: match on port %#x/%#x", v, mask))
	}
	switch proto {
	case ProtoTCP:
		return masked(of[0], uint64(v), uint64(mask))
	case ProtoUDP:
		return masked(of[1], uint64(v), uint64(mask))
	case ProtoSCTP:
		return masked(of[2], uint64(v), uint64(mask))
	}
	panic(fmt.Sprintf("openflow: protocol %d has no ports", proto))
}

// TCPFlags matches flags of the TCP header: those of set must be set, those of clear must not. One of them must be named.
func TCPFlags(set, clear TCPFlag) Term {
	all := set | clear
	if all == 0 || set&clear != 0 || all >= 1<<len(tcpFlagNames) {
		panic(fmt.Sprintf("openflow: match on TCP flags %#x, not %#x", uint16(set), uint16(clear)))
	}
	return masked(FieldTCPFlags, uint64(set), uint64(all))
}

// TCPFlag is a set of flags of the TCP header.
type TCPFlag uint16

// Flags of TCPFlag.
const (
	TCPFin TCPFlag = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce
	TCPCwr
	TCPNs
)

var tcpFlagNames = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"}

// ICMPType matches the message type. Needs EthType(EtherIPv4) and IPProto(ProtoICMP), as ICMPCode does.
func ICMPType(v uint8) Term { return number(FieldICMPType, uint64(v)) }

// ICMPCode matches the message code.
func ICMPCode(v uint8) Term { return number(FieldICMPCode, uint64(v)) }

// ICMPv6Type matches the message type. Needs EthType and IPProto.
func ICMPv6Type(v uint8) Term { return number(FieldICMP6Type, uint64(v)) }

// ICMPv6Code matches the message code. Needs EthType and IPProto.
func ICMPv6Code(v uint8) Term { return number(FieldICMP6Code, uint64(v)) }

// IPDSCP matches the differentiated services code point, 0..63. Needs the EthType of either IP.
func IPDSCP(v uint8) Term { return Whole(FieldIPDSCP).Is(uint64(v)) }

// IPTTL matches the time to live, or hop limit. Needs the EthType of either IP.
func IPTTL(v uint8) Term { return number(FieldIPTTL, uint64(v)) }

// FirstFragment matches the first fragment of an IP packet that comes in several. Needs the EthType of either IP.
func FirstFragment() Term { return number(FieldIPFrag, fragFirst) }

// LaterFragment matches the other fragments, which have no header of what is inside. Needs the EthType of either IP.
func LaterFragment() Term { return number(FieldIPFrag, fragLater) }

// What Open vSwitch has for them: any fragment (1), and not the first (2).
const (
	fragFirst = 1
	fragLater = 3
)
