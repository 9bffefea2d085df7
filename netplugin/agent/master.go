package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// side is the agent as its session sees it (session.Agent).
type side struct{ a *Agent }

// Describe announces the host with everything attached. Endpoints that are being attached are listed too: netmaster
// would otherwise take them for orphans. They are read first, so that none is missed on its way to the datapath.
func (s side) Describe(ctx context.Context) (protocol.RegisterRequest, error) {
	a := s.a
	attached := a.beingAttached()
	ports, removed, err := a.memory(ctx)
	if err != nil {
		return protocol.RegisterRequest{}, err
	}
	for i := range ports {
		attached[ports[i].ID] = announce(&ports[i].Port)
	}
	request := protocol.RegisterRequest{
		Host: a.config.Host, Build: a.config.Build, Datapath: a.config.DatapathType,
		VTEP: a.config.VTEP, VTEP6: a.config.VTEP6, VXLANPort: a.config.VXLANPort,
		Uplinks: a.config.Uplinks, MTU: a.config.MTU(), Catalog: a.config.Catalog,
		REST:        a.config.REST,
		Attachments: make([]protocol.Attachment, 0, len(attached)),
		Removed:     removed,
	}
	for _, one := range attached {
		request.Attachments = append(request.Attachments, one)
	}
	sortAttachments(request.Attachments)
	return request, nil
}

// Registered removes what the host lost and forgets the removals that netmaster was told.
func (s side) Registered(ctx context.Context, sent protocol.RegisterRequest, reply protocol.RegisterReply) error {
	a := s.a
	for _, id := range reply.Lost {
		if err := a.lose(ctx, id); err != nil {
			return err
		}
	}
	if len(sent.Removed) > 0 {
		if err := a.dp.Forget(ctx, sent.Removed...); err != nil {
			return fmt.Errorf("forgetting removals that netmaster knows: %w", err)
		}
	}
	return nil
}

// lose removes an endpoint that netmaster gave to nobody or to another host meanwhile.
func (a *Agent) lose(ctx context.Context, id protocol.EndpointID) error {
	if id.Host != a.config.Host {
		return fmt.Errorf("netmaster says that endpoint %s is lost, which is not of this host", id)
	}
	unlock, err := a.endpoints.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	a.log.WithField("endpoint", id.String()).Warn("endpoint was released by netmaster while this host was away: removing it")
	if err := a.dp.RemovePort(ctx, id); err != nil {
		return fmt.Errorf("removing lost endpoint %s: %w", id, err)
	}
	if err := a.dp.Forget(ctx, id); err != nil {
		return fmt.Errorf("forgetting lost endpoint %s: %w", id, err)
	}
	return nil
}

// Apply hands a change to the datapath.
func (s side) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	a := s.a
	defer a.noteCatalog(update)
	missing, err := a.dp.Apply(ctx, update)
	if err != nil {
		return missing, fmt.Errorf("bringing the switch to revision %d: %w", update.Position.Revision, err)
	}
	return missing, nil
}

// noteCatalog wakes those who follow networks and groups.
func (a *Agent) noteCatalog(update drivers.Update) {
	touched := update.Replace
	for ref := range update.Set {
		touched = touched || isCatalog(ref)
	}
	for _, ref := range update.Gone {
		touched = touched || isCatalog(ref)
	}
	if !touched {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.catalog)
	a.catalog = make(chan struct{})
}

func isCatalog(ref drivers.Ref) bool {
	return ref.Kind == protocol.KindNetwork || ref.Kind == protocol.KindGroup || ref.Kind == protocol.KindGlobal
}

// beingAttached copies the attachments under way.
func (a *Agent) beingAttached() map[protocol.EndpointID]protocol.Attachment {
	a.mu.Lock()
	defer a.mu.Unlock()
	under := make(map[protocol.EndpointID]protocol.Attachment, len(a.pending))
	for id, one := range a.pending {
		under[id] = one
	}
	return under
}

func announce(port *drivers.Port) protocol.Attachment {
	return protocol.Attachment{
		ID: port.ID, Tenant: port.Tenant, Network: port.Network, Groups: port.Groups,
		IPv4: port.IPv4.Addr(), IPv6: port.IPv6.Addr(), MAC: port.MAC,
	}
}

// askable waits, for a short while, until netmaster can be asked.
func (a *Agent) askable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timing.Connect)
	defer cancel()
	for {
		changed := a.session.Changed()
		status := a.session.Status()
		if status.Connected {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable("netmaster cannot be reached (%s): check that it runs and that --netmaster names it; try again",
				orUnknown(status.Problem))
		}
	}
}

func unavailable(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeUnavailable, format, args...)
}

// asked words the failure of a call to netmaster.
func (a *Agent) asked(what string, err error) error {
	var refused *protocol.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %w", what, err)
	case ctxError(err):
		return unavailable("%s: netmaster did not answer in time; try again", what)
	default:
		return unavailable("%s: netmaster cannot be reached (%v); try again", what, err)
	}
}

func ctxError(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
