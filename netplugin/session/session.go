// Package session is the agent's end of the netmaster-agent protocol (ofnet/protocol, docs/protocol.md): it finds the
// leading netmaster, registers the host, keeps the desired state that netmaster streams, hands it to the agent as
// differences, acknowledges what was realised, and carries the agent's calls.
//
// What was received is kept while there is no netmaster, so a host goes on as it is. An edge package: sockets,
// goroutines (all end with Run) and a logger.
package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// ErrUnreachable is the class of failures of calls for which there is no netmaster now, or whose connection broke
// before the answer came: what was asked may or may not have been done, and may be asked again.
var ErrUnreachable = errors.New("netmaster is not reachable")

// Agent is what a session needs of the agent it speaks for. Describe and Registered are called one after the other,
// Apply from another goroutine, one at a time.
type Agent interface {
	// Describe makes the request that announces the host: everything but Version, Instance, Position and Digests, which
	// the session fills in. Called before every attempt to register; an error is logged and the attempt made later.
	Describe(ctx context.Context) (protocol.RegisterRequest, error)

	// Registered is called after netmaster accepted the request and before any record it sends is applied. The agent
	// removes the attachments in reply.Lost, and may forget the removals that the request told. On error the session is
	// closed and tried again.
	Registered(ctx context.Context, sent protocol.RegisterRequest, reply protocol.RegisterReply) error

	// Apply realises a change of the desired state; the first after the start of the process has Replace set. It
	// returns when the change is realised but for the records it names, which is then acknowledged. On error Apply is
	// called again later, with what changed meanwhile or with an empty update; it never gets the same change twice.
	Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error)
}

// Config of a session.
type Config struct {
	// Masters are host:port of netmasters; without a port protocol.Port is meant. At least one.
	Masters []string
	// TLS for the connections, nil for plain TCP. ServerName is set for each master by its address if empty.
	TLS   *tls.Config
	Agent Agent
	Log   *logrus.Entry
	// Dial makes connections; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Decode reads the body of a record; nil: the record's own Decode. Many hosts simulated in one process share what
	// they hold with it: it may put an equal Key in the place of the record's. Safe for concurrent use.
	Decode func(record *protocol.Record) (protocol.Body, error)
	// Timing overrides how long things take (tests).
	Timing Timing
	// Observe, if not nil, is told of every call to netmaster: how long it took and what came of it. It must be quick.
	Observe func(method string, took time.Duration, err error)
}

// Timing of a session; zero values mean those of the protocol, and a few tenths of a second for the waits.
type Timing struct {
	Ping      time.Duration // between pings
	Silence   time.Duration // after which a connection is dropped
	Retry     time.Duration // first wait after a failed round over all masters
	MaxRetry  time.Duration // longest of those waits
	Reconnect time.Duration // random wait up to this after a session broke
}

// defaultTiming is what a Config's zero Timing means.
var defaultTiming = Timing{
	Ping: protocol.PingInterval, Silence: protocol.PingTimeout,
	Retry: 200 * time.Millisecond, MaxRetry: 5 * time.Second, Reconnect: 500 * time.Millisecond,
}

// Status is a glance at a session.
type Status struct {
	Connected bool   `json:"connected"`
	Master    string `json:"master,omitempty"`  // the one connected to
	Problem   string `json:"problem,omitempty"` // why not connected, or why the last change is not realised
	// Desired is the position of what was received, Realised of what the agent realised of it.
	Desired     protocol.Position      `json:"desired"`
	Realised    protocol.Position      `json:"realised"`
	Records     int                    `json:"records"`
	NotRealised []protocol.NotRealised `json:"notRealised,omitempty"`
	// Registrations is how often a netmaster took this host's registration since the agent started.
	Registrations int `json:"registrations"`
}

// Session keeps one host attached to the netmasters. All methods may be called at once.
type Session struct {
	config    Config
	instance  string
	refresh   chan struct{}
	applyWake chan struct{}

	// Everything below is guarded by mu, which is never held over I/O or a call of the agent.
	mu        sync.Mutex
	changed   chan struct{}
	store     *store
	link      *link // whose stream is taken in
	connected bool
	welcome   bool // the agent was told what it lost: the store may be applied
	leader    string
	learned   []string
	problem   string

	requests      []string // ids of requests behind what was not taken yet, at most maxRequests
	registrations int

	ackDue       bool // the stream moved since the last acknowledgement
	unapplied    bool // the agent was given a change and did not realise it yet
	applyProblem string
	realised     protocol.Position
	notRealised  []protocol.NotRealised
}

