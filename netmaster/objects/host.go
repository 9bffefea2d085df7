package objects

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// Registration is what became of a host's registration.
type Registration struct {
	Revision int64
	// Lost are attachments of the host that the store does not give to it, or not so: the host must remove them.
	Lost []protocol.EndpointID
	// Orphaned are endpoints that the store gives to the host and that the host no longer has. They are released after
	// 30 s, unless Held: then they were more than half of the host's and wait for an operator.
	Orphaned []state.EndpointID
	Held     bool
}

// Orphan is an endpoint that its host no longer has.
type Orphan struct {
	ID    state.EndpointID
	Since time.Time
	Held  bool // waits for an operator
}

type orphan struct {
	since time.Time
	held  bool
}

// orphans are those of one host. They are known by one registration: a later one, perhaps with another leader, says
// anew what the host has, so nothing may be removed because of the earlier.
type orphans struct {
	registration int64 // its number
	term         int64 // the leadership it was made under
	ids          map[state.EndpointID]orphan
}

// RegisterHost records a host, removes what it says was removed there, and compares what it has with what the store
// gives it. A host must list attachments that it is still making: what it does not list is orphaned.
func (o *Objects) RegisterHost(ctx context.Context, request *protocol.RegisterRequest) (Registration, error) {
	if err := checkHost(request); err != nil {
		return Registration{}, err
	}
	// From here on nothing is released because of an earlier registration, and what was being released is waited for.
	number := o.beginRegistration(request.Host)
	var term int64
	revision, err := o.commit(ctx, "registering host "+request.Host, func(tx *txn) error {
		term = tx.Term()
		tx.Settle(ledger.EndpointsOfHost(request.Host))
		return tx.register(request)
	})
	if err != nil {
		return Registration{}, err
	}
	if err := o.deleteRemoved(ctx, request); err != nil {
		return Registration{}, err
	}
	out := Registration{Revision: revision}
	o.ledger.ViewCached(func(m *ledger.Model) { compare(m, request, &out) })
	o.endRegistration(request.Host, number, term, &out)
	return out, nil
}

func (o *Objects) beginRegistration(host string) (number int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.latest[host] = o.count
	return o.count
}

// endRegistration notes what was found, unless the host began to register again meanwhile.
func (o *Objects) endRegistration(host string, number, term int64, found *Registration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest[host] != number {
		return
	}
	delete(o.silent, host)
	before := o.orphans[host]
	delete(o.orphans, host)
	if len(found.Orphaned) == 0 {
		return
	}
	now := make(map[state.EndpointID]orphan, len(found.Orphaned))
	for _, id := range found.Orphaned {
		now[id] = orphan{o.options.Now(), found.Held}
		if old, known := before.ids[id]; known {
			now[id] = old // a host that registers again does not get more time, nor out of the operator's hands
		}
	}
	o.orphans[host] = orphans{number, term, now}
}

func checkHost(request *protocol.RegisterRequest) error {
	if err := checkID(state.EndpointID{Host: request.Host, ContainerID: "-", IfName: "-"}); err != nil {
		return err
	}
	const smallest = 576 + 70 // what every IPv4 host must take, in VXLAN over IPv6
	if request.MTU < smallest || request.MTU > 65535 {
		return refuse(Invalid, "host %q: underlay MTU %d, allowed are %d to 65535", request.Host, request.MTU, smallest)
	}
	return nil
}

// register writes the host's record, unless it would say the same but for the time.
func (tx *txn) register(request *protocol.RegisterRequest) error {
	var next state.Host
	old := tx.Host(request.Host)
	if old != nil {
		next = *old
	}
	next.Name, next.VTEP, next.VTEP6, next.VXLANPort = request.Host, request.VTEP, request.VTEP6, request.VXLANPort
	next.Uplinks, next.MTU, next.Datapath = request.Uplinks, request.MTU, request.Datapath
	next.REST = request.REST
	next.Version, next.Dead, next.SilentSince = request.Build, false, time.Time{}
	if old != nil {
		if same, err := sameFields(old, &next); same || err != nil {
			return err
		}
	}
	next.Registered = tx.now
	if old == nil || old.Dead || old.MTU != next.MTU {
		next.MTUSince = tx.now
	}
	tx.Put(&next)
	return nil
}

func (o *Objects) deleteRemoved(ctx context.Context, request *protocol.RegisterRequest) error {
	var ids []state.EndpointID
	for _, id := range request.Removed {
		if id.Host == request.Host {
			ids = append(ids, state.EndpointID(id))
		}
	}
	return o.deleteEndpoints(ctx, ids, nil)
}

