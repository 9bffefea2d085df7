package ovs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/drivers/ovs/writer"
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

const (
	// applyTimeout bounds how long Apply waits for a switch that is away.
	applyTimeout = 10 * time.Second
	// rereadTimeout bounds the reading of port numbers after a connect.
	rereadTimeout = 2 * time.Second
)

// milestone: when the switch has update seq, the desired state up to position is realised.
type milestone struct {
	seq      uint64
	position protocol.Position
}

// Apply implements drivers.Datapath.
func (d *Driver) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	d.mu.Lock()
	changes := d.changesOf(&update)
	review, stale := d.rulesChanged(changes), d.started && d.servicesOpen(changes)
	seq := d.change(changes)
	if review {
		d.ruleSeq = seq
		d.reviewer.poke()
	}
	if seq == 0 { // nothing new, but Wait tells whether the switch is there
		seq = d.writer.Update(writer.Update{})
	}
	started := d.started || update.Replace
	if update.Replace && !d.started {
		d.started = true
		seq = d.writer.Start()
	}
	d.desired = update.Position
	if started {
		d.wantHostAccess()
	}
	d.milestones = append(d.milestones, milestone{seq, update.Position})
	notes, drop := d.backends.unsaved()
	d.mu.Unlock()
	d.saveBackends(ctx, notes, drop)
	if !started {
		return nil, fmt.Errorf("applying revision %d: no complete state was given yet", update.Position.Revision)
	}
	err := d.writer.Wait(ctx, seq)
	notRealised := d.Status().NotRealised
	if err != nil {
		return notRealised, fmt.Errorf("applying revision %d: %w", update.Position.Revision, err)
	}
	d.saveNotes(ctx)
	if stale {
		d.forgetDecisions(ctx)
	}
	return notRealised, nil
}

// saveNotes has OVSDB remember who has which zones of conntrack. Not before the switch has forgotten the connections of who
// had them before: an agent that is started again takes what is noted for clean.
func (d *Driver) saveNotes(ctx context.Context) {
	d.mu.Lock()
	notes, drop := d.zones.unsaved()
	more, moreDrop := d.tenants.unsaved()
	d.mu.Unlock()
	if drop = append(drop, moreDrop...); len(notes)+len(more)+len(drop) == 0 {
		return
	}
	if notes == nil {
		notes = more
	} else {
		maps.Copy(notes, more)
	}
	if err := d.db.SetNotes(ctx, notes, drop...); err != nil {
		d.log.WithError(err).Warn("connections will not be found again after a restart of this agent")
	}
}

// saveBackends has OVSDB remember the numbers of providers.
func (d *Driver) saveBackends(ctx context.Context, notes map[string]string, drop []string) {
	if len(notes)+len(drop) == 0 {
		return
	}
	if err := d.db.SetNotes(ctx, notes, drop...); err != nil {
		d.log.WithError(err).Warn("what services counted may be told of other providers after a restart of this agent")
	}
}

// changesOf turns an update into changes of the pipeline's state, and keeps the list of records.
func (d *Driver) changesOf(update *drivers.Update) *pipeline.Changes {
	c := newChanges()
	gone := slices.Clone(update.Gone)
	if update.Replace {
		gone = slices.Collect(maps.Keys(d.records))
	}
	for _, ref := range gone {
		if _, set := update.Set[ref]; !set {
			delete(d.records, ref)
			delete(d.unknown, ref)
			d.removeRecord(c, ref)
		}
	}
	for ref, body := range update.Set {
		d.records[ref] = true
		if reason := d.setRecord(c, ref, body); reason != "" {
			d.unknown[ref] = reason
			d.removeRecord(c, ref)
		} else {
			delete(d.unknown, ref)
		}
	}
	if update.Replace && !d.started {
		d.zones.keep(func(key string) bool { return d.records[drivers.Ref{Kind: protocol.KindNetwork, Key: key}] })
		d.tenants.keep()
		d.backends.tidy()
	}
	return c
}

// setZones gives a network the zones of conntrack that it needs. Those that served another before are flushed.
func (d *Driver) setZones(c *pipeline.Changes, key string, network *protocol.Network) {
	number, fresh := d.zones.take(key, network)
	c.Zones[key] = number
	if fresh {
		d.flush = append(d.flush, pipeline.BridgeZones(number)...)
	}
	if d.tenants.take(key, network) {
		d.flush = append(d.flush, pipeline.TenantZones(network.VRF)...)
	}
}

// setService puts a service into the changes, with numbers for its providers; nil removes it.
func (d *Driver) setService(c *pipeline.Changes, key string, now *protocol.Service) {
	var old *protocol.Service
	if s, had := d.compiler.Services[key]; had {
		old = &s
	}
	c.Services[key] = now
	d.backends.set(key, old, now, c.Backends)
}

