package index

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/ofnet/protocol"
)

// needs is what a host needs, told the slow and obvious way.
func needs(records map[Ref]ScopedRecord, host string, catalog bool) map[Ref]int64 {
	in := func(name string, scope Scope, interests bool) bool {
		for _, r := range records {
			if r.Member == name && (slices.Contains(r.Scopes, scope) || interests && slices.Contains(r.Interests, scope)) {
				return true
			}
		}
		return false
	}
	share := func(other string) bool {
		for _, r := range records {
			for _, scope := range r.Scopes {
				if in(host, scope, false) && in(other, scope, false) {
					return true
				}
			}
		}
		return false
	}
	out := map[Ref]int64{}
	for ref, r := range records {
		scoped := slices.ContainsFunc(r.Scopes, func(s Scope) bool { return in(host, s, true) })
		if r.Everyone || catalog && r.Catalog || scoped || r.Host != "" && share(r.Host) {
			out[ref] = r.Revision
		}
	}
	return out
}

// world makes random changes.
type world struct {
	random  *rand.Rand
	hosts   int
	scopes  int
	records map[Ref]ScopedRecord
}

func (w *world) change(revision int64) ScopedRecord {
	r := w.random
	host := fmt.Sprintf("h%d", r.IntN(w.hosts))
	scopes := w.some("s")
	out := ScopedRecord{}
	switch n := r.IntN(20); {
	case n == 0:
		out.Kind, out.Key, out.Everyone = protocol.KindGlobal, "global", true
	case n < 4:
		out.Kind, out.Key, out.Host = protocol.KindHost, host, host
	case n < 8:
		out.Kind, out.Key, out.Catalog, out.Scopes = protocol.KindNetwork, fmt.Sprintf("n%d", r.IntN(4)), true, scopes
	case n < 11:
		out.Kind, out.Key, out.Scopes = protocol.KindRule, fmt.Sprintf("r%d", r.IntN(4)), append(w.some("s"), w.some("i")...)
	default:
		out.Kind, out.Key = protocol.KindEndpoint, fmt.Sprintf("%s/%d", host, r.IntN(3))
		out.Scopes, out.Member, out.Interests = scopes, host, w.some("i")
	}
	out.Revision = revision
	if r.IntN(5) < 3 {
		out.Body = json.RawMessage(fmt.Sprintf(`{"n":%d}`, revision))
	}
	ref := Ref{out.Kind, out.Key}
	if out.Body == nil {
		delete(w.records, ref)
	} else {
		w.records[ref] = out
	}
	return out
}

// some are different scopes, perhaps none, of one sort.
func (w *world) some(sort string) []Scope {
	var out []Scope
	for i := range w.scopes {
		if w.random.IntN(3) == 0 {
			out = append(out, Scope(fmt.Sprint(sort, i)))
		}
	}
	return out
}

func (w *world) all() []ScopedRecord {
	var out []ScopedRecord
	for _, r := range w.records {
		out = append(out, r)
	}
	return out
}

