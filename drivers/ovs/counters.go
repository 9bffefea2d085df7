package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

// counters keeps totals of what flows count, by rule and by reason of a drop. A flow's counter lives as long as the flow,
// also when an agent that was restarted adds it again; it begins anew with a flow that was deleted, or a switch that was
// restarted. A total grows by what a flow counted since it was last read, so it outlives the flow. What a flow counted
// between its last reading and its end is not known. The zero value is ready. Safe for concurrent use.
type counters struct {
	reading sync.Mutex // held while the switch is asked: readings come one after another
	mu      sync.Mutex
	rules   map[string]tally // by key of the record
	drops   map[string]tally // by reason
	seen    map[openflow.Key]tally
}

// tally is packets and their bytes.
type tally struct{ packets, bytes uint64 }

func (t tally) plus(more tally) tally { return tally{t.packets + more.packets, t.bytes + more.bytes} }

// since is what was counted after an earlier reading; all of it, if the flow was made since.
func (t tally) since(before tally) tally {
	if t.packets < before.packets || t.bytes < before.bytes {
		return t
	}
	return tally{t.packets - before.packets, t.bytes - before.bytes}
}

// take adds a reading of all flows that count. ruleOf answers the key of the rule whose flows carry an id, empty for none.
func (c *counters) take(flows []openflow.FlowStat, ruleOf func(id uint32) string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules == nil {
		c.rules, c.drops = map[string]tally{}, map[string]tally{}
	}
	reasons := pipeline.DropReasons()
	seen := make(map[openflow.Key]tally, len(flows))
	for i := range flows {
		f := &flows[i]
		object := uint32(f.Cookie & pipeline.CookieObjectMask) //nolint:gosec // 32 bits
		key, now := openflow.Key{Table: f.Table, Priority: f.Priority, Match: f.Match}, tally{f.Packets, f.Bytes}
		more := now.since(c.seen[key])
		seen[key] = now
		switch pipeline.CategoryOf(f.Cookie) {
		case pipeline.CountsRule:
			if rule := ruleOf(object); rule != "" && more.packets > 0 {
				c.rules[rule] = c.rules[rule].plus(more)
			}
		case pipeline.CountsDrop:
			reason := cmp.Or(reasons[object], fmt.Sprintf("reason %d", object))
			c.drops[reason] = c.drops[reason].plus(more)
		}
	}
	c.seen = seen
}

// forget drops the total of a rule that is gone.
func (c *counters) forget(rule string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rules, rule)
}

// totals answers the rules that were hit and the drops, sorted.
func (c *counters) totals() (rules []protocol.RuleCounters, drops []protocol.DropCounter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(c.rules)) {
		rules = append(rules, protocol.RuleCounters{Key: key, Packets: c.rules[key].packets, Bytes: c.rules[key].bytes})
	}
	for _, reason := range slices.Sorted(maps.Keys(c.drops)) {
		drops = append(drops, protocol.DropCounter{Reason: reason, Packets: c.drops[reason].packets, Bytes: c.drops[reason].bytes})
	}
	return rules, drops
}

// Statistics implements drivers.Datapath.
func (d *Driver) Statistics(ctx context.Context) (protocol.Statistics, error) {
	ports, portsErr := d.portCounters()
	flowsErr := d.readCounters(ctx)
	services, servicesErr := d.serviceCounters(ctx)
	out := protocol.Statistics{Endpoints: ports, Services: services}
	out.Rules, out.Drops = d.counters.totals()
	return out, errors.Join(portsErr, flowsErr, servicesErr)
}

// readCounters has the switch tell what its flows counted.
func (d *Driver) readCounters(ctx context.Context) error {
	d.counters.reading.Lock()
	defer d.counters.reading.Unlock()
	conn, err := d.control.openflow(ctx)
	if err != nil {
		return err
	}
	var flows []openflow.FlowStat
	for _, q := range pipeline.CountingFlows() {
		part, err := conn.QueryFlows(ctx, q)
		if err != nil {
			return err
		}
		flows = append(flows, part...)
	}
	d.mu.Lock()
	rules := d.ruleKeys()
	d.mu.Unlock()
	d.counters.take(flows, func(id uint32) string { return rules[id] })
	return nil
}

// ruleKeys answers the keys of rules by their ids; of two that claim one, the first has it, as in the pipeline. Callers
// hold mu.
func (d *Driver) ruleKeys() map[uint32]string {
	out := make(map[uint32]string, len(d.compiler.Rules))
	for key, r := range d.compiler.Rules {
		if first, claimed := out[r.ID]; !claimed || key < first {
			out[r.ID] = key
		}
	}
	return out
}
