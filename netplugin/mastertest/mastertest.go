// Package mastertest is a netmaster for tests of the host side: it speaks the protocol on a real socket, has one
// network and one group, and can be told to fail, to fall silent and to go away.
package mastertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// Master is a netmaster in memory. What it knows survives Stop and Start, as in a store. All methods may be called at
// once.
type Master struct {
	address string
	listen  func(address string) (net.Listener, error)

	mu        sync.Mutex
	listener  net.Listener
	peers     map[*jsonrpc2.Conn]bool // whether registered
	serving   sync.WaitGroup
	revision  int64
	next      netip.Addr
	endpoints map[protocol.EndpointID]protocol.Record
	settled   []protocol.SettleRequest
	counted   protocol.Statistics
	acked     protocol.Ack
	registers []protocol.RegisterRequest
	// before, if set, is called before a method runs; an error is the answer. It is called without the lock.
	before func(method string) error
	tokens int
}

// What there is beside endpoints.
var (
	Network = protocol.Network{
		Tenant: "default", Name: "net", Type: "data", ID: 1, VRF: 1, Encap: protocol.EncapVXLAN, VNI: 7,
		Subnet: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.255.254"),
		Subnet6: netip.MustParsePrefix("fd00:1::/64"), Gateway6: netip.MustParseAddr("fd00:1::fe"),
	}
	Group  = protocol.Group{Tenant: "default", Name: "web", Network: "net", ID: 1}
	Global = protocol.Global{ForwardMode: "bridge", ARPMode: "proxy", MTUVXLAN: 1450, MTUVLAN: 1500}
)

// New starts a netmaster on a free port of the loopback; it ends with the test. listen makes its socket, nil: net.Listen.
func New(t *testing.T, listen func(address string) (net.Listener, error)) *Master {
	t.Helper()
	if listen == nil {
		listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	m := &Master{
		address: "127.0.0.1:0", listen: listen,
		revision: 10, next: netip.MustParseAddr("10.1.0.1"),
		endpoints: map[protocol.EndpointID]protocol.Record{},
	}
	m.Start(t)
	t.Cleanup(m.Stop)
	return m
}

// Address is the host:port it serves, the same after each Start.
func (m *Master) Address() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.address
}

// Start serves again after Stop.
func (m *Master) Start(t *testing.T) {
	t.Helper()
	listener, err := m.listen(m.Address())
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.listener, m.address, m.peers = listener, listener.Addr().String(), map[*jsonrpc2.Conn]bool{}
	m.mu.Unlock()
	m.serving.Go(func() { m.accept(listener) })
}

// Stop breaks all connections and refuses new ones.
func (m *Master) Stop() {
	m.mu.Lock()
	_ = m.listener.Close()
	for peer := range m.peers {
		_ = peer.Close()
	}
	m.peers = nil
	m.mu.Unlock()
	m.serving.Wait()
}

func (m *Master) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		stream := wire.NewStream(conn, wire.Options{Notify: m.notified})
		m.mu.Lock()
		if m.peers == nil {
			_ = conn.Close()
			m.mu.Unlock()
			return
		}
		peer := jsonrpc2.NewConn(context.Background(), stream, jsonrpc2.AsyncHandler(handlerFunc(m.handle)))
		m.peers[peer] = false
		m.mu.Unlock()
		m.serving.Go(func() { <-peer.DisconnectNotify() })
	}
}

type handlerFunc func(context.Context, *jsonrpc2.Conn, *jsonrpc2.Request)

func (f handlerFunc) Handle(ctx context.Context, conn *jsonrpc2.Conn, r *jsonrpc2.Request) {
	f(ctx, conn, r)
}

func (m *Master) handle(ctx context.Context, conn *jsonrpc2.Conn, r *jsonrpc2.Request) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(r.Method); err != nil {
			_ = conn.ReplyWithError(ctx, r.ID, wire.EncodeError(err))
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, after, err := m.answer(conn, r)
	if err != nil {
		_ = conn.ReplyWithError(ctx, r.ID, wire.EncodeError(err))
		return
	}
	if conn.Reply(ctx, r.ID, answer) == nil && after != nil {
		after()
	}
}

func (m *Master) notified(method string, params json.RawMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch method {
	case protocol.MethodStatistics:
		m.counted = protocol.Statistics{}
		return json.Unmarshal(params, &m.counted)
	case protocol.MethodAck:
		m.acked = protocol.Ack{}
		return json.Unmarshal(params, &m.acked)
	}
	return nil
}

func (m *Master) answer(conn *jsonrpc2.Conn, r *jsonrpc2.Request) (answer any, after func(), err error) {
	switch r.Method {
	case protocol.MethodRegister:
		return m.register(conn, r)
	case protocol.MethodPing:
		return struct{}{}, nil, nil
	case protocol.MethodCreateEndpoint:
		return m.create(r)
	case protocol.MethodDeleteEndpoint:
		var request protocol.DeleteEndpointRequest
		if err := json.Unmarshal(*r.Params, &request); err != nil {
			return nil, nil, err
		}
		return struct{}{}, m.remove(request.ID), nil
	case protocol.MethodSettleEndpoint:
		var request protocol.SettleRequest
		if err := json.Unmarshal(*r.Params, &request); err != nil {
			return nil, nil, err
		}
		m.settled = append(m.settled, request)
		return protocol.SettleReply{}, nil, nil
	case protocol.MethodReserveAddress:
		m.tokens++
		return protocol.ReserveAddressReply{Addr: m.next, Bits: 16, Token: fmt.Sprint("token", m.tokens)}, nil, nil
	case protocol.MethodReleaseAddress, protocol.MethodDeleteNetwork, protocol.MethodProviderEvent:
		return struct{}{}, nil, nil
	case protocol.MethodCreateNetwork:
		return protocol.CreateNetworkReply{Position: m.position(), Records: []protocol.Record{record(Network.Key(), 2, &Network)}}, nil, nil
	}
	return nil, nil, protocol.Errorf(protocol.CodeInvalid, "unknown method %s", r.Method)
}

