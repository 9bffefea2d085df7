// Package operations joins the agents' server (netmaster/distribute) to the objects and the ledger: calls of agents
// become operations on objects, changes of the ledger become what the server publishes.
package operations

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// Operations does the agents' calls. It implements distribute.Operations.
type Operations struct {
	objects *objects.Objects
	ledger  *ledger.Ledger
	log     *logrus.Entry
}

var _ distribute.Operations = (*Operations)(nil)

// New makes the operations on objects that live in a ledger.
func New(o *objects.Objects, l *ledger.Ledger, log *logrus.Entry) *Operations {
	return &Operations{o, l, log}
}

// Feed publishes what the ledger holds, now and after every change, until stop is called. When it returns the server
// has everything the ledger has; afterwards the server has a change before any caller of the ledger can see it.
func Feed(l *ledger.Ledger, server *distribute.Server, log *logrus.Entry) (stop func()) {
	store := l.StoreID()
	return l.Subscribe(func(m *ledger.Model, change ledger.Change) {
		position := protocol.Position{Store: store, Revision: change.Revision}
		records := normalise.Changes(m, change)
		var err error
		if change.Initial {
			err = server.Replace(position, records)
		} else {
			err = server.Publish(position, records, change.Requests...)
		}
		if err != nil {
			log.WithError(err).Error("publishing to the agents")
		}
	})
}

// RegisterHost implements distribute.Hosts.
func (o *Operations) RegisterHost(ctx context.Context, request protocol.RegisterRequest) (distribute.Registration, error) {
	out, err := o.objects.RegisterHost(ctx, &request)
	if err != nil {
		return distribute.Registration{}, answer(err)
	}
	registration := distribute.Registration{Lost: out.Lost, Revision: out.Revision}
	if len(out.Lost) > 0 && o.comesFromAnotherPast(request.Position) {
		o.relearn(ctx, &request, &registration)
	}
	return registration, nil
}

// comesFromAnotherPast tells whether a position is not one of the store's history: then the store was restored from a
// backup that is older than what the host knows.
func (o *Operations) comesFromAnotherPast(position protocol.Position) bool {
	if position.Store == "" {
		return false
	}
	var now int64
	o.ledger.ViewCached(func(m *ledger.Model) { now = m.Revision() })
	return position.Store != o.ledger.StoreID() || position.Revision > now
}

// relearn records the endpoints that the host has and a restored store does not know, as far as their tenant, network and
// group are there and nobody else has their addresses. The others stay lost.
func (o *Operations) relearn(ctx context.Context, request *protocol.RegisterRequest, registration *distribute.Registration) {
	attached := make(map[protocol.EndpointID]protocol.Attachment, len(request.Attachments))
	for _, a := range request.Attachments {
		attached[a.ID] = a
	}
	lost := registration.Lost[:0]
	for _, id := range registration.Lost {
		a := attached[id]
		made, revision, err := o.objects.CreateEndpoint(ctx, &protocol.CreateEndpointRequest{
			ID: a.ID, Tenant: a.Tenant, Network: a.Network, Groups: a.Groups, IPv4: a.IPv4, IPv6: a.IPv6, MAC: a.MAC,
		})
		log := o.log.WithFields(logrus.Fields{"endpoint": id.String(), "host": request.Host})
		switch {
		case err != nil:
			log.WithError(err).Warn("the restored store does not know an endpoint, and it cannot be recorded again: it is lost")
			lost = append(lost, id)
		case made.IPv4 != a.IPv4 || made.IPv6 != a.IPv6 || made.MAC != a.MAC:
			log.Warn("the restored store knows an endpoint with other addresses than its host: it is lost")
			lost = append(lost, id)
		default:
			log.Info("recorded an endpoint again that the restored store did not know")
			registration.Revision = max(registration.Revision, revision)
		}
	}
	registration.Lost = lost
}

