package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

func decoded(records []protocol.Record) []incoming {
	return (&Session{config: Config{Decode: decodeRecord}}).decodeRecords(records)
}

func hostRecord(name string, revision int64, port int) protocol.Record {
	record, err := protocol.NewRecord(name, revision, &protocol.Host{Name: name, VXLANPort: port})
	if err != nil {
		panic(err)
	}
	return record
}

func at(revision int64) protocol.Position { return protocol.Position{Store: "s", Revision: revision} }

func ref(name string) drivers.Ref { return drivers.Ref{Kind: protocol.KindHost, Key: name} }

// revisions is what a store holds.
func revisions(s *store) map[string]int64 {
	out := map[string]int64{}
	for ref, h := range s.held {
		out[ref.Key] = h.revision
	}
	return out
}

func wantHeld(t *testing.T, s *store, want map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(want, revisions(s)); diff != "" {
		t.Fatalf("held (-want +got):\n%s", diff)
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}

// check tests the invariants of a store.
func (s *store) check() error {
	var digests protocol.Digests
	for ref, h := range s.held {
		digests.Toggle(ref.Kind, ref.Key, h.revision)
		if _, unrealised := s.unrealised[ref]; unrealised != (h.body == nil) {
			return fmt.Errorf("%v: unrealised is %v", ref, unrealised)
		}
	}
	if digests != s.digests {
		return fmt.Errorf("digests are not those of what is held")
	}
	if len(s.unrealised) > len(s.held) {
		return fmt.Errorf("%d unrealised of %d", len(s.unrealised), len(s.held))
	}
	for ref := range s.provisional {
		if _, ok := s.held[ref]; !ok {
			return fmt.Errorf("%v is provisional and not held", ref)
		}
	}
	return nil
}

func allBuckets() []int {
	var out []int
	for bucket := range protocol.Buckets {
		out = append(out, bucket)
	}
	return out
}

func (s *store) load(t *testing.T, position protocol.Position, buckets []int, records ...protocol.Record) {
	t.Helper()
	message := &protocol.Snapshot{Position: position, Buckets: buckets, Last: true}
	if err := s.chunk(message, decoded(records)); err != nil {
		t.Fatal(err)
	}
}

func (s *store) stream(revision int64, records ...protocol.Record) {
	s.change(&protocol.Change{Position: at(revision)}, decoded(records))
}

func TestSnapshotReplacesItsBucketsOnly(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 1, 1), hostRecord("b", 2, 1), hostRecord("c", 3, 1))
	wantHeld(t, s, map[string]int64{"a": 1, "b": 2, "c": 3})
	s.load(t, at(6), []int{protocol.BucketOf(protocol.KindHost, "b")})
	wantHeld(t, s, map[string]int64{"a": 1, "c": 3})
	s.load(t, at(7), nil)
	wantHeld(t, s, map[string]int64{"a": 1, "c": 3})
	if s.position != at(7) {
		t.Errorf("position %v", s.position)
	}
}

func TestChunksCountWithTheLastOnly(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 1, 1))
	if err := s.chunk(&protocol.Snapshot{Position: at(9), Buckets: allBuckets()}, decoded([]protocol.Record{hostRecord("b", 8, 1)})); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, s, map[string]int64{"a": 1})
	s.begin() // the session broke; the next sends all again
	s.load(t, at(9), allBuckets(), hostRecord("c", 8, 1))
	wantHeld(t, s, map[string]int64{"c": 8})
}

func TestAnswerAheadOfTheStream(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 1, 1))
	s.answer(at(8), decoded([]protocol.Record{hostRecord("a", 7, 2), hostRecord("new", 8, 1)}))
	wantHeld(t, s, map[string]int64{"a": 7, "new": 8})
	s.stream(6, hostRecord("a", 6, 3)) // older than the answer
	wantHeld(t, s, map[string]int64{"a": 7, "new": 8})
	s.load(t, at(7), allBuckets(), hostRecord("a", 7, 2))
	wantHeld(t, s, map[string]int64{"a": 7, "new": 8})
	s.stream(8, hostRecord("new", 8, 1))
	wantHeld(t, s, map[string]int64{"a": 7, "new": 8})
	if len(s.provisional) != 0 {
		t.Errorf("%d records are still provisional", len(s.provisional))
	}
}