// TestAgainstOracle plays random changes: what the touches tell must keep each host's view what it needs, and every
// question must be answered as the oracle does.
func TestAgainstOracle(t *testing.T) {
	for seed := range uint64(20) {
		w := &world{random: rand.New(rand.NewPCG(seed, 1)), hosts: 4, scopes: 3, records: map[Ref]ScopedRecord{}}
		x := New()
		views := map[string]map[Ref]int64{}
		for i := range w.hosts + 1 {
			name := fmt.Sprintf("h%d", i)
			views[name] = map[Ref]int64{}
			x.SetCatalog(name, i%2 == 0)
		}
		touch := func(host string, ref Ref) {
			for name, view := range views {
				if host != Everyone && host != name {
					continue
				}
				view[ref] = -1
			}
		}
		for step := range int64(150) {
			position := protocol.Position{Store: "s", Revision: step + 1}
			var err error
			if w.random.IntN(40) == 0 {
				w.change(step + 1)
				err = x.Replace(position, w.all(), touch)
			} else {
				err = x.Apply(position, []ScopedRecord{w.change(step + 1), w.change(step + 1)}, touch)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range w.hosts + 1 {
				name := fmt.Sprintf("h%d", i)
				check(t, x, views[name], name, needs(w.records, name, i%2 == 0))
				if t.Failed() {
					t.Fatalf("seed %d step %d host %s", seed, step, name)
				}
			}
		}
		emptyAfterRemoval(t, x, touch)
	}
}

func check(t *testing.T, x *Index, view map[Ref]int64, name string, want map[Ref]int64) {
	t.Helper()
	for ref, revision := range view {
		if revision != -1 {
			continue
		}
		if entry, ok := x.Needs(name, ref); ok {
			view[ref] = entry.Revision
		} else {
			delete(view, ref)
		}
	}
	if diff := cmp.Diff(want, view); diff != "" {
		t.Errorf("view kept by touches (-want +got):\n%s", diff)
	}
	got := map[Ref]int64{}
	var digests protocol.Digests
	x.Each(name, func(entry *Entry) {
		if _, twice := got[entry.Ref]; twice {
			t.Errorf("%v twice", entry.Ref)
		}
		got[entry.Ref] = entry.Revision
		digests.Toggle(entry.Kind, entry.Key, entry.Revision)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	if x.Digests(name) != digests {
		t.Error("digests differ")
	}
	checkSharers(t, x, name)
}

// checkSharers: a host that needs a record through a scope is told once, with a revision that is not before either.
func checkSharers(t *testing.T, x *Index, name string) {
	t.Helper()
	for ref, entry := range x.records {
		sharers, since := 0, int64(0)
		x.Sharers(ref, func(host string) {
			if host == name {
				sharers++
			}
		})
		x.Since(ref, func(host string, revision int64) {
			if host == name {
				since = revision
			}
		})
		h, want := x.hosts[name], 0
		if h != nil && h.through(entry) != nil {
			want = 1
		}
		if sharers != want || (want == 1) != (since > 0) || want == 1 && since < entry.Revision {
			t.Errorf("%v: host %s is told %d times, want %d; since %d", ref, name, sharers, want, since)
		}
	}
}

func emptyAfterRemoval(t *testing.T, x *Index, touch Touch) {
	t.Helper()
	if err := x.Replace(protocol.Position{Store: "s", Revision: 1000}, nil, touch); err != nil {
		t.Fatal(err)
	}
	for name := range x.hosts {
		x.SetCatalog(name, false)
	}
	if len(x.records)+len(x.scopes)+len(x.hosts)+len(x.known)+len(x.everyone)+len(x.catalog)+len(x.peers) != 0 {
		t.Errorf("something is left: %d records, %d scopes, %d hosts, %d known", len(x.records), len(x.scopes), len(x.hosts), len(x.known))
	}
}

func TestSameRecordTouchesNobody(t *testing.T) {
	x := New()
	record := ScopedRecord{Everyone: true}
	record.Kind, record.Key, record.Revision, record.Body = protocol.KindGlobal, "global", 3, json.RawMessage(`{}`)
	touched := 0
	touch := func(string, Ref) { touched++ }
	for range 3 {
		if err := x.Apply(protocol.Position{Store: "s", Revision: 3}, []ScopedRecord{record}, touch); err != nil {
			t.Fatal(err)
		}
	}
	if touched != 1 {
		t.Errorf("touched %d times, want once", touched)
	}
}

func TestBodyThatIsNoJSON(t *testing.T) {
	record := ScopedRecord{Everyone: true}
	record.Kind, record.Key, record.Body = protocol.KindGlobal, "global", json.RawMessage(`{`)
	if err := New().Apply(protocol.Position{}, []ScopedRecord{record}, func(string, Ref) {}); err == nil {
		t.Error("want an error")
	}
}
