package protocol_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/distribute/operations"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// realMaster is a netmaster without its REST side: objects on a ledger on a store in memory, and the agents' server.
type realMaster struct {
	*objects.Objects
	server  *distribute.Server
	ledger  *ledger.Ledger
	address string
}

func newRealMaster(t *testing.T) *realMaster {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	leader, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("leader", []byte("me"))}})
	if err != nil {
		t.Fatal(err)
	}
	fence := func() (objdb.Compare, bool) { return objdb.Unchanged("leader", leader), true }
	l, err := ledger.Open(ctx, store, fence, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &realMaster{Objects: objects.New(l, objects.Options{}, quietLog()), ledger: l, address: listener.Addr().String()}
	m.server = distribute.NewServer(distribute.Config{Operations: operations.New(m.Objects, l, quietLog()), Log: quietLog()})
	m.SetAgents(m.server)
	m.server.SetLeader(true, m.address)
	t.Cleanup(operations.Feed(l, m.server, quietLog()))
	running.Go(func() {
		if err := m.server.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	if _, err := m.Seed(ctx, &state.Global{Name: state.GlobalName, FwdMode: "bridge", ArpMode: "proxy", PvtSubnet: "172.19.0.0/16", Vlans: "1-4094", Vxlans: "1-10000"}); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWithRealObjects goes the whole way of the control plane: objects in the store, endpoints over the protocol, what
// the hosts get of them.
func TestWithRealObjects(t *testing.T) {
	m := newRealMaster(t)
	ctx := within(t)
	network := &state.Network{TenantName: "default", NetworkName: "web", Subnet: "10.1.2.0/24", Gateway: "10.1.2.254"}
	network.SetDefaults()
	if _, err := m.CreateNetwork(ctx, network); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	at := func(config *session.Config) { config.Masters = []string{m.address} }
	first, _ := c.start("h1", false, at)
	second, _ := c.start("h2", true, at)
	connected := func(s session.Status) bool { return s.Connected && s.Realised.Store != "" }
	first.await(t, "a session", connected)
	second.await(t, "a session", connected)
	if _, ok := first.Record(drivers.Ref{Kind: protocol.KindNetwork, Key: "default:web"}); ok {
		t.Error("h1 has a network it needs not")
	}
	if _, ok := second.Record(drivers.Ref{Kind: protocol.KindNetwork, Key: "default:web"}); !ok {
		t.Error("h2 lacks the catalog")
	}

	var last int64
	for _, a := range []*agent{first, second} {
		reply, err := a.CreateEndpoint(ctx, protocol.CreateEndpointRequest{ID: id(a.host, "c"), Tenant: "default", Network: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.WaitFor(ctx, reply.Position.Revision); err != nil {
			t.Fatal(err)
		}
		last = reply.Position.Revision
		settled, err := a.Settle(ctx, protocol.SettleRequest{ID: id(a.host, "c"), Revision: last, Wait: protocol.Duration(time.Second)})
		if err != nil || len(settled.Missing) > 0 {
			t.Errorf("settling: %v, %v", settled, err)
		}
	}
	// The answered endpoint is settled, so both know both, and each other's host.
	for _, a := range []*agent{first, second} {
		if err := a.WaitFor(ctx, last); err != nil {
			t.Fatal(err)
		}
		if e, h := a.Bodies(protocol.KindEndpoint), a.Bodies(protocol.KindHost); len(e) != 2 || len(h) != 2 {
			t.Errorf("%s has endpoints %v and hosts %v", a.host, e, h)
		}
	}

	var refused *protocol.Error
	_, err := first.CreateEndpoint(ctx, protocol.CreateEndpointRequest{ID: id("h1", "d"), Tenant: "default", Network: "nowhere"})
	if !errors.As(err, &refused) || refused.Code != protocol.CodeNotFound {
		t.Errorf("got %v, want not found", err)
	}
	reserved, err := first.ReserveAddress(ctx, protocol.ReserveAddressRequest{Tenant: "default", Network: "web"})
	if err != nil || reserved.Bits != 24 {
		t.Errorf("reserved %+v, %v", reserved, err)
	}
	if err := first.ReleaseAddress(ctx, reserved.Token); err != nil {
		t.Error(err)
	}
	made, err := first.CreateNetwork(ctx, protocol.CreateNetworkRequest{Host: "h1", DockerNetworkID: "d1", Tenant: "default", Network: "docker-d1", Subnet: "10.9.0.0/16"})
	if err != nil || len(made.Records) != 1 {
		t.Fatalf("network %+v, %v", made, err)
	}
	if err := first.DeleteNetwork(ctx, protocol.DeleteNetworkRequest{Host: "h1", DockerNetworkID: "d1"}); err != nil {
		t.Error(err)
	}

	if err := first.DeleteEndpoint(ctx, id("h1", "c")); err != nil {
		t.Fatal(err)
	}
	first.await(t, "the end of what it needs", func(session.Status) bool {
		return len(first.Bodies(protocol.KindEndpoint))+len(first.Bodies(protocol.KindNetwork))+len(first.Bodies(protocol.KindHost)) == 0
	})
	second.await(t, "the end of the other", func(session.Status) bool {
		return len(second.Bodies(protocol.KindEndpoint)) == 1 && len(second.Bodies(protocol.KindHost)) == 1
	})
}
