package distribute

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 20 * time.Second
	store    = "store-1"
)

// operations answers every call, and remembers what reached it.
type operations struct {
	mu      sync.Mutex
	reached []string
}

func (o *operations) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reached = append(o.reached, what)
}

func (o *operations) RegisterHost(_ context.Context, r protocol.RegisterRequest) (Registration, error) {
	return Registration{Lost: r.Removed}, nil
}

func (o *operations) CreateEndpoint(_ context.Context, r protocol.CreateEndpointRequest) (protocol.CreateEndpointReply, error) {
	o.note("create " + r.ID.String())
	if r.Network == "full" {
		return protocol.CreateEndpointReply{}, fmt.Errorf("creating: %w", protocol.Errorf(protocol.CodeExhausted, "no address is left"))
	}
	return protocol.CreateEndpointReply{}, nil
}

func (o *operations) DeleteEndpoint(_ context.Context, id protocol.EndpointID) error {
	o.note("delete " + id.String())
	return nil
}

func (o *operations) ProviderEvent(_ context.Context, e protocol.ProviderEvent) error {
	o.note("event " + e.ID.String())
	return nil
}

func (o *operations) ReserveAddress(_ context.Context, host string, _ protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	o.note("reserve " + host)
	return protocol.ReserveAddressReply{}, nil
}

func (o *operations) ReleaseAddress(_ context.Context, host, _ string) error {
	o.note("release " + host)
	return nil
}

func (o *operations) CreateNetwork(_ context.Context, r protocol.CreateNetworkRequest) (protocol.CreateNetworkReply, error) {
	o.note("network " + r.Host)
	return protocol.CreateNetworkReply{}, nil
}

func (o *operations) DeleteNetwork(_ context.Context, r protocol.DeleteNetworkRequest) error {
	o.note("no network " + r.Host)
	return nil
}

// fixture is a leading server with a listener.
type fixture struct {
	*Server
	t          *testing.T
	operations *operations
	address    string
}

func start(t *testing.T, secure *tls.Config, change ...func(*Config)) *fixture {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	f := &fixture{t: t, operations: &operations{}}
	config := Config{Operations: f.operations, Log: logrus.NewEntry(logger), Silence: 5 * time.Second}
	for _, c := range change {
		c(&config)
	}
	f.Server = NewServer(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := f.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); serving.Wait() })
	f.SetLeader(true, f.address)
	f.must(f.Replace(at(1), nil))
	return f
}

func at(revision int64) protocol.Position { return protocol.Position{Store: store, Revision: revision} }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func scoped(kind protocol.Kind, key string, revision int64, size int) ScopedRecord {
	body := json.RawMessage(`{"pad":"` + strings.Repeat("x", size) + `"}`)
	return ScopedRecord{Record: protocol.Record{Kind: kind, Key: key, Revision: revision, Body: body}, Everyone: true}
}

func endpointOf(host, name string, revision int64) ScopedRecord {
	id := protocol.EndpointID{Host: host, ContainerID: name, IfName: "eth0"}
	r := scoped(protocol.KindEndpoint, id.String(), revision, 10)
	r.Everyone, r.Scope, r.Member = false, "scope", host
	return r
}

func hostOf(name string, revision int64) ScopedRecord {
	r := scoped(protocol.KindHost, name, revision, 10)
	r.Everyone, r.Host = false, name
	return r
}

// client is a bare agent: it counts what it is sent.
type client struct {
	t    *testing.T
	conn *jsonrpc2.Conn
	str  *wire.Stream

	mu        sync.Mutex
	records   []protocol.Record
	snapshots int // complete ones
	chunks    int
	position  protocol.Position
	ack       bool
}

func (f *fixture) dial(secure *tls.Config) *client {
	f.t.Helper()
	var conn net.Conn
	var err error
	if secure != nil {
		conn, err = tls.Dial("tcp", f.address, secure)
	} else {
		conn, err = net.Dial("tcp", f.address)
	}
	f.must(err)
	c := &client{t: f.t, ack: true}
	c.str = wire.NewStream(conn, wire.Options{Silence: time.Minute, Notify: c.notified})
	c.conn = jsonrpc2.NewConn(context.Background(), c.str, nil, jsonrpc2.SetLogger(quiet{f.config.Log}))
	f.t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

func (c *client) notified(method string, params json.RawMessage) error {
	var message protocol.Snapshot // has all members of a change
	if err := json.Unmarshal(params, &message); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, message.Records...)
	if method == protocol.MethodSnapshot {
		c.chunks++
		if !message.Last {
			return nil
		}
		c.snapshots++
	}
	c.position = message.Position
	if c.ack {
		return c.sendAck(message.Position)
	}
	return nil
}

