// Package index tells which records of desired state each host needs, and keeps telling it cheaply while records
// change. Pure: no I/O, no clock, no goroutine; not safe for use from several goroutines at once.
//
// # Who needs what
//
// A scope is a set of records that hosts need together: a network with its groups and endpoints (forward mode bridge)
// or all of a tenant (routing). A host is in a scope while a record of the scope names it as member, which an endpoint
// does for the host it lives on. The same record may give its member interests: scopes that the record itself is not
// in, such as that of the rules about the endpoint's identity. A host needs
//
//   - records for everyone,
//   - all records of the scopes it is in and of its interests,
//   - the records that describe the hosts which share a scope with it (sharing an interest is not enough),
//   - if it asked for the catalog, the catalog's records whatever their scope.
package index

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Scope names a set of records that hosts need together. One name is a scope or an interest of hosts, never both.
type Scope string

// ScopedRecord is a record with who needs it. Body nil: the record is gone, and only Kind, Key and Revision matter.
type ScopedRecord struct {
	protocol.Record
	// Everyone: each host needs it, whatever the fields below say.
	Everyone bool
	// Catalog: each host that asked for the catalog needs it.
	Catalog bool
	// Scopes: each host that is in one of them, or has one of them as interest, needs it. None twice.
	Scopes []Scope
	// Member is the host that this record puts into its Scopes, if not empty.
	Member string
	// Interests are what the record's Member is interested in beside. None twice.
	Interests []Scope
	// Host is the host that this record describes: each host that shares a scope with it needs it, if not empty. Such a
	// record has kind host and the host's name as key.
	Host string
}

// Ref names a record.
type Ref struct {
	Kind protocol.Kind
	Key  string
}

// Entry is a record in the index. It is never changed once it is in.
type Entry struct {
	Ref
	Revision int64
	// Encoded is the record as JSON, made once for all hosts.
	Encoded json.RawMessage

	everyone, catalog bool
	scopes, interests []Scope
	member, host      string
	bucket            uint8
	hash              uint64 // what the record adds to the digest of its bucket
}

// Touch is told that what a host needs changed in one record: it came, went or is another. It may be told more than
// once of the same, and of a record that is the same as before. Nil where nobody wants to know, which saves much time
// when many records come at once.
type Touch func(host string, ref Ref)

// Index holds all records of a cluster.
//
// Invariants: an entry is in records and in exactly the bags its fields ask for; scopes[s].members[h].entries counts the
// entries with member h that have s among their scopes or interests, and is never 0; hosts[h].scopes and .interests are
// the scopes with h among their members.
type Index struct {
	position protocol.Position
	next     int64 // revision that is being moved to
	records  map[Ref]*Entry
	everyone bag
	catalog  bag
	peers    bag // entries that describe hosts
	scopes   map[Scope]*scope
	hosts    map[string]*host
	known    map[string]struct{} // hosts described by an entry
}

type scope struct {
	bag
	members map[string]*membership
}

// membership is a host's place in a scope.
type membership struct {
	entries int
	since   int64 // revision at which it began, or later after a Replace
}

type host struct {
	scopes    map[Scope]*scope
	interests map[Scope]*scope
	catalog   bool
}

// in finds a scope that the host is in or interested in, nil if it is neither.
func (h *host) in(id Scope) *scope {
	if s := h.scopes[id]; s != nil {
		return s
	}
	return h.interests[id]
}

// New makes an empty index, at position zero.
func New() *Index {
	return &Index{
		records: map[Ref]*Entry{}, scopes: map[Scope]*scope{}, hosts: map[string]*host{}, known: map[string]struct{}{},
	}
}

// Position is what the index is at.
func (x *Index) Position() protocol.Position { return x.position }

// Len is the number of records.
func (x *Index) Len() int { return len(x.records) }

// Lookup finds a record.
func (x *Index) Lookup(ref Ref) (*Entry, bool) {
	entry, ok := x.records[ref]
	return entry, ok
}

// Known tells whether a record describes the host.
func (x *Index) Known(name string) bool {
	_, ok := x.known[name]
	return ok
}

// Hosts calls f with each host that a record describes.
func (x *Index) Hosts(f func(name string)) {
	for name := range x.known {
		f(name)
	}
}

// Apply puts changes in and moves to the position. On error, which only a record that is no JSON makes, the changes
// before it are in and the position is the old one.
func (x *Index) Apply(position protocol.Position, changes []ScopedRecord, touch Touch) error {
	x.next = position.Revision
	for i := range changes {
		if err := x.apply(&changes[i], touch); err != nil {
			return err
		}
	}
	x.position = position
	return nil
}

