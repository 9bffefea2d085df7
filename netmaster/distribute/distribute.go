// Package distribute is netmaster's end of the netmaster-agent protocol (ofnet/protocol, docs/protocol.md): it streams
// to every agent the records that its host needs, answers the agents' calls through Operations, and knows in memory
// how far every host is.
//
// An edge package. What a host needs is computed by the pure sub-package index; netmaster/normalise makes its records
// from the store's.
//
// # Locks
//
// Server.mu guards the index, the sessions and what is pending for each of them. It is held while one message is put
// together, never over I/O. A session's writer changes what is pending for its session under the read lock, for it
// alone does so beside the holders of the write lock.
package distribute

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
)

// ScopedRecord is a record of desired state with who needs it.
type ScopedRecord = index.ScopedRecord

// Operations is what the agents' calls do. Each call is made for a registered host, named by the request's host or id
// or by the host argument, and may be made by several hosts and several times by one host at once. Errors that are
// *protocol.Error travel with their code; the context's error as CodeUnavailable.
type Operations interface {
	Hosts
	Endpoints
	Addresses
	Networks
}

// Hosts is what becomes of a registration.
type Hosts interface {
	// RegisterHost records the host and settles what it has plugged in against what the store gives it: Lost are the
	// attachments that are no longer its own; request.Removed are released. Idempotent. Revision is one that the store
	// had after it, and that Publish will reach.
	RegisterHost(ctx context.Context, request protocol.RegisterRequest) (Registration, error)
}

// Registration is the outcome of RegisterHost.
type Registration struct {
	Lost     []protocol.EndpointID
	Revision int64
}

// Endpoints are the calls about endpoints of the calling host.
type Endpoints interface {
	CreateEndpoint(ctx context.Context, request protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error)
	// DeleteEndpoint succeeds for an endpoint that does not exist.
	DeleteEndpoint(ctx context.Context, id protocol.EndpointID) error
	ProviderEvent(ctx context.Context, event protocol.ProviderEvent) error
}

// Addresses are reservations of addresses. A token is the secret of the host that reserved it.
type Addresses interface {
	ReserveAddress(ctx context.Context, host string, request protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error)
	// ReleaseAddress succeeds for a token that is not known.
	ReleaseAddress(ctx context.Context, host, token string) error
}

// Networks are the networks made for docker networks of the calling host.
type Networks interface {
	CreateNetwork(ctx context.Context, request protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, error)
	// DeleteNetwork succeeds for a docker network that is not known.
	DeleteNetwork(ctx context.Context, request protocol.DeleteNetworkRequest) error
}

// Config of a server.
type Config struct {
	Operations Operations
	// Masters answers host:port of the agent listeners of all netmasters, for agents to try later.
	Masters func() []string
	// Build of this binary, for people.
	Build string
	Log   *logrus.Entry
	// Silence and Write override protocol.PingTimeout as the time after which a silent agent, or one that does not
	// take a message, is dropped (tests).
	Silence, Write time.Duration
}

// Limits of one session.
const (
	// callsAtOnce is how many calls of one agent run at once; more wait in its socket.
	callsAtOnce = 64
	// callTime is the longest that a call may take.
	callTime = 30 * time.Second
	// maxDirty is how many changed records are kept apart for an agent that lags; beyond, whole buckets are sent again.
	maxDirty = 8192
	// maxRequests is how many ids of requests are kept for one change message; of more, the latest count.
	maxRequests = 64
	// chunkBytes is the size at which a chunk of a snapshot is closed, well below protocol.MaxChunkBytes, so that
	// replies do not wait long.
	chunkBytes = 64 << 10
)

// Server serves the agents while this netmaster leads. All methods may be called at once.
type Server struct {
	config Config
	turns  chan struct{} // holds one for each session that has its turn
	// registering holds one for each registration under way: when all agents come at once, those that are served are
	// served within their patience, instead of none.
	registering chan struct{}
	sent        struct{ messages, bytes atomic.Uint64 } // see Traffic

	mu       sync.RWMutex
	index    *index.Index
	loaded   bool
	leading  bool
	leader   string
	sessions map[string]*session    // registered or registering, by host
	hosts    map[string]*hostMemory // every host that was here since this process leads
	progress chan struct{}          // closed and renewed when the index moves or a host acknowledges
	waiting  int                    // who waits for progress
}

// NewServer makes a server that does not lead and knows no record.
func NewServer(config Config) *Server {
	if config.Silence == 0 {
		config.Silence = protocol.PingTimeout
	}
	if config.Write == 0 {
		config.Write = protocol.PingTimeout
	}
	return &Server{
		config: config, index: index.New(), sessions: map[string]*session{}, hosts: map[string]*hostMemory{},
		progress: make(chan struct{}), turns: make(chan struct{}, turns), registering: make(chan struct{}, registrations),
	}
}