func newChanges() *pipeline.Changes {
	return &pipeline.Changes{
		Networks: map[string]*protocol.Network{}, Groups: map[string]*protocol.Group{}, Hosts: map[string]*protocol.Host{},
		Endpoints: map[protocol.EndpointID]*protocol.Endpoint{}, Ports: map[protocol.EndpointID]uint32{},
		Rules: map[string]*protocol.Rule{}, Services: map[string]*protocol.Service{}, Zones: map[string]uint16{},
		Backends: map[pipeline.Backend]uint32{},
	}
}

// setRecord adds a new or changed record to the changes, or tells why it cannot be realised.
func (d *Driver) setRecord(c *pipeline.Changes, ref drivers.Ref, body protocol.Body) (reason string) {
	switch b := body.(type) {
	case *protocol.Global:
		c.Global, c.NoGlobal = b, false
	case *protocol.Network:
		c.Networks[ref.Key] = b
		d.setZones(c, ref.Key, b)
	case *protocol.Group:
		c.Groups[ref.Key] = b
	case *protocol.Endpoint:
		if b.ID.String() != ref.Key {
			return fmt.Sprintf("the record is of endpoint %s", b.ID)
		}
		c.Endpoints[b.ID] = b
	case *protocol.Rule:
		c.Rules[ref.Key] = b
	case *protocol.Service:
		d.setService(c, ref.Key, b)
	case *protocol.Host:
		c.Hosts[ref.Key] = b
		d.meet(b.Name, b)
	default:
		return fmt.Sprintf("this version does not know records of type %T", body)
	}
	return ""
}

func (d *Driver) removeRecord(c *pipeline.Changes, ref drivers.Ref) {
	switch ref.Kind {
	case protocol.KindGlobal:
		c.NoGlobal = c.Global == nil
	case protocol.KindNetwork:
		c.Networks[ref.Key], c.Zones[ref.Key] = nil, 0
		d.zones.release(ref.Key)
		d.tenants.release(ref.Key)
	case protocol.KindRule:
		c.Rules[ref.Key] = nil
		d.counters.forget(ref.Key)
	case protocol.KindService:
		d.setService(c, ref.Key, nil)
	case protocol.KindGroup:
		c.Groups[ref.Key] = nil
	case protocol.KindHost:
		c.Hosts[ref.Key] = nil
		d.meet(ref.Key, &protocol.Host{})
	case protocol.KindEndpoint:
		if parts := strings.Split(ref.Key, "/"); len(parts) == 3 {
			c.Endpoints[protocol.EndpointID{Host: parts[0], ContainerID: parts[1], IfName: parts[2]}] = nil
		}
	}
}

// meet has the userspace datapath learn the neighbour that leads to a host before traffic does.
func (d *Driver) meet(name string, host *protocol.Host) {
	if d.neighbours == nil || name == d.cfg.Host {
		return
	}
	addr := host.VTEP
	if !addr.IsValid() {
		addr = host.VTEP6
	}
	d.neighbours.set(name, addr)
}

// change has the pipeline compile changes and hands the difference to the writer. It answers the number to wait for, 0
// if nothing changes for the switch. Callers hold mu.
func (d *Driver) change(c *pipeline.Changes) uint64 {
	diff, flush := d.compiler.Update(*c), d.flush
	d.flush = nil
	if diff.Empty() && len(flush) == 0 {
		return 0
	}
	return d.writer.Update(writer.Update{
		FlushZones: flush, Flows: diff.Flows, DropFlows: diff.DropFlows, Groups: diff.Groups, DropGroups: diff.DropGroups,
		Meters: diff.Meters, DropMeters: diff.DropMeters,
	})
}

// portChanged tells the pipeline the port number of an endpoint, or that it has none. Callers hold mu.
func (d *Driver) portChanged(id protocol.EndpointID) {
	c := newChanges()
	c.Ports[id] = 0
	p := d.ports[id]
	if p != nil && !p.missing {
		c.Ports[id] = uint32(p.number) //nolint:gosec // 1..0xfeff
	}
	if seq := d.change(c); p != nil {
		p.seq = seq
	}
}

// flushPort waits until the switch has the flows of a local endpoint. Without its record there are none to wait for.
func (d *Driver) flushPort(ctx context.Context, id protocol.EndpointID) error {
	d.mu.Lock()
	var seq uint64
	if p := d.ports[id]; p != nil && d.started {
		seq = p.seq
	}
	d.mu.Unlock()
	return d.writer.Wait(ctx, seq)
}

// forgetFlows has the flows of a port that is gone removed. It does not wait for the switch, which is busy with the port
// itself: without that, they meet no packet.
func (d *Driver) forgetFlows(id protocol.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newChanges()
	c.Ports[id] = 0
	d.change(c)
}

// renumber notes the number that the switch gave to a port.
func (d *Driver) renumber(id protocol.EndpointID, number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ports[id]
	if p == nil || p.number == number {
		return
	}
	d.numbers.release(p.number)
	d.numbers.claim(number)
	p.number = number
	d.portChanged(id)
}

