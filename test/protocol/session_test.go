package protocol_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func id(host, container string) protocol.EndpointID {
	return protocol.EndpointID{Host: host, ContainerID: container, IfName: "eth0"}
}

func TestUnreachable(t *testing.T) {
	c := newCluster(t, 1, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := listener.Addr().String()
	_ = listener.Close()
	a, _ := c.start("h0", false, func(config *session.Config) { config.Masters = []string{nowhere} })
	if _, err := a.CreateEndpoint(within(t), protocol.CreateEndpointRequest{}); !errors.Is(err, session.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	if err := a.DeleteEndpoint(within(t), id("h0", "c")); !errors.Is(err, session.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	ctx, cancel := context.WithTimeout(within(t), time.Millisecond)
	defer cancel()
	if err := a.WaitFor(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	a.await(t, "the reason", func(s session.Status) bool { return !s.Connected && strings.Contains(s.Problem, nowhere) })
}

func TestCallsThroughASession(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450), networkRecord("n", 5))
	a, _ := c.start("h0", false)
	a.settle(t, c)
	reply, err := a.CreateEndpoint(within(t), protocol.CreateEndpointRequest{ID: id("h0", "c"), Tenant: "default", Network: "n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []drivers.Ref{{Kind: protocol.KindNetwork, Key: "default:n"}, {Kind: protocol.KindEndpoint, Key: id("h0", "c").String()}} {
		if _, ok := a.Record(ref); !ok {
			t.Errorf("%v is not there when the call returns", ref)
		}
	}
	if err := a.WaitFor(within(t), reply.Position.Revision); err != nil {
		t.Fatal(err)
	}
	a.check(t, c)
	if n := len(a.Bodies(protocol.KindEndpoint)); n != 1 {
		t.Errorf("%d endpoints", n)
	}
	settled, err := a.Settle(within(t), protocol.SettleRequest{ID: id("h0", "c"), Revision: reply.Position.Revision, Wait: protocol.Duration(time.Second)})
	if err != nil || len(settled.Missing) != 0 {
		t.Errorf("settle: %v, %v", settled, err)
	}

	var refused *protocol.Error
	_, err = a.CreateEndpoint(within(t), protocol.CreateEndpointRequest{ID: id("h0", "d"), Network: "none"})
	if !errors.As(err, &refused) || refused.Code != protocol.CodeNotFound {
		t.Errorf("got %v, want not found", err)
	}
	if err := a.DeleteEndpoint(within(t), id("h1", "c")); !errors.As(err, &refused) || refused.Code != protocol.CodeRefused {
		t.Errorf("got %v, want refused", err)
	}
	address, err := a.ReserveAddress(within(t), protocol.ReserveAddressRequest{Tenant: "default", Network: "n"})
	if err != nil || address.Token != "h0" {
		t.Errorf("reserve: %+v, %v", address, err)
	}
	// A network that is not for this host: the stream reaches the revision all the same.
	made, err := a.CreateNetwork(within(t), protocol.CreateNetworkRequest{Host: "h0", Network: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WaitFor(within(t), made.Position.Revision); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		a.ReleaseAddress(within(t), "x"), a.DeleteNetwork(within(t), protocol.DeleteNetworkRequest{Host: "h0"}),
		a.ProviderEvent(within(t), protocol.ProviderEvent{ID: id("h0", "c")}), a.DeleteEndpoint(within(t), id("h0", "c")),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	a.check(t, c)
}

// TestLostBeforeApplied: an agent learns what it lost before anything of the session is applied.
func TestLostBeforeApplied(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.lost["h0"] = []protocol.EndpointID{id("h0", "gone")}
	c.change(globalRecord(1450))
	order := &ordered{}
	a, _ := c.start("h0", false, func(config *session.Config) { order.Agent, config.Agent = config.Agent, order })
	a.settle(t, c)
	if !slices.Equal(order.seen[:2], []string{"registered", "applied"}) || len(a.lost) != 1 {
		t.Errorf("order %v, lost %v", order.seen, a.lost)
	}
}

// ordered notes the order of calls; those of a session before it is connected do not overlap.
type ordered struct {
	session.Agent
	seen []string
}

func (o *ordered) Registered(ctx context.Context, sent protocol.RegisterRequest, reply protocol.RegisterReply) error {
	o.seen = append(o.seen, "registered")
	return o.Agent.Registered(ctx, sent, reply)
}

func (o *ordered) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	if len(o.seen) < 2 {
		o.seen = append(o.seen, "applied")
	}
	return o.Agent.Apply(ctx, update)
}

// TestFollowsTheLeader: a follower's hint and the list of masters are enough, and nothing is sent twice.
func TestFollowsTheLeader(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.lead(2)
	c.change(globalRecord(1450), networkRecord("n", 5), endpointRecord(id("h0", "c"), "n", ""))
	a, _ := c.start("h0", false, func(config *session.Config) { config.Masters = []string{c.masters[0].address} })
	a.check(t, c)
	if master := a.Status().Master; master != c.masters[2].address {
		t.Errorf("attached to %s", master)
	}
	updates := a.updates
	c.masters[0].stop() // the only one it was configured with
	c.lead(1)
	a.await(t, "the new leader", func(s session.Status) bool { return s.Master == c.masters[1].address })
	a.cut()
	a.await(t, "the end of the session", func(s session.Status) bool { return !s.Connected })
	a.check(t, c)
	if a.updates != updates || a.replaced != 1 {
		t.Errorf("%d updates where nothing changed, replaced %d times", a.updates-updates, a.replaced)
	}
	c.masters[1].stop()
	c.lead(2)
	c.change(globalRecord(1400))
	a.check(t, c)
}

func TestAnotherStore(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450), networkRecord("n", 5), endpointRecord(id("h0", "c"), "n", ""))
	a, _ := c.start("h0", true)
	a.check(t, c)
	c.mu.Lock()
	c.at = protocol.Position{Store: "store-2", Revision: 1}
	for ref, r := range c.records {
		if r.Member != "" {
			delete(c.records, ref)
		}
	}
	global := globalRecord(1234)
	global.Revision = 1
	all := []distribute.ScopedRecord{global}
	clear(c.records)
	for _, r := range all {
		c.records[refOf(r)] = r
	}
	err := c.masters[0].Replace(c.at, all)
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	a.check(t, c)
	if a.Status().Realised.Store != "store-2" {
		t.Errorf("realised %v", a.Status().Realised)
	}
}

// TestNotUnderstood: records of a newer master are kept, named, and change nothing else.
func TestNotUnderstood(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450))
	a, _ := c.start("h0", false)
	a.settle(t, c)
	position := c.change(distribute.ScopedRecord{
		Record: protocol.Record{Kind: "mystery", Key: "r", Body: json.RawMessage(`{"x":1}`)}, Everyone: true,
	})
	a.settle(t, c)
	eventually(t, "the acknowledgement", func() bool { return len(c.masters[0].Acknowledged(position.Revision)) == 0 })
	hosts := c.masters[0].Hosts()
	if len(hosts) != 1 || len(hosts[0].NotRealised) != 1 || hosts[0].NotRealised[0].Key != "r" {
		t.Errorf("hosts %+v", hosts)
	}
	if len(a.applied) != 1 {
		t.Errorf("applied %v", a.applied)
	}
}

