package distribute

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/distribute/index"
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
	r.Everyone, r.Scopes, r.Member = false, []index.Scope{"scope"}, host
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
	requests  []string // named with changes
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
	var message struct {
		protocol.Snapshot
		Requests []string `json:"requests"` // of a change
	}
	if err := json.Unmarshal(params, &message); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, message.Records...)
	c.requests = append(c.requests, message.Requests...)
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
