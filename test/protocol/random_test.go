package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestRandom changes records, calls, cuts connections and switches leaders at random; in between every host must hold
// exactly what it needs.
func TestRandom(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { random(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func random(t *testing.T, r *rand.Rand) {
	t.Helper()
	c := newCluster(t, 2, nil)
	c.change(globalRecord(1450))
	leader := 0
	var agents []*agent
	for i := range 4 {
		a, _ := c.start(fmt.Sprintf("h%d", i), i == 3)
		agents = append(agents, a)
	}
	for round := range 12 {
		for range 40 {
			a := agents[r.IntN(len(agents))]
			id := protocol.EndpointID{Host: fmt.Sprintf("h%d", r.IntN(5)), ContainerID: fmt.Sprintf("c%d", r.IntN(3)), IfName: "eth0"}
			network := fmt.Sprintf("n%d", r.IntN(4))
			switch n := r.IntN(100); {
			case n < 40:
				c.change(endpointRecord(id, network, fmt.Sprint(r.Int())))
			case n < 65:
				c.change(gone(protocol.KindEndpoint, id.String()))
			case n < 75:
				c.change(networkRecord(network, r.Uint32()))
			case n < 78:
				c.change(gone(protocol.KindNetwork, "default:"+network))
			case n < 81:
				c.change(globalRecord(1000 + r.IntN(400)))
			case n < 92:
				create(t, a, network)
			case n < 98:
				a.cut()
			default:
				leader = 1 - leader
				c.lead(leader)
			}
		}
		for _, a := range agents {
			a.settle(t, c)
		}
		for _, a := range agents {
			a.check(t, c)
		}
		position := c.position()
		eventually(t, fmt.Sprintf("acknowledgement in round %d", round), func() bool {
			return len(c.masters[leader].Acknowledged(position.Revision)) == 0
		})
	}
}

// create makes an endpoint through the session, which may be broken just then.
func create(t *testing.T, a *agent, network string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := protocol.EndpointID{Host: a.host, ContainerID: "c0", IfName: "eth0"}
	reply, err := a.CreateEndpoint(ctx, protocol.CreateEndpointRequest{ID: id, Tenant: "default", Network: network})
	if errors.Is(err, session.ErrUnreachable) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WaitFor(ctx, reply.Position.Revision); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotOfManyEndpoints is a sanity check of speed: 20 000 endpoints reach one agent in well under a second.
func TestSnapshotOfManyEndpoints(t *testing.T) {
	c := newCluster(t, 1, nil)
	fill(c, 20_000)
	begin := time.Now()
	a, _ := c.start("h0", false)
	a.settle(t, c)
	took := time.Since(begin)
	t.Logf("%d records in %v", a.Status().Records, took)
	if took > 10*time.Second { // the machine is shared and the race detector slow: only far too long is a failure
		t.Errorf("a snapshot took %v", took)
	}
	a.check(t, c)
}

func fill(c *cluster, endpoints int) {
	c.change(globalRecord(1450), networkRecord("n", 5))
	for i := range endpoints {
		id := protocol.EndpointID{Host: fmt.Sprintf("h%d", i%10), ContainerID: fmt.Sprintf("container-%d", i), IfName: "eth0"}
		c.change(endpointRecord(id, "n", "web"))
	}
}

func BenchmarkSnapshot20000(b *testing.B) {
	c := newCluster(b, 1, nil)
	fill(c, 20_000)
	for b.Loop() {
		a, stop := c.start("h0", false)
		a.settle(b, c)
		stop()
		eventually(b, "the end of the session", func() bool { return !c.masters[0].Connected("h0") })
	}
}
