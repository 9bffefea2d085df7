package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	of "github.com/contiv/libOpenflow/openflow13"
)

// CTTuple says which packets of a connection's one direction: those that agree with all that is not zero.
type CTTuple struct {
	// Proto is needed for what follows the addresses, and in tuples that are not of IPv4: without it they would take
	// in ICMPv6, which is refused. The userspace datapath of Open vSwitch (all versions until 2026) turns the type of
	// such a connection's packets round as if they were of ICMP, and ovs-vswitchd aborts.
	Proto    uint8
	Src, Dst netip.Addr
	// SrcPort and DstPort are of TCP, UDP and SCTP. The userspace datapath tracks SCTP without ports: there nothing
	// agrees with those.
	SrcPort, DstPort uint16
	// ICMPID is of an echo. Echoes are flushed one by one: with both addresses and the id of the request, 0 too, and
	// nothing of the answer.
	ICMPID uint16
}

// CTFlush says which connections are forgotten: those of a zone whose first packet agrees with Orig and whose answers agree
// with Reply, as they come in, that is before a translation. Zero tuples agree with all.
type CTFlush struct {
	Zone        uint16
	Orig, Reply CTTuple
}

// String tells the connections in the words of ovs-ofctl ct-flush.
func (f CTFlush) String() string {
	text := fmt.Sprintf("zone=%d", f.Zone)
	for _, t := range []CTTuple{f.Orig, f.Reply} {
		if t != (CTTuple{}) || f.Reply != (CTTuple{}) {
			text += fmt.Sprintf(" '%s'", t)
		}
	}
	return text
}

// String tells the tuple in the words of ovs-ofctl ct-flush.
func (t CTTuple) String() string {
	out := []byte(nil)
	field := func(name string, value any, is bool) {
		if is {
			out = fmt.Appendf(out, ",%s=%v", name, value)
		}
	}
	family := "ct_nw"
	if t.Src.Is6() || t.Dst.Is6() {
		family = "ct_ipv6"
	}
	field(family+"_src", t.Src, t.Src.IsValid())
	field(family+"_dst", t.Dst, t.Dst.IsValid())
	field("ct_nw_proto", t.Proto, t.Proto != 0)
	field("icmp_id", t.ICMPID, t.Proto == ProtoICMP)
	field("icmp_type", icmpEcho, t.Proto == ProtoICMP)
	field("icmp_code", 0, t.Proto == ProtoICMP)
	field("ct_tp_src", t.SrcPort, t.SrcPort != 0)
	field("ct_tp_dst", t.DstPort, t.DstPort != 0)
	if len(out) == 0 {
		return ""
	}
	return string(out[1:])
}

// check finds what the switch would take for something wider, or for something else.
func (f CTFlush) check() error {
	if err := errors.Join(f.Orig.check(), f.Reply.check()); err != nil {
		return err
	}
	proto := max(f.Orig.Proto, f.Reply.Proto)
	if least := min(f.Orig.Proto, f.Reply.Proto); least != 0 && least != proto {
		return fmt.Errorf("protocols %d and %d in one connection", least, proto)
	}
	four, six := f.Orig.families()
	four2, six2 := f.Reply.families()
	if four, six = four || four2, six || six2; four && six {
		return errors.New("addresses of both families")
	}
	switch {
	case f == CTFlush{Zone: f.Zone}:
		return nil
	case proto == ProtoICMPv6 || proto == 0 && !four:
		return errors.New("connections of ICMPv6 are flushed with their zone only")
	case proto == ProtoICMP && (f.Reply != CTTuple{} || !f.Orig.Src.IsValid() || !f.Orig.Dst.IsValid()):
		return errors.New("connections of ICMP need both addresses and the id of the request, and nothing else")
	}
	return nil
}

func (t CTTuple) families() (four, six bool) {
	return t.Src.Is4() || t.Dst.Is4(), t.Src.Is6() || t.Dst.Is6()
}

func (t CTTuple) check() error {
	for _, a := range []netip.Addr{t.Src, t.Dst} {
		if a.Is4In6() || a.Zone() != "" || a.IsValid() && a.IsUnspecified() {
			return fmt.Errorf("address %v", a)
		}
	}
	switch {
	case (t.SrcPort != 0 || t.DstPort != 0) && t.Proto != ProtoTCP && t.Proto != ProtoUDP && t.Proto != ProtoSCTP:
		return fmt.Errorf("ports of protocol %d", t.Proto)
	case t.ICMPID != 0 && t.Proto != ProtoICMP:
		return fmt.Errorf("ICMP id of protocol %d", t.Proto)
	}
	return nil
}

