package distribute

import (
	"slices"
	"time"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Ref names a record.
type Ref = index.Ref

// Realisation tells on which of the hosts that need some records these are in force, as this netmaster knows since it
// leads.
type Realisation struct {
	// Of is how many hosts need one of the records at least; Hosts, how many of them have realised all that they need.
	Of, Hosts int
	// Revision is the newest of the records; 0 if there are none.
	Revision int64
	// Since is when the last of those hosts said so; zero while Hosts is 0.
	Since time.Time
	// Missing are the other hosts, by name: those that lag, that could not realise a record, or whose agent is away.
	Missing []string
}

// Realised tells it of records that go to hosts because of their scopes.
func (s *Server) Realised(refs ...Ref) Realisation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out Realisation
	needs := map[string]*need{}
	for _, ref := range refs {
		if entry, ok := s.index.Lookup(ref); ok {
			out.Revision = max(out.Revision, entry.Revision)
		}
		s.index.Since(ref, func(host string, revision int64) {
			n := needs[host]
			if n == nil {
				n = &need{refs: map[Ref]bool{}}
				needs[host] = n
			}
			n.revision, n.refs[ref] = max(n.revision, revision), true
		})
	}
	out.Of = len(needs)
	for host, n := range needs {
		since, ok := s.realisedBy(host, n)
		if !ok {
			out.Missing = append(out.Missing, host)
			continue
		}
		out.Hosts++
		if since.After(out.Since) {
			out.Since = since
		}
	}
	slices.Sort(out.Missing)
	return out
}

// need is what one host needs of the records asked about.
type need struct {
	revision int64
	refs     map[Ref]bool
}

// realisedBy tells whether a host has what it needs, and since when. Called with mu held for writing.
func (s *Server) realisedBy(host string, n *need) (since time.Time, ok bool) {
	sess, memory := s.sessions[host], s.hosts[host]
	if sess == nil || memory == nil || !s.has(sess, n.revision) || sess.moreNotRealised {
		return time.Time{}, false
	}
	for _, not := range sess.notRealised {
		if n.refs[Ref{Kind: not.Kind, Key: not.Key}] {
			return time.Time{}, false
		}
	}
	return memory.acks.since(n.revision), true
}

// acks are the latest acknowledgements of a host, the newest last. Its revisions only grow.
type acks []ackAt

type ackAt struct {
	revision int64
	at       time.Time
}

// maxAcks is how many acknowledgements of a host are kept; since when it has something older is told as the oldest.
const maxAcks = 64

func (a *acks) add(revision int64, at time.Time) {
	if n := len(*a); n > 0 && (*a)[n-1].revision >= revision {
		return
	}
	if len(*a) == maxAcks {
		*a = slices.Delete(*a, 0, 1)
	}
	*a = append(*a, ackAt{revision, at})
}

// since is when a revision was acknowledged that the host is known to have.
func (a acks) since(revision int64) time.Time {
	for _, one := range a {
		if one.revision >= revision {
			return one.at
		}
	}
	if len(a) == 0 {
		return time.Time{}
	}
	return a[len(a)-1].at // nothing of the later revisions was for the host
}

// Limits of what is kept of one host's statistics.
const (
	maxServiceCounters = 4096
	maxDropCounters    = 64
	maxReason          = 64 // bytes
)

// traffic is what a host counted beside its endpoints.
type traffic struct {
	rules    map[string]protocol.RuleCounters
	services []protocol.ServiceCounters
	drops    []protocol.DropCounter
}

// counted keeps what concerns records that the host needs. Called with mu held.
func (s *Server) counted(host string, statistics protocol.Statistics) traffic {
	needs := func(kind protocol.Kind, key string) bool {
		_, ok := s.index.Needs(host, Ref{Kind: kind, Key: key})
		return ok
	}
	out := traffic{rules: map[string]protocol.RuleCounters{}}
	for _, c := range statistics.Rules {
		if needs(protocol.KindRule, c.Key) {
			out.rules[c.Key] = c
		}
	}
	for _, c := range statistics.Services {
		if len(out.services) < maxServiceCounters && needs(protocol.KindService, c.Service) {
			out.services = append(out.services, c)
		}
	}
	for _, c := range statistics.Drops {
		if len(out.drops) < maxDropCounters && len(c.Reason) <= maxReason {
			out.drops = append(out.drops, c)
		}
	}
	return out
}

// RuleCounters sums up what rules decided on all hosts, by the keys of their records. A packet between two hosts counts
// on both; a host that made its flows anew counts from zero.
func (s *Server) RuleCounters(keys ...string) protocol.RuleCounters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out protocol.RuleCounters
	for _, memory := range s.hosts {
		for _, key := range keys {
			c := memory.traffic.rules[key]
			out.Packets, out.Bytes = out.Packets+c.Packets, out.Bytes+c.Bytes
		}
	}
	return out
}

// ServiceCounters sums up what all clients and providers of a service said to each other. In and Out are as the clients
// see them.
func (s *Server) ServiceCounters(key string) protocol.ServiceCounters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := protocol.ServiceCounters{Service: key}
	for _, memory := range s.hosts {
		for _, c := range memory.traffic.services {
			if c.Service == key {
				out.PacketsIn, out.BytesIn = out.PacketsIn+c.PacketsIn, out.BytesIn+c.BytesIn
				out.PacketsOut, out.BytesOut = out.PacketsOut+c.PacketsOut, out.BytesOut+c.BytesOut
			}
		}
	}
	return out
}

// Drops is what a host dropped, by reason.
func (s *Server) Drops(host string) []protocol.DropCounter {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if memory := s.hosts[host]; memory != nil {
		return slices.Clone(memory.traffic.drops)
	}
	return nil
}
