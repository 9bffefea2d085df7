package distribute

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// session is one agent's connection. It ends, with everything it started, when its connection does.
type session struct {
	server *Server
	stream *wire.Stream
	conn   *jsonrpc2.Conn
	peer   string
	names  []string // of the certificate; nil without TLS
	log    *logrus.Entry

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{}
	wake   chan struct{}

	// Guarded by server.mu.
	host        string // set when the host's place is taken, before it is registered
	instance    string
	since       time.Time // of its registration
	pending     pending
	acked       protocol.Position
	notRealised []protocol.NotRealised
	// moreNotRealised: the host could not realise more records than notRealised holds.
	moreNotRealised bool
}

func newSession(ctx context.Context, server *Server, conn net.Conn, names []string, log *logrus.Entry) *session {
	s := &session{
		server: server, peer: conn.RemoteAddr().String(), names: names, log: log,
		slots: make(chan struct{}, callsAtOnce), wake: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.stream = wire.NewStream(conn, wire.Options{
		Silence: server.config.Silence, Write: server.config.Write, Notify: s.notified,
	})
	return s
}

// run serves the connection until it ends.
func (s *session) run() {
	defer s.work.Wait()
	defer s.cancel()
	stop := context.AfterFunc(s.ctx, func() { _ = s.stream.Close() })
	defer stop()
	// A peer that connects and says nothing useful does not stay.
	unregistered := time.AfterFunc(s.server.config.Silence+callTime, func() {
		if !s.registered() {
			s.close()
		}
	})
	defer unregistered.Stop()
	s.conn = jsonrpc2.NewConn(s.ctx, s.stream, s, jsonrpc2.SetLogger(quiet{s.log}))
	<-s.conn.DisconnectNotify()
	s.cancel()
	_ = s.stream.Close()
	s.server.detach(s)
}

// quiet passes what the JSON-RPC library says on at the lowest level: it is about what peers send.
type quiet struct{ log *logrus.Entry }

func (q quiet) Printf(format string, args ...any) { q.log.Debugf(strings.TrimSpace(format), args...) }

// close ends the session; run cleans up. It does not block.
func (s *session) close() { s.cancel() }

func (s *session) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) registered() bool {
	s.server.mu.RLock()
	defer s.server.mu.RUnlock()
	return s.pending.attached
}