// SetLeader says whether this netmaster leads and where the leader's agent listener is (host:port, empty if not
// known). When it stops leading every session is closed and what the hosts acknowledged is forgotten.
func (s *Server) SetLeader(leading bool, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.leading && !leading
	s.leading, s.leader = leading, address
	if lost {
		s.closeSessions("this netmaster no longer leads")
		s.hosts = map[string]*hostMemory{}
	}
}

// Replace gives the server all records there are at a position. It is called before the first Publish, and when the
// history between two positions is not known.
func (s *Server) Replace(position protocol.Position, records []ScopedRecord) error {
	return s.update(position, nil, func(x *index.Index, touch index.Touch) error {
		return x.Replace(position, records, touch)
	})
}

// Publish gives the server the records that changed up to a position. Positions only grow; another store is made known
// by Replace. requests are the ids of the requests that led to it, which are told to the agents it concerns.
func (s *Server) Publish(position protocol.Position, changes []ScopedRecord, requests ...string) error {
	return s.update(position, requests, func(x *index.Index, touch index.Touch) error {
		return x.Apply(position, changes, touch)
	})
}

func (s *Server) update(position protocol.Position, requests []string, apply func(*index.Index, index.Touch) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.index.Position()
	if s.loaded && (old.Store != position.Store || position.Revision < old.Revision) {
		// The past that agents resume from is another one: they register anew.
		s.closeSessions("the store is another one or was set back")
	}
	touch := func(host string, ref index.Ref) { s.touch(host, ref, requests) }
	if err := apply(s.index, touch); err != nil {
		return fmt.Errorf("taking in the changes up to revision %d: %w", position.Revision, err)
	}
	s.loaded = true
	for _, sess := range s.sessions {
		if sess.pending.owes(s.index.Position().Revision) {
			sess.wakeUp()
		}
	}
	s.madeProgress()
	return nil
}

// touch notes that a host needs to be told of a record. Called with mu held.
func (s *Server) touch(host string, ref index.Ref, requests []string) {
	if host != index.Everyone {
		if sess := s.sessions[host]; sess != nil {
			sess.pending.touch(ref, requests)
		}
		return
	}
	for _, sess := range s.sessions {
		sess.pending.touch(ref, requests)
	}
}

// madeProgress wakes those who wait for the index or for acknowledgements. Called with mu held.
func (s *Server) madeProgress() {
	if s.waiting > 0 {
		close(s.progress)
		s.progress = make(chan struct{})
	}
}

// await waits until done, called with mu held, answers true, or the context ends.
func (s *Server) await(ctx context.Context, done func() bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting++
	defer func() { s.waiting-- }()
	for !done() {
		progress := s.progress
		s.mu.Unlock()
		var err error
		select {
		case <-progress:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// closeSessions is called with mu held.
func (s *Server) closeSessions(why string) {
	for _, sess := range s.sessions {
		sess.log.WithField("reason", why).Debug("closing the session of an agent")
		sess.close()
	}
}

// Serve accepts agents until the context ends, then closes the listener and every connection and returns nil when all
// its goroutines have ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var agents sync.WaitGroup
	defer agents.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for pause := time.Duration(0); ; {
		conn, err := listener.Accept()
		if err == nil {
			pause = 0
			agents.Go(func() { s.serveConn(ctx, conn) })
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accepting agents: %w", err)
		}
		// Out of descriptors and the like pass; the listener stays.
		if pause == 0 {
			s.config.Log.WithError(err).Warn("agents cannot connect; if the limit of open files is reached, raise it (ulimit -n, LimitNOFILE=)")
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// serveConn serves one connection until it ends.
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	log := s.config.Log.WithField("peer", conn.RemoteAddr().String())
	names, err := s.certificateNames(ctx, conn)
	if err != nil {
		log.WithError(err).Debug("agent's connection failed")
		_ = conn.Close()
		return
	}
	newSession(ctx, s, conn, names, log).run()
}

// certificateNames completes the TLS handshake and answers the names of the peer's certificate: its DNS names, or its
// common name if it has none. Nil on a plain connection; empty when the peer showed no certificate that was verified.
func (s *Server) certificateNames(ctx context.Context, conn net.Conn) ([]string, error) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Silence)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	chains := secure.ConnectionState().VerifiedChains
	if len(chains) == 0 || len(chains[0]) == 0 {
		return []string{}, nil
	}
	leaf := chains[0][0]
	if len(leaf.DNSNames) > 0 {
		return slices.Clone(leaf.DNSNames), nil
	}
	return []string{leaf.Subject.CommonName}, nil
}
