package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// bareHost is a host without a switch: it speaks netmaster's protocol as agents do, and realises nothing.
type bareHost struct {
	*session.Session
	name string
	stop func()

	mu   sync.Mutex
	has  map[protocol.EndpointID]protocol.Attachment // what it says that is plugged in
	lost []protocol.EndpointID                       // what it was told that it lost, the last time it registered
}

// startBareHost attaches a host until its stop is called, and waits until it is.
func startBareHost(t *testing.T, name string, masters ...string) *bareHost {
	t.Helper()
	h := &bareHost{name: name, has: map[protocol.EndpointID]protocol.Attachment{}}
	h.start(t, masters...)
	return h
}

// start attaches the host, again after stop, with what it has plugged in.
func (h *bareHost) start(t *testing.T, masters ...string) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	var err error
	h.Session, err = session.New(session.Config{Masters: masters, Agent: h, Log: logrus.NewEntry(log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) }) // ends without error when the context does
	h.stop = func() { cancel(); running.Wait() }
	c := &cluster{t: t}
	c.eventually(10*time.Second, "host "+h.name+" is attached", func() bool { return h.Status().Connected })
}

func (h *bareHost) id(container string) protocol.EndpointID {
	return protocol.EndpointID{Host: h.name, ContainerID: container, IfName: "eth0"}
}

// attach creates an endpoint and gives it as netmaster answered it.
func (h *bareHost) attach(ctx context.Context, request protocol.CreateEndpointRequest) (e protocol.Endpoint, err error) {
	reply, err := h.CreateEndpoint(ctx, request)
	if err != nil {
		return e, err
	}
	for _, record := range reply.Records {
		if record.Kind == protocol.KindEndpoint && record.Key == request.ID.String() {
			err := json.Unmarshal(record.Body, &e)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.has[e.ID] = protocol.Attachment{
				ID: e.ID, Tenant: e.Tenant, Network: e.Network, Groups: e.Groups, IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC,
			}
			return e, err
		}
	}
	return e, fmt.Errorf("the answer lacks endpoint %s", request.ID)
}

func (h *bareHost) detach(ctx context.Context, container string) error {
	h.mu.Lock()
	delete(h.has, h.id(container))
	h.mu.Unlock()
	return h.DeleteEndpoint(ctx, h.id(container))
}

// Describe implements session.Agent.
func (h *bareHost) Describe(context.Context) (protocol.RegisterRequest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return protocol.RegisterRequest{
		Host: h.name, MTU: 1500, VTEP: netip.MustParseAddr("192.0.2.1"), Build: "bare", Attachments: slices.Collect(maps.Values(h.has)),
	}, nil
}

// Registered implements session.Agent.
func (h *bareHost) Registered(_ context.Context, _ protocol.RegisterRequest, reply protocol.RegisterReply) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = reply.Lost
	for _, id := range reply.Lost {
		delete(h.has, id)
	}
	return nil
}

// Apply implements session.Agent.
func (h *bareHost) Apply(context.Context, drivers.Update) ([]protocol.NotRealised, error) {
	return nil, nil
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