func TestAnswerThatTheStreamDoesNotConfirm(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 1, 1))
	s.answer(at(8), decoded([]protocol.Record{hostRecord("a", 7, 2), hostRecord("new", 8, 1)}))
	s.take()
	s.stream(9) // created and deleted before the stream named it
	wantHeld(t, s, map[string]int64{"a": 1})
	update := s.take()
	if len(update.Gone) != 1 || update.Set[ref("a")].(*protocol.Host).VXLANPort != 1 {
		t.Errorf("update %+v", update)
	}
	s.answer(at(8), decoded([]protocol.Record{hostRecord("new", 8, 1)})) // the stream is past it
	wantHeld(t, s, map[string]int64{"a": 1})
}

func TestTombstones(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 4, 1))
	s.stream(6, protocol.Record{Kind: protocol.KindHost, Key: "a", Revision: 6})
	wantHeld(t, s, map[string]int64{})
	s.stream(7, hostRecord("a", 4, 1)) // the host needs it again, as it was
	wantHeld(t, s, map[string]int64{"a": 4})
	s.answer(at(9), decoded([]protocol.Record{hostRecord("a", 9, 1)}))
	s.stream(8, protocol.Record{Kind: protocol.KindHost, Key: "a", Revision: 8})
	wantHeld(t, s, map[string]int64{"a": 9})
}

func TestAnotherHistory(t *testing.T) {
	for _, position := range []protocol.Position{{Store: "other", Revision: 9}, at(3)} {
		s := newStore()
		s.load(t, at(8), allBuckets(), hostRecord("a", 2, 1), hostRecord("b", 8, 1))
		s.take()
		s.load(t, position, allBuckets(), hostRecord("a", 2, 5))
		wantHeld(t, s, map[string]int64{"a": 2})
		if update := s.take(); update.Set[ref("a")].(*protocol.Host).VXLANPort != 5 || len(update.Gone) != 1 {
			t.Errorf("%v: update %+v", position, update)
		}
	}
}

func TestRecordsNotUnderstood(t *testing.T) {
	s := newStore()
	s.load(t, at(5), allBuckets(), hostRecord("a", 1, 1),
		protocol.Record{Kind: "mystery", Key: "r", Revision: 2, Body: json.RawMessage(`{}`)})
	if update := s.take(); !update.Replace || len(update.Set) != 1 {
		t.Errorf("update %+v", update)
	}
	s.stream(6, protocol.Record{Kind: protocol.KindHost, Key: "a", Revision: 6, Body: json.RawMessage(`{"vtep":"what"}`)})
	if update := s.take(); len(update.Gone) != 1 || update.Replace {
		t.Errorf("a record that no longer decodes stays in force: %+v", update)
	}
	if n := s.notUnderstood(); len(n) != 2 {
		t.Errorf("not understood: %+v", n)
	}
	s.stream(7, hostRecord("a", 7, 1))
	wantHeld(t, s, map[string]int64{"a": 7, "r": 2})
	if n := s.notUnderstood(); len(n) != 1 || n[0].Key != "r" {
		t.Errorf("not understood: %+v", n)
	}
}