// Replace makes the index hold exactly these records. Hosts keep their wish for the catalog.
func (x *Index) Replace(position protocol.Position, records []ScopedRecord, touch Touch) error {
	keep := make(map[Ref]struct{}, len(records))
	for i := range records {
		keep[Ref{records[i].Kind, records[i].Key}] = struct{}{}
	}
	x.next = position.Revision
	for ref, entry := range x.records {
		if _, ok := keep[ref]; !ok {
			x.remove(entry, touch)
		}
	}
	return x.Apply(position, records, touch)
}

// SetCatalog says whether a host wants the catalog. It touches nothing: it is set before the host is sent anything.
func (x *Index) SetCatalog(name string, wanted bool) {
	h := x.hosts[name]
	switch {
	case h != nil:
		h.catalog = wanted
	case wanted:
		x.hosts[name] = &host{catalog: true, scopes: map[Scope]*scope{}, interests: map[Scope]*scope{}}
	}
	x.tidyHost(name)
}

func (x *Index) tidyHost(name string) {
	if h := x.hosts[name]; h != nil && !h.catalog && len(h.scopes)+len(h.interests) == 0 {
		delete(x.hosts, name)
	}
}

func (x *Index) apply(change *ScopedRecord, touch Touch) error {
	ref := Ref{change.Kind, change.Key}
	old := x.records[ref]
	if change.Body == nil {
		if old != nil {
			x.remove(old, touch)
		}
		return nil
	}
	entry, err := newEntry(ref, change)
	if err != nil {
		return err
	}
	if old != nil && old.sameAudience(entry) {
		x.swap(old, entry, touch)
		return nil
	}
	// The new audience is entered before the old is left, so that a host that stays in a scope does not lose it.
	x.insert(entry, touch)
	if old != nil {
		x.withdraw(old, touch)
	}
	return nil
}

func newEntry(ref Ref, change *ScopedRecord) (*Entry, error) {
	encoded, err := json.Marshal(change.Record)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %q: %w", ref.Kind, ref.Key, err)
	}
	bucket := protocol.BucketOf(ref.Kind, ref.Key)
	var sum protocol.Digests
	sum.Toggle(ref.Kind, ref.Key, change.Revision)
	return &Entry{
		Ref: ref, Revision: change.Revision, Encoded: encoded,
		everyone: change.Everyone, catalog: change.Catalog, scopes: change.Scopes, interests: change.Interests,
		member: change.Member, host: change.Host,
		bucket: uint8(bucket), hash: sum[bucket], //nolint:gosec // below Buckets, 256
	}, nil
}

func (e *Entry) sameAudience(o *Entry) bool {
	return e.everyone == o.everyone && e.catalog == o.catalog && e.member == o.member && e.host == o.host &&
		slices.Equal(e.scopes, o.scopes) && slices.Equal(e.interests, o.interests)
}

// swap replaces an entry by one with the same audience.
func (x *Index) swap(old, entry *Entry, touch Touch) {
	if old.Revision == entry.Revision && string(old.Encoded) == string(entry.Encoded) {
		return
	}
	x.records[entry.Ref] = entry
	for _, b := range x.bagsOf(old) {
		b.remove(old)
		b.add(entry)
	}
	x.touchAudience(entry, touch)
}

func (x *Index) remove(entry *Entry, touch Touch) {
	delete(x.records, entry.Ref)
	x.withdraw(entry, touch)
}

// insert puts an entry in. Its host enters the scope if this is its first member record there.
func (x *Index) insert(entry *Entry, touch Touch) {
	x.records[entry.Ref] = entry
	for _, b := range x.bagsOf(entry) {
		b.add(entry)
	}
	if entry.host != "" {
		x.known[entry.host] = struct{}{}
	}
	x.touchAudience(entry, touch)
	if entry.member == "" {
		return
	}
	for _, id := range entry.scopes {
		x.enter(entry.member, id, false, touch)
	}
	for _, id := range entry.interests {
		x.enter(entry.member, id, true, touch)
	}
}

