package openflow

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	of "github.com/contiv/libOpenflow/openflow13"
)

// String writes the actions as ovs-ofctl does: "load:0x1->NXM_NX_REG0[0..3],output:5". Empty for none.
func (a Actions) String() string {
	var parts []string
	for wire := a.wire; len(wire) > 0; {
		text, size, err := actionText(wire)
		if err != nil {
			return "invalid:" + hex.EncodeToString([]byte(a.wire))
		}
		parts = append(parts, text)
		wire = wire[size:]
	}
	return strings.Join(parts, ",")
}

// String writes the action as ovs-ofctl does.
func (a Action) String() string { return Actions(a).String() }

var errAction = errors.New("malformed action")

func actionText(wire string) (string, int, error) {
	if len(wire) < 8 {
		return "", 0, errAction
	}
	size := int(u16(wire, 2))
	if size < 8 || size%8 != 0 || size > len(wire) {
		return "", 0, errAction
	}
	body := wire[:size]
	text, err := "", error(nil)
	switch u16(body, 0) {
	case of.ActionType_Output:
		text, err = outputText(body)
	case of.ActionType_Group:
		text = fmt.Sprintf("group:%d", u32(body, 4))
	case of.ActionType_DecNwTtl:
		text = "dec_ttl"
	case of.ActionType_PopVlan:
		text = "pop_vlan"
	case of.ActionType_PushVlan:
		text = fmt.Sprintf("push_vlan:%#04x", u16(body, 4))
	case of.ActionType_SetField:
		text, err = setFieldText(body[4:])
	case of.ActionType_Experimenter:
		text, err = niciraText(body)
	default:
		err = errAction
	}
	return text, size, err
}

func u16(s string, at int) uint16 { return uint16(s[at])<<8 | uint16(s[at+1]) }

func u32(s string, at int) uint32 { return uint32(u16(s, at))<<16 | uint32(u16(s, at+2)) }

func outputText(body string) (string, error) {
	if len(body) != 16 {
		return "", errAction
	}
	port := u32(body, 4)
	switch {
	case port == PortController:
		return fmt.Sprintf("CONTROLLER:%d", u16(body, 8)), nil
	case port < PortMax:
		return fmt.Sprintf("output:%d", port), nil
	}
	return string(appendPort(nil, port)), nil
}

func setFieldText(oxm string) (string, error) {
	t, _, err := decodeTerm(oxm)
	if err != nil || t.masked {
		return "", errAction
	}
	info := fields[t.field]
	return fmt.Sprintf("set_field:%s->%s", appendValue(nil, info, t.value[:info.size]), info.set), nil
}

func niciraText(body string) (string, error) {
	if len(body) < 16 || u32(body, 4) != of.NxExperimenterID {
		return "", errAction
	}
	switch u16(body, 8) {
	case of.NXAST_RESUBMIT_TABLE:
		return fmt.Sprintf("resubmit(,%d)", body[12]), nil
	case of.NXAST_CT_CLEAR:
		return "ct_clear", nil
	case of.NXAST_CONTROLLER:
		return puntText(u16(body, 10), u16(body, 12), 0), nil
	case of.NXAST_CONTROLLER2:
		return punt2Text(body[16:])
	case of.NXAST_CONJUNCTION:
		return fmt.Sprintf("conjunction(%d,%d/%d)", u32(body, 12), int(body[10])+1, body[11]), nil
	case of.NXAST_NOTE:
		return noteText(body[10:]), nil
	case of.NXAST_MULTIPATH:
		return multipathText(body)
	case of.NXAST_CT:
		return ctText(body)
	case of.NXAST_NAT:
		return natText(body)
	case of.NXAST_LEARN, nxLearn2:
		return learnText(body)
	}
	if len(body) != 24 {
		return "", errAction
	}
	switch u16(body, 8) {
	case of.NXAST_REG_LOAD:
		to, err := rangeText(body[12:16], int(u16(body, 10)>>6), int(u16(body, 10)&0x3f)+1)
		return "load:" + string(appendLoad(body[16:24])) + "->" + to, err
	case of.NXAST_REG_MOVE:
		bits := int(u16(body, 10))
		from, err1 := rangeText(body[16:20], int(u16(body, 12)), bits)
		to, err2 := rangeText(body[20:24], int(u16(body, 14)), bits)
		return "move:" + from + "->" + to, errors.Join(err1, err2)
	case of.NXAST_OUTPUT_REG:
		from, err := rangeText(body[12:16], int(u16(body, 10)>>6), int(u16(body, 10)&0x3f)+1)
		return "output:" + from, err
	}
	return "", errAction
}

func appendLoad(value string) []byte {
	return appendHex(nil, binary.BigEndian.Uint64([]byte(value)))
}

func puntText(maxLen, id uint16, meter uint32) string {
	var parts []string
	switch {
	case id == 0 && meter == 0:
		return fmt.Sprintf("CONTROLLER:%d", maxLen)
	case maxLen != of.OFPCML_NO_BUFFER:
		parts = append(parts, fmt.Sprintf("max_len=%d", maxLen))
	}
	if id != 0 {
		parts = append(parts, fmt.Sprintf("id=%d", id))
	}
	if meter != 0 {
		parts = append(parts, fmt.Sprintf("meter_id=%d", meter))
	}
	return "controller(" + strings.Join(parts, ",") + ")"
}

func punt2Text(properties string) (string, error) {
	if len(properties) != 24 {
		return "", errAction
	}
	return puntText(u16(properties, 4), u16(properties, 12), u32(properties, 20)), nil
}

func noteText(text string) string {
	out := []byte("note:")
	for i := range len(text) {
		if i > 0 {
			out = append(out, '.')
		}
		out = fmt.Appendf(out, "%02x", text[i])
	}
	return string(out)
}

func rangeText(header string, first, bits int) (string, error) {
	field, known := fieldByHeader[uint32(u16(header, 0))<<8|uint32(header[2]>>1)]
	if !known || bits < 1 || first+bits > fields[field].bits {
		return "", errAction
	}
	return fields[field].nxm + bitRange(first, bits, fields[field].bits), nil
}
