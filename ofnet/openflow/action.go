package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	of "github.com/contiv/libOpenflow/openflow13"
)

// Action is one thing done to a packet.
type Action struct{ wire string }

// Actions are done in order. The zero value does nothing: such a flow, without Goto, drops.
type Actions struct{ wire string }

// Do makes a list of actions.
func Do(actions ...Action) Actions {
	var buf [256]byte
	wire := buf[:0]
	for _, a := range actions {
		wire = append(wire, a.wire...)
	}
	return Actions{string(wire)}
}

// Then is the list with more actions at its end.
func (a Actions) Then(actions ...Action) Actions { return Actions{a.wire + Do(actions...).wire} }

// Empty tells a list without actions.
func (a Actions) Empty() bool { return a.wire == "" }

func encode(a of.Action) Action {
	data, err := a.MarshalBinary()
	if err != nil || len(data)%8 != 0 {
		panic(fmt.Sprintf("openflow: encoding %T: %d bytes, %v", a, len(data), err))
	}
	return Action{string(data)}
}

// Output sends the packet as it is now out of a port. Nothing happens if that is the port it came in through.
func Output(port uint32) Action { return encode(of.NewActionOutput(port)) }

// OutputIn sends the packet out of the port it came in through.
func OutputIn() Action { return Output(PortIn) }

// OutputReg sends the packet out of the port whose number is in a register.
func OutputReg(r Reg) Action {
	r.check(0)
	return encode(of.NewOutputFromField(r.field().header(), r.ofsNbits()))
}

// Controller sends the whole packet to the connection with a controller id, 0 for the usual one.
func Controller(id uint16) Action {
	if id == 0 {
		a := of.NewActionOutput(PortController)
		a.MaxLen = of.OFPCML_NO_BUFFER
		return encode(a)
	}
	a := of.NewNXActionController(id)
	a.MaxLen, a.Reason = of.OFPCML_NO_BUFFER, of.R_ACTION
	return encode(a)
}

// Punt is a copy of the packet, the whole of it, for the connection with a controller id.
type Punt struct {
	ID uint16
	// Meter limits how many are sent; the packet itself goes on whatever the meter says. 0 for none. The meter need
	// not exist when the flow is added: until it does, nothing is limited.
	Meter uint32
}

// Properties of a punt on the wire.
const (
	puntMaxLen = iota
	puntID
	_ // reason: the usual
	_ // userdata: comes back with packet-ins of a format that is not used
	_ // pause
	puntMeter
)

// Action is the punt as an action.
func (p Punt) Action() Action {
	if p.Meter == 0 {
		a := of.NewNXActionController(p.ID)
		a.MaxLen, a.Reason = of.OFPCML_NO_BUFFER, of.R_ACTION
		return encode(a)
	}
	wire := append(nicira(of.NXAST_CONTROLLER2), 0, 0, 0, 0, 0, 0)
	for _, property := range [][2]uint16{{puntMaxLen, of.OFPCML_NO_BUFFER}, {puntID, p.ID}} {
		wire = append(wire, 0, byte(property[0]), 0, 6, byte(property[1]>>8), byte(property[1]), 0, 0)
	}
	wire = binary.BigEndian.AppendUint32(append(wire, 0, puntMeter, 0, 8), p.Meter)
	return closeNicira(wire)
}

// Note does nothing. The switch keeps it and tells it with the flow, with zeros after it up to 8n-2 bytes.
func Note(text []byte) Action { return closeNicira(append(nicira(of.NXAST_NOTE), text...)) }

// ToGroup hands the packet to a group and goes on with the packet as it was.
func ToGroup(id uint32) Action { return encode(of.NewActionGroup(id)) }

// Resubmit looks the packet up in another table and then goes on here.
func Resubmit(table uint8) Action {
	return encode(of.NewNXActionResubmitTableAction(uint16(PortIn&0xffff), table))
}

// DecTTL lowers the time to live; a packet that has none left ends here. Needs an IP match.
func DecTTL() Action { return encode(of.NewActionDecNwTtl()) }

