package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/contiv/libOpenflow/common"
	of "github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/libOpenflow/util"
)

const (
	version13   = 4
	headerBytes = 8
	// maxMessage is what the length field of a message can say.
	maxMessage = 0xffff
)

// Multipart types of this package.
const (
	partFlow      = 1
	partAggregate = 2
	partPort      = 4
	partGroup     = 6
	partGroupDesc = 7
	partMeter     = 9
)

const (
	groupAddOrModify = 0x8000 // Open vSwitch's own: makes the group or replaces it
	groupDelete      = 2
	flowAdd          = 0
	flowDelete       = 3
	flowDeleteStrict = 4
	anyGroup         = 0xffffffff
	noBuffer         = 0xffffffff
)

// Mod is one change of a bundle.
type Mod struct {
	kind   modKind
	flow   Flow // of modDelete, only the key; of modDeleteCookie, only the cookie
	mask   uint64
	group  Group
	number uint32
}

type modKind uint8

const (
	modAdd modKind = iota + 1
	modDelete
	modDeleteCookie
	modGroup
	modDeleteGroup
)

// AddFlow installs a flow; one with the same key is replaced and its packet counters kept.
func AddFlow(f Flow) Mod { return Mod{kind: modAdd, flow: f} }

// DeleteFlow removes the flow with this key; that there is none is no error.
func DeleteFlow(k Key) Mod {
	return Mod{kind: modDelete, flow: Flow{Table: k.Table, Priority: k.Priority, Match: k.Match}}
}

// DeleteCookie removes all flows whose cookie has these bits under mask, which must not be 0.
func DeleteCookie(cookie, mask uint64) Mod {
	if mask == 0 {
		panic("openflow: delete by cookie with an empty mask would delete every flow")
	}
	return Mod{kind: modDeleteCookie, flow: Flow{Cookie: cookie}, mask: mask}
}

// SetGroup makes a group or replaces its buckets.
func SetGroup(g Group) Mod { return Mod{kind: modGroup, group: g} }

// DeleteGroup removes a group and with it, silently, every flow that names it. That there is none is no error.
func DeleteGroup(id uint32) Mod { return Mod{kind: modDeleteGroup, number: id} }

// String tells the change for error messages.
func (m *Mod) String() string {
	switch m.kind {
	case modAdd:
		return "add flow " + m.flow.String()
	case modDelete:
		return "delete flow " + m.flow.Key().String()
	case modDeleteCookie:
		return fmt.Sprintf("delete flows with cookie %#x/%#x", m.flow.Cookie, m.mask)
	case modGroup:
		return "set group " + m.group.String()
	case modDeleteGroup:
		return fmt.Sprintf("delete group %d", m.number)
	}
	return "invalid change"
}

// append encodes the change as a message.
func (m *Mod) append(buf []byte, xid uint32) ([]byte, error) {
	switch m.kind {
	case modAdd:
		return appendFlowMod(buf, xid, flowAdd, &m.flow, 0)
	case modDelete:
		return appendFlowMod(buf, xid, flowDeleteStrict, &m.flow, 0)
	case modDeleteCookie:
		f := Flow{Table: AllTables, Cookie: m.flow.Cookie}
		return appendFlowMod(buf, xid, flowDelete, &f, m.mask)
	case modGroup:
		return appendGroup(buf, xid, &m.group)
	case modDeleteGroup:
		g := of.NewGroupMod()
		g.Command, g.GroupId, g.Xid = groupDelete, m.number, xid
		return appendMessage(buf, g)
	}
	return nil, errors.New("empty change")
}

func begin(buf []byte, kind uint8, xid uint32) []byte {
	return binary.BigEndian.AppendUint32(append(buf, version13, kind, 0, 0), xid)
}

// finish writes the length of the message that began at start.
func finish(buf []byte, start int) ([]byte, error) {
	size := len(buf) - start
	if size > maxMessage {
		return nil, fmt.Errorf("message of %d bytes, more than %d", size, maxMessage)
	}
	binary.BigEndian.PutUint16(buf[start+2:], uint16(size))
	return buf, nil
}

func pad8(buf []byte, start int) []byte {
	for (len(buf)-start)%8 != 0 {
		buf = append(buf, 0)
	}
	return buf
}