const (
	nxtCTFlush = 32 // the library lacks it; Open vSwitch 3.1 and later

	flushOrig = 0
	flushZone = 2 // between these two: the reply

	tupleSrc      = 0 // and the destination
	tupleSrcPort  = 2 // and the destination
	tupleICMPID   = 4
	tupleICMPType = 5
	tupleICMPCode = 6

	icmpEcho = 8
)

func vendor(buf []byte, xid, subtype uint32) []byte {
	buf = binary.BigEndian.AppendUint32(begin(buf, of.Type_Experimenter, xid), of.NxExperimenterID)
	return binary.BigEndian.AppendUint32(buf, subtype)
}

func ctFlush(f CTFlush) encoder {
	return func(buf []byte, xid uint32) ([]byte, error) {
		if err := f.check(); err != nil {
			return nil, err
		}
		start := len(buf)
		buf = append(vendor(buf, xid, nxtCTFlush), max(f.Orig.Proto, f.Reply.Proto), 0, 0, 0, 0, 0, 0, 0)
		for i, t := range []CTTuple{f.Orig, f.Reply} {
			buf = t.append(buf, flushOrig+uint16(i))
		}
		buf = appendProperty(buf, flushZone, byte(f.Zone>>8), byte(f.Zone))
		return finish(buf, start)
	}
}

// append writes a tuple as a property of properties; a zero one is left out.
func (t CTTuple) append(buf []byte, kind uint16) []byte {
	if t == (CTTuple{}) {
		return buf
	}
	start := len(buf)
	buf = append(binary.BigEndian.AppendUint16(buf, kind), 0, 0, 0, 0, 0, 0)
	for i, a := range []netip.Addr{t.Src, t.Dst} {
		if a.IsValid() {
			wide := a.As16()
			buf = appendProperty(buf, tupleSrc+uint16(i), wide[:]...)
		}
	}
	for i, p := range []uint16{t.SrcPort, t.DstPort} {
		if p != 0 {
			buf = appendProperty(buf, tupleSrcPort+uint16(i), byte(p>>8), byte(p))
		}
	}
	if t.Proto == ProtoICMP {
		buf = appendProperty(buf, tupleICMPID, byte(t.ICMPID>>8), byte(t.ICMPID))
		buf = appendProperty(buf, tupleICMPType, icmpEcho)
		buf = appendProperty(buf, tupleICMPCode, 0)
	}
	binary.BigEndian.PutUint16(buf[start+2:], uint16(len(buf)-start))
	return buf
}

// appendProperty writes a property. The length of a number counts the two bytes that fill up, that of an address does not.
func appendProperty(buf []byte, kind uint16, value ...byte) []byte {
	start := len(buf)
	buf = binary.BigEndian.AppendUint16(buf, kind)
	size := 4 + len(value)
	if len(value) == 2 {
		size += 2
	}
	buf = append(binary.BigEndian.AppendUint16(buf, uint16(size)), value...)
	return pad8(buf, start)
}

// FlushConnections has the switch forget connections: the next packet of each begins a new one. Those that are not there
// are no error. It needs Open vSwitch 3.1.
func (c *Conn) FlushConnections(ctx context.Context, flushes ...CTFlush) error {
	if len(flushes) == 0 {
		return nil
	}
	var messages []encoder
	for _, f := range flushes {
		if err := f.check(); err != nil {
			return fmt.Errorf("flushing connections %v: %w", f, err)
		}
		messages = append(messages, ctFlush(f))
	}
	if err := c.confirm(ctx, messages...); err != nil {
		return fmt.Errorf("flushing connections %v and %d more: %w", flushes[0], len(flushes)-1, err)
	}
	return nil
}

// FlushZone has the switch forget all connections of zones.
func (c *Conn) FlushZone(ctx context.Context, zones ...uint16) error {
	if len(zones) == 0 {
		return nil
	}
	messages := make([]encoder, 0, len(zones))
	for _, zone := range zones {
		messages = append(messages, func(buf []byte, xid uint32) ([]byte, error) {
			start := len(buf)
			buf = append(vendor(buf, xid, of.Type_CtFlushZone), 0, 0, 0, 0, 0, 0, byte(zone>>8), byte(zone))
			return finish(buf, start)
		})
	}
	if err := c.confirm(ctx, messages...); err != nil {
		return fmt.Errorf("flushing connections of zone %d and %d more: %w", zones[0], len(zones)-1, err)
	}
	return nil
}
