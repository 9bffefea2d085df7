package openflow

import (
	"fmt"
	"net/netip"
	"strings"

	of "github.com/contiv/libOpenflow/openflow13"
)

func ctText(body string) (string, error) {
	if len(body) < 24 {
		return "", errAction
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if u16(body, 10)&nxCTCommit != 0 {
		add("commit")
	}
	if u16(body, 10)&nxCTForce != 0 {
		add("force")
	}
	if table := body[18]; table != nxCTNoTable {
		add("table=%d", table)
	}
	switch zone := u16(body, 16); {
	case u32(body, 12) != 0:
		from, err := rangeText(body[12:16], int(zone>>6), int(zone&0x3f)+1)
		if err != nil {
			return "", err
		}
		add("zone=%s", from)
	case zone != 0:
		add("zone=%d", zone)
	}
	inner, err := ctActionsText(body[24:])
	if err != nil {
		return "", err
	}
	return "ct(" + strings.Join(append(parts, inner...), ",") + ")", nil
}

// ctActionsText writes a translation that comes first by itself and all else as exec. There is no ct in a ct, so that this
// ends.
func ctActionsText(wire string) (parts []string, err error) {
	var exec []string
	for len(wire) > 0 {
		if len(wire) >= 10 && u16(wire, 0) == of.ActionType_Experimenter && u16(wire, 8) == of.NXAST_CT {
			return nil, errAction
		}
		text, size, err := actionText(wire)
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 && len(exec) == 0 && strings.HasPrefix(text, "nat") {
			parts = append(parts, text)
		} else {
			exec = append(exec, text)
		}
		wire = wire[size:]
	}
	if len(exec) > 0 {
		parts = append(parts, "exec("+strings.Join(exec, ",")+")")
	}
	return parts, nil
}

// cursor takes bytes off a string. After one take too many it is bad and gives zeros.
type cursor struct {
	rest string
	bad  bool
}

func (c *cursor) take(n int) string {
	if len(c.rest) < n {
		c.bad = true
		return strings.Repeat("\x00", n)
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) u16() uint16 { return u16(c.take(2), 0) }

func (c *cursor) addr(size int) string {
	a, _ := netip.AddrFromSlice([]byte(c.take(size)))
	return a.String()
}

func natText(body string) (string, error) {
	c := cursor{rest: body[10:]}
	c.take(2)
	flags, present := c.u16(), c.u16()
	text := ""
	switch {
	case flags == 0 && present == 0:
		return "nat", nil
	case flags == nxNATSrc:
		text = "src"
	case flags == nxNATDst:
		text = "dst"
	default:
		return "", errAction
	}
	size, to, open, shut := 4, uint16(nxNATAddr4To), "", ""
	if present&nxNATAddr6 != 0 {
		size, to = 16, nxNATAddr6To
		if present&nxNATPort != 0 {
			open, shut = "[", "]"
		}
	}
	if present&(nxNATAddr4|nxNATAddr6) != 0 {
		text += "=" + open + c.addr(size) + shut
	}
	if present&to != 0 {
		text += "-" + open + c.addr(size) + shut
	}
	if present&nxNATPort != 0 {
		text += fmt.Sprintf(":%d", c.u16())
	}
	if present&nxNATPortTo != 0 {
		text += fmt.Sprintf("-%d", c.u16())
	}
	if c.bad {
		return "", errAction
	}
	return "nat(" + text + ")", nil
}

func learnText(body string) (string, error) {
	if len(body) < 32 {
		return "", errAction
	}
	parts := []string{fmt.Sprintf("table=%d", body[26])}
	add := func(format string, v uint64, unless uint64) {
		if v != unless {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add("idle_timeout=%d", uint64(u16(body, 10)), 0)
	add("hard_timeout=%d", uint64(u16(body, 12)), 0)
	add("priority=%d", uint64(u16(body, 14)), defaultPriority)
	if u16(body, 24)&learnSendFlowRem != 0 {
		parts = append(parts, "send_flow_rem")
	}
	if u16(body, 24)&learnDelete != 0 {
		parts = append(parts, "delete_learned")
	}
	add("cookie=%#x", uint64(u32(body, 16))<<32|uint64(u32(body, 20)), 0)
	specs := cursor{rest: body[32:]}
	if u16(body, 8) == nxLearn2 {
		add("limit=%d", toNumber([]byte(specs.take(4))), 0)
		specs.take(4)
	}
	for len(specs.rest) >= 2 {
		head := specs.u16()
		if head == 0 {
			break // what follows fills up
		}
		text, err := specText(head, &specs)
		if err != nil {
			return "", err
		}
		parts = append(parts, text)
	}
	if specs.bad {
		return "", errAction
	}
	return "learn(" + strings.Join(parts, ",") + ")", nil
}

func specText(head uint16, c *cursor) (string, error) {
	bits := int(head & 0x3ff)
	target := func() (string, error) {
		header, first := c.take(4), int(c.u16())
		return rangeText(header, first, bits)
	}
	value, from, err := []byte(nil), "", error(nil)
	if head&learnFromValue != 0 {
		value = []byte(c.take(valueBytes(bits)))
	} else if from, err = target(); err != nil {
		return "", err
	}
	if head&learnToOutput == learnToOutput {
		return "output:" + from, nil
	}
	header := c.rest[:min(4, len(c.rest))]
	to, err := target()
	if err != nil {
		return "", err
	}
	switch {
	case head&learnToLoad != 0 && value != nil:
		return "load:" + string(appendWideHex(nil, value)) + "->" + to, nil
	case head&learnToLoad != 0:
		return "load:" + from + "->" + to, nil
	case value != nil:
		return matchValueText(header, to, bits, value), nil
	case from == to:
		return to, nil
	}
	return to + "=" + from, nil
}

// matchValueText writes a term of a learned match: a whole field by its name and in its own way, as in a match.
func matchValueText(header, to string, bits int, value []byte) string {
	f := fieldByHeader[uint32(u16(header, 0))<<8|uint32(header[2]>>1)]
	info := fields[f]
	if bits != info.bits {
		return to + "=" + string(appendWideHex(nil, value[len(value)-(bits+7)/8:]))
	}
	short := make([]byte, info.size)
	for i := range min(len(short), len(value)) {
		short[len(short)-1-i] = value[len(value)-1-i]
	}
	return info.set + "=" + string(appendValue(nil, info, short))
}