func (c *client) sendAck(position protocol.Position) error {
	line, err := wire.Notification(protocol.MethodAck, protocol.Ack{Position: position})
	if err != nil {
		return err
	}
	return c.str.WriteLine(line)
}

func (c *client) call(method string, request, reply any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return wire.DecodeError(c.conn.Call(ctx, method, request, reply))
}

func request(host string) protocol.RegisterRequest {
	return protocol.RegisterRequest{Host: host, Version: protocol.Version, MTU: 1500, Attachments: []protocol.Attachment{}}
}

// registered connects a host and waits for its snapshot.
func (f *fixture) registered(host string, change ...func(*protocol.RegisterRequest)) *client {
	f.t.Helper()
	c := f.dial(nil)
	r := request(host)
	for _, ch := range change {
		ch(&r)
	}
	f.must(c.call(protocol.MethodRegister, r, nil))
	f.eventually("the snapshot", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.snapshots > 0 })
	return c
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.records)
}

func (c *client) at() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position.Revision
}

func (f *fixture) eventually(what string, condition func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s did not come", what)
		}
		<-tick.C
	}
}

func (f *fixture) gone(c *client) {
	f.t.Helper()
	select {
	case <-c.conn.DisconnectNotify():
	case <-time.After(patience):
		f.t.Fatal("the connection stays")
	}
}

// wantCode checks the code of a refusal and a part of its text, and answers the leader it names.
func wantCode(t *testing.T, err error, code int, text string) (leader string) {
	t.Helper()
	var refused *protocol.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want a refusal with code %d", err, code)
	}
	if refused.Code != code || !strings.Contains(refused.Message, text) {
		t.Fatalf("got code %d %q, want %d and %q", refused.Code, refused.Message, code, text)
	}
	return refused.Leader
}

func TestRegisterRefusals(t *testing.T) {
	f := start(t, nil)
	for name, test := range map[string]struct {
		change func(*protocol.RegisterRequest)
		code   int
		text   string
	}{
		"no version":         {func(r *protocol.RegisterRequest) { r.Version = "" }, protocol.CodeRefused, "not of the form"},
		"other major":        {func(r *protocol.RegisterRequest) { r.Version = "2.0" }, protocol.CodeRefused, "at most one minor"},
		"two minors":         {func(r *protocol.RegisterRequest) { r.Version = "1.2" }, protocol.CodeRefused, "at most one minor"},
		"no host":            {func(r *protocol.RegisterRequest) { r.Host = "" }, protocol.CodeInvalid, "host name"},
		"slash":              {func(r *protocol.RegisterRequest) { r.Host = "a/b" }, protocol.CodeInvalid, "host name"},
		"long name":          {func(r *protocol.RegisterRequest) { r.Host = strings.Repeat("a", 10_000) }, protocol.CodeInvalid, "host name"},
		"few digests":        {func(r *protocol.RegisterRequest) { r.Digests = []uint64{1} }, protocol.CodeInvalid, "digests"},
		"foreign attachment": {func(r *protocol.RegisterRequest) { r.Attachments = []protocol.Attachment{{}} }, protocol.CodeRefused, "own host"},
		"foreign removal": {func(r *protocol.RegisterRequest) {
			r.Removed = []protocol.EndpointID{{Host: "other", ContainerID: "c", IfName: "e"}}
		}, protocol.CodeRefused, "own host"},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(nil)
			r := request("h1")
			test.change(&r)
			wantCode(t, c.call(protocol.MethodRegister, r, nil), test.code, test.text)
			// The same connection may do better.
			f.must(c.call(protocol.MethodRegister, request(strings.ReplaceAll(name, " ", "-")), nil))
			wantCode(t, c.call(protocol.MethodRegister, request("again"), nil), protocol.CodeRefused, "already")
		})
	}
	f.registered("next", func(r *protocol.RegisterRequest) { r.Version = "1.1" })
}

func TestNotLeader(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	f.SetLeader(false, "192.0.2.7:9001")
	f.gone(c)
	err := f.dial(nil).call(protocol.MethodRegister, request("h1"), nil)
	if leader := wantCode(t, err, protocol.CodeNotLeader, "does not lead"); leader != "192.0.2.7:9001" {
		t.Errorf("leader is %q", leader)
	}
	f.SetLeader(true, f.address)
	f.registered("h1")
}

