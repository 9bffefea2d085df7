package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/mastertest"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// startAgent runs an agent until the test ends or the answered function is called.
func startAgent(t *testing.T, m *mastertest.Master, s *testSwitch) (*Agent, func()) {
	t.Helper()
	return startAgentOn(t, m, s, func() int { return 1500 })
}

func startAgentOn(t *testing.T, m *mastertest.Master, s *testSwitch, mtu func() int) (*Agent, func()) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	a, err := New(Config{
		Host: "host1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789, MTU: mtu, Catalog: true,
		Masters: []string{m.Address()}, Datapath: s, Log: logrus.NewEntry(log),
		Timing: Timing{Attach: 3 * time.Second, Connect: 200 * time.Millisecond, Switch: 100 * time.Millisecond,
			Retry: 20 * time.Millisecond, Watch: 20 * time.Millisecond},
		SessionTiming: session.Timing{
			Ping: 50 * time.Millisecond, Silence: time.Second, Retry: 5 * time.Millisecond, MaxRetry: 20 * time.Millisecond,
			Reconnect: time.Millisecond,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Second):
			t.Error("the agent did not stop within a second")
		}
	})
	t.Cleanup(stop)
	return a, stop
}

func connected(t *testing.T, a *Agent) {
	t.Helper()
	eventually(t, "agent is ready", func() bool {
		catalog, _ := a.Catalog()
		return a.Ready(context.Background()) == nil && catalog.Complete && a.session.Status().Realised.Store != ""
	})
}

func request(container string) mgmtfn.AttachRequest {
	return mgmtfn.AttachRequest{
		ContainerID: container, IfName: "eth0", Tenant: "default", Network: "net", NetNS: "/run/netns/" + container,
		Owner: "test", Notes: map[string]string{"note": "kept"},
	}
}

func idOf(container string) protocol.EndpointID {
	return protocol.EndpointID{Host: "host1", ContainerID: container, IfName: "eth0"}
}