func (m *Master) position() protocol.Position {
	return protocol.Position{Store: "store", Revision: m.revision}
}

func (m *Master) register(conn *jsonrpc2.Conn, r *jsonrpc2.Request) (any, func(), error) {
	var request protocol.RegisterRequest
	if err := json.Unmarshal(*r.Params, &request); err != nil {
		return nil, nil, err
	}
	m.registers = append(m.registers, request)
	for _, id := range request.Removed {
		m.remove(id)()
	}
	reply := protocol.RegisterReply{Version: protocol.Version, Masters: []string{m.address}}
	for _, one := range request.Attachments {
		if _, ok := m.endpoints[one.ID]; !ok {
			reply.Lost = append(reply.Lost, one.ID)
		}
	}
	return reply, func() {
		if m.peers == nil {
			return
		}
		m.peers[conn] = true
		all := make([]int, protocol.Buckets)
		for i := range all {
			all[i] = i
		}
		snapshot := protocol.Snapshot{Position: m.position(), Buckets: all, Last: true, Records: m.base()}
		for _, one := range m.endpoints {
			snapshot.Records = append(snapshot.Records, one)
		}
		_ = conn.Notify(context.Background(), protocol.MethodSnapshot, snapshot)
	}, nil
}

func (m *Master) base() []protocol.Record {
	return []protocol.Record{
		record("global", 1, &Global), record(Network.Key(), 2, &Network), record(Group.Key(), 3, &Group),
	}
}

func record(key string, revision int64, body protocol.Body) protocol.Record {
	made, err := protocol.NewRecord(key, revision, body)
	if err != nil {
		panic(err)
	}
	return made
}

func (m *Master) create(r *jsonrpc2.Request) (any, func(), error) {
	var request protocol.CreateEndpointRequest
	if err := json.Unmarshal(*r.Params, &request); err != nil {
		return nil, nil, err
	}
	if request.Network != "" && request.Network != Network.Name {
		return nil, nil, protocol.Errorf(protocol.CodeNotFound, "network %q of tenant %q does not exist", request.Network, request.Tenant)
	}
	existing, again := m.endpoints[request.ID]
	if !again {
		m.revision++
		four := m.next
		m.next = m.next.Next()
		mac := four.As4()
		existing = record(request.ID.String(), m.revision, &protocol.Endpoint{
			ID: request.ID, Tenant: request.Tenant, Network: Network.Name, Groups: request.Groups, IPv4: four,
			IPv6: netip.AddrFrom16([16]byte{0: 0xfd, 3: 1, 15: mac[3]}), Name: request.ContainerName,
			MAC: fmt.Sprintf("02:02:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3]),
		})
		m.endpoints[request.ID] = existing
	}
	answer := protocol.CreateEndpointReply{Position: m.position(), Records: append(m.base(), existing)}
	return answer, func() { m.stream(existing) }, nil
}

func (m *Master) remove(id protocol.EndpointID) func() {
	existing, ok := m.endpoints[id]
	if !ok {
		return func() {}
	}
	delete(m.endpoints, id)
	m.revision++
	existing.Revision, existing.Body = m.revision, nil
	return func() { m.stream(existing) }
}

// stream sends a change to everybody who is registered.
func (m *Master) stream(records ...protocol.Record) {
	for conn, registered := range m.peers {
		if !registered {
			continue
		}
		_ = conn.Notify(context.Background(), protocol.MethodChange, protocol.Change{Position: m.position(), Records: records})
	}
}

// FailOn makes one method fail until the answered function is called.
func (m *Master) FailOn(method string, failure error) (heal func()) {
	set := func(before func(string) error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.before = before
	}
	set(func(called string) error {
		if called == method {
			return failure
		}
		return nil
	})
	return func() { set(nil) }
}

// Release takes an endpoint away, as an operator does.
func (m *Master) Release(id protocol.EndpointID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(id)()
}

// Has tells whether there is such an endpoint.
func (m *Master) Has(id protocol.EndpointID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.endpoints[id]
	return ok
}

// Count is how many endpoints there are.
func (m *Master) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.endpoints)
}

// Registrations are all that were accepted so far.
func (m *Master) Registrations() []protocol.RegisterRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.registers)
}

// Settled are the requests to settle so far.
func (m *Master) Settled() []protocol.SettleRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.settled)
}

// Counted are the newest statistics.
func (m *Master) Counted() protocol.Statistics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counted
}

// Acked is the newest acknowledgement.
func (m *Master) Acked() protocol.Ack {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}
