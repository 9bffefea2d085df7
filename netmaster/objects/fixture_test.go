package objects

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/ledger/check"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) {
	if len(killChild()) > 0 {
		runKillChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// bed is objects on a store, with a clock and agents that the test moves.
type bed struct {
	*Objects
	t     *testing.T
	store objdb.Store
	fence atomic.Int64

	mu        sync.Mutex
	now       time.Time
	acked     map[string]int64
	connected map[string]bool
}

const leaderKey = "lock/test"

func newBed(t *testing.T) *bed {
	t.Helper()
	return bedOn(t, memoryStore(t), DefaultAddressRest)
}

func memoryStore(t *testing.T) *memory.Store {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// lead begins a new leadership.
func (b *bed) lead() {
	b.t.Helper()
	revision, err := b.store.Commit(b.t.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put(leaderKey, []byte("me"))}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.fence.Store(revision)
}

func bedOn(t *testing.T, store objdb.Store, rest time.Duration) *bed {
	t.Helper()
	b := &bed{t: t, store: store, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), acked: map[string]int64{}, connected: map[string]bool{}}
	b.lead()
	l := b.openLedger()
	b.Objects = New(l, Options{AddressRest: rest, HostDeadAfter: DefaultHostDeadAfter, Now: b.clock}, quiet())
	b.SetAgents(b)
	t.Cleanup(func() {
		wrong, err := check.Store(context.Background(), store)
		if err != nil || len(wrong) > 0 {
			t.Errorf("checker: %v\n%s", err, strings.Join(wrong, "\n"))
		}
		l.Close()
	})
	if _, err := b.Seed(t.Context(), &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) openLedger() *ledger.Ledger {
	b.t.Helper()
	l, err := ledger.Open(b.t.Context(), b.store, func() (objdb.Compare, bool) {
		return objdb.Unchanged(leaderKey, b.fence.Load()), true
	}, quiet())
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}

func (b *bed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bed) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bed) sweep() {
	b.t.Helper()
	if err := b.Sweep(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// Acknowledged implements Agents.
func (b *bed) Acknowledged(revision int64) (silent []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for host, acked := range b.acked {
		if acked < revision {
			silent = append(silent, host)
		}
	}
	return silent
}

// Connected implements Agents.
func (b *bed) Connected(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connected[host]
}

func (b *bed) ack(host string, revision int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[host] = revision
}

func (b *bed) setConnected(host string, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connected[host] = is
}

// allAcked makes every host acknowledge everything from now on.
const allAcked = int64(1) << 60

func (b *bed) host(name string, attachments ...protocol.Attachment) Registration {
	b.t.Helper()
	b.setConnected(name, true)
	b.ack(name, allAcked)
	r, err := b.RegisterHost(b.t.Context(), &protocol.RegisterRequest{
		Host: name, MTU: 1500, VTEP: netip.MustParseAddr("192.0.2.1"), Attachments: attachments,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bed) tenant(name string) {
	b.t.Helper()
	b.ok(b.CreateTenant(b.t.Context(), &state.Tenant{TenantName: name}))
}

func net4(key, subnet string) *state.Network {
	tenant, name, _ := strings.Cut(key, ":")
	return &state.Network{TenantName: tenant, NetworkName: name, Encap: state.EncapVXLAN, Subnet: subnet}
}

func group(key, network, pool string) *state.EndpointGroup {
	tenant, name, _ := strings.Cut(key, ":")
	return &state.EndpointGroup{TenantName: tenant, GroupName: name, NetworkName: network, IPPool: pool}
}

func (b *bed) network(n *state.Network) {
	b.t.Helper()
	b.ok(b.CreateNetwork(b.t.Context(), n))
}

func (b *bed) group(g *state.EndpointGroup) {
	b.t.Helper()
	b.ok(b.PutEndpointGroup(b.t.Context(), g))
}

func (b *bed) ok(revision int64, err error) int64 {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	if revision == 0 {
		b.t.Fatal("no revision")
	}
	return revision
}

// refused checks the kind and text of a refusal.
func (b *bed) refused(err error, kind Kind, fragments ...string) {
	b.t.Helper()
	var own *Error
	if !errors.As(err, &own) || own.Kind != kind {
		b.t.Fatalf("not refused with kind %d: %v", kind, err)
	}
	for _, fragment := range fragments {
		if !strings.Contains(own.Message, fragment) {
			b.t.Errorf("%q does not say %q", own.Message, fragment)
		}
	}
}

func request(host, container, network, group string) *protocol.CreateEndpointRequest {
	r := &protocol.CreateEndpointRequest{ID: protocol.EndpointID{Host: host, ContainerID: container, IfName: "eth0"}, Tenant: "default", Network: network}
	if group != "" {
		r.Groups = []string{group}
	}
	return r
}

func (b *bed) endpoint(r *protocol.CreateEndpointRequest) *state.Endpoint {
	b.t.Helper()
	e, _, err := b.CreateEndpoint(b.t.Context(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bed) remove(e *state.Endpoint) {
	b.t.Helper()
	if _, err := b.DeleteEndpoint(b.t.Context(), e.EndpointID); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) view(read func(*ledger.Model)) {
	b.t.Helper()
	if err := b.ledger.View(b.t.Context(), read); err != nil {
		b.t.Fatal(err)
	}
}

// used is how many addresses of the network default:n have an owner or are reserved.
func (b *bed) used() (n int) {
	b.t.Helper()
	b.view(func(m *ledger.Model) { n = m.Used(state.AddressPool("default:n")) })
	return n
}

func attached(e *state.Endpoint) protocol.Attachment {
	return protocol.Attachment{ID: protocol.EndpointID(e.EndpointID), Tenant: e.TenantName, Network: e.NetworkName,
		Groups: e.Groups, IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC}
}
