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
	if entry.scope != "" && h.scopes[entry.scope] != nil {
		return true
	}
	return entry.host != "" && x.share(h, name, entry.host)
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

// EachOf calls f once with each record of a bucket that the host needs, in no order.
func (x *Index) EachOf(name string, bucket int, f func(*Entry)) {
	n := uint8(bucket) //nolint:gosec // below Buckets, 256
	x.everyone.eachOf(n, f)
	h := x.hosts[name]
	if h == nil {
		return
	}
	for _, s := range h.scopes {
		s.eachOf(n, func(entry *Entry) {
			if !h.hasAnyway(entry) {
				f(entry)
			}
		})
	}
	if h.catalog {
		x.catalog.eachOf(n, func(entry *Entry) {
			if !entry.everyone {
				f(entry)
			}
		})
	}
	x.peers.eachOf(n, func(entry *Entry) {
		inScope := entry.scope != "" && h.scopes[entry.scope] != nil
		if !h.hasAnyway(entry) && !inScope && x.share(h, name, entry.host) {
			f(entry)
		}
	})
}

// hasAnyway tells whether the host needs a record whatever scopes it is in.
func (h *host) hasAnyway(entry *Entry) bool { return entry.everyone || entry.catalog && h.catalog }

// Each calls f once with each record that the host needs, in no order.
func (x *Index) Each(name string, f func(*Entry)) {
	for bucket := range protocol.Buckets {
		x.EachOf(name, bucket, f)
	}
}

// Digests sums up what the host needs.
func (x *Index) Digests(name string) protocol.Digests {
	var out protocol.Digests
	x.Each(name, func(entry *Entry) { out[entry.bucket] ^= entry.hash })
	return out
}

// Sharers calls f once with each host that needs a record because it is in its scope. Everyone's records have none.
func (x *Index) Sharers(ref Ref, f func(host string)) {
	entry, ok := x.records[ref]
	if !ok || entry.scope == "" {
		return
	}
	for name := range x.scopes[entry.scope].members {
		f(name)
	}
}