// CreateEndpoint implements distribute.Endpoints.
func (o *Operations) CreateEndpoint(ctx context.Context, request protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error) {
	endpoint, revision, err := o.objects.CreateEndpoint(ctx, &request)
	if err != nil {
		return protocol.CreateEndpointReply{}, answer(err)
	}
	reply := protocol.CreateEndpointReply{Position: o.position(revision)}
	o.ledger.ViewCached(func(m *ledger.Model) { reply.Records = normalise.ForEndpoint(m, endpoint.EndpointID) })
	if reply.Records == nil {
		return protocol.CreateEndpointReply{}, protocol.Errorf(protocol.CodeUnavailable,
			"endpoint %s was deleted while it was created; try again", request.ID)
	}
	return reply, nil
}

// DeleteEndpoint implements distribute.Endpoints.
func (o *Operations) DeleteEndpoint(ctx context.Context, id protocol.EndpointID) error {
	_, err := o.objects.DeleteEndpoint(ctx, state.EndpointID(id))
	return answer(err)
}

// ProviderEvent implements distribute.Endpoints.
func (o *Operations) ProviderEvent(ctx context.Context, event protocol.ProviderEvent) error {
	_, err := o.objects.UpdateEndpoint(ctx, &event)
	return answer(err)
}

// ReserveAddress implements distribute.Addresses.
func (o *Operations) ReserveAddress(
	ctx context.Context, host string, request protocol.ReserveAddressRequest,
) (protocol.ReserveAddressReply, error) {
	out, err := o.objects.ReserveAddress(ctx, host, &request)
	return protocol.ReserveAddressReply{Addr: out.Addr, Bits: out.Bits, Token: out.Token}, answer(err)
}

// ReleaseAddress implements distribute.Addresses. The token alone tells the reservation: nobody else knows it.
func (o *Operations) ReleaseAddress(ctx context.Context, _, token string) error {
	_, err := o.objects.ReleaseAddress(ctx, token)
	return answer(err)
}

// CreateNetwork implements distribute.Networks.
func (o *Operations) CreateNetwork(ctx context.Context, request protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, error) {
	network, revision, err := o.objects.CreateDockerNetwork(ctx, &request)
	if err != nil {
		return protocol.CreateNetworkReply{}, answer(err)
	}
	reply := protocol.CreateNetworkReply{Position: o.position(revision)}
	o.ledger.ViewCached(func(m *ledger.Model) { reply.Records = normalise.ForNetwork(m, network.Key()) })
	if reply.Records == nil {
		return protocol.CreateNetworkReply{}, protocol.Errorf(protocol.CodeUnavailable,
			"network %q was deleted while it was created; try again", network.Key())
	}
	return reply, nil
}

// DeleteNetwork implements distribute.Networks.
func (o *Operations) DeleteNetwork(ctx context.Context, request protocol.DeleteNetworkRequest) error {
	_, err := o.objects.DeleteDockerNetwork(ctx, request.Host, request.DockerNetworkID)
	return answer(err)
}

func (o *Operations) position(revision int64) protocol.Position {
	return protocol.Position{Store: o.ledger.StoreID(), Revision: revision}
}

// codes of the protocol by kind of error. Internal errors have none.
var codes = map[objects.Kind]int{
	objects.Invalid:     protocol.CodeInvalid,
	objects.NotFound:    protocol.CodeNotFound,
	objects.Conflict:    protocol.CodeConflict,
	objects.InUse:       protocol.CodeConflict,
	objects.Exhausted:   protocol.CodeExhausted,
	objects.TooLarge:    protocol.CodeInvalid,
	objects.Unavailable: protocol.CodeUnavailable,
	objects.NotLeader:   protocol.CodeNotLeader,
}

// answer gives an error of the objects its code.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if own := (*protocol.Error)(nil); errors.As(err, &own) {
		return err
	}
	if code, ok := codes[objects.KindOf(err)]; ok {
		return protocol.Errorf(code, "%s", err.Error())
	}
	return err
}
