package session

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// Limits of getting a session.
const (
	dialTime     = 3 * time.Second
	registerTime = 15 * time.Second
	maxRequests  = 64 // ids of requests kept for the log
	maxTried     = 32 // netmasters tried in one round, redirects included
)

// link is one connection to one netmaster.
type link struct {
	address string
	stream  *wire.Stream
	conn    *jsonrpc2.Conn
	once    sync.Once
}

// close ends the connection by its stream: the library's reader then fails and ends the calls that wait. Were the
// connection closed from here, the reader could answer a call at that moment whose channel was just closed, and panic.
func (l *link) close() { l.once.Do(func() { _ = l.stream.Close() }) }

// round tries every netmaster there is until one takes the registration.
func (s *Session) round(ctx context.Context) (*link, error) {
	queue := s.candidates()
	tried := map[string]bool{}
	var failure error
	for len(queue) > 0 && len(tried) < maxTried && ctx.Err() == nil {
		address := queue[0]
		queue = queue[1:]
		if tried[address] {
			continue
		}
		tried[address] = true
		l, err := s.try(ctx, address)
		if err == nil {
			return l, nil
		}
		s.config.Log.WithError(err).WithField("netmaster", address).Debug("registering")
		var refused *protocol.Error
		if errors.As(err, &refused) && refused.Code == protocol.CodeNotLeader && refused.Leader != "" {
			queue = append([]string{withPort(refused.Leader)}, queue...)
		}
		failure = worse(failure, err)
	}
	if failure == nil {
		failure = ctx.Err()
	}
	return nil, failure
}

// worse picks of two failures the one that tells a person more: an answer says more than no connection, and any answer
// more than that of a follower.
func worse(a, b error) error {
	weight := func(err error) int {
		var refused *protocol.Error
		switch {
		case err == nil:
			return -1
		case !errors.As(err, &refused):
			return 0
		case refused.Code == protocol.CodeNotLeader:
			return 1
		}
		return 2
	}
	if weight(b) > weight(a) {
		return b
	}
	return a
}

// candidates are the netmasters to try: the last leader, then those configured, then those learned.
func (s *Session) candidates() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if s.leader != "" {
		out = append(out, s.leader)
	}
	for _, address := range slices.Concat(s.config.Masters, s.learned) {
		if address = withPort(address); !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}

// withPort adds the default port to an address without one.
func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(protocol.Port))
}

// try connects to one netmaster and registers.
func (s *Session) try(ctx context.Context, address string) (*link, error) {
	conn, err := s.dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connecting to netmaster %s: %w", address, err)
	}
	l := &link{address: address}
	l.stream = wire.NewStream(conn, wire.Options{
		Silence: s.config.Timing.Silence,
		Notify:  func(method string, params json.RawMessage) error { return s.notified(l, method, params) },
	})
	log := s.config.Log.WithField("netmaster", address)
	l.conn = jsonrpc2.NewConn(ctx, l.stream, noCalls{}, jsonrpc2.SetLogger(quiet{log}))
	if err := s.register(ctx, l); err != nil {
		l.close()
		s.mu.Lock()
		if s.link == l {
			s.link = nil
		}
		s.mu.Unlock()
		return nil, fmt.Errorf("registering with netmaster %s: %w", address, err)
	}
	return l, nil
}

// noCalls refuses calls: netmaster makes none.
type noCalls struct{}

func (noCalls) Handle(ctx context.Context, conn *jsonrpc2.Conn, request *jsonrpc2.Request) {
	_ = conn.ReplyWithError(ctx, request.ID, &jsonrpc2.Error{
		Code: jsonrpc2.CodeMethodNotFound, Message: "an agent answers no calls",
	})
}

// quiet passes what the JSON-RPC library says on at the lowest level.
type quiet struct{ log *logrus.Entry }

func (q quiet) Printf(format string, args ...any) { q.log.Debugf(strings.TrimSpace(format), args...) }

func (s *Session) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := s.config.Dial(ctx, "tcp", address)
	if err != nil || s.config.TLS == nil {
		return conn, err //nolint:wrapcheck // the caller names the address
	}
	config := s.config.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// register announces the host on a new connection. From here on the connection's stream is taken in, but nothing of it
// is applied until the agent was told what it lost.
func (s *Session) register(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	select {
	case <-s.refresh: // this is the registration it asks for
	default:
	}
	request, err := s.config.Agent.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describing this host: %w", err)
	}
	request.Version, request.Instance = protocol.Version, s.instance
	if request.Attachments == nil {
		request.Attachments = []protocol.Attachment{}
	}
	s.mu.Lock()
	s.link, s.welcome = l, false
	s.store.begin()
	request.Position, request.Digests = s.store.resume()
	s.mu.Unlock()

	var reply protocol.RegisterReply
	if err := l.conn.Call(ctx, protocol.MethodRegister, request, &reply); err != nil {
		return wire.DecodeError(err)
	}
	if err := wire.CheckVersion(protocol.Version, reply.Version); err != nil {
		return err //nolint:wrapcheck // names both versions
	}
	if err := s.config.Agent.Registered(ctx, request, reply); err != nil {
		return fmt.Errorf("taking in what the host lost: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.welcome, s.connected, s.leader, s.problem = true, true, l.address, ""
	s.registrations++
	s.learned = reply.Masters[:min(len(reply.Masters), maxTried)]
	s.wakeApply()
	s.announce()
	return nil
}

// hold pings until the connection ends, the context ends or Refresh asks.
func (s *Session) hold(ctx context.Context, l *link) error {
	ticker := time.NewTicker(s.config.Timing.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.ping(ctx, l); err != nil {
				return err
			}
		case <-l.conn.DisconnectNotify():
			return errors.New("netmaster closed the connection")
		case <-s.refresh:
			return errors.New("registering anew")
		case <-ctx.Done():
			return fmt.Errorf("stopping: %w", ctx.Err())
		}
	}
}

func (s *Session) ping(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timing.Silence)
	defer cancel()
	if err := l.conn.Call(ctx, protocol.MethodPing, struct{}{}, nil); err != nil {
		return fmt.Errorf("netmaster %s does not answer: %w", l.address, wire.DecodeError(err))
	}
	return nil
}

// unlink ends a session.
func (s *Session) unlink(l *link, why error) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.link = nil
	}
	s.connected = false
	s.problem = why.Error()
	s.announce()
}

// notified takes a notification of netmaster. An error ends the session, and the next begins with what is right.
func (s *Session) notified(l *link, method string, params json.RawMessage) error {
	switch method {
	case protocol.MethodSnapshot:
		var message protocol.Snapshot
		if err := json.Unmarshal(params, &message); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		records := s.decodeRecords(message.Records)
		return s.merge(l, message.Last, func() error { return s.store.chunk(&message, records) })
	case protocol.MethodChange:
		var message protocol.Change
		if err := json.Unmarshal(params, &message); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		records := s.decodeRecords(message.Records)
		return s.merge(l, true, func() error {
			s.store.change(&message, records)
			s.requests = append(s.requests, message.Requests...)
			s.requests = s.requests[max(0, len(s.requests)-maxRequests):]
			return nil
		})
	}
	// What a newer netmaster says beside is not for us.
	return nil
}

// merge changes the store on behalf of a connection, if it is still the one.
func (s *Session) merge(l *link, complete bool, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return errors.New("the session is over")
	}
	if err := change(); err != nil {
		return err
	}
	if complete {
		s.ackDue = true
		if s.realised == s.store.position && len(s.store.changed) > 0 {
			s.realised.Revision-- // a new session can bring more at the same position
		}
		s.wakeApply()
		s.announce()
	}
	return nil
}
