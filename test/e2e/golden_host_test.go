package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
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
}

// startBareHost attaches a host until its stop is called, and waits until it is.
func startBareHost(t *testing.T, name string, masters ...string) *bareHost {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	h := &bareHost{name: name}
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
	c.eventually(10*time.Second, "host "+name+" is attached", func() bool { return h.Status().Connected })
	return h
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
			return e, json.Unmarshal(record.Body, &e)
		}
	}
	return e, fmt.Errorf("the answer lacks endpoint %s", request.ID)
}

// Describe implements session.Agent.
func (h *bareHost) Describe(context.Context) (protocol.RegisterRequest, error) {
	return protocol.RegisterRequest{Host: h.name, MTU: 1500, VTEP: netip.MustParseAddr("192.0.2.1"), Build: "bare"}, nil
}

// Registered implements session.Agent.
func (h *bareHost) Registered(context.Context, protocol.RegisterRequest, protocol.RegisterReply) error {
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