// New makes a session; Run starts it.
func New(config Config) (*Session, error) {
	if len(config.Masters) == 0 {
		return nil, errors.New("no netmaster to connect to: name at least one (--netmaster HOST[:PORT])")
	}
	if config.Agent == nil || config.Log == nil {
		return nil, errors.New("a session needs an agent and a logger")
	}
	if config.Dial == nil {
		config.Dial = new(net.Dialer).DialContext
	}
	if config.Decode == nil {
		config.Decode = decodeRecord
	}
	config.Timing = config.Timing.orDefault()
	return &Session{
		config: config, instance: uuid.NewString(), refresh: make(chan struct{}, 1), applyWake: make(chan struct{}, 1),
		changed: make(chan struct{}), store: newStore(), problem: "not connected to a netmaster yet",
	}, nil
}

func (t Timing) orDefault() Timing {
	return Timing{
		Ping: cmp.Or(t.Ping, defaultTiming.Ping), Silence: cmp.Or(t.Silence, defaultTiming.Silence),
		Retry: cmp.Or(t.Retry, defaultTiming.Retry), MaxRetry: cmp.Or(t.MaxRetry, defaultTiming.MaxRetry),
		Reconnect: cmp.Or(t.Reconnect, defaultTiming.Reconnect),
	}
}

// Run keeps the session until the context ends, then closes it and returns nil. Called once.
func (s *Session) Run(ctx context.Context) error {
	var applying sync.WaitGroup
	defer applying.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	applying.Go(func() { s.applyLoop(ctx) })
	pause := s.newBackoff()
	for ctx.Err() == nil {
		l, err := s.round(ctx)
		if err != nil {
			s.failed(ctx, err)
			sleep(ctx, pause.NextBackOff())
			continue
		}
		pause.Reset()
		s.config.Log.WithField("netmaster", l.address).Info("registered with netmaster")
		err = s.hold(ctx, l)
		s.unlink(l, err)
		if ctx.Err() == nil {
			s.config.Log.WithError(err).WithField("netmaster", l.address).Warn("lost netmaster; this host goes on as it is")
		}
		// Every agent of the cluster may be here at the same moment.
		sleep(ctx, rand.N(s.config.Timing.Reconnect)) //nolint:gosec // spreads load, guards nothing
	}
	return nil
}

func sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// failed notes that no netmaster took the registration; it is logged once for each reason.
func (s *Session) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != err.Error() {
		s.problem = err.Error()
		s.config.Log.WithError(err).Warn("no netmaster to register with; trying again")
		s.announce()
	}
}

// announce wakes those who watch Changed. Called with mu held.
func (s *Session) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Connected tells whether calls can reach a netmaster now.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// Changed is closed when Status has changed since the call of Changed: take it, look at Status, then wait for it.
func (s *Session) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Status tells how the session stands. It does not block.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{
		Connected: s.connected, Problem: cmp.Or(s.problem, s.applyProblem), Desired: s.store.position, Realised: s.realised,
		Records: len(s.store.held), NotRealised: s.notRealised, Registrations: s.registrations,
	}
	if s.connected {
		status.Master = s.link.address
	}
	return status
}

// Record answers the decoded newest form of a record the host holds, realised or not. The body is shared: do not
// change it.
func (s *Session) Record(ref drivers.Ref) (protocol.Body, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.store.held[ref]
	return h.body, h.body != nil
}

// Bodies answers all decoded records of a kind by key. The bodies are shared: do not change them.
func (s *Session) Bodies(kind protocol.Kind) map[string]protocol.Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]protocol.Body{}
	for ref, h := range s.store.held {
		if ref.Kind == kind && h.body != nil {
			out[ref.Key] = h.body
		}
	}
	return out
}

// WaitFor waits until everything up to a revision (of a call's answer) was received and realised, and returns the
// context's error, wrapped, if that is not before it ends.
func (s *Session) WaitFor(ctx context.Context, revision int64) error {
	for {
		s.mu.Lock()
		realised, changed := s.realised.Revision, s.changed
		same := s.realised.Store == s.store.position.Store
		s.mu.Unlock()
		if same && realised >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for revision %d, realised is %d: %w", revision, realised, ctx.Err())
		}
	}
}

// Acknowledge tells netmaster anew what is realised, after the agent was asked once more: for when that changed by
// itself.
func (s *Session) Acknowledge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ackDue = true
	s.wakeApply()
}

// Refresh asks to register again, as after a change of what Describe answers. The present session is closed.
func (s *Session) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}
