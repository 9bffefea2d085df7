package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// Multipath writes into a range a number 0..Ways-1 that follows from the addresses and ports of the packet's connection,
// the same in both directions. It spreads connections over groups: a GroupSelect in a GroupSelect does not, because the
// switch hashes a packet once, so that the outer choice decides which of the inner buckets can be met.
type Multipath struct {
	Ways uint16 // 1 or more
	// Basis gives other numbers to the same connections.
	Basis uint16
	To    Range // wide enough for Ways-1
}

// hashConnection is symmetric_l3l4+udp: symmetric_l4 would not look at the ports of UDP.
const hashConnection = 3

// Action is the choice as an action. Packets are told apart by their connections, each new one in ovs-vswitchd.
func (m Multipath) Action() Action {
	if m.Ways == 0 || m.To.Bits > 32 {
		panic(fmt.Sprintf("openflow: multipath of %d ways to %d bits", m.Ways, m.To.Bits))
	}
	m.To.fit(uint64(m.Ways - 1))
	wire := binary.BigEndian.AppendUint16(nicira(of.NXAST_MULTIPATH), hashConnection)
	wire = append(binary.BigEndian.AppendUint16(wire, m.Basis), 0, 0, 0, 0)
	wire = append(binary.BigEndian.AppendUint16(wire, m.Ways-1), 0, 0, 0, 0, 0, 0)
	wire = binary.BigEndian.AppendUint16(wire, m.To.ofsNbits())
	return closeNicira(m.To.Field.appendHeader(wire))
}

func multipathText(body string) (string, error) {
	if len(body) != 32 || u16(body, 10) != hashConnection || u16(body, 16) != 0 {
		return "", errAction
	}
	to, err := rangeText(body[28:32], int(u16(body, 26)>>6), int(u16(body, 26)&0x3f)+1)
	return fmt.Sprintf("multipath(symmetric_l3l4+udp,%d,modulo_n,%d,0,%s)", u16(body, 12), int(u16(body, 18))+1, to), err
}

// check finds actions that the switch would pass over in silence: of a bucket it does writes first, and then one action
// that sends the packet somewhere.
func (b *Bucket) check() error {
	var last string
	for wire := b.Actions.wire; len(wire) > 0; {
		text, size, err := actionText(wire)
		if err != nil {
			return err
		}
		sends, ok := inBucket(wire[:size])
		if !ok {
			return fmt.Errorf("%s does nothing in a bucket", text)
		}
		if sends && last != "" {
			return fmt.Errorf("a bucket does only one of %s and %s", last, text)
		}
		if sends {
			last = text
		}
		wire = wire[size:]
	}
	return nil
}

// inBucket tells whether an action is done in a bucket, and whether it is one that sends the packet somewhere.
func inBucket(body string) (sends, ok bool) {
	switch u16(body, 0) {
	case of.ActionType_Output, of.ActionType_Group:
		return true, true
	case of.ActionType_Experimenter:
		switch u16(body, 8) {
		case of.NXAST_RESUBMIT_TABLE, of.NXAST_CT:
			return true, true
		case of.NXAST_REG_LOAD, of.NXAST_REG_MOVE:
			return false, true
		}
		return false, false
	}
	return false, true
}

// ErrGroupTooLong is of a group that takes more than MaxGroupBytes.
var ErrGroupTooLong = errors.New("group is too long for one message")

// check finds what the switch would not take, or take for something else.
func (g *Group) check() error {
	if g.Size() > MaxGroupBytes {
		return fmt.Errorf("%w: %d buckets take %d bytes, more than %d", ErrGroupTooLong, len(g.Buckets), g.Size(), MaxGroupBytes)
	}
	if g.Type == GroupIndirect && len(g.Buckets) != 1 {
		return fmt.Errorf("%d buckets in an indirect group", len(g.Buckets))
	}
	for i := range g.Buckets {
		if err := g.Buckets[i].check(); err != nil {
			return fmt.Errorf("bucket %d: %w", i, err)
		}
	}
	return nil
}
