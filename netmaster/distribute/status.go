package distribute

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
)

// HostStatus is how far a host is, as this netmaster knows since it leads.
type HostStatus struct {
	Host      string `json:"host"`
	Connected bool   `json:"connected"`
	Address   string `json:"address,omitempty"` // of the agent's connection, the last one if it has none
	Build     string `json:"build,omitempty"`
	Version   string `json:"version,omitempty"` // of the agent's protocol
	// Desired is the revision of what the host shall be like; Acknowledged of what it said it is like.
	Desired      int64                  `json:"desired"`
	Acknowledged int64                  `json:"acknowledged"`
	LastSeen     time.Time              `json:"lastSeen,omitzero"` // zero: not since this netmaster leads
	Since        time.Time              `json:"since,omitzero"`    // when it connected; zero unless it is
	NotRealised  []protocol.NotRealised `json:"notRealised,omitempty"`
}

// hostMemory is what stays known of a host when its session ends.
type hostMemory struct {
	peer, build, version string
	lastSeen             time.Time
	acked                protocol.Position
	notRealised          []protocol.NotRealised
	acks                 acks
	counters             map[protocol.EndpointID]protocol.EndpointCounters
	traffic              traffic
}

// maxNotRealised is how many records that one host could not realise are kept.
const maxNotRealised = 256

// acknowledge takes an agent's word for how far it is; never further than it was sent.
func (s *Server) acknowledge(sess *session, ack protocol.Ack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := sess.pending.sent
	if ack.Position.Store != sent.Store || ack.Position.Revision > sent.Revision {
		return
	}
	sess.acked = ack.Position
	sess.notRealised = ack.NotRealised[:min(len(ack.NotRealised), maxNotRealised)]
	sess.moreNotRealised = len(ack.NotRealised) > maxNotRealised
	if memory := s.hosts[sess.host]; memory != nil {
		if memory.acked.Store != sess.acked.Store {
			memory.acks = nil
		}
		memory.acked, memory.notRealised = sess.acked, sess.notRealised
		memory.acks.add(s.ackedBy(sess), time.Now())
	}
	s.madeProgress()
}

// count takes an agent's statistics: of its own endpoints, and of what it needs.
func (s *Server) count(sess *session, statistics protocol.Statistics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	memory := s.hosts[sess.host]
	if memory == nil {
		return
	}
	memory.traffic = s.counted(sess.host, statistics)
	memory.counters = make(map[protocol.EndpointID]protocol.EndpointCounters, len(statistics.Endpoints))
	for _, counters := range statistics.Endpoints {
		_, exists := s.index.Lookup(index.Ref{Kind: protocol.KindEndpoint, Key: counters.ID.String()})
		if exists && counters.ID.Host == sess.host {
			memory.counters[counters.ID] = counters
		}
	}
}

// Counters answers what the endpoint's host last counted.
func (s *Server) Counters(id protocol.EndpointID) (protocol.EndpointCounters, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	memory := s.hosts[id.Host]
	if memory == nil {
		return protocol.EndpointCounters{}, false
	}
	counters, ok := memory.counters[id]
	return counters, ok
}

// has tells, with mu held for writing, whether a session's host has realised everything it needs up to a revision.
// A host that was sent all it needs, and acknowledged the last of it, has every revision the index knows.
func (s *Server) has(sess *session, revision int64) bool {
	return sess.pending.attached && s.ackedBy(sess) >= revision
}

func (s *Server) ackedBy(sess *session) int64 {
	position := s.index.Position()
	if sess.acked.Store != position.Store {
		return 0
	}
	if sess.pending.settled() && sess.acked == sess.pending.sent {
		return position.Revision
	}
	return sess.acked.Revision
}

// Acknowledged names the hosts, sorted, that did not acknowledge a revision: of all hosts there is a record of, those
// without a session and those that lag. Empty means that a number given up at that revision is used nowhere.
func (s *Server) Acknowledged(revision int64) (silent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.Hosts(func(name string) {
		if sess := s.sessions[name]; sess == nil || !s.has(sess, revision) {
			silent = append(silent, name)
		}
	})
	slices.Sort(silent)
	return silent
}

// Connected tells whether a host's agent is registered now.
func (s *Server) Connected(host string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sess := s.sessions[host]
	return sess != nil && sess.pending.attached
}

// Traffic is how much was sent to agents without being asked for: snapshots and changes.
type Traffic struct{ Messages, Bytes uint64 }

// Traffic since the process started.
func (s *Server) Traffic() Traffic {
	return Traffic{Messages: s.sent.messages.Load(), Bytes: s.sent.bytes.Load()}
}

// Hosts tells how far every host is that there is a record of, or that is connected, by name.
func (s *Server) Hosts() []HostStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]struct{}{}
	s.index.Hosts(func(name string) { names[name] = struct{}{} })
	for name, sess := range s.sessions {
		if sess.pending.attached {
			names[name] = struct{}{}
		}
	}
	out := make([]HostStatus, 0, len(names))
	for name := range names {
		out = append(out, s.hostStatus(name))
	}
	slices.SortFunc(out, func(a, b HostStatus) int {
		if a.Host < b.Host {
			return -1
		}
		return 1
	})
	return out
}

func (s *Server) hostStatus(name string) HostStatus {
	status := HostStatus{Host: name, Desired: s.index.Position().Revision}
	if memory := s.hosts[name]; memory != nil {
		status.Address, status.Build, status.Version = memory.peer, memory.build, memory.version
		status.LastSeen, status.Acknowledged, status.NotRealised = memory.lastSeen, memory.acked.Revision, memory.notRealised
	}
	if sess := s.sessions[name]; sess != nil && sess.pending.attached {
		status.Connected, status.Since = true, sess.since
		status.LastSeen = sess.stream.LastHeard()
		status.Acknowledged = s.ackedBy(sess)
		status.NotRealised = sess.notRealised
	}
	return status
}

// reached is the revision of the index.
func (s *Server) reached() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.Position().Revision
}

// flush has an agent told when the stream has reached a revision, even if nothing of it was for its host.
func (s *Server) flush(sess *session, revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !sess.pending.attached {
		return
	}
	sess.pending.flush = max(sess.pending.flush, revision)
	if sess.pending.owes(s.index.Position().Revision) {
		sess.wakeUp()
	}
}

// maxSettle is the longest that endpoint.settle waits.
const maxSettle = time.Second

// settle waits until the hosts that can meet an endpoint acknowledged it, and names those that did not in time. A host
// without a session is named and not waited for.
func (s *Server) settle(ctx context.Context, request protocol.SettleRequest) (protocol.SettleReply, error) {
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(request.Wait), maxSettle))
	defer cancel()
	var missing []string
	ref := index.Ref{Kind: protocol.KindEndpoint, Key: request.ID.String()}
	err := s.await(ctx, func() bool {
		missing = missing[:0]
		if s.index.Position().Revision < request.Revision {
			missing = append(missing, request.ID.Host)
			return false
		}
		pending := false
		s.index.Sharers(ref, func(host string) {
			sess := s.sessions[host]
			if host == request.ID.Host || sess != nil && s.has(sess, request.Revision) {
				return
			}
			missing = append(missing, host)
			pending = pending || sess != nil && sess.pending.attached
		})
		return !pending
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return protocol.SettleReply{}, err
	}
	slices.Sort(missing)
	return protocol.SettleReply{Missing: missing}, nil
}