func TestAttach(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	ctx := t.Context()
	connected(t, a)

	got, err := a.Attach(ctx, request("c1"))
	if err != nil {
		t.Fatal(err)
	}
	want := mgmtfn.Attachment{
		ID: idOf("c1"), Tenant: "default", Network: "net", NetNS: "/run/netns/c1", MAC: "02:02:0a:01:00:01", MTU: 1450,
		IPv4: netip.MustParsePrefix("10.1.0.1/16"), IPv6: netip.MustParsePrefix("fd00:1::1/64"),
		Gateway: mastertest.Network.Gateway, Gateway6: mastertest.Network.Gateway6,
		HostLink: "hc1", ContainerLink: "eth0", Owner: "test", Notes: map[string]string{"note": "kept"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if _, known := s.desired[endpointRef(idOf("c1"))]; !known {
		t.Error("Attach returned before the switch had the endpoint's record")
	}
	if settled := m.Settled(); len(settled) != 1 || settled[0].Wait != protocol.Duration(100*time.Millisecond) {
		t.Errorf("settle was asked as %+v", settled)
	}

	again, err := a.Attach(ctx, request("c1"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("the repeated request has another answer: %s", diff)
	}
	if _, err := a.Check(ctx, "c1", "eth0"); err != nil {
		t.Error(err)
	}

	for range 2 {
		if err := a.Detach(ctx, "c1", "eth0"); err != nil {
			t.Fatal(err)
		}
	}
	if ports, removed := s.count(); ports != 0 || removed != 0 || m.Count() != 0 {
		t.Errorf("left over: %d ports, %d removals, %d endpoints", ports, removed, m.Count())
	}
	if _, err := a.Check(ctx, "c1", "eth0"); !errors.Is(err, mgmtfn.ErrNotAttached) {
		t.Errorf("Check after Detach: %v", err)
	}
}

func TestAttachConflicts(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*mgmtfn.AttachRequest){
		"tenant":  func(r *mgmtfn.AttachRequest) { r.Tenant = "other" },
		"network": func(r *mgmtfn.AttachRequest) { r.Network = "other" },
		"group":   func(r *mgmtfn.AttachRequest) { r.Groups = []string{"web"} },
		"address": func(r *mgmtfn.AttachRequest) { r.IPv4 = netip.MustParseAddr("10.1.9.9") },
		"IPv6":    func(r *mgmtfn.AttachRequest) { r.IPv6 = netip.MustParseAddr("fd00::9") },
		"MAC":     func(r *mgmtfn.AttachRequest) { r.MAC = "02:02:02:02:02:02" },
	} {
		want := request("c1")
		change(&want)
		_, err := a.Attach(t.Context(), want)
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Code != protocol.CodeConflict {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*mgmtfn.AttachRequest){
		"slash":      func(r *mgmtfn.AttachRequest) { r.ContainerID = "a/b" },
		"no name":    func(r *mgmtfn.AttachRequest) { r.IfName = "" },
		"no network": func(r *mgmtfn.AttachRequest) { r.Network = "" },
	} {
		want := request("c2")
		change(&want)
		_, err := a.Attach(t.Context(), want)
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Code != protocol.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRepeatedInDefaultGroup: who names no group asks for the one that netmaster gave, and for no other.
func TestRepeatedInDefaultGroup(t *testing.T) {
	for _, test := range []struct {
		have, want []string
		same       bool
	}{
		{nil, nil, true},
		{[]string{protocol.DefaultGroup}, nil, true},
		{[]string{protocol.DefaultGroup}, []string{protocol.DefaultGroup}, true},
		{[]string{"web"}, nil, false},
		{[]string{protocol.DefaultGroup, "web"}, nil, false},
		{nil, []string{protocol.DefaultGroup}, false},
		{[]string{"a", "b"}, []string{"b", "a"}, true},
	} {
		existing := &drivers.Attachment{Port: drivers.Port{Tenant: "t", Network: "n", Groups: test.have}}
		if got := difference(existing, mgmtfn.AttachRequest{Tenant: "t", Network: "n", Groups: test.want}); (got == "") != test.same {
			t.Errorf("attached in %q, asked for %q: %q", test.have, test.want, got)
		}
	}
}

// TestAttachFails makes each step of an attach fail: nothing may be left, and the next attempt succeeds.
func TestAttachFails(t *testing.T) {
	unavailable := protocol.Errorf(protocol.CodeUnavailable, "the store is gone")
	for name, inject := range map[string]func(*testing.T, *mastertest.Master, *testSwitch) (heal func()){
		"create is refused": func(_ *testing.T, m *mastertest.Master, _ *testSwitch) func() {
			return m.FailOn(protocol.MethodCreateEndpoint, unavailable)
		},
		"port cannot be made": func(_ *testing.T, _ *mastertest.Master, s *testSwitch) func() { return s.failOn("prepare") },
		"switch never realises it": func(_ *testing.T, _ *mastertest.Master, s *testSwitch) func() {
			return s.failOn("apply")
		},
		"switch cannot realise it": func(_ *testing.T, _ *mastertest.Master, s *testSwitch) func() {
			set := func(list []protocol.NotRealised) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.status.NotRealised = list
			}
			set([]protocol.NotRealised{{Kind: protocol.KindEndpoint, Key: idOf("c1").String(), Reason: "injected"}})
			return func() { set(nil) }
		},
		"port cannot be made and netmaster not be told": func(_ *testing.T, m *mastertest.Master, s *testSwitch) func() {
			one, other := s.failOn("prepare"), m.FailOn(protocol.MethodDeleteEndpoint, unavailable)
			return func() { one(); other() }
		},
		"attachments cannot be read": func(_ *testing.T, _ *mastertest.Master, s *testSwitch) func() { return s.failOn("list") },
		"netmaster is away": func(t *testing.T, m *mastertest.Master, _ *testSwitch) func() {
			t.Helper()
			m.Stop()
			return func() { m.Start(t) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, s := mastertest.New(t, nil), newTestSwitch()
			a, _ := startAgent(t, m, s)
			a.timing.Attach = 500 * time.Millisecond
			connected(t, a)
			heal := inject(t, m, s)
			if _, err := a.Attach(t.Context(), request("c1")); err == nil {
				t.Fatal("Attach succeeded")
			} else {
				t.Log(err)
			}
			heal()
			if ports, _ := s.count(); ports != 0 {
				t.Error("a port is left")
			}
			a.timing.Attach = patience
			eventually(t, "agent is ready again", func() bool { return a.Ready(t.Context()) == nil })
			// An endpoint that nobody lists is netmaster's to release; here DEL of the runtime does.
			if err := a.Detach(t.Context(), "c1", "eth0"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "netmaster has no endpoint", func() bool { return m.Count() == 0 })
			if _, err := a.Attach(t.Context(), request("c1")); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

// TestCancelledAttach: a runtime that dies half way leaves nothing.
// TestAttachWithoutSwitch: it fails soon, as not ready, and netmaster is not bothered; a switch that comes in time is
// waited for.
func TestAttachWithoutSwitch(t *testing.T) {
	master, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, master, s)
	connected(t, a)
	s.setConnected(false)
	began := time.Now()
	_, err := a.Attach(t.Context(), request("c1"))
	var not *mgmtfn.NotReady
	if !errors.As(err, &not) || !not.Impaired || time.Since(began) > time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if master.Has(idOf("c1")) {
		t.Error("netmaster was asked for the endpoint")
	}
	time.AfterFunc(30*time.Millisecond, func() { s.setConnected(true) })
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Error(err)
	}
}

// TestMTUIsReadAgain: the MTU of the underlay is told as it is when the host registers, not as it was at the start.
func TestMTUIsReadAgain(t *testing.T) {
	m := mastertest.New(t, nil)
	var mtu atomic.Int64
	mtu.Store(1500)
	a, _ := startAgentOn(t, m, newTestSwitch(), func() int { return int(mtu.Load()) })
	connected(t, a)
	mtu.Store(9000)
	m.Stop()
	m.Start(t)
	eventually(t, "the host to register again", func() bool { return len(m.Registrations()) > 1 })
	told := m.Registrations()
	if first, last := told[0].MTU, told[len(told)-1].MTU; first != 1500 || last != 9000 {
		t.Errorf("MTU told first %d, last %d", first, last)
	}
}

func TestStatistics(t *testing.T) {
	m := mastertest.New(t, nil)
	a, _ := startAgent(t, m, newTestSwitch())
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "counters at netmaster", func() bool {
		counted := m.Counted().Endpoints
		return len(counted) == 1 && counted[0].ID == idOf("c1") && counted[0].RxPackets == 7
	})
}

// TestNotRealisedByItself: netmaster hears of what is no longer realised though nothing was asked for.
func TestNotRealisedByItself(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	broken := []protocol.NotRealised{{Kind: protocol.KindEndpoint, Key: idOf("c1").String(), Reason: "its port is gone"}}
	for _, now := range [][]protocol.NotRealised{broken, nil} {
		s.mu.Lock()
		s.status.NotRealised = now
		s.mu.Unlock()
		eventually(t, "netmaster to hear of it", func() bool { return slices.Equal(m.Acked().NotRealised, now) })
	}
}

// TestStatusWithoutDatabase: a person who looks why nothing works sees what is known.
func TestStatusWithoutDatabase(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	if status := a.Status(t.Context()); len(status.Attachments) != 1 || status.Problem != "" {
		t.Errorf("%+v", status)
	}
	defer s.failOn("list")()
	if status := a.Status(t.Context()); !status.Session.Connected || !strings.Contains(status.Problem, "injected failure") {
		t.Errorf("%+v", status)
	}
}

func TestCancelledAttach(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	s.mu.Lock()
	s.fail = func(ctx context.Context, operation string) error {
		if operation != "prepare" {
			return nil
		}
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Unlock()
	if _, err := a.Attach(ctx, request("c1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Attach: %v", err)
	}
	if ports, removed := s.count(); ports != 0 || removed != 0 || m.Count() != 0 {
		t.Errorf("left over: %d ports, %d removals, %d endpoints", ports, removed, m.Count())
	}
}

func TestDetachWithoutNetmaster(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, stop := startAgent(t, m, s)
	connected(t, a)
	for _, container := range []string{"c1", "c2", "c3"} {
		if _, err := a.Attach(t.Context(), request(container)); err != nil {
			t.Fatal(err)
		}
	}
	m.Stop()
	eventually(t, "agent notices", func() bool { return a.Ready(t.Context()) != nil })
	if err := a.Detach(t.Context(), "c1", "eth0"); err != nil {
		t.Fatal(err)
	}
	// What is attached can still be asked for and checked.
	if _, err := a.Attach(t.Context(), request("c3")); err != nil {
		t.Errorf("repeated attach without netmaster: %v", err)
	}
	if _, err := a.Check(t.Context(), "c3", "eth0"); err != nil {
		t.Errorf("check without netmaster: %v", err)
	}
	_, err := a.Attach(t.Context(), request("c4"))
	var refused *protocol.Error
	if !errors.As(err, &refused) || refused.Code != protocol.CodeUnavailable {
		t.Errorf("attach without netmaster: %v", err)
	}

	// The agent restarts meanwhile and touches nothing.
	stop()
	before := len(s.history())
	a, _ = startAgent(t, m, s)
	if err := a.Detach(t.Context(), "c2", "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context(), "c3", "eth0"); err != nil {
		t.Errorf("check after restart: %v", err)
	}
	if did := s.history()[before:]; !slices.Equal(did, []string{"remove c2"}) {
		t.Errorf("without netmaster the restarted agent did %q", did)
	}
	if _, removed := s.count(); removed != 2 {
		t.Errorf("%d removals are remembered, want 2", removed)
	}

	m.Start(t)
	connected(t, a)
	eventually(t, "removals are told and forgotten", func() bool {
		_, removed := s.count()
		return removed == 0 && m.Count() == 1 && m.Has(idOf("c3"))
	})
	registrations := m.Registrations()
	last := registrations[len(registrations)-1]
	if !slices.Equal(last.Removed, []protocol.EndpointID{idOf("c1"), idOf("c2")}) || len(last.Attachments) != 1 {
		t.Errorf("registered with %+v", last)
	}
}

// TestRemovalToldLater: netmaster is there, but cannot take the removal now.
func TestRemovalToldLater(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	heal := m.FailOn(protocol.MethodDeleteEndpoint, protocol.Errorf(protocol.CodeUnavailable, "the store is gone"))
	if err := a.Detach(t.Context(), "c1", "eth0"); err != nil {
		t.Fatal(err)
	}
	// Attaching it again must not be undone by the removal that is still to be told.
	_, err := a.Attach(t.Context(), request("c1"))
	var refused *protocol.Error
	if !errors.As(err, &refused) || refused.Code != protocol.CodeUnavailable {
		t.Errorf("attach before the removal was told: %v", err)
	}
	heal()
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left to tell", func() bool { _, removed := s.count(); return removed == 0 })
	if !m.Has(idOf("c1")) {
		t.Error("the new endpoint was removed with the old")
	}
}

// TestLost: what netmaster gave away while the host was silent is removed before anything is applied.
func TestLost(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	s.ports[idOf("gone")] = drivers.Attachment{Port: drivers.Port{ID: idOf("gone"), Tenant: "default", Network: "net"}}
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if ports, removed := s.count(); ports != 0 || removed != 0 {
		t.Errorf("%d ports and %d removals are left", ports, removed)
	}
	if did := s.history(); !slices.Equal(did[:2], []string{"remove gone", "apply"}) {
		t.Errorf("order: %q", did)
	}
}

// TestReleasedByOperator: what netmaster took from a living host is not answered as attached.
func TestReleasedByOperator(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	m.Release(idOf("c1"))
	eventually(t, "check fails", func() bool {
		_, err := a.Check(t.Context(), "c1", "eth0")
		return errors.Is(err, mgmtfn.ErrDamaged)
	})
	got, err := a.Attach(t.Context(), request("c1"))
	if err != nil {
		t.Fatal(err)
	}
	if got.IPv4 != netip.MustParsePrefix("10.1.0.2/16") || !m.Has(idOf("c1")) {
		t.Errorf("attached again as %+v", got)
	}
	if _, err := a.Check(t.Context(), "c1", "eth0"); err != nil {
		t.Error(err)
	}
}

// TestRegisterWhileAttaching: an endpoint under way is listed, else netmaster would release it.
func TestRegisterWhileAttaching(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	s.mu.Lock()
	s.fail = func(_ context.Context, operation string) error {
		if operation != "prepare" {
			return nil
		}
		m.Stop()
		m.Start(t)
		eventually(t, "agent registers again", func() bool { return len(m.Registrations()) == 2 })
		return nil
	}
	s.mu.Unlock()
	if _, err := a.Attach(t.Context(), request("c1")); err != nil {
		t.Fatal(err)
	}
	listed := m.Registrations()[1].Attachments
	if len(listed) != 1 || listed[0].ID != idOf("c1") || listed[0].IPv4 != netip.MustParseAddr("10.1.0.1") {
		t.Errorf("listed attachments: %+v", listed)
	}
	if _, err := a.Check(t.Context(), "c1", "eth0"); err != nil {
		t.Error(err)
	}
}

func TestCatalog(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	m.Stop()
	a, _ := startAgent(t, m, s)
	catalog, changed := a.Catalog()
	if catalog.Complete || len(catalog.Networks) != 0 {
		t.Errorf("before netmaster: %+v", catalog)
	}
	m.Start(t)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("the catalog's change was not told")
	}
	catalog, _ = a.Catalog()
	want := mgmtfn.Catalog{Networks: []protocol.Network{mastertest.Network}, Groups: []protocol.Group{mastertest.Group}, Complete: true}
	if diff := cmp.Diff(want, catalog, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestCluster(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	connected(t, a)
	ctx := t.Context()
	reserved, err := a.ReserveAddress(ctx, protocol.ReserveAddressRequest{Tenant: "default", Network: "net"})
	if err != nil || reserved.Token == "" {
		t.Errorf("ReserveAddress: %+v, %v", reserved, err)
	}
	network, err := a.CreateNetwork(ctx, protocol.CreateNetworkRequest{Network: "net"})
	if err != nil || network.Key() != "default:net" {
		t.Errorf("CreateNetwork: %+v, %v", network, err)
	}
	for what, err := range map[string]error{
		"ReleaseAddress": a.ReleaseAddress(ctx, reserved.Token),
		"DeleteNetwork":  a.DeleteNetwork(ctx, "docker-id"),
		"ProviderEvent":  a.ProviderEvent(ctx, protocol.ProviderEvent{Event: "start"}),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	m.Stop()
	eventually(t, "agent notices", func() bool { return a.Ready(ctx) != nil })
	_, err = a.ReserveAddress(ctx, protocol.ReserveAddressRequest{Network: "net"})
	var refused *protocol.Error
	if !errors.As(err, &refused) || refused.Code != protocol.CodeUnavailable || !strings.Contains(err.Error(), "--netmaster") {
		t.Errorf("ReserveAddress without netmaster: %v", err)
	}
}

// TestStorm attaches and detaches at random while netmaster comes and goes; in the end both sides agree.
func TestStorm(t *testing.T) {
	m, s := mastertest.New(t, nil), newTestSwitch()
	a, _ := startAgent(t, m, s)
	a.timing.Connect = patience
	connected(t, a)
	var workers sync.WaitGroup
	for worker := range 6 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 40 {
				container := fmt.Sprint("c", random.IntN(5))
				if random.IntN(2) == 0 {
					_, _ = a.Attach(t.Context(), request(container))
				} else if err := a.Detach(t.Context(), container, "eth0"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		eventually(t, "agent is ready", func() bool { return a.Ready(t.Context()) == nil })
		m.Stop()
		m.Start(t)
	}
	workers.Wait()
	connected(t, a)
	// An attach whose answer was lost leaves an endpoint that only netmaster's orphan rule would find.
	for i := range 5 {
		container := fmt.Sprint("c", i)
		if _, err := a.Check(t.Context(), container, "eth0"); errors.Is(err, mgmtfn.ErrNotAttached) {
			if err := a.Detach(t.Context(), container, "eth0"); err != nil {
				t.Error(err)
			}
		}
	}
	eventually(t, "netmaster and switch agree", func() bool {
		ports, removed := s.count()
		if removed != 0 || ports != m.Count() {
			return false
		}
		attached, err := a.Attachments(t.Context())
		for _, one := range attached {
			if !m.Has(one.ID) {
				return false
			}
		}
		return err == nil
	})
}

// TestCallsWhileSessionsEnd: the agent survives a session that it ends while answers arrive.
func TestCallsWhileSessionsEnd(t *testing.T) {
	m := mastertest.New(t, nil)
	a, _ := startAgent(t, m, newTestSwitch())
	connected(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = a.session.DeleteEndpoint(ctx, idOf("nobody"))
			}
		})
	}
	for registered := 0; registered < 100 && ctx.Err() == nil; registered = len(m.Registrations()) {
		changed := a.session.Changed()
		a.session.Refresh()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	cancel()
	wg.Wait()
	connected(t, a)
}