// deleteEndpoints removes endpoints, as many in one transaction as fit. With a guard, it stops without error when that
// says so.
func (o *Objects) deleteEndpoints(ctx context.Context, ids []state.EndpointID, goOn func(*txn) bool) error {
	for len(ids) > 0 {
		var done int
		_, err := o.commit(ctx, "deleting endpoints of host "+ids[0].Host, func(tx *txn) error {
			if done = 0; goOn != nil && !goOn(tx) {
				done = len(ids)
				return nil
			}
			for done < len(ids) && tx.Room() >= endpointWrites {
				tx.deleteEndpoint(ids[done])
				done++
			}
			return nil
		})
		if err != nil {
			return err
		}
		ids = ids[done:]
	}
	return nil
}

// compare fills in what the host lost and what it no longer has.
func compare(m *ledger.Model, request *protocol.RegisterRequest, out *Registration) {
	has := make(map[state.EndpointID]bool, len(request.Attachments))
	for _, a := range request.Attachments {
		has[state.EndpointID(a.ID)] = true
		if !gives(m, request.Host, a) {
			out.Lost = append(out.Lost, a.ID)
		}
	}
	given := m.EndpointsOf(ledger.EndpointsOfHost(request.Host))
	for _, e := range given {
		if !has[e.EndpointID] {
			out.Orphaned = append(out.Orphaned, e.EndpointID)
		}
	}
	out.Held = 2*len(out.Orphaned) > len(given)
}

// gives tells whether the store gives the attachment to the host as it is.
func gives(m *ledger.Model, host string, a protocol.Attachment) bool {
	e := m.Endpoint(state.EndpointID(a.ID))
	return e != nil && e.Host == host && e.TenantName == a.Tenant && e.NetworkName == a.Network &&
		e.IPv4 == a.IPv4 && e.IPv6 == a.IPv6 && e.MAC == a.MAC && slices.Equal(e.Groups, sortedGroups(a.Groups))
}

func (o *Objects) notOrphaned(id state.EndpointID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.orphans[id.Host].ids, id)
	if len(o.orphans[id.Host].ids) == 0 {
		delete(o.orphans, id.Host)
	}
}

// isOrphaned tells whether an endpoint is orphaned by the newest registration of its host, under the same leadership.
func (o *Objects) isOrphaned(id state.EndpointID, term int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.orphans[id.Host]
	_, is := known.ids[id]
	return is && known.term == term && known.registration == o.latest[id.Host]
}

// Orphans are the endpoints that their hosts no longer have, of one host or of all for "", sorted. While a host
// registers nobody knows, and it has none.
func (o *Objects) Orphans(host string) []Orphan {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Orphan
	for name, known := range o.orphans {
		if known.registration != o.latest[name] {
			continue
		}
		for id, is := range known.ids {
			if host == "" || host == name {
				out = append(out, Orphan{id, is.since, is.held})
			}
		}
	}
	slices.SortFunc(out, func(a, b Orphan) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return out
}

func (o *Objects) releaseOrphans(ctx context.Context, orphans []Orphan) error {
	for _, orphan := range orphans {
		id, released := orphan.ID, false
		_, err := o.commit(ctx, "releasing orphaned endpoint "+id.String(), func(tx *txn) error {
			if released = o.isOrphaned(id, tx.Term()); released {
				tx.deleteEndpoint(id)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if released {
			o.notOrphaned(id)
		}
	}
	return nil
}

// ReleaseHost declares a host dead and removes its endpoints: it is called for an operator, or when the host was silent
// for too long. A host whose agent is connected is refused. It can be repeated after a failure; a host that registers
// meanwhile keeps what is left.
func (o *Objects) ReleaseHost(ctx context.Context, name string) (int64, error) {
	revision, err := o.commit(ctx, "releasing host "+name, func(tx *txn) error {
		old := tx.Host(name)
		if old == nil {
			return refuse(NotFound, "host not found: %q", name)
		}
		if tx.agents.Connected(name) {
			return refuse(InUse, "host %q is connected; stop its agent before it is declared dead", name)
		}
		if !old.Dead {
			next := *old
			next.Dead = true
			tx.Put(&next)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var ids []state.EndpointID
	o.ledger.ViewCached(func(m *ledger.Model) {
		for _, e := range m.EndpointsOf(ledger.EndpointsOfHost(name)) {
			ids = append(ids, e.EndpointID)
		}
	})
	err = o.deleteEndpoints(ctx, ids, func(tx *txn) bool {
		host := tx.Host(name)
		return host != nil && host.Dead
	})
	if err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.orphans, name)
	delete(o.silent, name)
	return revision, nil
}
