// Package session is the agent's end of the netmaster-agent protocol (ofnet/protocol, docs/protocol.md): it finds the
// leading netmaster, registers the host, keeps the desired state that netmaster streams, hands it to the agent as
// differences, acknowledges what was realised, and carries the agent's calls.
//
// What was received is kept while there is no netmaster, so a host goes on as it is. An edge package: sockets,
// goroutines (all end with Run) and a logger.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	// Timing overrides how long things take (tests).
	Timing Timing
}

// Timing of a session; zero values mean those of the protocol and of DefaultTiming.
type Timing struct {
	Ping      time.Duration // between pings
	Silence   time.Duration // after which a connection is dropped
	Retry     time.Duration // first wait after a failed round over all masters
	MaxRetry  time.Duration // longest of those waits
	Reconnect time.Duration // random wait up to this after a session broke
}

// DefaultTiming is what a Config's zero Timing means.
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
}

// Session keeps one host attached to the netmasters. All methods may be called at once.
type Session struct {
	config   Config
	instance string

	mu      sync.Mutex
	status  Status
	changed chan struct{}
}

// New makes a session; Run starts it.
func New(config Config) (*Session, error) {
	if len(config.Masters) == 0 {
		return nil, errors.New("no netmaster to connect to: name at least one (--netmaster HOST[:PORT])")
	}
	if config.Agent == nil || config.Log == nil {
		return nil, errors.New("a session needs an agent and a logger")
	}
	return &Session{config: config, instance: uuid.NewString(), changed: make(chan struct{})}, nil
}

// Run keeps the session until the context ends, then closes it and returns nil. Called once.
func (s *Session) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Connected tells whether calls can reach a netmaster now.
func (s *Session) Connected() bool { return s.Status().Connected }

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
	return s.status
}

// Record answers the decoded newest form of a record the host holds, realised or not. The body is shared: do not
// change it.
func (s *Session) Record(ref drivers.Ref) (protocol.Body, bool) { return nil, false }

// Bodies answers all decoded records of a kind by key. The bodies are shared: do not change them.
func (s *Session) Bodies(kind protocol.Kind) map[string]protocol.Body { return nil }

// WaitFor waits until everything up to a revision (of a call's answer) was received and realised, and returns the
// context's error, wrapped, if that is not before it ends.
func (s *Session) WaitFor(ctx context.Context, revision int64) error {
	return fmt.Errorf("waiting for revision %d: %w", revision, ErrUnreachable)
}

// Refresh asks to register again, as after a change of what Describe answers. The present session is closed.
func (s *Session) Refresh() {}
