package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

// PacketIn is a packet that a flow sent to this connection.
type PacketIn struct {
	Reason   uint8 // why: one of the Reason... constants
	Table    uint8
	Cookie   uint64 // of the flow
	InPort   uint32
	TunID    uint64
	Metadata uint64
	Regs     [16]uint32
	Fields   Match  // all that the switch knows of the packet beside its bytes: tunnel, connection, registers
	Frame    []byte // the packet as the flow's actions left it, its memory the receiver's
}

// Reasons of packet-ins.
const (
	ReasonNoMatch    = 0 // there was no flow, or the one that takes all at priority 0
	ReasonAction     = 1
	ReasonInvalidTTL = 2
)

// Value reads a register field as the flow left it.
func (p *PacketIn) Value(r Reg) uint32 {
	r.check(0)
	return uint32(uint64(p.Regs[r.Index]) & r.mask() >> r.First)
}

func decodePacketIn(body []byte) (PacketIn, error) {
	if len(body) < 20 {
		return PacketIn{}, errShort
	}
	p := PacketIn{Reason: body[6], Table: body[7], Cookie: binary.BigEndian.Uint64(body[8:])}
	oxm, rest, err := cutMatch(body[16:])
	if err != nil || len(rest) < 2 {
		return PacketIn{}, fmt.Errorf("packet-in of %d bytes: %w", len(body), errShort)
	}
	p.Frame = rest[2:]
	terms, err := knownTerms(oxm)
	if err != nil {
		return PacketIn{}, err
	}
	for i := range terms {
		p.take(&terms[i])
	}
	p.Fields = NewMatch(terms...)
	return p, nil
}

func (p *PacketIn) take(t *Term) {
	value := t.value[:fields[t.field].size]
	if len(value) > 8 {
		return
	}
	switch f := t.field; {
	case f == FieldInPort:
		p.InPort = uint32(toNumber(value))
	case f == FieldTunID:
		p.TunID = toNumber(value)
	case f == FieldMetadata:
		p.Metadata = toNumber(value)
	case f >= FieldReg0 && f < FieldReg0+16:
		p.Regs[f-FieldReg0] = uint32(toNumber(value))
	}
}

// FlowRemoved tells of a flow that is gone and had SendFlowRem set.
type FlowRemoved struct {
	Reason   uint8 // why: one of the Removed... constants
	Table    uint8
	Priority uint16
	Cookie   uint64
	Packets  uint64
	Bytes    uint64
	Age      time.Duration
	Match    Match // fields that this package does not know are left out
}

// Reasons of FlowRemoved.
const (
	RemovedIdle        = 0
	RemovedHard        = 1
	RemovedDeleted     = 2
	RemovedGroupGone   = 3
	RemovedMeterGone   = 4
	RemovedEvicted     = 5
	removedHeaderBytes = 40
)

func decodeFlowRemoved(body []byte) (FlowRemoved, error) {
	if len(body) < removedHeaderBytes+4 {
		return FlowRemoved{}, errShort
	}
	be := binary.BigEndian
	r := FlowRemoved{
		Cookie: be.Uint64(body), Priority: be.Uint16(body[8:]), Reason: body[10], Table: body[11],
		Age:     time.Duration(be.Uint32(body[12:]))*time.Second + time.Duration(be.Uint32(body[16:])),
		Packets: be.Uint64(body[24:]), Bytes: be.Uint64(body[32:]),
	}
	oxm, _, err := cutMatch(body[removedHeaderBytes:])
	if err != nil {
		return FlowRemoved{}, err
	}
	r.Match, err = readMatch(oxm)
	return r, err
}

// cutMatch takes a match and what fills it up off a message.
func cutMatch(data []byte) (oxm string, rest []byte, err error) {
	if len(data) < 4 {
		return "", nil, errShort
	}
	length := int(binary.BigEndian.Uint16(data[2:]))
	padded := (length + 7) / 8 * 8
	if length < 4 || padded > len(data) || binary.BigEndian.Uint16(data) != of.MatchType_OXM {
		return "", nil, fmt.Errorf("match of %d bytes in %d: %w", length, len(data), errShort)
	}
	return string(data[4:length]), data[padded:], nil
}

// readMatch reads a match that the switch wrote, leaving out what this package has no field for.
func readMatch(oxm string) (Match, error) {
	terms, err := knownTerms(oxm)
	if err != nil {
		return Match{}, err
	}
	return NewMatch(terms...), nil
}

// knownTerms are the terms of a match that the switch wrote: no field twice, and none that this package does not know.
func knownTerms(oxm string) ([]Term, error) {
	var seen [numFields]bool
	var terms []Term
	for len(oxm) > 0 {
		if len(oxm) < 4 || len(oxm) < 4+int(oxm[3]) {
			return nil, errShort
		}
		one := oxm[:4+int(oxm[3])]
		oxm = oxm[len(one):]
		t, _, err := decodeTerm(one)
		if err != nil || seen[t.field] {
			continue
		}
		seen[t.field] = true
		terms = append(terms, t.exact())
	}
	return terms, nil
}

// term finds the term of a field.
func (m Match) term(f Field) (Term, bool) {
	for oxm := m.oxm; len(oxm) > 0; {
		t, rest, err := decodeTerm(oxm)
		if err != nil {
			return Term{}, false
		}
		if t.field == f {
			return t, true
		}
		oxm = rest
	}
	return Term{}, false
}

// Number is what the match wants a range of at most 64 bits to be; ok is false if it does not want all of its bits to
// be something.
func (m Match) Number(r Range) (v uint64, ok bool) {
	r.check()
	t, ok := m.term(r.Field)
	if !ok || r.Bits > 64 {
		return 0, false
	}
	size := fields[r.Field].size
	for i := range int(r.Bits) {
		at := int(r.First) + i
		bit := byte(1) << (at % 8)
		if t.masked && t.mask[size-1-at/8]&bit == 0 {
			return 0, false
		}
		if t.value[size-1-at/8]&bit != 0 {
			v |= 1 << i
		}
	}
	return v, true
}

// Addr is the one address that the match wants a field (FieldIPSrc, FieldIP6Src and so on) to be; ok is false if it
// takes others.
func (m Match) Addr(f Field) (a netip.Addr, ok bool) {
	t, ok := m.term(f)
	if !ok || t.masked || fields[f].format != formatIP {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(t.value[:fields[f].size])
}
