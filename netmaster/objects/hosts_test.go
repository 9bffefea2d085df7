package objects

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// four makes a network and four endpoints of host h1 on it.
func (b *bed) four() (has []protocol.Attachment) {
	b.t.Helper()
	b.network(net4("default:n", "10.1.2.0/24"))
	b.host("h1")
	for i := range 4 {
		has = append(has, attached(b.endpoint(request("h1", string(rune('a'+i)), "n", ""))))
	}
	return has
}

func (b *bed) hostRecord() (record state.Host, revision int64) {
	b.t.Helper()
	b.view(func(m *ledger.Model) {
		h := m.Host("h1")
		if h == nil {
			b.t.Fatal("no host")
		}
		record, revision = *h, m.RevisionOf(h.StoreKey())
	})
	return record, revision
}

// TestRegisterAgain: a host that says what it said before writes nothing; what changed is written, with the time.
func TestRegisterAgain(t *testing.T) {
	b := newBed(t)
	b.host("h1")
	first, written := b.hostRecord()
	if !first.Registered.Equal(b.clock()) || !first.MTUSince.Equal(b.clock()) {
		t.Errorf("%+v", first)
	}
	b.pass(time.Hour)
	if r := b.host("h1"); r.Revision < written {
		t.Errorf("%+v", r)
	}
	if again, revision := b.hostRecord(); revision != written || !again.Registered.Equal(first.Registered) {
		t.Errorf("written again in %d: %+v", revision, again)
	}
	request := &protocol.RegisterRequest{Host: "h1", MTU: 1500, VTEP: netip.MustParseAddr("192.0.2.2")}
	if _, err := b.RegisterHost(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if h, _ := b.hostRecord(); !h.Registered.Equal(b.clock()) || !h.MTUSince.Equal(first.MTUSince) || h.VTEP != request.VTEP {
		t.Errorf("%+v", h)
	}
	request.MTU = 1400
	if _, err := b.RegisterHost(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if h, _ := b.hostRecord(); !h.MTUSince.Equal(b.clock()) {
		t.Errorf("%+v", h)
	}
}

// TestOrphansOfAnotherLeader: what was orphaned under one leadership is not removed under a later one of the same
// netmaster: meanwhile the host may have told another leader better.
func TestOrphansOfAnotherLeader(t *testing.T) {
	b := newBed(t)
	has := b.four()
	b.host("h1", has[:3]...)
	b.lead()
	b.pass(time.Hour)
	b.sweep()
	if n := b.used(); n != 4 {
		t.Errorf("%d addresses are used", n)
	}
	b.host("h1", has[:3]...)
	b.pass(time.Hour)
	b.sweep()
	if n := b.used(); n != 3 {
		t.Errorf("%d addresses are used", n)
	}
}

// TestOrphansOfSilentHost: that its host falls silent, which is written to its record, keeps no orphan alive, and an
// operator can release held ones.
func TestOrphansOfSilentHost(t *testing.T) {
	b := newBed(t)
	has := b.four()
	b.host("h1", has[:3]...)
	b.setConnected("h1", false)
	b.sweep()
	b.pass(orphanTime - time.Second)
	if _, err := b.commit(t.Context(), "test", func(tx *txn) error {
		h := *tx.Host("h1")
		h.SilentSince = tx.now
		tx.Put(&h)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.pass(2 * time.Second)
	b.sweep()
	if n := b.used(); n != 3 {
		t.Errorf("%d addresses are used", n)
	}
	if r := b.host("h1", has[0]); !r.Held || len(b.Orphans("h1")) != 2 {
		t.Errorf("%+v", r)
	}
	for _, orphan := range b.Orphans("h1") {
		b.ok(b.DeleteEndpoint(t.Context(), orphan.ID))
	}
	if n := b.used(); n != 1 || len(b.Orphans("")) != 0 {
		t.Errorf("%d addresses are used, orphans: %v", n, b.Orphans(""))
	}
}

// TestOverlappingRegistrations: an older registration that ends after a newer one says nothing.
func TestOverlappingRegistrations(t *testing.T) {
	b := newBed(t)
	has := b.four()
	old := b.beginRegistration("h1")
	b.host("h1", has...)
	b.endRegistration("h1", old, 1, &Registration{Orphaned: []state.EndpointID{state.EndpointID(has[0].ID)}})
	if orphans := b.Orphans(""); len(orphans) != 0 {
		t.Errorf("%+v", orphans)
	}
}

// slowStore holds up commits that delete a key.
type slowStore struct {
	objdb.Store
	key           string
	held, release chan struct{}
}

func (s *slowStore) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	if slices.ContainsFunc(txn.Then, func(op objdb.Op) bool { return op.Delete && op.Key == s.key }) {
		close(s.held)
		<-s.release
	}
	return s.Store.Commit(ctx, txn)
}

// TestReleaseMeetsRegistration: a host that registers while its orphan is being released is told that it lost it.
func TestReleaseMeetsRegistration(t *testing.T) {
	slow := &slowStore{Store: memoryStore(t), held: make(chan struct{}), release: make(chan struct{})}
	b := bedOn(t, slow, DefaultAddressRest)
	has := b.four()
	b.host("h1", has[1:]...)
	b.pass(time.Hour)
	slow.key = state.EndpointPrefix + has[0].ID.String()
	swept := make(chan error, 1)
	go func() { swept <- b.Sweep(context.Background()) }()
	<-slow.held
	registered := make(chan Registration, 1)
	go func() { registered <- b.host("h1", has...) }()
	select {
	case r := <-registered:
		t.Errorf("registered before the fate of the orphan was known: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	close(slow.release)
	if r := <-registered; !slices.Equal(r.Lost, []protocol.EndpointID{has[0].ID}) {
		t.Errorf("%+v", r)
	}
	if err := <-swept; err != nil {
		t.Error(err)
	}
}

// TestDeadHostIsFinished: a leader that died between declaring a host dead and releasing its endpoints is taken over.
func TestDeadHostIsFinished(t *testing.T) {
	b := newBed(t)
	b.four()
	b.setConnected("h1", false)
	if _, err := b.commit(t.Context(), "test", func(tx *txn) error {
		h := *tx.Host("h1")
		h.Dead = true
		tx.Put(&h)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.sweep()
	if n := b.used(); n != 0 {
		t.Errorf("%d addresses are used", n)
	}
}

// TestSilenceOfNetmaster: a host that was silent before all netmasters were down for a day has the time to come back;
// and one that was silent under an earlier leadership is not known to be so since.
func TestSilenceOfNetmaster(t *testing.T) {
	b := newBed(t)
	b.four()
	b.setConnected("h1", false)
	b.sweep()
	b.pass(silenceTime)
	b.sweep()
	if h, _ := b.hostRecord(); h.SilentSince.IsZero() {
		t.Errorf("%+v", h)
	}
	b.pass(2 * DefaultHostDeadAfter)
	next := New(b.ledger, b.options, quiet())
	next.SetAgents(b)
	if err := next.Sweep(t.Context()); err != nil || b.used() != 4 {
		t.Errorf("%v, %d addresses", err, b.used())
	}
	b.pass(silenceTime)
	if err := next.Sweep(t.Context()); err != nil || b.used() != 0 {
		t.Errorf("%v, %d addresses", err, b.used())
	}
}

func TestSilenceOfAnEarlierLeadership(t *testing.T) {
	b := newBed(t)
	b.four()
	b.setConnected("h1", false)
	b.sweep()
	over, end := context.WithCancel(t.Context())
	end()
	b.Run(over) // its end is that of the leadership; the host then talks to another leader, which has nothing to note
	b.pass(2 * DefaultHostDeadAfter)
	b.sweep()
	if n := b.used(); n != 4 {
		t.Errorf("%d addresses are used", n)
	}
}

// TestAddressesGoWithTheirNetwork: what rests or is reserved in a network is no garbage after it, and does not stand in
// the way of another network of its name.
func TestAddressesGoWithTheirNetwork(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.2.0/24"))
	b.host("h1")
	b.remove(b.endpoint(request("h1", "a", "n", "")))
	if _, err := b.ReserveAddress(t.Context(), "h1", &protocol.ReserveAddressRequest{Network: "n"}); err != nil {
		t.Fatal(err)
	}
	b.ok(b.DeleteNetwork(t.Context(), "default:n"))
	b.sweep()
	b.view(func(m *ledger.Model) {
		if n := len(m.Allocations(state.AddressPool("default:n"))); n != 0 {
			t.Errorf("%d addresses are left", n)
		}
	})
}

// counted counts questions.
type counted struct {
	Agents
	upTo  int64
	asked int
}

func (c *counted) Acknowledged(revision int64) []string {
	if c.asked++; revision > c.upTo {
		return []string{"h"}
	}
	return nil
}

func TestQuarantineAsksLittle(t *testing.T) {
	agents := &counted{upTo: 500}
	q := &quarantine{agents: agents}
	for i := range int64(1000) {
		revision := 1 + i*617%1000 // in no order
		if q.isOver(revision) != (revision <= agents.upTo) {
			t.Errorf("revision %d", revision)
		}
	}
	if agents.asked > 20 {
		t.Errorf("%d questions", agents.asked)
	}
}