// write sends what is pending until the session ends.
func (s *session) write() {
	turn := turn{server: s.server}
	defer turn.end()
	for {
		s.server.mu.RLock()
		large := s.pending.large()
		s.server.mu.RUnlock()
		if !large {
			turn.end()
		} else if !turn.begin(s.ctx) {
			return
		}
		buffer := buffers.Get().(*bytes.Buffer)
		buffer.Reset()
		s.server.mu.RLock()
		more := s.ctx.Err() == nil && s.pending.next(s.server.index, s.host, buffer)
		s.server.mu.RUnlock()
		if more {
			s.server.sent.messages.Add(1)
			s.server.sent.bytes.Add(uint64(buffer.Len()))
			err := s.stream.WriteLine(buffer.Bytes())
			buffers.Put(buffer)
			if err != nil {
				s.log.WithError(err).Debug("sending to an agent")
				s.close()
				return
			}
			continue
		}
		buffers.Put(buffer)
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// buffers of messages on their way out.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Handle implements jsonrpc2.Handler: each call runs by itself, so that a slow one does not hold the others up.
func (s *session) Handle(_ context.Context, conn *jsonrpc2.Conn, request *jsonrpc2.Request) {
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	s.work.Go(func() {
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(s.ctx, callTime)
		defer cancel()
		var params json.RawMessage
		if request.Params != nil {
			params = *request.Params
		}
		ctx = requestid.With(ctx, requestid.FromMeta(request.Meta))
		began := time.Now()
		result, after, err := s.call(ctx, request.Method, params)
		s.logCall(ctx, request.Method, params, began, err)
		if err != nil {
			err = conn.ReplyWithError(ctx, request.ID, wire.EncodeError(err))
		} else {
			err = conn.Reply(ctx, request.ID, result)
		}
		if err != nil && !errors.Is(err, jsonrpc2.ErrClosed) {
			s.log.WithError(err).WithField("method", request.Method).Debug("answering an agent")
		}
		if after != nil && err == nil {
			after()
		}
	})
}

// logCall tells of a call that may have changed something, with the id by which its effects can be followed.
func (s *session) logCall(ctx context.Context, method string, params json.RawMessage, began time.Time, err error) {
	switch method {
	case protocol.MethodPing, protocol.MethodSettleEndpoint, protocol.MethodRegister: // the last has words of its own
		return
	}
	log := s.log.WithFields(logrus.Fields{"request": requestid.Of(ctx), "method": method, "took": time.Since(began).Round(time.Microsecond).String()})
	if host, err := s.caller(method); err == nil {
		log = log.WithField("host", host)
	}
	var about struct {
		ID *protocol.EndpointID `json:"id"`
	}
	if json.Unmarshal(params, &about) == nil && about.ID != nil {
		log = log.WithField("endpoint", about.ID.String())
	}
	if err != nil {
		log.WithError(err).Info("an agent's call was refused")
		return
	}
	log.Info("an agent's call")
}

// notified takes a notification of the agent. An error ends the session.
func (s *session) notified(method string, params json.RawMessage) error {
	if !s.registered() {
		return fmt.Errorf("%s before %s", method, protocol.MethodRegister)
	}
	switch method {
	case protocol.MethodAck:
		var ack protocol.Ack
		if err := json.Unmarshal(params, &ack); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		s.server.acknowledge(s, ack)
	case protocol.MethodStatistics:
		var statistics protocol.Statistics
		if err := json.Unmarshal(params, &statistics); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		s.server.count(s, statistics)
	}
	// What a newer agent says beside is not for us.
	return nil
}

// register answers host.register. The returned function starts the stream, once the answer is out.
func (s *session) register(ctx context.Context, request protocol.RegisterRequest) (any, func(), error) {
	if err := s.server.claim(s, &request); err != nil {
		return nil, nil, err
	}
	select {
	case s.server.registering <- struct{}{}:
		defer func() { <-s.server.registering }()
	case <-ctx.Done():
		s.server.detach(s)
		return nil, nil, fmt.Errorf("registering host %q: %w", request.Host, ctx.Err())
	}
	registration, err := s.server.config.Operations.RegisterHost(ctx, request)
	if err == nil {
		err = s.server.await(ctx, func() bool { return s.server.index.Position().Revision >= registration.Revision })
	}
	if err == nil {
		err = s.server.attach(s, &request)
	}
	if err != nil {
		s.server.detach(s)
		return nil, nil, fmt.Errorf("registering host %q: %w", request.Host, err)
	}
	s.log.WithFields(logrus.Fields{"host": request.Host, "build": request.Build, "lost": len(registration.Lost)}).
		Info("agent registered")
	reply := protocol.RegisterReply{Version: protocol.Version, Build: s.server.config.Build, Lost: registration.Lost}
	if s.server.config.Masters != nil {
		reply.Masters = s.server.config.Masters()
	}
	return reply, func() { s.work.Go(s.write) }, nil
}

// claim takes the host's place for the session, if it may have it.
func (s *Server) claim(sess *session, request *protocol.RegisterRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.leading:
		err := protocol.Errorf(protocol.CodeNotLeader, "this netmaster does not lead; the leader is %s", orUnknown(s.leader))
		err.Leader = s.leader
		return err
	case !s.loaded:
		return protocol.Errorf(protocol.CodeUnavailable, "netmaster is still reading the store; try again")
	case sess.host != "":
		return protocol.Errorf(protocol.CodeRefused, "this connection is host %q's already", sess.host)
	}
	if err := checkRegistration(request, sess.names); err != nil {
		return err
	}
	if other := s.sessions[request.Host]; other != nil && other.ctx.Err() == nil {
		if request.Instance == "" || request.Instance != other.instance {
			return protocol.Errorf(protocol.CodeRefused,
				"another agent is registered as host %q, from %s; give each agent a name of its own (--host-label)", request.Host, other.peer)
		}
		other.close()
	}
	sess.host, sess.instance = request.Host, request.Instance
	s.sessions[sess.host] = sess
	return nil
}

func orUnknown(address string) string {
	if address == "" {
		return "not known yet"
	}
	return address
}

// checkRegistration refuses what no state of the cluster could make right.
func checkRegistration(request *protocol.RegisterRequest, names []string) error {
	if err := wire.CheckVersion(protocol.Version, request.Version); err != nil {
		return err //nolint:wrapcheck // names both versions
	}
	if err := checkPart("host name", request.Host); err != nil {
		return err
	}
	if names != nil && !slices.Contains(names, request.Host) {
		return protocol.Errorf(protocol.CodeRefused,
			"host name %q is not that of the agent's certificate (%s)", request.Host, strings.Join(names, ", "))
	}
	if len(request.Digests) != 0 && len(request.Digests) != protocol.Buckets {
		return protocol.Errorf(protocol.CodeInvalid, "%d digests, must be %d or none", len(request.Digests), protocol.Buckets)
	}
	for _, attachment := range request.Attachments {
		if err := checkOwn(request.Host, attachment.ID); err != nil {
			return err
		}
	}
	for _, id := range request.Removed {
		if err := checkOwn(request.Host, id); err != nil {
			return err
		}
	}
	return nil
}

// attach begins the stream of a registered host.
func (s *Server) attach(sess *session, request *protocol.RegisterRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[sess.host] != sess || sess.ctx.Err() != nil {
		return protocol.Errorf(protocol.CodeUnavailable, "the session was closed meanwhile")
	}
	s.index.SetCatalog(sess.host, request.Catalog)
	position := s.index.Position()
	sess.pending.attach(position, s.differing(sess.host, request))
	sess.since = time.Now()
	memory := s.hosts[sess.host]
	if memory == nil {
		memory = &hostMemory{}
		s.hosts[sess.host] = memory
	}
	memory.peer, memory.build, memory.version = sess.peer, request.Build, request.Version
	return nil
}

// differing are the buckets in which the agent does not hold what the host needs.
func (s *Server) differing(host string, request *protocol.RegisterRequest) []int {
	position := s.index.Position()
	resume := len(request.Digests) == protocol.Buckets &&
		request.Position.Store == position.Store && request.Position.Revision <= position.Revision
	var ours protocol.Digests
	if resume {
		ours = s.index.Digests(host)
	}
	buckets := make([]int, 0, protocol.Buckets)
	for bucket := range protocol.Buckets {
		if !resume || ours[bucket] != request.Digests[bucket] {
			buckets = append(buckets, bucket)
		}
	}
	return buckets
}

// detach ends a session's hold on its host. It may be called twice.
func (s *Server) detach(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess.host == "" {
		return
	}
	if s.sessions[sess.host] == sess {
		delete(s.sessions, sess.host)
		s.index.SetCatalog(sess.host, false)
	}
	if memory := s.hosts[sess.host]; memory != nil && sess.pending.attached {
		memory.lastSeen = sess.stream.LastHeard()
		if s.index.Position().Revision > 0 && !s.index.Known(sess.host) {
			delete(s.hosts, sess.host)
		}
	}
	sess.pending = pending{}
	sess.host = ""
	s.madeProgress()
}
