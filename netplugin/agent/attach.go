package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Attach plugs a container's interface into a network and returns when packets pass, here and, as a rule, at the
// hosts it can talk to. Repeating a request answers the same attachment; a request that differs from what is attached
// is a conflict (*protocol.Error). After an error nothing is left, or what is left is removed as soon as netmaster
// can be told.
func (a *Agent) Attach(ctx context.Context, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	id := a.id(want.ContainerID, want.IfName)
	if err := validate(want); err != nil {
		return mgmtfn.Attachment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timing.Attach)
	defer cancel()
	unlock, err := a.endpoints.Acquire(ctx, id)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	defer unlock()

	if err := a.switched(ctx); err != nil {
		return mgmtfn.Attachment{}, fmt.Errorf("attaching %s: %w", id, err)
	}
	existing, removed, err := a.look(ctx, id)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	if existing != nil && !a.disowned(id) {
		return a.again(ctx, existing, want)
	}
	if err := a.askable(ctx); err != nil {
		return mgmtfn.Attachment{}, fmt.Errorf("attaching %s: %w", id, err)
	}
	if existing != nil { // An operator released it: the container gets a new one.
		if err := a.dp.RemovePort(ctx, id); err != nil {
			return mgmtfn.Attachment{}, fmt.Errorf("attaching %s again: %w", id, err)
		}
		removed = true
	}
	if removed { // Told after the new one is made, netmaster would take that away.
		if err := a.tellRemoved(ctx, id); err != nil {
			return mgmtfn.Attachment{}, a.asked("attaching "+id.String()+" again", err)
		}
	}
	made, err := a.create(ctx, id, want)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	return outward(made), nil
}

// look answers the port of an endpoint, nil if there is none, and whether an earlier one was removed that netmaster may
// not know of.
func (a *Agent) look(ctx context.Context, id protocol.EndpointID) (existing *drivers.Attachment, removed bool, err error) {
	var memory []protocol.EndpointID
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		existing, err = a.find(ctx, id)
		return err
	})
	both.Go(func() (err error) {
		if memory, err = a.dp.Removed(ctx); err != nil {
			return fmt.Errorf("attaching %s: reading what was removed: %w", id, err)
		}
		return nil
	})
	err = both.Wait()
	return existing, slices.Contains(memory, id), err
}

// switchPoll is how often a switch that is away is looked at.
const switchPoll = 10 * time.Millisecond

// switched waits, for a short while, until the switch is there: an attach that is bound to fail is to fail before
// netmaster is asked, and while the caller still listens.
func (a *Agent) switched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timing.Switch)
	defer cancel()
	look := time.NewTicker(switchPoll)
	defer look.Stop()
	for {
		status := a.dp.Status()
		if status.Connected {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return switchAway(status)
		}
	}
}

// validate refuses what could not even be written down.
func validate(want mgmtfn.AttachRequest) error {
	for _, one := range []struct{ what, text string }{
		{"container id", want.ContainerID}, {"interface name", want.IfName}, {"tenant", want.Tenant},
	} {
		if one.text == "" || strings.Contains(one.text, "/") {
			return protocol.Errorf(protocol.CodeInvalid, "%s %q: it must not be empty nor hold a slash", one.what, one.text)
		}
	}
	if want.Network == "" && len(want.Groups) == 0 {
		return protocol.Errorf(protocol.CodeInvalid, "container %s: name a network or a group", want.ContainerID)
	}
	return nil
}

// again answers an attachment that exists, if it is the one that is asked for. A link that the container lost, or that
// belongs into another namespace now, is made anew; if that fails, the endpoint is released as after a failed attach.
func (a *Agent) again(ctx context.Context, existing *drivers.Attachment, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	if differs := difference(existing, want); differs != "" {
		return mgmtfn.Attachment{}, protocol.Errorf(protocol.CodeConflict,
			"endpoint %s is attached already, with another %s; detach it first", existing.ID, differs)
	}
	port := existing.Port
	port.NetNS = want.NetNS
	made, err := a.dp.PreparePort(ctx, port)
	if err != nil {
		a.undo(ctx, existing.ID)
		return mgmtfn.Attachment{}, fmt.Errorf("restoring the port of endpoint %s: %w", existing.ID, err)
	}
	return outward(&made), nil
}

