package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

var errShort = errors.New("message cut off")

// SwitchError is an error message of the switch.
type SwitchError struct {
	Type, Code uint16
	// Experimenter is of Type 0xffff: then Code is that vendor's.
	Experimenter uint32
}

var errorTypes = [...]string{
	"hello failed", "bad request", "bad action", "bad instruction", "bad match", "flow mod failed", "group mod failed",
	"port mod failed", "table mod failed", "queue op failed", "switch config failed", "role request failed",
	"meter mod failed", "table features failed",
}

// Error names the class and gives the numbers to look up in the specification or in ovs-ofctl's sources.
func (e *SwitchError) Error() string {
	if e.Experimenter == of.ONF_EXPERIMENTER_ID {
		if err := of.ParseBundleError(e.Code); err != nil && e.Code >= of.BEC_UNKNOWN && e.Code <= of.BEC_BUNDLE_IN_PROCESS {
			return fmt.Sprintf("switch says: bundle: %v (%d)", err, e.Code)
		}
	}
	name := "unknown class"
	if int(e.Type) < len(errorTypes) {
		name = errorTypes[e.Type]
	}
	return fmt.Sprintf("switch says: %s (type %d, code %d)", name, e.Type, e.Code)
}

func decodeError(body []byte) (*SwitchError, error) {
	if len(body) < 4 {
		return nil, errShort
	}
	e := &SwitchError{Type: binary.BigEndian.Uint16(body), Code: binary.BigEndian.Uint16(body[2:])}
	if e.Type == 0xffff {
		if len(body) < 8 {
			return nil, errShort
		}
		e.Experimenter = binary.BigEndian.Uint32(body[4:])
	}
	return e, nil
}

// Features are what the switch tells of itself.
type Features struct {
	DatapathID uint64
	Tables     uint8
}

func decodeFeatures(body []byte) (Features, error) {
	if len(body) < 24 {
		return Features{}, errShort
	}
	return Features{DatapathID: binary.BigEndian.Uint64(body), Tables: body[12]}, nil
}

// FlowStat is the head of a flow's statistics: enough to count, not to compare with a Flow.
type FlowStat struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Packets  uint64
	Bytes    uint64
	Age      time.Duration
}

func decodeFlowStats(parts [][]byte) ([]FlowStat, error) {
	var out []FlowStat
	err := entries(parts, 48, func(b []byte) int { return int(binary.BigEndian.Uint16(b)) }, func(b []byte) {
		out = append(out, FlowStat{
			Table:    b[2],
			Age:      time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Second + time.Duration(binary.BigEndian.Uint32(b[8:])),
			Priority: binary.BigEndian.Uint16(b[12:]),
			Cookie:   binary.BigEndian.Uint64(b[24:]),
			Packets:  binary.BigEndian.Uint64(b[32:]),
			Bytes:    binary.BigEndian.Uint64(b[40:]),
		})
	})
	return out, err
}

// entries walks the variable-length entries of multipart bodies.
func entries(parts [][]byte, least int, length func([]byte) int, each func([]byte)) error {
	for _, body := range parts {
		for len(body) > 0 {
			if len(body) < least {
				return errShort
			}
			size := length(body)
			if size < least || size > len(body) {
				return fmt.Errorf("entry of %d bytes in %d: %w", size, len(body), errShort)
			}
			each(body[:size])
			body = body[size:]
		}
	}
	return nil
}

func decodeGroupIDs(parts [][]byte) ([]uint32, error) {
	var out []uint32
	err := entries(parts, 8, func(b []byte) int { return int(binary.BigEndian.Uint16(b)) }, func(b []byte) {
		out = append(out, binary.BigEndian.Uint32(b[4:]))
	})
	return out, err
}

// Aggregate sums up flows.
type Aggregate struct {
	Flows   uint32
	Packets uint64
	Bytes   uint64
}

func decodeAggregate(parts [][]byte) (Aggregate, error) {
	if len(parts) != 1 || len(parts[0]) < 20 {
		return Aggregate{}, errShort
	}
	b := parts[0]
	return Aggregate{
		Packets: binary.BigEndian.Uint64(b),
		Bytes:   binary.BigEndian.Uint64(b[8:]),
		Flows:   binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// PortStat counts what a port received and sent, seen from the switch.
type PortStat struct {
	Port                 uint32
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxDropped, TxDropped uint64
	RxErrors, TxErrors   uint64
}

func decodePortStats(parts [][]byte) ([]PortStat, error) {
	const size = 112
	var out []PortStat
	err := entries(parts, size, func([]byte) int { return size }, func(b []byte) {
		count := func(i int) uint64 { return binary.BigEndian.Uint64(b[8+8*i:]) }
		out = append(out, PortStat{
			Port: binary.BigEndian.Uint32(b), RxPackets: count(0), TxPackets: count(1), RxBytes: count(2), TxBytes: count(3),
			RxDropped: count(4), TxDropped: count(5), RxErrors: count(6), TxErrors: count(7),
		})
	})
	return out, err
}

// PacketIn is a packet that a flow sent to this connection.
type PacketIn struct {
	Table  uint8
	Cookie uint64 // of the flow
	InPort uint32
	TunID  uint64
	Regs   [16]uint32
	Frame  []byte
}

// Value reads a register field as the flow left it.
func (p *PacketIn) Value(r Reg) uint32 {
	r.check(0)
	return uint32(uint64(p.Regs[r.Index]) & r.mask() >> r.First)
}

func decodePacketIn(body []byte) (PacketIn, error) {
	if len(body) < 20 {
		return PacketIn{}, errShort
	}
	p := PacketIn{Table: body[7], Cookie: binary.BigEndian.Uint64(body[8:])}
	match := body[16:]
	length := int(binary.BigEndian.Uint16(match[2:]))
	padded := (length + 7) / 8 * 8
	if length < 4 || padded+2 > len(match) {
		return PacketIn{}, fmt.Errorf("match of %d bytes in %d: %w", length, len(match), errShort)
	}
	p.Frame = match[padded+2:]
	for oxm := match[4:length]; len(oxm) > 0; {
		if len(oxm) < 4 || len(oxm) < 4+int(oxm[3]) {
			return PacketIn{}, errShort
		}
		p.take(oxm[:4+int(oxm[3])])
		oxm = oxm[4+int(oxm[3]):]
	}
	return p, nil
}

// take reads one field of the packet's metadata; those not asked for are passed over.
func (p *PacketIn) take(oxm []byte) {
	f, known := fieldByHeader[uint32(binary.BigEndian.Uint16(oxm))<<8|uint32(oxm[2]>>1)]
	if !known || len(oxm) < 4+fields[f].size {
		return
	}
	value := toNumber(oxm[4 : 4+fields[f].size])
	switch {
	case f == FieldInPort:
		p.InPort = uint32(value)
	case f == FieldTunID:
		p.TunID = value
	case f >= FieldReg0 && f < FieldReg0+16:
		p.Regs[f-FieldReg0] = uint32(value)
	}
}