// appendFlowMod writes what the library's FlowMod would, without its allocations and its swapped out_port.
func appendFlowMod(buf []byte, xid uint32, command uint8, f *Flow, cookieMask uint64) ([]byte, error) {
	start := len(buf)
	be := binary.BigEndian
	buf = begin(buf, of.Type_FlowMod, xid)
	buf = be.AppendUint64(buf, f.Cookie)
	buf = be.AppendUint64(buf, cookieMask)
	buf = append(buf, f.Table, command)
	buf = be.AppendUint16(buf, f.IdleTimeout)
	buf = be.AppendUint16(buf, f.HardTimeout)
	buf = be.AppendUint16(buf, f.Priority)
	buf = be.AppendUint32(buf, noBuffer)
	buf = be.AppendUint32(buf, PortAny)
	buf = be.AppendUint32(buf, anyGroup)
	flags := byte(0)
	if f.SendFlowRem {
		flags = of.FF_SEND_FLOW_REM
	}
	buf = append(buf, 0, flags, 0, 0)
	buf = appendMatch(buf, f.Match)
	if f.Meter != 0 {
		buf = be.AppendUint32(append(buf, 0, of.InstrType_METER, 0, 8), f.Meter)
	}
	if !f.Actions.Empty() {
		buf = append(buf, 0, of.InstrType_APPLY_ACTIONS)
		buf = be.AppendUint16(buf, uint16(8+len(f.Actions.wire)))
		buf = append(append(buf, 0, 0, 0, 0), f.Actions.wire...)
	}
	if f.Goto != 0 {
		if f.Goto <= f.Table {
			return nil, fmt.Errorf("goto_table:%d from table %d does not go forward", f.Goto, f.Table)
		}
		buf = append(buf, 0, of.InstrType_GOTO_TABLE, 0, 8, f.Goto, 0, 0, 0)
	}
	return finish(buf, start)
}

func appendMatch(buf []byte, m Match) []byte {
	start := len(buf)
	buf = binary.BigEndian.AppendUint16(append(buf, 0, of.MatchType_OXM), uint16(4+len(m.oxm)))
	return pad8(append(buf, m.oxm...), start)
}

func appendGroup(buf []byte, xid uint32, g *Group) ([]byte, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	msg := of.NewGroupMod()
	msg.Command, msg.Type, msg.GroupId, msg.Xid = groupAddOrModify, uint8(g.Type), g.ID, xid
	for _, b := range g.Buckets {
		bucket := of.NewBucket()
		bucket.Weight = b.Weight
		bucket.AddAction(rawActions(b.Actions.wire))
		msg.AddBucket(*bucket)
	}
	return appendMessage(buf, msg)
}

func appendMessage(buf []byte, msg util.Message) ([]byte, error) {
	data, err := msg.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", msg, err)
	}
	return append(buf, data...), nil
}

// appendBundled wraps a change: the inner transaction number must be the outer one, or the switch drops it.
func appendBundled(buf []byte, xid, bundle uint32, m *Mod) ([]byte, error) {
	start := len(buf)
	buf = begin(buf, of.Type_Experimenter, xid)
	buf = binary.BigEndian.AppendUint32(buf, of.ONF_EXPERIMENTER_ID)
	buf = binary.BigEndian.AppendUint32(buf, of.Type_BundleAdd)
	buf = binary.BigEndian.AppendUint32(buf, bundle)
	buf = append(buf, 0, 0, 0, byte(of.OFPBCT_ATOMIC|of.OFPBCT_ORDERED))
	buf, err := m.append(buf, xid)
	if err != nil {
		return nil, err
	}
	return finish(buf, start)
}

func bundleControl(bundle uint32, command uint16) func([]byte, uint32) ([]byte, error) {
	return func(buf []byte, xid uint32) ([]byte, error) {
		msg := of.NewBundleControl(&of.BundleControl{BundleID: bundle, Type: command, Flags: of.OFPBCT_ATOMIC | of.OFPBCT_ORDERED})
		msg.Header.Xid = xid
		return appendMessage(buf, msg)
	}
}

func barrier(buf []byte, xid uint32) ([]byte, error) {
	return finish(begin(buf, of.Type_BarrierRequest, xid), len(buf))
}

func echo(kind uint8, payload []byte) func([]byte, uint32) ([]byte, error) {
	return func(buf []byte, xid uint32) ([]byte, error) {
		return finish(append(begin(buf, kind, xid), payload...), len(buf))
	}
}

