package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/objdb/consul/consultest"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// restorable is an external store with the tools that back it up.
type restorable interface {
	Save(tb testing.TB, file string)
	Destroy(tb testing.TB)
	Restore(tb testing.TB, file string)
}

// TestRestore: an external store is backed up, destroyed and restored with its own tools. netmaster has what the backup
// had; an agent that knows more is sent everything anew, keeps the endpoint that it has and the backup has not, and loses
// the one whose network is gone.
func TestRestore(t *testing.T) {
	t.Run("etcd", func(t *testing.T) {
		server := etcdtest.New(t)
		cfg := testConfig(t)
		cfg.Etcd = []string{server.URL}
		testRestore(t, cfg, server)
	})
	t.Run("consul", func(t *testing.T) {
		server := consultest.New(t)
		cfg := testConfig(t)
		cfg.Consul = []string{server.URL}
		testRestore(t, cfg, server)
	})
}

func testRestore(t *testing.T, cfg Config, store restorable) {
	t.Helper()
	network := func(r *running, name string, number int) {
		t.Helper()
		r.must(http.MethodPost, fmt.Sprintf("/api/v1/networks/default:%s/", name),
			fmt.Sprintf(`{"tenantName":"default","networkName":%q,"subnet":"10.%d.1.0/24"}`, name, number))
	}
	first := start(t, cfg)
	first.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	network(first, "kept", 1)
	agent := attach(t, first, protocol.RegisterRequest{})
	before := agent.create("before", "kept")
	file := filepath.Join(t.TempDir(), "backup")
	store.Save(t, file)
	if status, text := first.call(http.MethodGet, "/debug/snapshot", ""); status != http.StatusNotImplemented || !strings.Contains(text, "own tools") {
		t.Errorf("snapshot of an external store: %d %s", status, text)
	}
	since := agent.create("since", "kept")
	network(first, "gone", 2)
	lost := agent.create("lost", "gone")
	position := agent.at()
	agent.close()
	first.stop()
	store.Destroy(t)
	store.Restore(t, file)

	second := start(t, cfg)
	second.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	second.must(http.MethodGet, "/api/v1/networks/default:kept/", "")
	if status, _ := second.call(http.MethodGet, "/api/v1/networks/default:gone/", ""); status != http.StatusNotFound {
		t.Errorf("network created after the backup: %d", status)
	}
	if id := second.d.store.ID(); id == position.Store {
		t.Errorf("the restored store has the id of the old one, %s", id)
	}
	again := attach(t, second, protocol.RegisterRequest{
		Position: position, Digests: make([]uint64, protocol.Buckets), Attachments: []protocol.Attachment{before, since, lost},
	})
	if len(again.reply.Lost) != 1 || again.reply.Lost[0] != lost.ID {
		t.Errorf("lost %v, want %v", again.reply.Lost, lost.ID)
	}
	for _, kept := range []protocol.Attachment{before, since} {
		if got := again.create(kept.ID.ContainerID, kept.Network); got.IPv4 != kept.IPv4 {
			t.Errorf("endpoint %s has %s now, had %s", kept.ID, got.IPv4, kept.IPv4)
		}
	}
	if fresh := again.create("fresh", "kept"); fresh.IPv4 == before.IPv4 || fresh.IPv4 == since.IPv4 {
		t.Errorf("address %s is given twice", fresh.IPv4)
	}
}

// TestSnapshotOfTheEmbeddedStore: what REST answers is a backup that --restore takes, once.
func TestSnapshotOfTheEmbeddedStore(t *testing.T) {
	cfg := testConfig(t)
	r := start(t, cfg)
	r.createTenant("kept")
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(file, []byte(r.must(http.MethodGet, "/debug/snapshot", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	r.stop()
	cfg.DataDir = filepath.Join(t.TempDir(), "new")
	var stdout, stderr strings.Builder
	args := []string{"netmaster", "--restore", file, "--data-dir", cfg.DataDir}
	if status := Main(t.Context(), args, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "restored") {
		t.Fatalf("status %d: %s%s", status, stdout.String(), stderr.String())
	}
	if status := Main(t.Context(), args, &stdout, &stderr); status != exitFatal || !strings.Contains(stderr.String(), "move it away") {
		t.Errorf("over a store: status %d: %s", status, stderr.String())
	}
	second := start(t, cfg)
	path, _ := tenant("kept")
	second.must(http.MethodGet, path, "")
}

// testAgent is a bare agent of host1.
type testAgent struct {
	t     *testing.T
	conn  *jsonrpc2.Conn
	reply protocol.RegisterReply
	close func()

	mu       sync.Mutex
	position protocol.Position
}

// attach registers host1 with what the request adds, as soon as the netmaster leads.
func attach(t *testing.T, r *running, request protocol.RegisterRequest) *testAgent {
	t.Helper()
	request.Host, request.Version, request.MTU, request.Instance = "host1", protocol.Version, 1500, t.Name()
	if request.Attachments == nil {
		request.Attachments = []protocol.Attachment{}
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a := connect(t, r)
		err := a.try(protocol.MethodRegister, request, &a.reply)
		if err == nil {
			return a
		}
		a.close()
		if time.Now().After(deadline) {
			t.Fatalf("registering: %v", err)
		}
		<-tick.C
	}
}

func connect(t *testing.T, r *running) *testAgent {
	t.Helper()
	conn, err := net.Dial("tcp", r.d.listeners.rpc.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := &testAgent{t: t}
	stream := wire.NewStream(conn, wire.Options{Silence: time.Minute, Notify: func(_ string, params json.RawMessage) error {
		var message protocol.Change
		a.mu.Lock()
		defer a.mu.Unlock()
		err := json.Unmarshal(params, &message)
		a.position = message.Position
		return err
	}})
	a.conn = jsonrpc2.NewConn(context.Background(), stream, nil, jsonrpc2.SetLogger(silence{}))
	a.close = sync.OnceFunc(func() { _ = stream.Close(); <-a.conn.DisconnectNotify() })
	t.Cleanup(a.close)
	return a
}

// silence takes what the JSON-RPC library says.
type silence struct{}

func (silence) Printf(string, ...any) {}

func (a *testAgent) try(method string, request, reply any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return a.conn.Call(ctx, method, request, reply)
}

func (a *testAgent) call(method string, request, reply any) {
	a.t.Helper()
	if err := a.try(method, request, reply); err != nil {
		a.t.Fatalf("%s: %v", method, err)
	}
}

// create makes an endpoint and answers it as the host remembers it.
func (a *testAgent) create(container, network string) protocol.Attachment {
	a.t.Helper()
	id := protocol.EndpointID{Host: "host1", ContainerID: container, IfName: "eth0"}
	var reply protocol.CreateEndpointReply
	a.call(protocol.MethodCreateEndpoint, protocol.CreateEndpointRequest{ID: id, Tenant: "default", Network: network}, &reply)
	a.mu.Lock()
	if reply.Position.Revision > a.position.Revision {
		a.position = reply.Position
	}
	a.mu.Unlock()
	for _, record := range reply.Records {
		body, err := record.Decode()
		if err != nil {
			a.t.Fatal(err)
		}
		if e, ok := body.(*protocol.Endpoint); ok {
			return protocol.Attachment{ID: id, Tenant: e.Tenant, Network: e.Network, Groups: e.Groups, IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC}
		}
	}
	a.t.Fatalf("no endpoint in %v", reply.Records)
	return protocol.Attachment{}
}

// at is the latest position that the agent heard of.
func (a *testAgent) at() protocol.Position {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.position
}
