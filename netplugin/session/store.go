package session

import (
	"errors"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// store is the desired state as received. Pure, and not safe for use from several goroutines at once.
//
// The stream is the authority: at position P the store holds exactly what netmaster said the host needs at P, except
// for provisional records. Those come from answers of calls that are ahead of the stream; when the stream has reached
// the answer's position without naming them, they are undone.
//
// Invariants: digests sums up held; changed holds what differs from what take answered last; unrealised is a subset
// of held and has exactly its records without a body; guarded counts, for each network, those of them that guard it.
type store struct {
	position    protocol.Position
	synced      bool // a snapshot was completed
	held        map[drivers.Ref]held
	digests     protocol.Digests
	provisional map[drivers.Ref]provisional
	staged      map[drivers.Ref]incoming
	unrealised  map[drivers.Ref]string // reasons
	guarded     map[string]int         // network key -> records not understood that guard it
	changed     map[drivers.Ref]struct{}
	taken       bool // take answered once
}

type held struct {
	revision int64
	body     protocol.Body // nil: not understood, see unrealised
	guards   []string      // networks that are closed while it is not understood; nil with a body
}

// incoming is a record as decoded from a message.
type incoming struct {
	ref drivers.Ref
	held
	gone    bool
	problem string
}

type provisional struct {
	until  int64 // the revision at which the stream must have named the record
	before *held // what is put back if it did not
}

func newStore() *store {
	return &store{
		held: map[drivers.Ref]held{}, provisional: map[drivers.Ref]provisional{}, unrealised: map[drivers.Ref]string{},
		changed: map[drivers.Ref]struct{}{}, guarded: map[string]int{},
	}
}

func decodeRecord(record *protocol.Record) (protocol.Body, error) { return record.Decode() }

// decodeRecords reads the bodies of records, which takes most of the time that a message costs.
func (s *Session) decodeRecords(records []protocol.Record) []incoming {
	out := make([]incoming, 0, len(records))
	for i := range records {
		record := &records[i]
		var in incoming
		if len(record.Body) == 0 || string(record.Body) == "null" {
			in.gone = true
		} else if body, err := s.config.Decode(record); err == nil {
			in.body = body
		} else {
			in.problem, in.guards = err.Error(), record.Guards
		}
		in.ref, in.revision = drivers.Ref{Kind: record.Kind, Key: record.Key}, record.Revision
		out = append(out, in)
	}
	return out
}

// begin is called when a session starts: what calls of an earlier one answered is left to this one's digests.
func (s *store) begin() {
	clear(s.provisional)
	s.staged = nil
}

// chunk takes one chunk of a snapshot; with last, the store becomes what the snapshot says.
func (s *store) chunk(message *protocol.Snapshot, records []incoming) error {
	if s.staged == nil {
		s.staged = make(map[drivers.Ref]incoming, len(records))
	}
	for _, in := range records {
		if !in.gone {
			s.staged[in.ref] = in
		}
	}
	if !message.Last {
		return nil
	}
	var covered [protocol.Buckets]bool
	for _, bucket := range message.Buckets {
		if bucket < 0 || bucket >= protocol.Buckets {
			return errors.New("a snapshot names a bucket that does not exist")
		}
		covered[bucket] = true
	}
	s.replace(message.Position, &covered, len(message.Buckets) > 0)
	return nil
}

// replace makes the covered buckets hold what is staged, except for newer records.
func (s *store) replace(position protocol.Position, covered *[protocol.Buckets]bool, any bool) {
	// In another history the revisions held say nothing of which is newer.
	rewound := position.Store != s.position.Store || position.Revision < s.position.Revision
	newer := func(ref drivers.Ref, h held) bool {
		_, fromAnswer := s.provisional[ref]
		return h.revision > position.Revision && (fromAnswer || !rewound)
	}
	if any {
		for ref, h := range s.held {
			if _, sent := s.staged[ref]; !sent && covered[protocol.BucketOf(ref.Kind, ref.Key)] && !newer(ref, h) {
				s.drop(ref)
			}
		}
	}
	for ref, in := range s.staged {
		h, ok := s.held[ref]
		if ok && newer(ref, h) && h.revision > in.revision {
			continue
		}
		if ok && rewound {
			s.drop(ref) // the same revision may be something else there
		}
		s.confirm(in)
	}
	s.staged = nil
	s.position, s.synced = position, true
	s.undo()
}

// change takes a change message.
func (s *store) change(message *protocol.Change, records []incoming) {
	for _, in := range records {
		h, ok := s.held[in.ref]
		switch {
		case in.gone && ok && h.revision <= in.revision:
			s.drop(in.ref)
		case in.gone:
		case !ok || in.revision >= h.revision || h.revision <= message.Position.Revision:
			s.confirm(in)
		}
	}
	if message.Position.Revision > s.position.Revision {
		s.position = message.Position
		s.undo()
	}
}

// answer takes the records of a call's answer, unless the stream is past it.
func (s *store) answer(position protocol.Position, records []incoming) {
	if s.synced && s.position.Store == position.Store && s.position.Revision >= position.Revision {
		return
	}
	for _, in := range records {
		h, ok := s.held[in.ref]
		if in.gone || ok && h.revision >= in.revision {
			continue
		}
		p, again := s.provisional[in.ref]
		if !again && ok {
			p.before = &h
		}
		p.until = max(p.until, position.Revision, in.revision)
		s.put(in)
		s.provisional[in.ref] = p
	}
}

// undo takes back what answers said and the stream, being past them, did not confirm.
func (s *store) undo() {
	for ref, p := range s.provisional {
		if p.until > s.position.Revision {
			continue
		}
		delete(s.provisional, ref)
		reason, unrealised := s.unrealised[ref]
		if p.before == nil {
			s.drop(ref)
			continue
		}
		in := incoming{ref: ref, held: *p.before}
		if in.body == nil && unrealised {
			in.problem = reason
		}
		s.put(in)
	}
}

// confirm puts in what the stream says.
func (s *store) confirm(in incoming) {
	delete(s.provisional, in.ref)
	s.put(in)
}

func (s *store) put(in incoming) {
	old, ok := s.held[in.ref]
	if ok {
		if old.revision == in.revision && old.body != nil && in.body != nil {
			return // a record's revision says what is in it
		}
		s.digests.Toggle(in.ref.Kind, in.ref.Key, old.revision)
		s.guard(old.guards, -1)
	}
	s.digests.Toggle(in.ref.Kind, in.ref.Key, in.revision)
	s.guard(in.guards, 1)
	s.held[in.ref] = in.held
	delete(s.unrealised, in.ref)
	if in.body == nil {
		s.unrealised[in.ref] = in.problem
	}
	s.changed[in.ref] = struct{}{}
}

func (s *store) drop(ref drivers.Ref) {
	delete(s.provisional, ref)
	h, ok := s.held[ref]
	if !ok {
		return
	}
	s.digests.Toggle(ref.Kind, ref.Key, h.revision)
	s.guard(h.guards, -1)
	delete(s.held, ref)
	delete(s.unrealised, ref)
	s.changed[ref] = struct{}{}
}

// guard closes or opens networks for a record that is not understood.
func (s *store) guard(networks []string, by int) {
	for _, key := range networks {
		was := s.guarded[key]
		if s.guarded[key] = was + by; s.guarded[key] == 0 {
			delete(s.guarded, key)
		}
		if was == 0 || was+by == 0 {
			s.changed[drivers.Ref{Kind: protocol.KindNetwork, Key: key}] = struct{}{}
		}
	}
}

// shown is a record as the agent may realise it: nil if it is not there, not understood, or a network that is guarded.
func (s *store) shown(ref drivers.Ref) protocol.Body {
	if ref.Kind == protocol.KindNetwork && s.guarded[ref.Key] > 0 {
		return nil
	}
	return s.held[ref].body
}

// take answers what changed since it was last called; the first time all there is.
func (s *store) take() drivers.Update {
	update := drivers.Update{Position: s.position, Replace: !s.taken, Set: map[drivers.Ref]protocol.Body{}}
	if !s.taken {
		for ref := range s.held {
			if body := s.shown(ref); body != nil {
				update.Set[ref] = body
			}
		}
	} else {
		for ref := range s.changed {
			if body := s.shown(ref); body != nil {
				update.Set[ref] = body
			} else {
				update.Gone = append(update.Gone, ref)
			}
		}
	}
	s.taken = true
	clear(s.changed)
	return update
}

// notUnderstood are the records without a decoded body.
func (s *store) notUnderstood() []protocol.NotRealised {
	out := make([]protocol.NotRealised, 0, len(s.unrealised))
	for ref, reason := range s.unrealised {
		out = append(out, protocol.NotRealised{Kind: ref.Kind, Key: ref.Key, Reason: reason})
	}
	for key := range s.guarded {
		out = append(out, protocol.NotRealised{Kind: protocol.KindNetwork, Key: key,
			Reason: "closed on this host: a record that this version does not understand restricts its traffic"})
	}
	return out
}

// resume says what is held, for a registration.
func (s *store) resume() (protocol.Position, []uint64) {
	if !s.synced {
		return protocol.Position{}, nil
	}
	digests := make([]uint64, protocol.Buckets)
	copy(digests, s.digests[:])
	return s.position, digests
}