func hello(buf []byte, xid uint32) ([]byte, error) {
	msg, err := common.NewHello(version13)
	if err != nil {
		return nil, err
	}
	msg.Xid = xid
	return appendMessage(buf, msg)
}

// fragNXMatch is the way of Open vSwitch to match fragments (OFPC_FRAG_NX_MATCH of its nicira-ext.h): the first one with
// ports and types, the others without. By default no fragment has them, and none meets a rule about them.
const fragNXMatch = 3

// configure tells the switch how to match fragments, which counts for the bridge, and whether to send packet-ins on this
// connection; on a management socket it does not by itself.
func configure(packets bool) encoder {
	return func(buf []byte, xid uint32) ([]byte, error) {
		msg := of.NewSetConfig()
		msg.Flags, msg.Xid = fragNXMatch, xid
		if packets {
			msg.MissSendLen = of.OFPCML_NO_BUFFER
		}
		return appendMessage(buf, msg)
	}
}

// controllerID names the connection for punts.
func controllerID(id uint16) encoder {
	return func(buf []byte, xid uint32) ([]byte, error) {
		start := len(buf)
		buf = append(vendor(buf, xid, of.Type_SetControllerId), 0, 0, 0, 0, 0, 0, byte(id>>8), byte(id))
		return finish(buf, start)
	}
}

func packetOut(inPort uint32, actions Actions, frame []byte) func([]byte, uint32) ([]byte, error) {
	return func(buf []byte, xid uint32) ([]byte, error) {
		start := len(buf)
		buf = begin(buf, of.Type_PacketOut, xid)
		buf = binary.BigEndian.AppendUint32(buf, noBuffer)
		buf = binary.BigEndian.AppendUint32(buf, inPort)
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(actions.wire)))
		buf = append(append(buf, 0, 0, 0, 0, 0, 0), actions.wire...)
		return finish(append(buf, frame...), start)
	}
}

func meterMod(command uint16, m Meter) func([]byte, uint32) ([]byte, error) {
	return func(buf []byte, xid uint32) ([]byte, error) {
		msg := of.NewMeterMod()
		msg.Command, msg.MeterId, msg.Xid = command, m.ID, xid
		if command != of.OFPMC_DELETE {
			msg.Flags = of.OFPMF13_BURST | of.OFPMF13_STATS | of.OFPMF13_KBPS
			if m.Packets {
				msg.Flags = of.OFPMF13_BURST | of.OFPMF13_STATS | of.OFPMF13_PKTPS
			}
			head := of.NewMeterBandHeader()
			head.Type, head.Rate, head.BurstSize = of.OFPMBT13_DROP, m.Rate, m.Burst
			msg.AddMeterBand(&of.MeterBandDrop{MeterBandHeader: *head})
		}
		return appendMessage(buf, msg)
	}
}

func multipart(kind uint16, body []byte) func([]byte, uint32) ([]byte, error) {
	return func(buf []byte, xid uint32) ([]byte, error) {
		start := len(buf)
		buf = binary.BigEndian.AppendUint16(begin(buf, of.Type_MultiPartRequest, xid), kind)
		return finish(append(append(buf, 0, 0, 0, 0, 0, 0), body...), start)
	}
}

// flowStatsBody asks for flows by table and cookie, with any match.
func flowStatsBody(table uint8, cookie, mask uint64) []byte {
	body := append(make([]byte, 0, 40), table, 0, 0, 0)
	body = binary.BigEndian.AppendUint32(body, PortAny)
	body = binary.BigEndian.AppendUint32(body, anyGroup)
	body = append(body, 0, 0, 0, 0)
	body = binary.BigEndian.AppendUint64(body, cookie&mask)
	body = binary.BigEndian.AppendUint64(body, mask)
	return appendMatch(body, Match{})
}

// rawActions hands encoded actions to the library, which sees one action.
type rawActions string

// Header implements the library's Action; nothing asks for it when encoding.
func (r rawActions) Header() *of.ActionHeader { return &of.ActionHeader{Length: uint16(len(r))} }

// Len implements util.Message.
func (r rawActions) Len() uint16 { return uint16(len(r)) }

// MarshalBinary implements util.Message.
func (r rawActions) MarshalBinary() ([]byte, error) { return []byte(r), nil }

// UnmarshalBinary implements util.Message and refuses: it is for sending only.
func (r rawActions) UnmarshalBinary([]byte) error {
	return errors.New("encoded actions are not decoded")
}