// difference names what of a request an attachment does not have; empty if it has all.
func difference(existing *drivers.Attachment, want mgmtfn.AttachRequest) string {
	switch {
	case existing.Tenant != want.Tenant:
		return "tenant, " + existing.Tenant
	case want.Network != "" && existing.Network != want.Network:
		return "network, " + existing.Network
	case !sameSet(existing.Groups, want.Groups) && (len(want.Groups) > 0 || !sameSet(existing.Groups, []string{protocol.DefaultGroup})):
		return "group, " + fmt.Sprintf("%q", existing.Groups)
	case want.IPv4.IsValid() && existing.IPv4.Addr() != want.IPv4:
		return "address, " + existing.IPv4.Addr().String()
	case want.IPv6.IsValid() && existing.IPv6.Addr() != want.IPv6:
		return "IPv6 address, " + existing.IPv6.Addr().String()
	case want.MAC != "" && !strings.EqualFold(existing.MAC, want.MAC):
		return "MAC, " + existing.MAC
	}
	return ""
}

func sameSet(one, other []string) bool {
	one, other = slices.Clone(one), slices.Clone(other)
	slices.Sort(one)
	slices.Sort(other)
	return slices.Equal(slices.Compact(one), slices.Compact(other))
}

// create makes an endpoint at netmaster and its port, and takes both back if something fails.
func (a *Agent) create(ctx context.Context, id protocol.EndpointID, want mgmtfn.AttachRequest) (*drivers.Attachment, error) {
	answer, err := a.createEndpoint(ctx, protocol.CreateEndpointRequest{
		ID: id, Tenant: want.Tenant, Network: want.Network, Groups: want.Groups,
		IPv4: want.IPv4, IPv6: want.IPv6, Token: want.Token, Token6: want.Token6, MAC: want.MAC,
		ContainerName: want.ContainerName, Labels: want.Labels, RuntimeID: want.RuntimeID,
	})
	var refused *protocol.Error
	if errors.As(err, &refused) && refused.Code != protocol.CodeUnavailable {
		return nil, fmt.Errorf("attaching %s: %w", id, err)
	}
	if err != nil { // It may have been done.
		a.undo(ctx, id)
		return nil, a.asked("attaching "+id.String(), err)
	}
	port, err := a.port(id, want, answer.Records)
	if err != nil {
		a.undo(ctx, id)
		return nil, err
	}
	defer a.attaching(port)()
	made, err := a.plug(ctx, port, answer.Position.Revision)
	if err != nil {
		a.undo(ctx, id)
		return nil, err
	}
	return made, nil
}

// createEndpoint asks netmaster once more, on the next session, when the connection broke under the call: netmaster
// may have been restarted, or another one leads.
func (a *Agent) createEndpoint(ctx context.Context, request protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error) {
	changed := a.session.Changed()
	answer, err := a.session.CreateEndpoint(ctx, request)
	if !errors.Is(err, session.ErrUnreachable) {
		return answer, err
	}
	bound, cancel := context.WithTimeout(ctx, a.timing.Connect)
	defer cancel()
	select {
	case <-changed: // The session has noticed.
	case <-bound.Done():
		return answer, err
	}
	if err := a.askable(ctx); err != nil {
		return answer, err
	}
	return a.session.CreateEndpoint(ctx, request)
}

// attaching lists an endpoint as under way until the answered function is called.
func (a *Agent) attaching(port drivers.Port) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending[port.ID] = announce(&port)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.pending, port.ID)
	}
}

// plug makes the port while the desired state and the other hosts catch up, and returns when all that the container
// needs is in the switch.
func (a *Agent) plug(ctx context.Context, port drivers.Port, revision int64) (*drivers.Attachment, error) {
	var made drivers.Attachment
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		if made, err = a.dp.PreparePort(workCtx, port); err != nil {
			return fmt.Errorf("making the port of endpoint %s: %w", port.ID, err)
		}
		return nil
	})
	work.Go(func() error {
		if err := a.session.WaitFor(workCtx, revision); err != nil {
			return fmt.Errorf("waiting for the switch to know endpoint %s: %w; look at GET /inspect/driver, then try again", port.ID, err)
		}
		return nil
	})
	work.Go(func() error {
		a.settle(workCtx, port.ID, revision)
		return nil
	})
	if err := work.Wait(); err != nil {
		return nil, err
	}
	if err := a.check(port.ID); err != nil {
		return nil, err
	}
	return &made, nil
}

