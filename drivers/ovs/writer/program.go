package writer

import (
	"cmp"
	"maps"
	"slices"

	"github.com/contiv/contiv/ofnet/openflow"
)

// RoundBits are the bits of a cookie that say in which round a flow was written; programs leave them 0. Rounds are
// 1..LastRound: with the highest bit flows are not the writer's (those that the switch learns itself).
const (
	RoundShift = 48
	RoundBits  = uint64(0xffff) << RoundShift
	LastRound  = 0x7fff
)

// Update is a change of the program: of what the switch should have. A thing that is set replaces the one of the same
// identity, also if that is dropped in the same update. Groups that others hand packets to come before those.
type Update struct {
	Flows      []openflow.Flow
	DropFlows  []openflow.Key
	Groups     []openflow.Group
	DropGroups []uint32
	Meters     []openflow.Meter
	DropMeters []uint32
	// FlushZones are zones of conntrack that serve another from this update on: when all that is only deleted is gone from
	// the switch, and before anything is set, it forgets their connections, once.
	FlushZones []uint16
}

// Owner is what is installed, refused and tried again as one: all flows of one cookie, or one group, or one meter.
type Owner struct {
	Cookie uint64 // round bits 0
	Group  uint32
	Meter  uint32
}

// item is one flow, group or meter and how far the switch is with it.
type item[T any] struct {
	want  T
	gone  bool   // not wanted: to be deleted
	dirty bool   // the switch may have something else
	seq   uint64 // of the last change
	order uint64 // groups: when it was set, for those that refer to others
}

// program is what the switch should have and what it has acknowledged. Pure; callers lock.
type program struct {
	flows  map[openflow.Key]*item[openflow.Flow]
	groups map[uint32]*item[openflow.Group]
	meters map[uint32]*item[openflow.Meter]

	dirtyFlows map[openflow.Key]struct{} // those of flows that are dirty
	flushes    map[uint16]uint64         // zones to flush, and the change that said so
	seq        uint64                    // of the last change of anything
}

func newProgram() *program {
	return &program{
		flows: map[openflow.Key]*item[openflow.Flow]{}, groups: map[uint32]*item[openflow.Group]{},
		meters: map[uint32]*item[openflow.Meter]{}, dirtyFlows: map[openflow.Key]struct{}{},
		flushes: map[uint16]uint64{},
	}
}

// update applies a change and answers the owners that it touched.
func (p *program) update(u *Update) (touched []Owner) {
	p.seq++
	for _, zone := range u.FlushZones {
		p.flushes[zone] = p.seq
	}
	for _, k := range u.DropFlows {
		touched = append(touched, p.dropFlow(k)...)
	}
	for _, id := range u.DropGroups {
		if g := p.groups[id]; g != nil {
			g.gone, g.dirty, g.seq = true, true, p.seq
		}
	}
	for _, id := range u.DropMeters {
		if m := p.meters[id]; m != nil {
			m.gone, m.dirty, m.seq = true, true, p.seq
		}
	}
	for _, m := range u.Meters {
		if old := p.meters[m.ID]; old == nil || old.gone || old.want != m {
			p.meters[m.ID] = &item[openflow.Meter]{want: m, dirty: true, seq: p.seq}
			touched = append(touched, Owner{Meter: m.ID})
		}
	}
	for i, g := range u.Groups {
		if old := p.groups[g.ID]; old == nil || old.gone || !old.want.Equal(&g) {
			p.groups[g.ID] = &item[openflow.Group]{want: g, dirty: true, seq: p.seq, order: p.seq<<24 | uint64(i)} //nolint:gosec // not negative
			touched = append(touched, Owner{Group: g.ID})
		}
	}
	for _, f := range u.Flows {
		if old := p.flows[f.Key()]; old == nil || old.gone || old.want != f {
			p.flows[f.Key()] = &item[openflow.Flow]{want: f, dirty: true, seq: p.seq}
			p.dirtyFlows[f.Key()] = struct{}{}
			touched = append(touched, Owner{Cookie: f.Cookie})
		}
	}
	return touched
}

func (p *program) dropFlow(k openflow.Key) []Owner {
	f := p.flows[k]
	if f == nil || f.gone {
		return nil
	}
	f.gone, f.dirty, f.seq = true, true, p.seq
	p.dirtyFlows[k] = struct{}{}
	return []Owner{{Cookie: f.want.Cookie}}
}

// again makes all that is wanted dirty and forgets what is to be deleted: the round's end deletes it.
func (p *program) again() {
	maps.DeleteFunc(p.flows, func(_ openflow.Key, f *item[openflow.Flow]) bool { return f.gone })
	maps.DeleteFunc(p.groups, func(_ uint32, g *item[openflow.Group]) bool { return g.gone })
	maps.DeleteFunc(p.meters, func(_ uint32, m *item[openflow.Meter]) bool { return m.gone })
	clear(p.dirtyFlows)
	for k, f := range p.flows {
		f.dirty = true
		p.dirtyFlows[k] = struct{}{}
	}
	for _, g := range p.groups {
		g.dirty = true
	}
	for _, m := range p.meters {
		m.dirty = true
	}
}

// unit is the pending changes of one owner.
type unit struct {
	owner Owner
	mods  []openflow.Mod
	acks  []func() // to be called, locked, when the switch has all mods
	// deletes: all mods delete flows.
	deletes bool
}