func TestSecondAgent(t *testing.T) {
	f := start(t, nil)
	first := f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "one" })
	second := request("h1")
	wantCode(t, f.dial(nil).call(protocol.MethodRegister, second, nil), protocol.CodeRefused, "another agent")
	second.Instance = "two"
	wantCode(t, f.dial(nil).call(protocol.MethodRegister, second, nil), protocol.CodeRefused, "another agent")
	f.must(first.call(protocol.MethodPing, struct{}{}, nil))

	again := f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "one" })
	f.gone(first)
	f.must(again.call(protocol.MethodPing, struct{}{}, nil))
	_ = again.conn.Close()
	f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
	f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "two" })
}

func TestCalls(t *testing.T) {
	f := start(t, nil)
	c := f.dial(nil)
	own := protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}
	wantCode(t, c.call(protocol.MethodDeleteEndpoint, protocol.DeleteEndpointRequest{ID: own}, nil), protocol.CodeRefused, "before host.register")
	f.must(c.call(protocol.MethodRegister, request("h1"), nil))
	foreign := own
	foreign.Host = "h2"
	for method, requests := range map[string][2]any{
		protocol.MethodCreateEndpoint: {protocol.CreateEndpointRequest{ID: own}, protocol.CreateEndpointRequest{ID: foreign}},
		protocol.MethodSettleEndpoint: {protocol.SettleRequest{ID: own}, protocol.SettleRequest{ID: foreign}},
		protocol.MethodDeleteEndpoint: {protocol.DeleteEndpointRequest{ID: own}, protocol.DeleteEndpointRequest{ID: foreign}},
		protocol.MethodCreateNetwork:  {protocol.CreateNetworkRequest{Host: "h1"}, protocol.CreateNetworkRequest{Host: "h2"}},
		protocol.MethodDeleteNetwork:  {protocol.DeleteNetworkRequest{Host: "h1"}, protocol.DeleteNetworkRequest{Host: "h2"}},
		protocol.MethodProviderEvent:  {protocol.ProviderEvent{ID: own}, protocol.ProviderEvent{ID: foreign}},
	} {
		f.must(c.call(method, requests[0], nil))
		wantCode(t, c.call(method, requests[1], nil), protocol.CodeRefused, "own host")
	}
	f.must(c.call(protocol.MethodReserveAddress, protocol.ReserveAddressRequest{}, nil))
	f.must(c.call(protocol.MethodReleaseAddress, protocol.ReleaseAddressRequest{}, nil))
	for _, what := range f.operations.reached {
		if strings.Contains(what, "h2") {
			t.Errorf("%q reached the operations", what)
		}
	}
	wantCode(t, c.call(protocol.MethodCreateEndpoint, protocol.CreateEndpointRequest{ID: own, Network: "full"}, nil), protocol.CodeExhausted, "no address")
	wantCode(t, c.call("no.such", struct{}{}, nil), jsonrpc2.CodeMethodNotFound, "no.such")
	wantCode(t, c.call(protocol.MethodCreateEndpoint, nil, nil), protocol.CodeInvalid, "object")
	wantCode(t, c.call(protocol.MethodCreateEndpoint, map[string]int{"id": 5}, nil), protocol.CodeInvalid, "id")
}

// TestResume counts what is sent to a host that comes back: nothing when nothing changed, else only what did.
func TestResume(t *testing.T) {
	f := start(t, nil)
	var all []ScopedRecord
	for i := range 2000 {
		all = append(all, scoped("thing", fmt.Sprint(i), int64(i+1), 20))
	}
	f.must(f.Replace(at(2000), all))
	c := f.registered("h1")
	if c.count() != 2000 {
		t.Fatalf("%d records, want 2000", c.count())
	}
	var digests protocol.Digests
	for _, r := range c.records {
		digests.Toggle(r.Kind, r.Key, r.Revision)
	}
	resume := func(position protocol.Position) int {
		t.Helper()
		f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
		c := f.registered("h1", func(r *protocol.RegisterRequest) { r.Position, r.Digests = position, digests[:] })
		defer func() { _ = c.conn.Close() }()
		f.eventually("the position", func() bool { return c.at() == f.reached() })
		return c.count()
	}
	_ = c.conn.Close()
	if n := resume(at(2000)); n != 0 {
		t.Errorf("%d records after nothing changed", n)
	}
	f.must(f.Publish(at(2001), []ScopedRecord{scoped("thing", "7", 2001, 20)}))
	if n := resume(at(2000)); n == 0 || n > 40 {
		t.Errorf("%d records after one changed, want those of its bucket", n)
	}
	f.must(f.Publish(at(2002), []ScopedRecord{{Record: protocol.Record{Kind: "thing", Key: "8", Revision: 2002}}}))
	if n := resume(at(2000)); n == 0 || n > 80 {
		t.Errorf("%d records after another went, want those of two buckets", n)
	}
	if n := resume(protocol.Position{Store: "other", Revision: 2000}); n != 1999 {
		t.Errorf("%d records from another store, want all", n)
	}
	if n := resume(at(9999)); n != 1999 {
		t.Errorf("%d records from the future, want all", n)
	}
}

