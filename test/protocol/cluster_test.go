// Package protocol_test runs both ends of the netmaster-agent protocol against each other on real sockets.
package protocol_test

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the longest a test waits for something that should come at once.
const patience = 20 * time.Second

func quietLog() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

// cluster is a store with records and the netmasters on it. It does the agents' calls.
type cluster struct {
	t       testing.TB
	mu      sync.Mutex
	at      protocol.Position
	records map[index.Ref]distribute.ScopedRecord
	masters []*master
	lost    map[string][]protocol.EndpointID
	down    sync.WaitGroup
}

// master is one netmaster.
type master struct {
	*distribute.Server
	address string
	stop    context.CancelFunc
}

func newCluster(tb testing.TB, masters int, secure *tls.Config) *cluster {
	tb.Helper()
	c := &cluster{
		t: tb, at: protocol.Position{Store: "store-1"}, records: map[index.Ref]distribute.ScopedRecord{},
		lost: map[string][]protocol.EndpointID{},
	}
	tb.Cleanup(c.down.Wait)
	for range masters {
		c.addMaster(secure)
	}
	c.lead(0)
	return c
}

func (c *cluster) addMaster(secure *tls.Config) {
	c.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	address := listener.Addr().String()
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &master{address: address, stop: cancel}
	m.Server = distribute.NewServer(distribute.Config{
		Operations: c, Log: quietLog(), Build: "test", Silence: 5 * time.Second,
		Masters: func() []string {
			c.mu.Lock()
			defer c.mu.Unlock()
			var out []string
			for _, m := range c.masters {
				out = append(out, m.address)
			}
			return out
		},
	})
	c.mu.Lock()
	c.masters = append(c.masters, m)
	err = m.Replace(c.at, slices.Collect(maps.Values(c.records)))
	c.mu.Unlock()
	if err != nil {
		c.t.Fatal(err)
	}
	c.down.Go(func() {
		if err := m.Serve(ctx, listener); err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(cancel)
}

// lead makes one of the masters the leader.
func (c *cluster) lead(n int) {
	for i, m := range c.masters {
		m.SetLeader(false, c.masters[n].address)
		if i == n {
			m.SetLeader(true, m.address)
		}
	}
}

// change stores records at a new revision. It fills in Revision; a nil body removes.
func (c *cluster) change(records ...distribute.ScopedRecord) protocol.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Revision++
	for i := range records {
		records[i].Revision = c.at.Revision
		ref := index.Ref{Kind: records[i].Kind, Key: records[i].Key}
		if records[i].Body == nil {
			delete(c.records, ref)
		} else {
			c.records[ref] = records[i]
		}
	}
	for _, m := range c.masters {
		if err := m.Publish(c.at, records); err != nil {
			c.t.Error(err)
		}
	}
	return c.at
}

func (c *cluster) position() protocol.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// needs is what a host shall have, decoded.
func (c *cluster) needs(host string, catalog bool) map[drivers.Ref]protocol.Body {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := index.New()
	x.SetCatalog(host, catalog)
	if err := x.Replace(c.at, slices.Collect(maps.Values(c.records)), func(string, index.Ref) {}); err != nil {
		c.t.Fatal(err)
	}
	out := map[drivers.Ref]protocol.Body{}
	x.Each(host, func(entry *index.Entry) {
		record := c.records[entry.Ref].Record
		body, err := record.Decode()
		if err != nil {
			c.t.Fatal(err)
		}
		out[drivers.Ref(entry.Ref)] = body
	})
	return out
}

// Records of tests.

func record(key string, body protocol.Body, scoped distribute.ScopedRecord) distribute.ScopedRecord {
	made, err := protocol.NewRecord(key, 0, body)
	if err != nil {
		panic(err)
	}
	scoped.Record = made
	return scoped
}

func gone(kind protocol.Kind, key string) distribute.ScopedRecord {
	return distribute.ScopedRecord{Record: protocol.Record{Kind: kind, Key: key}}
}

func globalRecord(mtu int) distribute.ScopedRecord {
	return record("global", &protocol.Global{ForwardMode: "bridge", ARPMode: "proxy", MTUVXLAN: mtu, MTUVLAN: 1500},
		distribute.ScopedRecord{Everyone: true})
}

func networkRecord(name string, vni uint32) distribute.ScopedRecord {
	n := &protocol.Network{Tenant: "default", Name: name, ID: 1, VRF: 1, Encap: "vxlan", VNI: vni, Subnet: netip.MustParsePrefix("10.1.0.0/16")}
	return record(n.Key(), n, distribute.ScopedRecord{Catalog: true, Scopes: []index.Scope{index.Scope(n.Key())}})
}

func endpointRecord(id protocol.EndpointID, network, name string) distribute.ScopedRecord {
	e := &protocol.Endpoint{ID: id, Tenant: "default", Network: network, IPv4: netip.MustParseAddr("10.1.0.9"), MAC: "02:02:0a:01:00:09", Name: name}
	return record(id.String(), e, distribute.ScopedRecord{Scopes: []index.Scope{index.Scope(e.NetworkKey())}, Member: id.Host})
}

func hostRecord(name string) distribute.ScopedRecord {
	return record(name, &protocol.Host{Name: name, VTEP: netip.MustParseAddr("192.0.2.1")}, distribute.ScopedRecord{Host: name})
}

// Operations.

func (c *cluster) RegisterHost(_ context.Context, request protocol.RegisterRequest) (distribute.Registration, error) {
	c.mu.Lock()
	lost := c.lost[request.Host]
	_, known := c.records[index.Ref{Kind: protocol.KindHost, Key: request.Host}]
	position := c.at
	c.mu.Unlock()
	if !known {
		position = c.change(hostRecord(request.Host))
	}
	return distribute.Registration{Lost: lost, Revision: position.Revision}, nil
}

func (c *cluster) CreateEndpoint(_ context.Context, request protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error) {
	if request.Network == "none" {
		return protocol.CreateEndpointReply{}, protocol.Errorf(protocol.CodeNotFound, "network %q does not exist", request.Network)
	}
	position := c.change(endpointRecord(request.ID, request.Network, ""))
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := protocol.CreateEndpointReply{Position: position}
	for _, ref := range []index.Ref{
		{Kind: protocol.KindEndpoint, Key: request.ID.String()}, {Kind: protocol.KindNetwork, Key: "default:" + request.Network},
		{Kind: protocol.KindGlobal, Key: "global"},
	} {
		if r, ok := c.records[ref]; ok {
			reply.Records = append(reply.Records, r.Record)
		}
	}
	return reply, nil
}

func (c *cluster) DeleteEndpoint(_ context.Context, id protocol.EndpointID) error {
	c.change(gone(protocol.KindEndpoint, id.String()))
	return nil
}

func (c *cluster) ProviderEvent(context.Context, protocol.ProviderEvent) error { return nil }

func (c *cluster) ReserveAddress(_ context.Context, host string, _ protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	return protocol.ReserveAddressReply{Addr: netip.MustParseAddr("10.1.0.7"), Bits: 16, Token: host}, nil
}

func (c *cluster) ReleaseAddress(context.Context, string, string) error { return nil }

func (c *cluster) CreateNetwork(_ context.Context, request protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, error) {
	r := networkRecord(request.Network, 77)
	position := c.change(r)
	r.Revision = position.Revision
	return protocol.CreateNetworkReply{Position: position, Records: []protocol.Record{r.Record}}, nil
}

func (c *cluster) DeleteNetwork(context.Context, protocol.DeleteNetworkRequest) error { return nil }

// agent is a host: a session and what was applied for it.
type agent struct {
	*session.Session
	host    string
	catalog bool

	mu       sync.Mutex
	applied  map[drivers.Ref]protocol.Body
	updates  int
	replaced int
	lost     []protocol.EndpointID
	fail     error
	hold     chan struct{}
	conn     net.Conn
}

var fast = session.Timing{
	Ping: 50 * time.Millisecond, Silence: 5 * time.Second, Retry: 5 * time.Millisecond, MaxRetry: 50 * time.Millisecond,
	Reconnect: 5 * time.Millisecond,
}

// start runs an agent until the test or stop ends it.
func (c *cluster) start(host string, catalog bool, change ...func(*session.Config)) (a *agent, stop func()) {
	c.t.Helper()
	a = &agent{host: host, catalog: catalog, applied: map[drivers.Ref]protocol.Body{}}
	config := session.Config{Agent: a, Log: quietLog(), Timing: fast, Dial: a.dial}
	for _, m := range c.masters {
		config.Masters = append(config.Masters, m.address)
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if a.Session, err = session.New(config); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			c.t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	c.t.Cleanup(stop)
	return a, stop
}

func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = conn
	return conn, err
}

// cut breaks the agent's connection.
func (a *agent) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		_ = a.conn.Close()
	}
}

