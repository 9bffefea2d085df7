package nameserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Outcomes of queries, as they are counted.
const (
	OutcomeAnswered  = "answered"  // from the names of the cluster
	OutcomeCached    = "cached"    // from what a resolver said before
	OutcomeForwarded = "forwarded" // a resolver of the host said it
	OutcomePassed    = "passed on" // the server it was sent to is an endpoint
	OutcomeFailed    = "failed"    // no resolver answered
	OutcomeInvalid   = "invalid"   // no query
	OutcomeDropped   = "dropped"   // the endpoint, or all of them, have too many queries waiting
)

// Outcomes lists all.
func Outcomes() []string {
	return []string{OutcomeAnswered, OutcomeCached, OutcomeForwarded, OutcomePassed, OutcomeFailed, OutcomeInvalid, OutcomeDropped}
}

// Limits on what waits for resolvers.
const (
	maxWaiting            = 512
	maxWaitingPerEndpoint = 32
	// askTimeout bounds one query.
	askTimeout = serversTried*serverTimeout + 500*time.Millisecond
)

// Config of a server.
type Config struct {
	// Domain of the cluster: a name may have it at its end. Empty: none.
	Domain string
	// Servers are asked for names that the cluster does not have.
	Servers Servers
	Log     *logrus.Entry
}

// Server answers the queries of one host. All methods may be called at once.
type Server struct {
	tables   *Tables
	resolver *resolver
	upstream *forwarder
	log      *logrus.Entry
	streams  *streams

	mu      sync.Mutex
	synced  chan struct{} // closed when a complete state was applied
	counts  map[string]map[string]uint64
	waiting map[protocol.EndpointID]int // queries that wait for resolvers
	all     int                         // of them
	asking  sync.WaitGroup
	ctx     context.Context //nolint:containedctx // of Run, for queries on their way when it ends
}

// New makes a server; Run has it answer.
func New(config Config) *Server {
	tables := NewTables()
	s := &Server{
		tables: tables, resolver: &resolver{tables, strings.Trim(fold(config.Domain), ".")},
		upstream: newForwarder(config.Servers), log: config.Log, synced: make(chan struct{}),
		counts: map[string]map[string]uint64{}, waiting: map[protocol.EndpointID]int{}, ctx: context.Background(),
	}
	s.streams = newStreams(s.stream, config.Log)
	return s
}

// Follow has the server learn names from what is applied to a datapath.
func (s *Server) Follow(dp drivers.Datapath) drivers.Datapath { return &followed{dp, s} }

type followed struct {
	drivers.Datapath
	server *Server
}

// Apply implements drivers.Datapath.
func (f *followed) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	f.server.Apply(update)
	return f.Datapath.Apply(ctx, update) //nolint:wrapcheck // the datapath's own error
}

// Apply takes a change of the desired state.
func (s *Server) Apply(update drivers.Update) {
	s.tables.Apply(update)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.synced:
	default:
		if s.tables.Synced() {
			close(s.synced)
		}
	}
}

// Run answers queries until ctx ends, from when a complete state was applied: until then nobody knows which names there
// are.
func (s *Server) Run(ctx context.Context, from drivers.NameInterceptor) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.synced:
	}
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	defer s.asking.Wait()
	defer s.streams.close()
	if err := from.Intercept(ctx, s.Take); err != nil {
		return fmt.Errorf("taking DNS packets from the switch: %w", err)
	}
	return nil
}

// Take handles one packet. It does not block.
func (s *Server) Take(p drivers.DNSPacket) {
	datagram, tcp, err := readIP(p.IP)
	switch {
	case err != nil:
		s.count(p.Tenant, OutcomeInvalid)
	case tcp:
		s.streams.take(&p)
	default:
		s.datagram(&p, &datagram)
	}
}

