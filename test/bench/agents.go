package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// simulated is an agent without a datapath: what it is told it takes for realised.
type simulated struct {
	host        string
	attachments []protocol.Attachment
	rules       atomic.Int64 // updates with a rule in them
}

func (a *simulated) Describe(context.Context) (protocol.RegisterRequest, error) {
	return registration(a.host, a.attachments), nil
}

// registration is what a simulated host says of itself.
func registration(host string, attachments []protocol.Attachment) protocol.RegisterRequest {
	return protocol.RegisterRequest{Host: host, MTU: 1500, Datapath: "simulated", Attachments: attachments}
}

func (*simulated) Registered(context.Context, protocol.RegisterRequest, protocol.RegisterReply) error {
	return nil
}

func (a *simulated) Apply(_ context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	of := func(ref drivers.Ref) bool { return ref.Kind == protocol.KindRule }
	if slices.ContainsFunc(update.Gone, of) || slices.ContainsFunc(slices.Collect(maps.Keys(update.Set)), of) {
		a.rules.Add(1)
	}
	return nil, nil
}

// fleet is many agents in this process, each with the session that netplugin has and a connection of its own.
type fleet struct {
	agents   []*simulated
	sessions []*session.Session
	received atomic.Int64 // bytes, by all of them
	cancel   context.CancelFunc
	running  sync.WaitGroup
	shared   sync.Map // record revision and key -> body: hosts of one process share what they hold
}

// startFleet runs the agents; they go on over restarts of netmaster until stop.
func startFleet(ctx context.Context, m *master, agents []*simulated) (*fleet, error) {
	f := &fleet{agents: agents}
	ctx, f.cancel = context.WithCancel(ctx)
	for _, agent := range agents {
		s, err := session.New(session.Config{
			Masters: []string{m.rpc}, Agent: agent, Log: silent(), Dial: f.dial, Decode: f.decode,
		})
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("making an agent: %w", err)
		}
		f.sessions = append(f.sessions, s)
		f.running.Go(func() { _ = s.Run(ctx) }) // nil when the context ends
	}
	m.fleet = f
	return f, nil
}

func (f *fleet) stop() {
	f.cancel()
	f.running.Wait()
}

// dial counts what comes in.
func (f *fleet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{conn.(*net.TCPConn), &f.received}, nil
}

type countedConn struct {
	*net.TCPConn
	received *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.received.Add(int64(n))
	return n, err //nolint:wrapcheck // io.EOF must stay itself
}

// decode reads a record once for all agents.
func (f *fleet) decode(record *protocol.Record) (protocol.Body, error) {
	type known struct {
		key  string
		body protocol.Body
	}
	type version struct {
		kind     protocol.Kind
		key      string
		revision int64
	}
	at := version{record.Kind, record.Key, record.Revision}
	if found, ok := f.shared.Load(at); ok {
		record.Key = found.(known).key
		return found.(known).body, nil
	}
	body, err := record.Decode()
	if err == nil {
		f.shared.Store(at, known{record.Key, body})
	}
	return body, err //nolint:wrapcheck // names the record
}

// settled waits until every agent is registered and has realised all it was sent, up to a revision at least.
func (f *fleet) settled(ctx context.Context, revision int64) error {
	for i, s := range f.sessions {
		for !s.Connected() || s.Status().Realised.Revision < revision {
			changed := s.Changed()
			if s.Connected() && s.Status().Realised.Revision >= revision {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("agent %d has not realised revision %d: %s: %w", i+1, revision, s.Status().Problem, ctx.Err())
			}
		}
	}
	return nil
}

// agents attaches a number of simulated hosts without endpoints.
func (m *master) agents(ctx context.Context, count int) ([]*session.Session, error) {
	var agents []*simulated
	for i := range count {
		agents = append(agents, &simulated{host: fmt.Sprintf("host%d", i+1)})
	}
	f, err := startFleet(ctx, m, agents)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return f.sessions, f.settled(wait, 1)
}