func TestAnotherStoreClosesSessions(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	f.must(f.Replace(protocol.Position{Store: "other", Revision: 1}, nil))
	f.gone(c)
	c = f.registered("h1")
	f.must(f.Replace(protocol.Position{Store: "other", Revision: 1}, nil))
	f.must(c.call(protocol.MethodPing, struct{}{}, nil))
}

// TestSlowAgent has one agent that reads nothing: the other gets every change at once, and what is kept for the slow
// one is bounded.
func TestSlowAgent(t *testing.T) {
	f := start(t, nil, func(c *Config) { c.Silence, c.Write = 30*time.Second, 30*time.Second })
	slow, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = slow.Close() })
	f.must(slow.(*net.TCPConn).SetReadBuffer(1 << 10))
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("slow")})
	f.must(err)
	_, err = slow.Write(append(line, '\n'))
	f.must(err)
	f.eventually("the slow agent", func() bool { return f.Connected("slow") })
	quick := f.registered("quick")
	revision := int64(1)
	for round := range 40 {
		var changes []ScopedRecord
		revision++
		for i := range 1000 {
			changes = append(changes, scoped("thing", fmt.Sprintf("%d-%d", round, i), revision, 200))
			if round > 0 {
				changes = append(changes, ScopedRecord{Record: protocol.Record{Kind: "thing", Key: fmt.Sprintf("%d-%d", round-1, i)}})
			}
		}
		f.must(f.Publish(at(revision), changes))
		f.eventually("the change", func() bool { return quick.at() == revision })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.sessions["slow"].pending
	if len(kept.dirty) > maxDirty || !kept.anyAgain && len(kept.dirty) == 0 {
		t.Errorf("kept for the slow agent: %d names, whole buckets %v; want at most %d names and something", len(kept.dirty), kept.anyAgain, maxDirty)
	}
}

// TestAgentThatNeverReadsIsDropped: its session ends after the time for one write.
func TestAgentThatNeverReadsIsDropped(t *testing.T) {
	f := start(t, nil, func(c *Config) { c.Write = 100 * time.Millisecond })
	slow, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = slow.Close() })
	f.must(slow.(*net.TCPConn).SetReadBuffer(1 << 10))
	line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("slow")})
	_, err = slow.Write(append(line, '\n'))
	f.must(err)
	f.eventually("the slow agent", func() bool { return f.Connected("slow") })
	revision := int64(1)
	f.eventually("the end of the slow agent", func() bool {
		revision++
		f.must(f.Publish(at(revision), []ScopedRecord{scoped("thing", fmt.Sprint(revision), revision, 60_000)}))
		return !f.Connected("slow")
	})
}

// TestOverflowSendsBuckets: a host for which too much changed at once gets whole buckets, and ends up right.
func TestOverflowSendsBuckets(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	var changes []ScopedRecord
	for i := range 3 * maxDirty {
		changes = append(changes, scoped("thing", fmt.Sprint(i), 2, 1))
	}
	f.must(f.Publish(at(2), changes))
	f.eventually("everything", func() bool { return c.at() == 2 })
	have := map[string]bool{}
	for _, r := range c.records {
		have[r.Key] = true
	}
	if len(have) != len(changes) || c.snapshots != 2 {
		t.Errorf("%d records in %d snapshots, want %d in 2", len(have), c.snapshots, len(changes))
	}
}

