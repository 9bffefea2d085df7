package openflow

import (
	"encoding/binary"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// Learn makes the switch add a flow by itself when a packet comes by, or renew the one that is there: Action makes the
// action of it. Fields as in Flow. The learned flow ends with its actions: it cannot go to a table. The packet itself meets
// the flow only after it came back from conntrack or a hash, so that it does not count there before.
type Learn struct {
	Table       uint8
	Priority    uint16
	IdleTimeout uint16
	HardTimeout uint16
	Cookie      uint64
	// SendFlowRem has the flow's end told, with its counters, to connections: see Conn.Removed.
	SendFlowRem bool
	// DeleteLearned removes learned flows with the flow that has this action.
	DeleteLearned bool
	// Limit is how many flows with this cookie the table may have before no more are learned; 0 for any number.
	Limit uint32
	Specs []LearnSpec
}

// LearnSpec is one term of the match or one action of a learned flow. Terms come after those they depend on.
type LearnSpec struct{ wire string }

// Ways of a specification on the wire.
const (
	learnFromValue = 1 << 13
	learnToLoad    = 1 << 11
	learnToOutput  = 2 << 11
)

// LearnMatch has the learned flow match a range of its packets being what another range of this packet is.
func LearnMatch(of, from Range) LearnSpec { return learnSpec(0, of, from) }

// LearnMatchSame has the learned flow match a range being what it is in this packet.
func LearnMatchSame(r Range) LearnSpec { return learnSpec(0, r, r) }

// LearnMatchValue has the learned flow match a range being a number.
func LearnMatchValue(of Range, v uint64) LearnSpec { return learnValue(0, of, v) }

// LearnLoad has the learned flow write into a range what another range of this packet is.
func LearnLoad(to, from Range) LearnSpec { return learnSpec(learnToLoad, to, from) }

// LearnLoadValue has the learned flow write a number into a range.
func LearnLoadValue(to Range, v uint64) LearnSpec { return learnValue(learnToLoad, to, v) }

// LearnOutput has the learned flow send to the port whose number a range of this packet is, of 16 or 32 bits.
func LearnOutput(from Range) LearnSpec {
	from.check()
	wire := binary.BigEndian.AppendUint16(nil, learnToOutput|uint16(from.Bits))
	return LearnSpec{string(from.appendTo(wire))}
}

func (r Range) appendTo(wire []byte) []byte {
	return binary.BigEndian.AppendUint16(r.Field.appendHeader(wire), uint16(r.First))
}

func learnSpec(kind uint16, to, from Range) LearnSpec {
	to.check()
	if from.check(); to.Bits != from.Bits {
		panic(fmt.Sprintf("openflow: learning %d bits of %v from %d bits of %v", to.Bits, to.Field, from.Bits, from.Field))
	}
	wire := binary.BigEndian.AppendUint16(nil, kind|uint16(to.Bits))
	return LearnSpec{string(to.appendTo(from.appendTo(wire)))}
}

func learnValue(kind uint16, to Range, v uint64) LearnSpec {
	to.fit(v)
	wire := binary.BigEndian.AppendUint16(nil, learnFromValue|kind|uint16(to.Bits))
	size := valueBytes(int(to.Bits))
	for i := size - 1; i >= 0; i-- {
		b := byte(0)
		if i < 8 {
			b = byte(v >> (8 * i))
		}
		wire = append(wire, b)
	}
	return LearnSpec{string(to.appendTo(wire))}
}

// valueBytes is how many bytes an immediate value takes: it comes in pairs.
func valueBytes(bits int) int { return (bits + 15) / 16 * 2 }

// Flags of a learn action.
const (
	learnSendFlowRem = 1
	learnDelete      = 2
	nxLearn2         = 45 // the library lacks it
)

// Action is the learning as an action.
func (l Learn) Action() Action {
	subtype := uint16(of.NXAST_LEARN)
	if l.Limit != 0 {
		subtype = nxLearn2
	}
	flags := uint16(0)
	if l.SendFlowRem {
		flags |= learnSendFlowRem
	}
	if l.DeleteLearned {
		flags |= learnDelete
	}
	be := binary.BigEndian
	wire := be.AppendUint16(nicira(subtype), l.IdleTimeout)
	wire = be.AppendUint16(wire, l.HardTimeout)
	wire = be.AppendUint16(wire, l.Priority)
	wire = be.AppendUint64(wire, l.Cookie)
	wire = be.AppendUint16(wire, flags)
	wire = append(wire, l.Table, 0, 0, 0, 0, 0)
	if l.Limit != 0 {
		wire = append(be.AppendUint32(wire, l.Limit), 0, 0, 0, 0)
	}
	for _, s := range l.Specs {
		wire = append(wire, s.wire...)
	}
	return closeNicira(wire)
}