// settle gives other hosts a moment to learn of an endpoint. It is a courtesy to the container's first packets: who
// is late catches up by itself.
func (a *Agent) settle(ctx context.Context, id protocol.EndpointID, revision int64) {
	// The answer itself may take longer than the wait it bounds.
	ctx, cancel := context.WithTimeout(ctx, 2*a.timing.Settle)
	defer cancel()
	answer, err := a.session.Settle(ctx, protocol.SettleRequest{
		ID: id, Revision: revision, Wait: protocol.Duration(a.timing.Settle),
	})
	log := a.log.WithField("endpoint", id.String())
	switch {
	case err != nil:
		log.WithError(err).Debug("not known whether other hosts have the endpoint")
	case len(answer.Missing) > 0:
		log.WithField("hosts", answer.Missing).Debug("hosts that do not have the endpoint yet")
	}
}

// check makes sure that a port just made is forwarded for.
func (a *Agent) check(id protocol.EndpointID) error {
	if _, known := a.session.Record(endpointRef(id)); !known {
		return protocol.Errorf(protocol.CodeConflict, "endpoint %s was released while it was attached; try again", id)
	}
	if reason, missing := notRealised(a.dp.Status(), id); missing {
		return fmt.Errorf("endpoint %s cannot be realised on this host: %s", id, reason)
	}
	return nil
}

// port describes the port of an endpoint from the records of netmaster's answer.
func (a *Agent) port(id protocol.EndpointID, want mgmtfn.AttachRequest, records []protocol.Record) (drivers.Port, error) {
	var (
		endpoint *protocol.Endpoint
		network  *protocol.Network
		global   *protocol.Global
	)
	for _, record := range records {
		body, err := record.Decode()
		if err != nil {
			return drivers.Port{}, fmt.Errorf("attaching %s: netmaster's answer: %w", id, err)
		}
		switch body := body.(type) {
		case *protocol.Endpoint:
			endpoint = body
		case *protocol.Network:
			network = body
		case *protocol.Global:
			global = body
		}
	}
	if endpoint == nil || network == nil || global == nil || endpoint.ID != id {
		return drivers.Port{}, fmt.Errorf("attaching %s: netmaster's answer lacks the endpoint, its network or the global record", id)
	}
	port := drivers.Port{
		ID: id, Tenant: endpoint.Tenant, Network: endpoint.Network, Groups: endpoint.Groups,
		Encap: network.Encap, MAC: endpoint.MAC, MTU: a.mtu(network.Encap, global),
		IPv4: within(endpoint.IPv4, network.Subnet), Gateway: network.Gateway,
		NetNS: want.NetNS, Owner: want.Owner, Notes: maps.Clone(want.Notes),
	}
	if endpoint.IPv6.IsValid() {
		port.IPv6, port.Gateway6 = within(endpoint.IPv6, network.Subnet6), network.Gateway6
	}
	if network.Type == protocol.NetworkInfra { // the host keeps its own default route
		port.Gateway, port.Gateway6 = netip.Addr{}, netip.Addr{}
	}
	return port, nil
}

// within writes an address with the length of its subnet.
func within(addr netip.Addr, subnet netip.Prefix) netip.Prefix {
	if !addr.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, subnet.Bits())
}

// What VXLAN takes of the underlay's MTU.
const (
	vxlanOverhead4 = 50
	vxlanOverhead6 = 70
)

// mtu is netmaster's word; without one, what this host's underlay can carry.
func (a *Agent) mtu(encap string, global *protocol.Global) int {
	mtu, overhead := global.MTUVLAN, 0
	if encap == protocol.EncapVXLAN {
		mtu, overhead = global.MTUVXLAN, vxlanOverhead4
		if !a.config.VTEP.IsValid() {
			overhead = vxlanOverhead6
		}
	}
	if mtu == 0 {
		return a.config.MTU() - overhead
	}
	return mtu
}