// TestLargeMessages: chunks and split changes stay within their limits, and a peer's message must too.
func TestLargeMessages(t *testing.T) {
	f := start(t, nil)
	var all []ScopedRecord
	for i := range 100 {
		all = append(all, scoped("thing", fmt.Sprint(i), 2, 50_000))
	}
	f.must(f.Publish(at(2), all))
	conn, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("h1")})
	_, err = conn.Write(append(line, '\n'))
	f.must(err)
	reader := bufio.NewReaderSize(conn, 1<<20)
	revision, seen := int64(0), 0
	for seen < 200 || revision < 3 {
		if seen == 100 && revision == 2 {
			for i := range all {
				all[i].Revision = 3
			}
			f.must(f.Publish(at(3), all))
		}
		f.must(conn.SetReadDeadline(time.Now().Add(patience)))
		line, err := reader.ReadBytes('\n')
		f.must(err)
		if len(line) > protocol.MaxChunkBytes {
			t.Fatalf("a message has %d bytes", len(line))
		}
		var message struct {
			Method string
			Params protocol.Snapshot
		}
		f.must(json.Unmarshal(line, &message))
		seen += len(message.Params.Records)
		if message.Method == protocol.MethodChange && seen < 200 && message.Params.Position.Revision != 2 {
			t.Errorf("a part of a change claims revision %d", message.Params.Position.Revision)
		}
		if message.Params.Last || message.Method == protocol.MethodChange {
			revision = message.Params.Position.Revision
		}
	}
	// A message without end is dropped before it fills the memory.
	sent := 0
	block := bytes.Repeat([]byte("x"), 64<<10)
	for err == nil && sent < 4*protocol.MaxMessageBytes {
		var n int
		n, err = conn.Write(block)
		sent += n
	}
	f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
}

func TestAcknowledged(t *testing.T) {
	f := start(t, nil)
	f.must(f.Publish(at(2), []ScopedRecord{hostOf("h1", 2), hostOf("h2", 2), hostOf("h3", 2), endpointOf("h1", "a", 2), endpointOf("h2", "b", 2)}))
	f.wantSilent(2, "h1", "h2", "h3")
	h1, h2 := f.registered("h1"), f.registered("h2")
	f.eventually("acknowledgements", func() bool { return len(f.Acknowledged(2)) == 1 })
	f.wantSilent(2, "h3")
	f.registered("h3")
	f.eventually("acknowledgements", func() bool { return len(f.Acknowledged(2)) == 0 })

	// What is not for a host needs no message to it.
	before := h1.count()
	f.must(f.Publish(at(3), []ScopedRecord{{Record: protocol.Record{Kind: "none", Key: "none"}}}))
	f.wantSilent(3)
	if h1.count() != before {
		t.Error("h1 was sent something")
	}

	h2.mu.Lock()
	h2.ack = false
	h2.mu.Unlock()
	f.must(f.Publish(at(4), []ScopedRecord{endpointOf("h1", "c", 4)}))
	id := protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}
	var reply protocol.SettleReply
	f.must(h1.call(protocol.MethodSettleEndpoint, protocol.SettleRequest{ID: id, Revision: 4, Wait: protocol.Duration(20 * time.Millisecond)}, &reply))
	if fmt.Sprint(reply.Missing) != "[h2]" {
		t.Errorf("missing %v, want h2", reply.Missing)
	}
	f.eventually("h1", func() bool { return fmt.Sprint(f.Acknowledged(4)) == "[h2]" })
	f.must(h2.sendAck(at(99))) // more than it was sent counts for nothing
	f.must(h2.call(protocol.MethodPing, struct{}{}, nil))
	f.wantSilent(4, "h2")
	f.must(h2.sendAck(at(4)))
	f.must(h1.call(protocol.MethodSettleEndpoint, protocol.SettleRequest{ID: id, Revision: 4, Wait: protocol.Duration(time.Second)}, &reply))
	f.wantSilent(4)

	_ = h2.conn.Close()
	f.eventually("the end of h2", func() bool { return !f.Connected("h2") })
	f.wantSilent(1, "h2")
	for _, status := range f.Hosts() {
		if status.Host == "h2" && (status.Connected || status.LastSeen.IsZero() || status.Acknowledged != 4) {
			t.Errorf("h2: %+v", status)
		}
	}
	f.must(f.Publish(at(5), []ScopedRecord{{Record: protocol.Record{Kind: protocol.KindHost, Key: "h2"}}}))
	f.wantSilent(1)
}

func (f *fixture) wantSilent(revision int64, hosts ...string) {
	f.t.Helper()
	if got := f.Acknowledged(revision); strings.Join(got, ",") != strings.Join(hosts, ",") {
		f.t.Errorf("silent at %d: %v, want %v", revision, got, hosts)
	}
}