func (a *agent) Describe(context.Context) (protocol.RegisterRequest, error) {
	return protocol.RegisterRequest{Host: a.host, MTU: 1500, Datapath: "fake", Catalog: a.catalog}, nil
}

func (a *agent) Registered(_ context.Context, _ protocol.RegisterRequest, reply protocol.RegisterReply) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost = reply.Lost
	return nil
}

func (a *agent) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	a.mu.Lock()
	hold := a.hold
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if update.Replace {
		a.applied = map[drivers.Ref]protocol.Body{}
		a.replaced++
	}
	if len(update.Set)+len(update.Gone) > 0 {
		a.updates++
	}
	maps.Copy(a.applied, update.Set)
	for _, ref := range update.Gone {
		delete(a.applied, ref)
	}
	return nil, a.fail
}

// await waits until the condition holds; it is looked at whenever the session changes, and now and then.
func (a *agent) await(tb testing.TB, what string, condition func(session.Status) bool) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		changed := a.Changed()
		status := a.Status()
		if condition(status) {
			return
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			tb.Fatalf("host %s: %s did not come; %+v", a.host, what, status)
		}
	}
}

// settle waits until the agent has realised everything the cluster has.
func (a *agent) settle(tb testing.TB, c *cluster) {
	tb.Helper()
	a.await(tb, "everything", func(s session.Status) bool {
		position := c.position() // registrations of others move it
		return s.Connected && s.Realised == position && s.Desired == position
	})
}

// check compares what was applied with what the host needs.
func (a *agent) check(tb testing.TB, c *cluster) {
	tb.Helper()
	a.settle(tb, c)
	a.mu.Lock()
	defer a.mu.Unlock()
	want := c.needs(a.host, a.catalog)
	if diff := cmp.Diff(want, a.applied, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		tb.Fatalf("host %s holds something else than it needs (-want +got):\n%s", a.host, diff)
	}
	if records := a.Status().Records; records != len(want) {
		tb.Fatalf("host %s holds %d records, needs %d", a.host, records, len(want))
	}
}

func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s did not come", what)
		}
		<-tick.C
	}
}

func refOf(r distribute.ScopedRecord) index.Ref { return index.Ref{Kind: r.Kind, Key: r.Key} }