// TestGuards: a network is withdrawn while a record that is not understood guards it, however it comes and goes.
func TestGuards(t *testing.T) {
	network := func(revision int64) protocol.Record {
		record, err := protocol.NewRecord("t:n", revision, &protocol.Network{Tenant: "t", Name: "n", ID: 1})
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	rule := func(key string, revision int64, guards ...string) protocol.Record {
		return protocol.Record{Kind: "mystery", Key: key, Revision: revision, Body: json.RawMessage(`{}`), Guards: guards}
	}
	gone := func(key string, revision int64) protocol.Record {
		return protocol.Record{Kind: "mystery", Key: key, Revision: revision}
	}
	s := newStore()
	open := func(want bool, what string) {
		t.Helper()
		update := s.take()
		ref := drivers.Ref{Kind: protocol.KindNetwork, Key: "t:n"}
		if _, set := update.Set[ref]; set != want || !want && !update.Replace && !slices.Contains(update.Gone, ref) {
			t.Errorf("%s: %+v", what, update)
		}
		if err := s.check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.load(t, at(5), allBuckets(), network(1), rule("r", 2, "t:n"))
	open(false, "a guarded network in the first state")
	s.stream(6, rule("q", 6, "t:n", "t:other"), gone("r", 6))
	if n := s.notUnderstood(); len(n) != 3 { // q and the two networks it guards
		t.Errorf("not understood: %+v", n)
	}
	s.take()
	s.stream(7, network(7))
	open(false, "a guarded network that changed")
	s.stream(8, gone("q", 8))
	open(true, "the guard is gone")
	s.stream(9, rule("r", 9, "t:n"))
	open(false, "a guard came")
	s.stream(10, rule("r", 10))
	open(true, "the guard guards no more")
}

// TestUpdatesAddUp applies random messages and compares what the updates add up to with what is held.
func TestUpdatesAddUp(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := newStore()
		applied := map[drivers.Ref]protocol.Body{}
		position := int64(1)
		s.load(t, at(position), allBuckets())
		for range 60 {
			name, ahead := fmt.Sprint(r.IntN(6)), position+r.Int64N(4)
			switch r.IntN(6) {
			case 0:
				position++
				s.load(t, at(position), []int{protocol.BucketOf(protocol.KindHost, name)}, hostRecord(name, position, r.IntN(9)))
			case 1:
				position++
				s.stream(position, protocol.Record{Kind: protocol.KindHost, Key: name, Revision: position})
			case 2:
				s.answer(at(ahead), decoded([]protocol.Record{hostRecord(name, ahead, r.IntN(9))}))
			case 3:
				s.begin()
			default:
				position++
				s.stream(position, hostRecord(name, position, r.IntN(9)))
			}
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) > 0 {
				continue
			}
			update := s.take()
			if update.Replace {
				clear(applied)
			}
			for ref, body := range update.Set {
				applied[ref] = body
			}
			for _, ref := range update.Gone {
				delete(applied, ref)
			}
			want := map[drivers.Ref]protocol.Body{}
			for ref, h := range s.held {
				want[ref] = h.body
			}
			if len(applied) != len(want) {
				t.Fatalf("seed %d: applied %v, held %v", seed, applied, want)
			}
			for ref := range want {
				if applied[ref] != want[ref] {
					t.Fatalf("seed %d: %v applied as %v, held as %v", seed, ref, applied[ref], want[ref])
				}
			}
		}
	}
}

type noAgent struct{}

func (noAgent) Describe(context.Context) (protocol.RegisterRequest, error) {
	return protocol.RegisterRequest{}, nil
}

func (noAgent) Registered(context.Context, protocol.RegisterRequest, protocol.RegisterReply) error {
	return nil
}

func (noAgent) Apply(context.Context, drivers.Update) ([]protocol.NotRealised, error) {
	return nil, nil
}

// FuzzNotified gives the session arbitrary messages of a netmaster: it takes them in or ends, and stays consistent.
func FuzzNotified(f *testing.F) {
	f.Add(protocol.MethodSnapshot, []byte(`{"position":{"store":"s","revision":2},"buckets":[0,255],"records":[{"kind":"host","key":"a","revision":1,"body":{"name":"a"}}],"last":true}`))
	f.Add(protocol.MethodSnapshot, []byte(`{"buckets":[-1,256],"last":true}`))
	f.Add(protocol.MethodChange, []byte(`{"position":{"store":"s","revision":9},"records":[{"kind":"mystery","key":"a","revision":1,"body":5},{"kind":"host","key":"a","revision":3}]}`))
	f.Add(protocol.MethodChange, []byte(`{"records":[{"kind":"host","key":"b","revision":-1,"body":null},{"body":[]}]}`))
	f.Add("state.other", []byte(`null`))
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	f.Fuzz(func(t *testing.T, method string, params []byte) {
		s, err := New(Config{Masters: []string{"127.0.0.1"}, Agent: noAgent{}, Log: logrus.NewEntry(logger)})
		if err != nil {
			t.Fatal(err)
		}
		l := &link{}
		s.link = l
		for range 2 {
			_ = s.notified(l, method, params)
			s.store.answer(at(50), decoded([]protocol.Record{hostRecord("a", 50, 1)}))
		}
		if err := s.store.check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWithPort(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a:9001", "a:1": "a:1", "192.0.2.1": "192.0.2.1:9001", "2001:db8::1": "[2001:db8::1]:9001",
		"[2001:db8::1]": "[2001:db8::1]:9001", "[2001:db8::1]:5": "[2001:db8::1]:5",
	} {
		if got := withPort(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