func TestStatistics(t *testing.T) {
	f := start(t, nil)
	f.must(f.Publish(at(2), []ScopedRecord{hostOf("h1", 2), endpointOf("h1", "a", 2), endpointOf("h2", "b", 2)}))
	c := f.registered("h1")
	mine := protocol.EndpointID{Host: "h1", ContainerID: "a", IfName: "eth0"}
	others := protocol.EndpointID{Host: "h2", ContainerID: "b", IfName: "eth0"}
	line, err := wire.Notification(protocol.MethodStatistics, protocol.Statistics{Endpoints: []protocol.EndpointCounters{
		{ID: mine, RxBytes: 5}, {ID: others, RxBytes: 6}, {ID: protocol.EndpointID{Host: "h1", ContainerID: "no"}},
	}})
	f.must(err)
	f.must(c.str.WriteLine(line))
	f.eventually("the counters", func() bool { got, ok := f.Counters(mine); return ok && got.RxBytes == 5 })
	if _, ok := f.Counters(others); ok {
		t.Error("h1 counted for h2")
	}
}

// TestCertificateNamesTheHost: with TLS an agent is who its certificate says.
func TestCertificateNamesTheHost(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
		MinVersion: tls.VersionTLS13,
	}
	f := start(t, server)
	as := func(name string) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, name)}, MinVersion: tls.VersionTLS13}
	}
	c := f.dial(as("h1"))
	wantCode(t, c.call(protocol.MethodRegister, request("h2"), nil), protocol.CodeRefused, "certificate")
	f.must(c.call(protocol.MethodRegister, request("h1"), nil))

	stranger := newAuthority(t)
	config := as("h1")
	config.Certificates = []tls.Certificate{stranger.issue(t, "h1")}
	if err := f.dial(config).call(protocol.MethodRegister, request("h1"), nil); err == nil {
		t.Error("a certificate of a stranger was taken")
	}

	// A listener that does not ask for certificates registers nobody.
	open := server.Clone()
	open.ClientAuth = tls.NoClientCert
	g := start(t, open)
	wantCode(t, g.dial(as("h1")).call(protocol.MethodRegister, request("h1"), nil), protocol.CodeRefused, "certificate")
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	data, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := &authority{key: key, pool: x509.NewCertPool()}
	if ca.certificate, err = x509.ParseCertificate(data); err != nil {
		t.Fatal(err)
	}
	ca.pool.AddCert(ca.certificate)
	return ca
}

func (ca *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	data, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}

// FuzzInbound gives a session of a registered host arbitrary bytes: nothing but the end of the session may come of it.
func FuzzInbound(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"host.ping","params":{}}`,
		`{"jsonrpc":"2.0","method":"state.ack","params":{"position":{"store":"store-1","revision":1}}}`,
		`{"jsonrpc":"2.0","method":"state.statistics","params":{"endpoints":[{"id":{"host":"h1"}}]}}`,
		`{"jsonrpc":"2.0","id":2,"method":"endpoint.create","params":{"id":{"host":"h1","containerID":"c","ifName":"e"},"ipv4":"10.0.0.1"}}`,
		`{"jsonrpc":"2.0","id":3,"method":"endpoint.settle","params":{"id":{"host":"h1","containerID":"c","ifName":"e"},"wait":"1ms"}}`,
		`{"jsonrpc":"2.0","id":4,"result":{}}`, `[]`, `[{}]`, `null`, `{"id":1}`, `{"method":null}`, `{"method":"x","id":null}`, "\n\n", `{"id":{},"method":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	f.Fuzz(func(t *testing.T, data []byte) {
		server := NewServer(Config{Operations: &operations{}, Log: logrus.NewEntry(logger)})
		server.SetLeader(true, "")
		if err := server.Replace(at(1), []ScopedRecord{endpointOf("h1", "c", 1), hostOf("h1", 1)}); err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var serving sync.WaitGroup
		serving.Go(func() { server.serveConn(ctx, theirs) })
		serving.Go(func() { _, _ = io.Copy(io.Discard, ours) })
		line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("h1")})
		_, _ = ours.Write(append(line, '\n'))
		for !server.Connected("h1") && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Microsecond):
			}
		}
		_, _ = ours.Write(append(data, '\n'))
		_ = ours.Close()
		serving.Wait()
	})
}