func (u *unit) add(mod openflow.Mod, ack func()) {
	u.mods, u.acks = append(u.mods, mod), append(u.acks, ack)
}

// units are all pending changes but meters: groups, then flows, then deletions of groups. round goes into cookies.
func (p *program) units(round uint16, held func(Owner) bool) []*unit {
	var sets, deletes []*unit
	for _, g := range p.pendingGroups() {
		u := &unit{owner: Owner{Group: g.want.ID}}
		switch {
		case held(u.owner):
		case g.gone:
			u.add(openflow.DeleteGroup(g.want.ID), p.ackGroup(g))
			deletes = append(deletes, u)
		default:
			u.add(openflow.SetGroup(g.want), p.ackGroup(g))
			sets = append(sets, u)
		}
	}
	return slices.Concat(sets, p.flowUnits(round, held), deletes)
}

// removals are those of units that delete flows and set none.
func removals(units []*unit) []*unit {
	var out []*unit
	for _, u := range units {
		if u.deletes {
			out = append(out, u)
		}
	}
	return out
}

func (p *program) flowUnits(round uint16, held func(Owner) bool) []*unit {
	keys := slices.SortedFunc(maps.Keys(p.dirtyFlows), func(a, b openflow.Key) int {
		return cmp.Or(cmp.Compare(p.flows[a].want.Cookie, p.flows[b].want.Cookie), a.Compare(b))
	})
	var units []*unit
	for _, k := range keys {
		f := p.flows[k]
		owner := Owner{Cookie: f.want.Cookie}
		if held(owner) {
			continue
		}
		if len(units) == 0 || units[len(units)-1].owner != owner {
			units = append(units, &unit{owner: owner, deletes: true})
		}
		mod := openflow.DeleteFlow(k)
		if !f.gone {
			flow := f.want
			flow.Cookie |= uint64(round) << RoundShift
			mod = openflow.AddFlow(flow)
			units[len(units)-1].deletes = false
		}
		units[len(units)-1].add(mod, p.ackFlow(k, f))
	}
	return units
}

func (p *program) pendingGroups() []*item[openflow.Group] {
	var list []*item[openflow.Group]
	for _, g := range p.groups {
		if g.dirty {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *item[openflow.Group]) int { return cmp.Compare(a.order, b.order) })
	return list
}

// ackFlow notes that the switch has what f says now, unless the program changed since.
func (p *program) ackFlow(k openflow.Key, f *item[openflow.Flow]) func() {
	seq := f.seq
	return func() {
		if p.flows[k] != f || f.seq != seq {
			return
		}
		f.dirty = false
		delete(p.dirtyFlows, k)
		if f.gone {
			delete(p.flows, k)
		}
	}
}

func (p *program) ackGroup(g *item[openflow.Group]) func() {
	seq := g.seq
	return func() {
		if p.groups[g.want.ID] != g || g.seq != seq {
			return
		}
		g.dirty = false
		if g.gone {
			delete(p.groups, g.want.ID)
		}
	}
}

// pendingMeters are meters to set, or to delete.
func (p *program) pendingMeters(gone bool, held func(Owner) bool) []*item[openflow.Meter] {
	var list []*item[openflow.Meter]
	for id, m := range p.meters {
		if m.dirty && m.gone == gone && !held(Owner{Meter: id}) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b *item[openflow.Meter]) int { return cmp.Compare(a.want.ID, b.want.ID) })
	return list
}

func (p *program) ackMeter(m *item[openflow.Meter], seq uint64) {
	if p.meters[m.want.ID] != m || m.seq != seq {
		return
	}
	m.dirty = false
	if m.gone {
		delete(p.meters, m.want.ID)
	}
}

// expected are the least and the most flows that the switch may have of the round: flows that expire and flows on
// their way may be there or not.
func (p *program) expected() (least, most int) {
	for _, f := range p.flows {
		most++
		if !f.dirty && f.want.IdleTimeout == 0 && f.want.HardTimeout == 0 {
			least++
		}
	}
	return least, most
}

// groupsAgree tells whether the switch has the acknowledged groups.
func (p *program) groupsAgree(ids []uint32) bool {
	there := make(map[uint32]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	for id, g := range p.groups {
		if !g.dirty && !there[id] {
			return false
		}
	}
	return true
}

// metersAgree tells whether the switch has the acknowledged meters.
func (p *program) metersAgree(stats []openflow.MeterStat) bool {
	there := make(map[uint32]bool, len(stats))
	for _, m := range stats {
		there[m.ID] = true
	}
	for id, m := range p.meters {
		if !m.dirty && !m.gone && !there[id] {
			return false
		}
	}
	return true
}

// chunks splits units into bundles of at most limit changes; a unit that is larger goes alone.
func chunks(units []*unit, limit int) [][]*unit {
	var out [][]*unit
	size := 0
	for _, u := range units {
		if len(out) == 0 || size+len(u.mods) > limit {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], u)
		size += len(u.mods)
	}
	return out
}

// otherRounds deletes every flow that is not of this round and whose highest cookie bit is 0, whatever rounds there
// are: a flow of another round differs from it in at least one of the 15 bits below.
func otherRounds(round uint16) []openflow.Mod {
	const top = uint64(1) << 63
	var mods []openflow.Mod
	for bit := RoundShift; bit < 63; bit++ {
		mask := uint64(1) << bit
		other := ^(uint64(round) << RoundShift) & mask
		mods = append(mods, openflow.DeleteCookie(other, mask|top))
	}
	return mods
}
