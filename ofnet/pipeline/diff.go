package pipeline

import (
	"maps"
	"slices"

	"github.com/contiv/contiv/ofnet/openflow"
)

// differ collects the differences of units. A flow that goes from one unit to another is set, not dropped.
type differ struct {
	flows      map[openflow.Key]openflow.Flow
	dropFlows  map[openflow.Key]struct{}
	groups     map[uint32]openflow.Group
	dropGroups map[uint32]struct{}
	meters     map[uint32]openflow.Meter
	dropMeters map[uint32]struct{}
}

func newDiffer() *differ {
	return &differ{
		map[openflow.Key]openflow.Flow{}, map[openflow.Key]struct{}{}, map[uint32]openflow.Group{}, map[uint32]struct{}{},
		map[uint32]openflow.Meter{}, map[uint32]struct{}{},
	}
}

func (d *differ) unit(old, now *unit) {
	if old == nil {
		old = &unit{}
	}
	if now == nil {
		now = &unit{}
	}
	hadFlow := make(map[openflow.Key]openflow.Flow, len(old.flows))
	for _, f := range old.flows {
		hadFlow[f.Key()] = f
		d.dropFlows[f.Key()] = struct{}{}
	}
	for _, f := range now.flows {
		if before, same := hadFlow[f.Key()]; same && before == f {
			delete(d.dropFlows, f.Key())
			continue
		}
		d.flows[f.Key()] = f
	}
	hadGroup := make(map[uint32]openflow.Group, len(old.groups))
	for _, g := range old.groups {
		hadGroup[g.ID] = g
		d.dropGroups[g.ID] = struct{}{}
	}
	for _, g := range now.groups {
		if before, same := hadGroup[g.ID]; same && before.Equal(&g) {
			delete(d.dropGroups, g.ID)
			continue
		}
		d.groups[g.ID] = g
	}
	d.unitMeters(old, now)
}

func (d *differ) unitMeters(old, now *unit) {
	for _, m := range old.meters {
		d.dropMeters[m.ID] = struct{}{}
	}
	for _, m := range now.meters {
		if slices.Contains(old.meters, m) {
			delete(d.dropMeters, m.ID)
			continue
		}
		d.meters[m.ID] = m
	}
}

func (d *differ) result() Diff {
	var out Diff
	for k, f := range d.flows {
		delete(d.dropFlows, k)
		out.Flows = append(out.Flows, f)
	}
	for id, g := range d.groups {
		delete(d.dropGroups, id)
		out.Groups = append(out.Groups, g)
	}
	for id, m := range d.meters {
		delete(d.dropMeters, id)
		out.Meters = append(out.Meters, m)
	}
	slices.SortFunc(out.Meters, compareMeters)
	out.DropMeters = slices.Sorted(maps.Keys(d.dropMeters))
	out.DropFlows = slices.SortedFunc(maps.Keys(d.dropFlows), openflow.Key.Compare)
	out.DropGroups = slices.Sorted(maps.Keys(d.dropGroups))
	sortFlows(out.Flows)
	sortGroups(out.Groups)
	return out
}
