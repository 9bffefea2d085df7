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
	// Match is there if it was asked for. Fields that this package does not know are left out.
	Match Match
}

func decodeFlowStats(parts [][]byte, matches bool) ([]FlowStat, error) {
	const head = 48
	var out []FlowStat
	var failed error
	err := entries(parts, head, func(b []byte) int { return int(binary.BigEndian.Uint16(b)) }, func(b []byte) {
		stat := FlowStat{
			Table:    b[2],
			Age:      time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Second + time.Duration(binary.BigEndian.Uint32(b[8:])),
			Priority: binary.BigEndian.Uint16(b[12:]),
			Cookie:   binary.BigEndian.Uint64(b[24:]),
			Packets:  binary.BigEndian.Uint64(b[32:]),
			Bytes:    binary.BigEndian.Uint64(b[40:]),
		}
		if matches {
			oxm, _, err := cutMatch(b[head:])
			if err == nil {
				stat.Match, err = readMatch(oxm)
			}
			failed = errors.Join(failed, err)
		}
		out = append(out, stat)
	})
	return out, errors.Join(err, failed)
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
