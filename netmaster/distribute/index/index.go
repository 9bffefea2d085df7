// Package index tells which records of desired state each host needs, and keeps telling it cheaply while records
// change. Pure: no I/O, no clock, no goroutine; not safe for use from several goroutines at once.
//
// # Who needs what
//
// A scope is a set of records that hosts need together: a network with its groups and endpoints (forward mode bridge)
// or all of a tenant (routing). A host is in a scope while a record of the scope names it as member, which an endpoint
// does for the host it lives on. A host needs
//
//   - records for everyone,
//   - all records of the scopes it is in,
//   - the records that describe the hosts which share a scope with it,
//   - if it asked for the catalog, the catalog's records whatever their scope.
package index

import (
	"encoding/json"
	"fmt"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Scope names a set of records that hosts need together.
type Scope string

// ScopedRecord is a record with who needs it. Body nil: the record is gone, and only Kind, Key and Revision matter.
type ScopedRecord struct {
	protocol.Record
	// Everyone: each host needs it, whatever the fields below say.
	Everyone bool
	// Catalog: each host that asked for the catalog needs it.
	Catalog bool
	// Scope: each host in this scope needs it, if not empty.
	Scope Scope
	// Member is the host that this record puts into Scope, if not empty.
	Member string
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
	scope             Scope
	member, host      string
	bucket            uint8
	hash              uint64 // what the record adds to the digest of its bucket
}

// Touch is told that what a host needs changed in one record: it came, went or is another. It may be told more than
// once of the same, and of a record that is the same as before.
type Touch func(host string, ref Ref)

// Index holds all records of a cluster.
//
// Invariants: an entry is in records and in exactly the bags its fields ask for; scopes[s].members[h] counts the
// entries of s with member h and is never 0; hosts[h].scopes are the scopes with h among their members.
type Index struct {
	position protocol.Position
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
	members map[string]int
}

type host struct {
	scopes  map[Scope]*scope
	catalog bool
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
		x.hosts[name] = &host{catalog: true}
	}
	x.tidyHost(name)
}

func (x *Index) tidyHost(name string) {
	if h := x.hosts[name]; h != nil && !h.catalog && len(h.scopes) == 0 {
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
		everyone: change.Everyone, catalog: change.Catalog, scope: change.Scope, member: change.Member, host: change.Host,
		bucket: uint8(bucket), hash: sum[bucket], //nolint:gosec // below Buckets, 256
	}, nil
}

func (e *Entry) sameAudience(o *Entry) bool {
	return e.everyone == o.everyone && e.catalog == o.catalog && e.scope == o.scope && e.member == o.member && e.host == o.host
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
	if entry.scope == "" || entry.member == "" {
		return
	}
	s := x.scopes[entry.scope]
	s.members[entry.member]++
	if s.members[entry.member] == 1 {
		x.enter(entry.member, entry.scope, touch)
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
	if entry.scope == "" {
		return
	}
	s := x.scopes[entry.scope]
	if entry.member != "" {
		s.members[entry.member]--
		if s.members[entry.member] == 0 {
			delete(s.members, entry.member)
			x.leave(entry.member, entry.scope, touch)
		}
	}
	if len(s.members) == 0 && len(s.bag) == 0 {
		delete(x.scopes, entry.scope)
	}
}

// bagsOf are the bags an entry belongs to, its scope's made if it is not there.
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
	if entry.scope != "" {
		s := x.scopes[entry.scope]
		if s == nil {
			s = &scope{members: map[string]int{}}
			x.scopes[entry.scope] = s
		}
		out = append(out, &s.bag)
	}
	return out
}

// enter and leave are told when a host's membership in a scope begins and ends.
func (x *Index) enter(name string, id Scope, touch Touch) {
	h := x.hosts[name]
	if h == nil {
		h = &host{}
		x.hosts[name] = h
	}
	if h.scopes == nil {
		h.scopes = map[Scope]*scope{}
	}
	h.scopes[id] = x.scopes[id]
	x.touchScope(name, id, touch)
}

func (x *Index) leave(name string, id Scope, touch Touch) {
	delete(x.hosts[name].scopes, id)
	x.touchScope(name, id, touch)
	// The host itself no longer shares the scope with itself.
	x.touchHostRecord(name, name, touch)
	x.tidyHost(name)
}

// touchScope tells a host of all records of a scope, and it and the scope's members of each other.
func (x *Index) touchScope(name string, id Scope, touch Touch) {
	s := x.scopes[id]
	s.each(func(entry *Entry) { touch(name, entry.Ref) })
	for other := range s.members {
		x.touchHostRecord(name, other, touch)
		x.touchHostRecord(other, name, touch)
	}
}

func (x *Index) touchHostRecord(to, about string, touch Touch) {
	if x.Known(about) {
		touch(to, Ref{protocol.KindHost, about})
	}
}

// touchAudience tells all hosts that need an entry, or would if it were there.
func (x *Index) touchAudience(entry *Entry, touch Touch) {
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
	if entry.scope != "" {
		for name := range x.scopes[entry.scope].members {
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