// portSeen follows what OVSDB says of interfaces: after a restart of the switch a port may have another number.
func (d *Driver) portSeen(port switchdb.Port) {
	if port.Gone {
		d.portGone(port.Name)
		return
	}
	if port.Number <= 0 {
		return // not open yet, or its device is gone: then its flows meet no packet
	}
	switch port.Name {
	case TunnelPort:
		d.setTunnel(port.Number)
		return
	case hostPort:
		d.setHostPort(port.Number)
		return
	}
	att, ours, err := decodeAttachment(port.Name, port.ExternalIDs)
	if !ours || err != nil {
		return
	}
	d.mu.Lock()
	p := d.ports[att.ID]
	mine := p != nil && p.attachment.HostLink == port.Name
	d.mu.Unlock()
	if mine {
		d.renumber(att.ID, port.Number)
	}
}

// reread reads all port numbers: a change may have been missed while there was no connection.
func (d *Driver) reread(ctx context.Context, _ *openflow.Conn) {
	ctx, cancel := context.WithTimeout(ctx, rereadTimeout)
	defer cancel()
	ports, err := d.db.Ports(ctx)
	if err != nil {
		d.log.WithError(err).Warn("port numbers are taken as they were")
		return
	}
	there := map[string]bool{}
	for _, port := range ports {
		there[port.Name] = true
		d.portSeen(port)
	}
	d.missed(there)
	d.hostAccess.poke()
	if d.neighbours != nil {
		d.neighbours.again()
	}
}

func (d *Driver) setTunnel(number int) {
	if number <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	port := uint32(number) //nolint:gosec // OpenFlow numbers fit
	d.numbers.claim(number)
	if d.tunnel == port {
		return
	}
	d.tunnel = port
	c := newChanges()
	c.TunnelPort = &port
	d.change(c)
}

// newRound answers a round that no flow has, and notes it before any flow gets it: an agent that dies half way through
// a round is followed by one that takes the next.
func (d *Driver) newRound(ctx context.Context) (uint16, error) {
	notes, err := d.db.Notes(ctx)
	if err != nil {
		return 0, err
	}
	last, _ := strconv.ParseUint(notes[keyRound], 10, 16) // nothing or nonsense: begin with 1
	round := last%writer.LastRound + 1
	if err := d.db.SetNotes(ctx, map[string]string{keyRound: strconv.FormatUint(round, 10)}); err != nil {
		return 0, err
	}
	return uint16(round), nil //nolint:gosec // at most LastRound
}

// Status implements drivers.Datapath.
func (d *Driver) Status() drivers.Status {
	w := d.writer.State()
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.milestones) > 0 && d.started && d.milestones[0].seq <= w.Done {
		d.realised = d.milestones[0].position
		d.milestones = d.milestones[1:]
	}
	realised := d.realised
	if !w.Certain {
		realised = protocol.Position{}
	}
	s := drivers.Status{
		Desired: d.desired, Realised: realised, Connected: w.Connected, Problem: w.Problem, NotRealised: d.notRealised(w.Refused),
		Details: map[string]any{
			"driver": "ovs", "bridge": d.cfg.Bridge, "datapathType": d.cfg.DatapathType, "ovsVersion": d.bridge.OVSVersion,
			"round": w.Round, "flows": w.Flows, "groups": w.Groups, "meters": w.Meters, "pending": w.Pending, "ports": len(d.ports),
		},
	}
	if told, _ := d.hostAccess.state(); told != "" {
		s.Details["hostAccess"] = told
	}
	if s.Problem == "" && !d.started {
		s.Problem = "waiting for the desired state"
	}
	return s
}

// notRealised joins what the pipeline and what the switch refuses. Callers hold mu.
func (d *Driver) notRealised(refused []writer.Refusal) []protocol.NotRealised {
	list := d.compiler.NotRealised()
	for ref, reason := range d.unknown {
		list = append(list, protocol.NotRealised{Kind: ref.Kind, Key: ref.Key, Reason: reason})
	}
	for _, r := range refused {
		list = append(list, d.blame(r))
	}
	if _, problem := d.hostAccess.state(); problem != "" {
		list = append(list, protocol.NotRealised{Kind: protocol.KindGlobal, Key: "global", Reason: "containers do not get out through the host: " + problem})
	}
	slices.SortFunc(list, func(a, b protocol.NotRealised) int {
		return strings.Compare(string(a.Kind)+" "+a.Key, string(b.Kind)+" "+b.Key)
	})
	return list
}

// blame tells in the words of the protocol what the switch refuses. Callers hold mu.
func (d *Driver) blame(r writer.Refusal) protocol.NotRealised {
	kind, key := d.compiler.OwnerOfCookie(r.Owner.Cookie)
	if r.Owner.Group != 0 {
		kind, key = d.compiler.OwnerOfGroup(r.Owner.Group)
	}
	return protocol.NotRealised{Kind: kind, Key: key, Reason: r.Reason}
}