// withdraw takes an entry out of all but records.
func (x *Index) withdraw(entry *Entry, touch Touch) {
	for _, b := range x.bagsOf(entry) {
		b.remove(entry)
	}
	if entry.host != "" {
		// Another record that describes the same host does not exist: a host's record has the host's key.
		if now, ok := x.records[entry.Ref]; !ok || now.host != entry.host {
			delete(x.known, entry.host)
		}
	}
	x.touchAudience(entry, touch)
	if entry.member != "" {
		for _, id := range entry.scopes {
			x.leave(entry.member, id, false, touch)
		}
		for _, id := range entry.interests {
			x.leave(entry.member, id, true, touch)
		}
	}
	for _, id := range entry.scopes {
		x.tidyScope(id)
	}
}

// scopeCalled finds a scope, made if it is not there.
func (x *Index) scopeCalled(id Scope) *scope {
	s := x.scopes[id]
	if s == nil {
		s = &scope{members: map[string]*membership{}}
		x.scopes[id] = s
	}
	return s
}

func (x *Index) tidyScope(id Scope) {
	if s := x.scopes[id]; s != nil && len(s.members) == 0 && len(s.bag) == 0 {
		delete(x.scopes, id)
	}
}

// bagsOf are the bags an entry belongs to, those of its scopes made if they are not there.
func (x *Index) bagsOf(entry *Entry) []*bag {
	var out []*bag
	if entry.everyone {
		out = append(out, &x.everyone)
	}
	if entry.catalog {
		out = append(out, &x.catalog)
	}
	if entry.host != "" {
		out = append(out, &x.peers)
	}
	for _, id := range entry.scopes {
		out = append(out, &x.scopeCalled(id).bag)
	}
	return out
}

// enter counts one more entry that puts a host into a scope, or gives it an interest.
func (x *Index) enter(name string, id Scope, interest bool, touch Touch) {
	s := x.scopeCalled(id)
	if m := s.members[name]; m != nil {
		m.entries++
		return
	}
	s.members[name] = &membership{entries: 1, since: x.next}
	h := x.hosts[name]
	if h == nil {
		h = &host{scopes: map[Scope]*scope{}, interests: map[Scope]*scope{}}
		x.hosts[name] = h
	}
	h.of(interest)[id] = s
	x.touchScope(name, s, interest, touch)
}

// leave counts one entry less.
func (x *Index) leave(name string, id Scope, interest bool, touch Touch) {
	s := x.scopes[id]
	m := s.members[name]
	if m.entries--; m.entries > 0 {
		return
	}
	delete(s.members, name)
	delete(x.hosts[name].of(interest), id)
	x.touchScope(name, s, interest, touch)
	if !interest {
		// The host itself no longer shares the scope with itself.
		x.touchHostRecord(name, name, touch)
	}
	x.tidyHost(name)
	x.tidyScope(id)
}

func (h *host) of(interest bool) map[Scope]*scope {
	if interest {
		return h.interests
	}
	return h.scopes
}

// touchScope tells a host of all records of a scope, and if it is no mere interest, it and the scope's members of each
// other.
func (x *Index) touchScope(name string, s *scope, interest bool, touch Touch) {
	if touch == nil {
		return
	}
	for _, entry := range s.bag {
		touch(name, entry.Ref)
	}
	if interest {
		return
	}
	for other := range s.members {
		x.touchHostRecord(name, other, touch)
		x.touchHostRecord(other, name, touch)
	}
}

func (x *Index) touchHostRecord(to, about string, touch Touch) {
	if touch != nil && x.Known(about) {
		touch(to, Ref{protocol.KindHost, about})
	}
}

// touchAudience tells all hosts that need an entry, or would if it were there.
func (x *Index) touchAudience(entry *Entry, touch Touch) {
	if touch == nil {
		return
	}
	if entry.everyone {
		touch(Everyone, entry.Ref)
		return
	}
	if entry.catalog {
		for name, h := range x.hosts {
			if h.catalog {
				touch(name, entry.Ref)
			}
		}
	}
	for _, id := range entry.scopes {
		for name := range x.scopeCalled(id).members {
			touch(name, entry.Ref)
		}
	}
	if entry.host != "" {
		x.eachPeer(entry.host, func(name string) { touch(name, entry.Ref) })
	}
}

// Everyone is the host that Touch is told when it is about all of them.
const Everyone = "*"

// eachPeer calls f with each host that shares a scope with the host, itself among them; with some more than once.
func (x *Index) eachPeer(name string, f func(string)) {
	h := x.hosts[name]
	if h == nil {
		return
	}
	for _, s := range h.scopes {
		for other := range s.members {
			f(other)
		}
	}
}
