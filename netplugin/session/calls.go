package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// The calls below answer with a *protocol.Error (errors.As) when netmaster refused, with ErrUnreachable (errors.Is),
// at once, when there is no session, and with the context's error when its time is over.

// CreateEndpoint allocates and records an endpoint of this host, or answers the one that exists. The records of the
// answer are part of the desired state when it returns.
func (s *Session) CreateEndpoint(ctx context.Context, request protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error) {
	var reply protocol.CreateEndpointReply
	err := s.callAndMerge(ctx, protocol.MethodCreateEndpoint, request, &reply, func() (protocol.Position, []protocol.Record) {
		return reply.Position, reply.Records
	})
	return reply, err
}

// Settle waits until the hosts that can meet an endpoint have realised it, and names those that did not in time.
func (s *Session) Settle(ctx context.Context, request protocol.SettleRequest) (protocol.SettleReply, error) {
	var reply protocol.SettleReply
	err := s.call(ctx, protocol.MethodSettleEndpoint, request, &reply)
	return reply, err
}

// DeleteEndpoint releases an endpoint; one that does not exist is no error.
func (s *Session) DeleteEndpoint(ctx context.Context, id protocol.EndpointID) error {
	return s.call(ctx, protocol.MethodDeleteEndpoint, protocol.DeleteEndpointRequest{ID: id}, nil)
}

// ReserveAddress takes an address for an endpoint that will be created.
func (s *Session) ReserveAddress(ctx context.Context, request protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	var reply protocol.ReserveAddressReply
	err := s.call(ctx, protocol.MethodReserveAddress, request, &reply)
	return reply, err
}

// ReleaseAddress gives a reservation up; an unknown token is no error.
func (s *Session) ReleaseAddress(ctx context.Context, token string) error {
	return s.call(ctx, protocol.MethodReleaseAddress, protocol.ReleaseAddressRequest{Token: token}, nil)
}

// CreateNetwork makes a network for a docker network of this host. Its record is part of the desired state when it
// returns.
func (s *Session) CreateNetwork(ctx context.Context, request protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, error) {
	var reply protocol.CreateNetworkReply
	err := s.callAndMerge(ctx, protocol.MethodCreateNetwork, request, &reply, func() (protocol.Position, []protocol.Record) {
		return reply.Position, reply.Records
	})
	return reply, err
}

// DeleteNetwork removes a network that CreateNetwork made; an unknown one is no error.
func (s *Session) DeleteNetwork(ctx context.Context, request protocol.DeleteNetworkRequest) error {
	return s.call(ctx, protocol.MethodDeleteNetwork, request, nil)
}

// ProviderEvent tells what an orchestrator says of a container.
func (s *Session) ProviderEvent(ctx context.Context, event protocol.ProviderEvent) error {
	return s.call(ctx, protocol.MethodProviderEvent, event, nil)
}

// Statistics sends counters of endpoints; without a session they are dropped.
func (s *Session) Statistics(statistics protocol.Statistics) {
	if l := s.current(); l != nil {
		s.notify(l, protocol.MethodStatistics, statistics)
	}
}

// current is the connection that calls go to, nil if there is none.
func (s *Session) current() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.connected {
		return nil
	}
	return s.link
}

func (s *Session) call(ctx context.Context, method string, request, reply any) error {
	_, err := s.callOn(ctx, method, request, reply)
	return err
}

// callAndMerge makes a call whose answer carries records, and takes them into the desired state.
func (s *Session) callAndMerge(
	ctx context.Context, method string, request, reply any, records func() (protocol.Position, []protocol.Record),
) error {
	l, err := s.callOn(ctx, method, request, reply)
	if err != nil {
		return err
	}
	position, list := records()
	decoded := s.decodeRecords(list)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.store.answer(position, decoded)
		s.wakeApply()
		s.announce()
	}
	return nil
}

func (s *Session) callOn(ctx context.Context, method string, request, reply any) (*link, error) {
	l := s.current()
	if l == nil {
		return nil, fmt.Errorf("%s: %w (%s)", method, ErrUnreachable, s.Status().Problem)
	}
	ctx = requestid.Ensure(ctx)
	began := time.Now()
	err := wire.DecodeError(l.conn.Call(ctx, method, request, reply, jsonrpc2.Meta(requestid.Meta{Request: requestid.Of(ctx)})))
	s.called(ctx, method, request, time.Since(began), err)
	var refused *protocol.Error
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &refused):
		if refused.Code == protocol.CodeNotLeader {
			l.close() // another leads: the session is to be with that one
		}
		return nil, fmt.Errorf("%s: %w", method, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", method, ctx.Err())
	}
	return nil, fmt.Errorf("%s: %w: %w", method, ErrUnreachable, err)
}

// called tells of a call to netmaster, with the id by which it is found in netmaster's log.
func (s *Session) called(ctx context.Context, method string, request any, took time.Duration, err error) {
	if s.config.Observe != nil {
		s.config.Observe(method, took, err)
	}
	if method == protocol.MethodSettleEndpoint {
		return // changes nothing
	}
	log := s.config.Log.WithFields(logrus.Fields{"request": requestid.Of(ctx), "method": method, "took": took.Round(time.Microsecond)})
	switch r := request.(type) {
	case protocol.CreateEndpointRequest:
		log = log.WithField("endpoint", r.ID.String())
	case protocol.DeleteEndpointRequest:
		log = log.WithField("endpoint", r.ID.String())
	}
	if err != nil {
		log.WithError(err).Info("netmaster refused a call or did not answer")
		return
	}
	log.Info("called netmaster")
}