// TestApplyThatFails: what is not realised is not acknowledged, and tried again.
func TestApplyThatFails(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450))
	a, _ := c.start("h0", false)
	a.settle(t, c)
	a.mu.Lock()
	a.fail = errors.New("the switch is down")
	a.mu.Unlock()
	position := c.change(globalRecord(1400))
	a.await(t, "the problem", func(s session.Status) bool {
		return strings.Contains(s.Problem, "switch is down") && s.Desired == position
	})
	if silent := c.masters[0].Acknowledged(position.Revision); len(silent) != 1 {
		t.Errorf("silent: %v", silent)
	}
	a.mu.Lock()
	a.fail = nil
	a.mu.Unlock()
	a.check(t, c)
	if problem := a.Status().Problem; problem != "" {
		t.Errorf("problem %q", problem)
	}
}

// TestSlowApply: changes that come while the agent is busy are given to it at once, and calls go on.
func TestSlowApply(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450))
	a, _ := c.start("h0", false)
	a.settle(t, c)
	a.mu.Lock()
	hold := make(chan struct{})
	a.hold = hold
	before := a.updates
	a.mu.Unlock()
	for i := range 200 {
		c.change(globalRecord(1000 + i))
	}
	if _, err := a.ReserveAddress(within(t), protocol.ReserveAddressRequest{}); err != nil {
		t.Error(err)
	}
	a.await(t, "the changes", func(s session.Status) bool { return s.Desired == c.position() })
	a.mu.Lock()
	a.hold = nil
	a.mu.Unlock()
	close(hold)
	a.check(t, c)
	if n := a.updates - before; n > 4 {
		t.Errorf("%d updates, want few", n)
	}
}

func TestRestartOfTheAgent(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(globalRecord(1450), networkRecord("n", 5), endpointRecord(id("h0", "c"), "n", ""))
	a, stop := c.start("h0", false)
	a.check(t, c)
	stop()
	c.change(gone(protocol.KindEndpoint, id("h0", "c").String()))
	a, _ = c.start("h0", false)
	a.check(t, c)
	if a.replaced != 1 {
		t.Errorf("replaced %d times", a.replaced)
	}
}

func TestRefresh(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.change(networkRecord("n", 5))
	a, _ := c.start("h0", false)
	a.check(t, c)
	a.catalog = true
	a.Refresh()
	a.await(t, "the catalog", func(session.Status) bool { return len(a.Bodies(protocol.KindNetwork)) == 1 })
	a.check(t, c)
}

// TestTLS: a session under mutual TLS, and one that pretends to be another host.
func TestTLS(t *testing.T) {
	pool, issue := authority(t)
	c := newCluster(t, 1, &tls.Config{
		Certificates: []tls.Certificate{issue("127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		MinVersion: tls.VersionTLS13,
	})
	c.change(globalRecord(1450))
	as := func(name string) func(*session.Config) {
		config := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{issue(name)}, MinVersion: tls.VersionTLS13}
		return func(c *session.Config) { c.TLS = config }
	}
	a, _ := c.start("h0", false, as("h0"))
	a.check(t, c)
	pretender, _ := c.start("h1", false, as("h2"))
	pretender.await(t, "the refusal", func(s session.Status) bool { return strings.Contains(s.Problem, "certificate") && !s.Connected })
}

func authority(t *testing.T) (*x509.CertPool, func(name string) tls.Certificate) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	data, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	parsed, err := x509.ParseCertificate(data)
	must(err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, func(name string) tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = []net.IP{ip}
		} else {
			leaf.DNSNames = []string{name}
		}
		data, err := x509.CreateCertificate(rand.Reader, leaf, parsed, &key.PublicKey, caKey)
		must(err)
		return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
	}
}