func (s *Server) datagram(p *drivers.DNSPacket, d *datagram) {
	query, refusal := readQuery(d.payload)
	if query != nil {
		if reply, found := s.resolver.resolve(asker(p), query); found {
			s.count(p.Tenant, OutcomeAnswered)
			s.reply(p, d, reply, query)
			return
		}
	}
	if _, known := s.tables.namesOf(p.Tenant, d.dst.Addr()); known {
		s.count(p.Tenant, OutcomePassed)
		if err := p.PassOn(); err != nil {
			s.log.WithError(err).Debug("passing a DNS packet on")
		}
		return
	}
	if query == nil {
		s.count(p.Tenant, OutcomeInvalid)
		if refusal != nil {
			s.reply(p, d, refusal, refusal)
		}
		return
	}
	if reply := s.upstream.cached(query); reply != nil {
		s.count(p.Tenant, OutcomeCached)
		s.reply(p, d, reply, query)
		return
	}
	if !s.begin(p.Endpoint) {
		s.count(p.Tenant, OutcomeDropped)
		return
	}
	payload := *d
	payload.payload = nil // belongs to the packet
	packet := *p
	packet.IP = nil
	go func() {
		defer s.end(packet.Endpoint)
		s.reply(&packet, &payload, s.forward(packet.Tenant, query), query)
	}()
}

func asker(p *drivers.DNSPacket) Asker { return Asker{p.Tenant, p.Network} }

// forward has resolvers answer, and answers for them if they do not.
func (s *Server) forward(tenant string, query *dns.Msg) *dns.Msg {
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reply, err := s.upstream.ask(ctx, query)
	if err != nil {
		s.count(tenant, OutcomeFailed)
		s.log.WithError(err).Debug("a DNS query was not answered")
		return failed(query, dns.RcodeServerFailure)
	}
	s.count(tenant, OutcomeForwarded)
	return reply
}

// stream answers a message that came over TCP; nil ends the connection.
func (s *Server) stream(from *drivers.DNSPacket, raw []byte) []byte {
	query, reply := readQuery(raw)
	if query == nil {
		s.count(from.Tenant, OutcomeInvalid)
	} else if known, found := s.resolver.resolve(asker(from), query); found {
		s.count(from.Tenant, OutcomeAnswered)
		reply = known
	} else if !s.begin(from.Endpoint) {
		s.count(from.Tenant, OutcomeDropped)
	} else {
		reply = s.forward(from.Tenant, query)
		s.end(from.Endpoint)
	}
	if reply == nil {
		return nil
	}
	reply.Truncate(dns.MaxMsgSize)
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}

// begin takes a place among the queries that wait for resolvers.
func (s *Server) begin(id protocol.EndpointID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxWaiting || s.waiting[id] >= maxWaitingPerEndpoint {
		return false
	}
	s.all++
	s.waiting[id]++
	s.asking.Add(1)
	return true
}

func (s *Server) end(id protocol.EndpointID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.waiting[id]--; s.waiting[id] == 0 {
		delete(s.waiting, id)
	}
	s.asking.Done()
}

// reply sends a reply to a datagram.
func (s *Server) reply(p *drivers.DNSPacket, d *datagram, reply, query *dns.Msg) {
	payload, err := packUDP(reply, query)
	if err != nil {
		if payload, err = packUDP(failed(query, dns.RcodeServerFailure), query); err != nil {
			return
		}
	}
	back := datagram{src: d.dst, dst: d.src, payload: payload}
	packet, err := back.packet()
	if err == nil {
		err = p.Reply(packet)
	}
	if err != nil {
		s.log.WithError(err).Debug("answering a DNS query")
	}
}

func (s *Server) count(tenant, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.counts[tenant]
	if of == nil {
		of = map[string]uint64{}
		s.counts[tenant] = of
	}
	of[outcome]++
}

// Counts are the queries of all tenants by outcome.
func (s *Server) Counts() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[string]uint64{}
	for _, of := range s.counts {
		for outcome, n := range of {
			sum[outcome] += n
		}
	}
	return sum
}
