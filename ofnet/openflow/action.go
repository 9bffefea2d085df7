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

// CTClear forgets what conntrack said of the packet.
func CTClear() Action {
	wire := make([]byte, 0, 16)
	wire = binary.BigEndian.AppendUint16(wire, of.ActionType_Experimenter)
	wire = binary.BigEndian.AppendUint16(wire, 16)
	wire = binary.BigEndian.AppendUint32(wire, of.NxExperimenterID)
	wire = binary.BigEndian.AppendUint16(wire, nxCTClear)
	return Action{string(wire[:16])}
}

const nxCTClear = 43 // the library lacks it

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

// SetARPOp writes the operation. Needs a match on ARP, as the other ARP writes do.
func SetARPOp(v uint16) Action { return setField(ARPOp(v)) }

// SetARPSha writes the sender's MAC address.
func SetARPSha(m MAC) Action { return setField(ARPSha(m)) }

// SetARPSpa writes the sender's IPv4 address.
func SetARPSpa(a netip.Addr) Action { return setField(ARPSpa(a)) }

// SetICMPv6Type writes the message type. Needs a match on ICMPv6.
func SetICMPv6Type(v uint8) Action { return setField(ICMPv6Type(v)) }

// SetNDTll writes the target link-layer option. Needs a match on type 136.
func SetNDTll(m MAC) Action { return setField(NDTll(m)) }

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

func (r Reg) field() Field { return FieldReg0 + Field(r.Index) }

func (r Reg) ofsNbits() uint16 { return uint16(r.First)<<6 | uint16(r.Bits-1) }

// Load writes a range of a register and leaves its other bits.
func (r Reg) Load(v uint32) Action {
	r.check(v)
	return encode(of.NewNXActionRegLoad(r.ofsNbits(), r.field().header(), uint64(v)))
}

// Range is bits of a field, for Move.
type Range struct {
	Field Field
	First uint8
	Bits  uint8
}

// Whole is all bits of a field.
func Whole(f Field) Range { return Range{f, 0, uint8(fields[f].bits)} }

// Range is the register field as source or target of a move.
func (r Reg) Range() Range { return Range{r.field(), r.First, r.Bits} }

// Move copies bits; both ranges must be equally long.
func Move(from, to Range) Action {
	if from.Bits != to.Bits || from.Bits == 0 {
		panic(fmt.Sprintf("openflow: move of %d bits of %v to %d bits of %v", from.Bits, from.Field, to.Bits, to.Field))
	}
	return encode(of.NewNXActionRegMove(uint16(from.Bits), uint16(from.First), uint16(to.First), from.Field.header(), to.Field.header()))
}
