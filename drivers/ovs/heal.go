package ovs

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/protocol"
)

// healRetry is the wait after a port could not be put back.
const healRetry = 5 * time.Second

// healer puts back what somebody else took from the switch (ovs-vsctl del-port). It works on one endpoint at a time, in
// a goroutine of its own: events of the database must not wait for it.
type healer struct {
	heal   func(context.Context, protocol.EndpointID) error
	log    *logrus.Entry
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	due map[protocol.EndpointID]bool
}

func newHealer(heal func(context.Context, protocol.EndpointID) error, log *logrus.Entry) *healer {
	ctx, cancel := context.WithCancel(context.Background())
	h := &healer{heal: heal, log: log, wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		due: map[protocol.EndpointID]bool{}}
	go h.run(ctx)
	return h
}

func (h *healer) close() {
	h.cancel()
	<-h.done
}

// add has an endpoint looked after. It does not wait.
func (h *healer) add(id protocol.EndpointID) {
	h.mu.Lock()
	h.due[id] = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *healer) run(ctx context.Context) {
	defer close(h.done)
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-retry:
		}
		retry = nil
		if !h.healDue(ctx) {
			retry = time.After(healRetry)
		}
	}
}

// healDue looks after those that are due and tells whether none is left.
func (h *healer) healDue(ctx context.Context) bool {
	h.mu.Lock()
	due := h.due
	h.due = map[protocol.EndpointID]bool{}
	h.mu.Unlock()
	whole := true
	for id := range due {
		if err := h.heal(ctx, id); err != nil && ctx.Err() == nil {
			h.log.WithError(err).WithField("endpoint", id.String()).Error("the port of an endpoint was taken from the switch and cannot be put back yet")
			h.mu.Lock()
			h.due[id] = true
			h.mu.Unlock()
			whole = false
		}
	}
	return whole
}

// portGone has the endpoint looked after whose port was taken from the switch by somebody else.
func (d *Driver) portGone(hostLink string) {
	if hostLink == hostPort {
		d.setHostPort(0)
		d.hostAccess.poke()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, p := range d.ports {
		if p.attachment.HostLink == hostLink && !p.making && !p.leaving {
			d.healer.add(id)
		}
	}
}

// missed does what portGone does for ports that went while there was no connection.
func (d *Driver) missed(there map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, p := range d.ports {
		if !there[p.attachment.HostLink] && !p.making && !p.leaving {
			d.healer.add(id)
		}
	}
}

// heal puts the port of an endpoint back if it is not in the switch. Until that is done the endpoint has no flows: its
// number may become that of another port. It is not realised then.
func (d *Driver) heal(ctx context.Context, id protocol.EndpointID) error {
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	unlock, err := d.locks.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	d.mu.Lock()
	p := d.ports[id]
	if p == nil || p.making || p.leaving {
		d.mu.Unlock()
		return nil
	}
	att, number := p.attachment, p.number
	d.mu.Unlock()
	there, err := d.db.Port(ctx, att.HostLink)
	if err != nil {
		return err
	}
	log := d.log.WithField("endpoint", id.String())
	if there == nil {
		d.setMissing(id, true)
		if !d.links.whole(&att) {
			log.Error("the port of an endpoint was taken from the switch, and its link is gone too: remove the container, or attach it again")
			return nil
		}
		if number, err = d.replug(ctx, &att, number); err != nil {
			return err
		}
		log.Warn("the port of an endpoint was taken from the switch by somebody; it was put back")
	}
	d.setMissing(id, false)
	d.renumber(id, number)
	return nil
}

// replug adds the port of an attachment to the switch again and answers its number.
func (d *Driver) replug(ctx context.Context, att *drivers.Attachment, number int) (int, error) {
	ids, err := encodeAttachment(att)
	if err != nil {
		return 0, err
	}
	return d.db.AddPort(ctx, switchdb.Port{Name: att.HostLink, Request: number, ExternalIDs: ids}, nil)
}

func (d *Driver) setMissing(id protocol.EndpointID, missing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.ports[id]; p != nil && p.missing != missing {
		p.missing = missing
		d.portChanged(id)
	}
}
