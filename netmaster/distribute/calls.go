package distribute

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
)

// call does one call of the agent. after, if not nil, is to be run when the answer is out.
func (s *session) call(ctx context.Context, method string, params json.RawMessage) (result any, after func(), err error) {
	if method == protocol.MethodRegister {
		var request protocol.RegisterRequest
		if err := decode(method, params, &request); err != nil {
			return nil, nil, err
		}
		return s.register(ctx, request)
	}
	host, err := s.caller(method)
	if err != nil {
		return nil, nil, err
	}
	handler, ok := handlers[method]
	if !ok {
		return nil, nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: fmt.Sprintf("unknown method %q", method)}
	}
	result, revision, err := handler(ctx, s, host, params)
	if err != nil {
		return nil, nil, err
	}
	return result, func() { s.server.flush(s, revision) }, nil
}

// caller is the host that the session speaks for.
func (s *session) caller(method string) (string, error) {
	s.server.mu.RLock()
	defer s.server.mu.RUnlock()
	if !s.pending.attached {
		return "", protocol.Errorf(protocol.CodeRefused, "%s before %s", method, protocol.MethodRegister)
	}
	return s.host, nil
}

// handler does one kind of call for a host. A revision that is not 0 is sent to the agent as reached, even when no
// record of it is for this host.
type handler func(ctx context.Context, s *session, host string, params json.RawMessage) (result any, revision int64, err error)

// nothing is the answer of calls that only succeed.
type nothing struct{}

var handlers = map[string]handler{
	protocol.MethodPing: func(_ context.Context, s *session, _ string, _ json.RawMessage) (any, int64, error) {
		return nothing{}, s.server.reached(), nil
	},
	protocol.MethodCreateEndpoint: handle(func(ctx context.Context, s *session, host string, r protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, int64, error) {
		if err := checkOwn(host, r.ID); err != nil {
			return protocol.CreateEndpointReply{}, 0, err
		}
		reply, err := s.server.config.Operations.CreateEndpoint(ctx, r)
		return reply, reply.Position.Revision, err
	}),
	protocol.MethodSettleEndpoint: handle(func(ctx context.Context, s *session, host string, r protocol.SettleRequest) (protocol.SettleReply, int64, error) {
		if err := checkOwn(host, r.ID); err != nil {
			return protocol.SettleReply{}, 0, err
		}
		reply, err := s.server.settle(ctx, r)
		return reply, 0, err
	}),
	protocol.MethodDeleteEndpoint: handle(func(ctx context.Context, s *session, host string, r protocol.DeleteEndpointRequest) (nothing, int64, error) {
		if err := checkOwn(host, r.ID); err != nil {
			return nothing{}, 0, err
		}
		return nothing{}, 0, s.server.config.Operations.DeleteEndpoint(ctx, r.ID)
	}),
	protocol.MethodReserveAddress: handle(func(ctx context.Context, s *session, host string, r protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, int64, error) {
		reply, err := s.server.config.Operations.ReserveAddress(ctx, host, r)
		return reply, 0, err
	}),
	protocol.MethodReleaseAddress: handle(func(ctx context.Context, s *session, host string, r protocol.ReleaseAddressRequest) (nothing, int64, error) {
		return nothing{}, 0, s.server.config.Operations.ReleaseAddress(ctx, host, r.Token)
	}),
	protocol.MethodCreateNetwork: handle(func(ctx context.Context, s *session, host string, r protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, int64, error) {
		if err := checkCaller(host, r.Host); err != nil {
			return protocol.CreateNetworkReply{}, 0, err
		}
		reply, err := s.server.config.Operations.CreateNetwork(ctx, r)
		return reply, reply.Position.Revision, err
	}),
	protocol.MethodDeleteNetwork: handle(func(ctx context.Context, s *session, host string, r protocol.DeleteNetworkRequest) (nothing, int64, error) {
		if err := checkCaller(host, r.Host); err != nil {
			return nothing{}, 0, err
		}
		return nothing{}, 0, s.server.config.Operations.DeleteNetwork(ctx, r)
	}),
	protocol.MethodProviderEvent: handle(func(ctx context.Context, s *session, host string, r protocol.ProviderEvent) (nothing, int64, error) {
		if err := checkOwn(host, r.ID); err != nil {
			return nothing{}, 0, err
		}
		return nothing{}, 0, s.server.config.Operations.ProviderEvent(ctx, r)
	}),
}

func handle[Request, Reply any](do func(context.Context, *session, string, Request) (Reply, int64, error)) handler {
	return func(ctx context.Context, s *session, host string, params json.RawMessage) (any, int64, error) {
		var request Request
		if err := decode("request", params, &request); err != nil {
			return nil, 0, err
		}
		reply, revision, err := do(ctx, s, host, request)
		if err != nil {
			return nil, 0, err
		}
		return reply, revision, nil
	}
}

func decode(what string, params json.RawMessage, into any) error {
	if len(params) == 0 || params[0] != '{' {
		return protocol.Errorf(protocol.CodeInvalid, "%s: params must be an object", what)
	}
	if err := json.Unmarshal(params, into); err != nil {
		return protocol.Errorf(protocol.CodeInvalid, "%s: %v", what, err)
	}
	return nil
}

// checkOwn refuses an endpoint that is not the calling host's.
func checkOwn(host string, id protocol.EndpointID) error {
	if err := checkCaller(host, id.Host); err != nil {
		return err
	}
	if err := checkPart("container id", id.ContainerID); err != nil {
		return err
	}
	return checkPart("interface name", id.IfName)
}

func checkCaller(host, named string) error {
	if named != host {
		return protocol.Errorf(protocol.CodeRefused, "an agent acts only for its own host %q, not for %q", host, named)
	}
	return nil
}

// maxPart is the longest that a part of an endpoint's id may be.
const maxPart = 253

func checkPart(what, text string) error {
	if text == "" || len(text) > maxPart || strings.ContainsRune(text, '/') {
		return protocol.Errorf(protocol.CodeInvalid, "%s must have 1 to %d characters and no slash", what, maxPart)
	}
	return nil
}
