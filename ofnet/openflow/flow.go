package openflow

import (
	"fmt"
	"slices"
	"strings"
)

// Flow is one entry of a flow table.
type Flow struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	// IdleTimeout, HardTimeout in seconds remove the flow; 0 for never.
	IdleTimeout uint16
	HardTimeout uint16
	// SendFlowRem has the flow's end told, with its counters, to connections: see Conn.Removed.
	SendFlowRem bool
	Match       Match
	// Meter limits the packets before anything else is done; 0 for none.
	Meter   uint32
	Actions Actions
	// Goto is the table in which the packet goes on after Actions, higher than Table; 0 for nowhere.
	Goto uint8
}

// Key is a flow's identity in a switch.
type Key struct {
	Table    uint8
	Priority uint16
	Match    Match
}

// Key tells the identity of the flow: of two flows with the same key a switch keeps the later.
func (f *Flow) Key() Key { return Key{f.Table, f.Priority, f.Match} }

// String writes the key as String of a flow does.
func (k Key) String() string { return k.text("") }

// text puts what a flow has between its table and its priority in there. As in ovs-ofctl, table 0 and the default
// priority are not written.
func (k Key) text(between string) string {
	var b strings.Builder
	if k.Table != 0 {
		fmt.Fprintf(&b, "table=%d, ", k.Table)
	}
	b.WriteString(between)
	match := k.Match.String()
	if k.Priority != defaultPriority {
		fmt.Fprintf(&b, "priority=%d", k.Priority)
		if match != "" {
			b.WriteByte(',')
		}
	}
	b.WriteString(match)
	return b.String()
}

// Compare orders keys by table, falling priority and match.
func (k Key) Compare(other Key) int {
	if k.Table != other.Table {
		return int(k.Table) - int(other.Table)
	}
	if k.Priority != other.Priority {
		return int(other.Priority) - int(k.Priority)
	}
	return strings.Compare(k.Match.oxm, other.Match.oxm)
}

// defaultPriority is the one that ovs-ofctl does not write.
const defaultPriority = 32768

// String writes the flow as "ovs-ofctl --no-stats dump-flows" does and "ovs-ofctl add-flow" reads.
func (f *Flow) String() string {
	var b strings.Builder
	if f.Cookie != 0 {
		fmt.Fprintf(&b, "cookie=%#x, ", f.Cookie)
	}
	timeouts := ""
	if f.IdleTimeout != 0 {
		timeouts += fmt.Sprintf("idle_timeout=%d, ", f.IdleTimeout)
	}
	if f.HardTimeout != 0 {
		timeouts += fmt.Sprintf("hard_timeout=%d, ", f.HardTimeout)
	}
	if f.SendFlowRem {
		timeouts += "send_flow_rem "
	}
	b.WriteString(f.Key().text(timeouts))
	b.WriteString(" actions=")
	b.WriteString(f.instructionText())
	return b.String()
}

func (f *Flow) instructionText() string {
	var parts []string
	if f.Meter != 0 {
		parts = append(parts, fmt.Sprintf("meter:%d", f.Meter))
	}
	if !f.Actions.Empty() {
		parts = append(parts, f.Actions.String())
	}
	if f.Goto != 0 {
		parts = append(parts, fmt.Sprintf("goto_table:%d", f.Goto))
	}
	if len(parts) == 0 {
		return "drop"
	}
	return strings.Join(parts, ",")
}

// GroupType says which buckets of a group a packet goes through.
type GroupType uint8

// Types of groups.
const (
	GroupAll    GroupType = 0 // each, with a copy
	GroupSelect GroupType = 1 // one, by weight, the same for all packets of a connection; see Multipath for many
	// GroupIndirect has one bucket.
	GroupIndirect GroupType = 2
)

// String is the word of ovs-ofctl.
func (t GroupType) String() string {
	switch t {
	case GroupAll:
		return "all"
	case GroupSelect:
		return "select"
	case GroupIndirect:
		return "indirect"
	}
	return fmt.Sprintf("GroupType(%d)", uint8(t))
}

// Group is a set of buckets that flows and other groups hand packets to.
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets []Bucket
}

// Bucket is a list of actions. Weight is for GroupSelect only, where 0 means never. A bucket writes to the packet (loads,
// moves, sets, tags, in an order of the switch's) and then does one of Output, ToGroup, Resubmit and CT; SetGroup refuses
// others, which the switch would pass over.
type Bucket struct {
	Weight  uint16
	Actions Actions
}

// Equal compares groups.
func (g *Group) Equal(other *Group) bool {
	return g.ID == other.ID && g.Type == other.Type && slices.Equal(g.Buckets, other.Buckets)
}

// String writes the group as ovs-ofctl dump-groups does.
func (g *Group) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "group_id=%d,type=%v", g.ID, g.Type)
	for _, bucket := range g.Buckets {
		b.WriteString(",bucket=")
		if g.Type == GroupSelect && bucket.Weight != 1 {
			fmt.Fprintf(&b, "weight:%d,", bucket.Weight)
		}
		text := bucket.Actions.String()
		if text == "" {
			text = "drop"
		}
		b.WriteString("actions=" + text)
	}
	return b.String()
}

// Size is how many bytes the group takes in a message; MaxGroupBytes is the limit.
func (g *Group) Size() int {
	size := 16
	for i := range g.Buckets {
		size += g.Buckets[i].Size()
	}
	return size
}

// Size is how many bytes the bucket takes of its group's message.
func (b *Bucket) Size() int { return 16 + len(b.Actions.wire) }

// MaxGroupBytes is what a message for a group may take: half of what OpenFlow can carry, since Open vSwitch answers
// descriptions of groups with more bytes than it was given.
const MaxGroupBytes = 32 << 10

// Meter drops packets above a rate.
type Meter struct {
	ID uint32
	// Rate and Burst are packets per second and packets if Packets is set, else kilobits per second and kilobits.
	Rate    uint32
	Burst   uint32
	Packets bool
}

// String writes the meter as ovs-ofctl add-meter reads it.
func (m *Meter) String() string {
	unit := "kbps"
	if m.Packets {
		unit = "pktps"
	}
	return fmt.Sprintf("meter=%d %s burst stats bands=type=drop rate=%d burst_size=%d", m.ID, unit, m.Rate, m.Burst)
}