// PopVLAN takes the outer VLAN tag off. Needs a VLAN match.
func PopVLAN() Action {
	return Action{string([]byte{0, of.ActionType_PopVlan, 0, 8, 0, 0, 0, 0})}
}

// PushVLAN puts an 802.1Q tag with a VLAN id in front.
func PushVLAN(vid uint16) []Action {
	return []Action{encode(of.NewActionPushVlan(0x8100)), setField(VLAN(vid))}
}

// nicira begins an action of Nicira's, closeNicira ends it: it writes the length and pads to eight bytes.
func nicira(subtype uint16) []byte {
	wire := make([]byte, 0, 64)
	wire = append(wire, 0xff, 0xff, 0, 0)
	wire = binary.BigEndian.AppendUint32(wire, of.NxExperimenterID)
	return binary.BigEndian.AppendUint16(wire, subtype)
}

func closeNicira(wire []byte) Action {
	wire = pad8(wire, 0)
	if len(wire) > maxAction {
		panic(fmt.Sprintf("openflow: action of %d bytes", len(wire)))
	}
	binary.BigEndian.PutUint16(wire[2:], uint16(len(wire)))
	return Action{string(wire)}
}

// maxAction is what the length field of an action can say, in whole units of eight bytes.
const maxAction = 0xfff8

func setField(t Term) Action { return encode(of.NewActionSetField(t.libField())) }

// SetEthSrc writes the source address.
func SetEthSrc(m MAC) Action { return setField(EthSrc(m)) }

// SetEthDst writes the destination address.
func SetEthDst(m MAC) Action { return setField(EthDst(m)) }

// SetTunID writes the tunnel key.
func SetTunID(v uint64) Action { return setField(TunID(v)) }

// SetTunDst writes the outer destination address, of either family.
func SetTunDst(a netip.Addr) Action { return setField(address(FieldTunDst, FieldTunDst6, a)) }

// SetIPSrc writes the source address. Needs a match on the IP version of the address, as SetIPDst does.
func SetIPSrc(a netip.Addr) Action { return setField(IPSrcAddr(a)) }

// SetIPDst writes the destination address.
func SetIPDst(a netip.Addr) Action { return setField(IPDstAddr(a)) }

// SetDSCP writes the differentiated services code point, 0..63. Needs a match on either IP.
func SetDSCP(v uint8) Action { return setField(IPDSCP(v)) }

// SetARPOp writes the operation. Needs a match on ARP, as the other ARP writes do.
func SetARPOp(v uint16) Action { return setField(ARPOp(v)) }

// SetARPSha writes the sender's MAC address.
func SetARPSha(m MAC) Action { return setField(ARPSha(m)) }

// SetARPSpa writes the sender's IPv4 address.
func SetARPSpa(a netip.Addr) Action { return setField(ARPSpa(a)) }

// SetICMPType writes the message type. Needs a match on ICMP.
func SetICMPType(v uint8) Action { return setField(ICMPType(v)) }

// SetICMPv6Type writes the message type. Needs a match on ICMPv6.
func SetICMPv6Type(v uint8) Action { return setField(ICMPv6Type(v)) }

// SetNDTll writes the target link-layer option. Needs a match on type 136.
func SetNDTll(m MAC) Action { return setField(NDTll(m)) }

// SetNDSll writes the source link-layer option. Needs a match on type 135.
func SetNDSll(m MAC) Action { return setField(NDSll(m)) }

// SetNDTarget writes the target. Needs a match on type 135 or 136.
func SetNDTarget(a netip.Addr) Action { return setField(NDTarget(a)) }

// SetNDFlags writes R, S and O: see the NDRouter... constants. Needs a match on type 135 or 136, as SetNDOption does.
func SetNDFlags(v uint32) Action { return setField(number(FieldNDFlags, uint64(v))) }

// Flags of SetNDFlags.
const (
	NDRouter    uint32 = 1 << 31
	NDSolicited uint32 = 1 << 30
	NDOverride  uint32 = 1 << 29
)

// SetNDOption writes the type of the link-layer option: 1 source, 2 target.
func SetNDOption(v uint8) Action { return setField(number(FieldNDOption, uint64(v))) }
