package index

import "github.com/contiv/contiv/ofnet/protocol"

// Needs finds a record if the host needs it.
func (x *Index) Needs(name string, ref Ref) (*Entry, bool) {
	entry, ok := x.records[ref]
	if !ok || !x.needs(name, x.hosts[name], entry) {
		return nil, false
	}
	return entry, true
}

func (x *Index) needs(name string, h *host, entry *Entry) bool {
	if entry.everyone {
		return true
	}
	if h == nil {
		return false
	}
	if entry.catalog && h.catalog {
		return true
	}
	if h.through(entry) != nil {
		return true
	}
	return entry.host != "" && x.share(h, name, entry.host)
}

// through finds the first scope of the entry that the host is in or interested in, nil if there is none.
func (h *host) through(entry *Entry) *scope {
	for _, id := range entry.scopes {
		if s := h.in(id); s != nil {
			return s
		}
	}
	return nil
}

// share tells whether two hosts have a scope in common.
func (x *Index) share(h *host, name, other string) bool {
	if name == other {
		return len(h.scopes) > 0
	}
	o := x.hosts[other]
	if o == nil {
		return false
	}
	few, many := h.scopes, o.scopes
	if len(many) < len(few) {
		few, many = many, few
	}
	for id := range few {
		if many[id] != nil {
			return true
		}
	}
	return false
}

// In gives the records of some buckets that the host needs, each once, in no order.
func (x *Index) In(name string, buckets []int) []*Entry {
	var wanted [protocol.Buckets]bool
	for _, bucket := range buckets {
		wanted[bucket] = true
	}
	var out []*Entry
	x.Each(name, func(entry *Entry) {
		if wanted[entry.bucket] {
			out = append(out, entry)
		}
	})
	return out
}

// Each calls f once with each record that the host needs, in no order.
func (x *Index) Each(name string, f func(*Entry)) {
	for _, entry := range x.everyone {
		f(entry)
	}
	h := x.hosts[name]
	if h == nil {
		return
	}
	for _, scopes := range []map[Scope]*scope{h.scopes, h.interests} {
		for _, s := range scopes {
			for _, entry := range s.bag {
				if !h.hasAnyway(entry) && (len(entry.scopes) == 1 || h.through(entry) == s) {
					f(entry)
				}
			}
		}
	}
	if h.catalog {
		for _, entry := range x.catalog {
			if !entry.everyone {
				f(entry)
			}
		}
	}
	shares := x.sharer(h, name)
	for _, entry := range x.peers {
		if !h.hasAnyway(entry) && h.through(entry) == nil && shares(entry.host) {
			f(entry)
		}
	}
}

// sharer is share for one host and many others. Where few are in each scope it gathers them first; where many are, the
// first scope that is looked at mostly tells.
func (x *Index) sharer(h *host, name string) func(other string) bool {
	members := 0
	for _, s := range h.scopes {
		members += len(s.members)
	}
	if members*members > len(h.scopes)*len(x.peers)*len(x.peers) {
		return func(other string) bool { return x.share(h, name, other) }
	}
	near := make(map[string]bool, min(members, len(x.peers)))
	for _, s := range h.scopes {
		for other := range s.members {
			near[other] = true
		}
	}
	return func(other string) bool { return near[other] }
}

// hasAnyway tells whether the host needs a record whatever scopes it is in.
func (h *host) hasAnyway(entry *Entry) bool { return entry.everyone || entry.catalog && h.catalog }

// Digests sums up what the host needs.
func (x *Index) Digests(name string) protocol.Digests {
	var out protocol.Digests
	x.Each(name, func(entry *Entry) { out[entry.bucket] ^= entry.hash })
	return out
}

// Sharers calls f once with each host that needs a record because of its scopes. Everyone's records have none.
func (x *Index) Sharers(ref Ref, f func(host string)) {
	if entry, ok := x.records[ref]; ok {
		x.eachSharer(entry, func(name string, _ int64) { f(name) })
	}
}

// Since is Sharers with the revision as of which each host is to have the record: that of the record, or a later one at
// which the host came into its scopes.
func (x *Index) Since(ref Ref, f func(host string, revision int64)) {
	if entry, ok := x.records[ref]; ok {
		x.eachSharer(entry, func(name string, since int64) { f(name, max(entry.Revision, since)) })
	}
}

// eachSharer calls f once with each host in a scope of the entry, and the revision of its earliest such membership.
func (x *Index) eachSharer(entry *Entry, f func(name string, since int64)) {
	for i, id := range entry.scopes {
		s := x.scopes[id]
		for name, m := range s.members {
			if len(entry.scopes) == 1 {
				f(name, m.since)
				continue
			}
			since, first := m.since, true
			for j, other := range entry.scopes {
				if om := x.scopes[other].members[name]; om != nil {
					first = first && j >= i
					since = min(since, om.since)
				}
			}
			if first {
				f(name, since)
			}
		}
	}
}
