package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Populations of P8, for 1 000 hosts. Tenants are spread over all hosts, the hardest that distribution can meet: of the
// first, each host has 100 endpoints on 100 networks and needs 5 000 remote ones, of the second all 20 000.
var (
	manyTenants = population{name: "100 tenants", tenants: 100, networks: 20, endpoints: 1000}
	oneTenant   = population{name: "one tenant", tenants: 1, networks: 20, endpoints: 20000}
)

// Rounds of P8: each takes seconds.
const (
	coldStarts = 3
	changes    = 9
)

// clusterTime is the longest that all agents may take to be settled.
const clusterTime = 5 * time.Minute

// scale measures a population of P8 on a netmaster process with its own embedded store and simulated agents in this
// process, each with a connection of its own.
//
// Figures: "memory" (bytes an endpoint), "memory whole", "peak", "first", "cold" and "cold cpu" (seconds), "ack" (ms), "concerned"
// (hosts) and "bytes" (to all agents, for one change).
func scale(p population) *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		if err := allowFiles(uint64(b.agents) + 1024); err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "contiv-scale-")
		if err != nil {
			return nil, fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		out := figures{}
		bare, err := emptyHosts(ctx, b, filepath.Join(dir, "empty"))
		if err != nil {
			return nil, err
		}
		return out, populated(ctx, b, p, filepath.Join(dir, "full"), bare, out)
	}}
}

// emptyHosts gives the memory of netmaster with all agents attached and no endpoint.
func emptyHosts(ctx context.Context, b *bench, dir string) (float64, error) {
	c, err := fill(ctx, population{name: "hosts without endpoints"}, b.agents, dir)
	if err != nil {
		return 0, err
	}
	m, err := startMaster(ctx, b, dir)
	if err != nil {
		return 0, err
	}
	defer m.stop()
	if err := attachAll(ctx, m, c); err != nil {
		return 0, err
	}
	return m.restedMemory(ctx)
}

// attachAll starts the agents of a cluster and waits until all have acknowledged everything.
func attachAll(ctx context.Context, m *master, c *cluster) error {
	if _, err := startFleet(ctx, m, c.agents); err != nil {
		return err
	}
	return m.acknowledged(ctx, len(c.agents))
}

// acknowledged waits until netmaster knows that all agents have realised all they need.
func (m *master) acknowledged(ctx context.Context, agents int) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTime)
	defer cancel()
	if err := m.fleet.settled(ctx, 1); err != nil {
		return err
	}
	return m.await(ctx, 20*time.Millisecond, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.rest+"/info", nil)
		if err != nil {
			return err //nolint:wrapcheck // does not happen
		}
		answer, err := send(request)
		if err != nil {
			return err
		}
		var info client.Info
		if err := json.Unmarshal(answer, &info); err != nil {
			return err //nolint:wrapcheck // shown as it is
		}
		behind := agents
		for _, host := range info.Hosts {
			if host.Connected && host.Acknowledged == host.Desired {
				behind--
			}
		}
		if behind > 0 {
			return fmt.Errorf("%d agents have not acknowledged everything", behind)
		}
		return nil
	})
}

func populated(ctx context.Context, b *bench, p population, dir string, bare float64, out figures) error {
	begin := time.Now()
	c, err := fill(ctx, p, b.agents, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  %s: in the store after %.1fs\n", p.name, time.Since(begin).Seconds())
	m, err := startMaster(ctx, b, dir)
	if err != nil {
		return err
	}
	defer m.stop()
	begin = time.Now()
	if err := attachAll(ctx, m, c); err != nil {
		return err
	}
	first := time.Since(begin)
	fmt.Fprintf(os.Stderr, "  %s: agents that held nothing have it after %.1fs, %d MB\n", p.name, first.Seconds(), m.fleet.received.Load()>>20)
	out.absolute("first", first.Seconds())
	out.absolute("first bytes", float64(m.fleet.received.Load())/float64(b.agents)/1e6)
	for range coldStarts {
		took, err := m.coldStart(ctx, b.agents)
		if err != nil {
			return err
		}
		cpu, err := cpuTime(m.cmd.Process.Pid)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  %s: cold start %.2fs, %.2fs of a processor\n", p.name, took.Seconds(), cpu.Seconds())
		out.absolute("cold", took.Seconds())
		out.absolute("cold cpu", cpu.Seconds())
	}
	peak, err := procValue(m.cmd.Process.Pid, "status", "VmHWM")
	if err != nil {
		return err
	}
	rested, err := m.restedMemory(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  %s: %.0f MB, %.0f MB without endpoints, peak %.0f MB\n", p.name, rested/1e6, bare/1e6, peak/1e6)
	out.absolute("memory", (rested-bare)/float64(p.total()))
	out.absolute("memory whole", rested/1e6)
	out.absolute("peak", peak/1e6)
	return m.changeEndpoints(ctx, c, out)
}

// coldStart kills netmaster and starts it again, and gives the time from start until all agents, which went on with
// what they held, have acknowledged.
func (m *master) coldStart(ctx context.Context, agents int) (time.Duration, error) {
	m.kill()
	begin := time.Now()
	if err := m.start(ctx); err != nil {
		return 0, err
	}
	if err := m.fleet.settled(ctx, 1); err != nil {
		return 0, err
	}
	err := m.acknowledged(ctx, agents)
	return time.Since(begin), err
}

// changeEndpoints makes endpoints, each on a host that is on the network already, and waits until every host that can
// meet it has acknowledged.
func (m *master) changeEndpoints(ctx context.Context, c *cluster, out figures) error {
	for i := range changes {
		number := c.endpoints + i
		host, network := c.place(0, i, len(c.agents))
		request := c.endpoint(0, number, host, network)
		agent := m.fleet.sessions[host]
		before, begin := m.fleet.received.Load(), time.Now()
		made, err := agent.CreateEndpoint(ctx, request)
		if err != nil {
			return err //nolint:wrapcheck // names the call
		}
		if err := settle(ctx, agent.Settle, protocol.SettleRequest{
			ID: request.ID, Revision: made.Position.Revision, Wait: protocol.Duration(time.Second),
		}); err != nil {
			return err
		}
		out.absolute("ack", time.Since(begin).Seconds()*1e3)
		out.absolute("bytes", float64(m.fleet.received.Load()-before)/1e3)
	}
	return nil
}

type settler func(context.Context, protocol.SettleRequest) (protocol.SettleReply, error)

// settle repeats the call, which waits a second at most, until no host is missing.
func settle(ctx context.Context, call settler, request protocol.SettleRequest) error {
	for deadline := time.Now().Add(clusterTime); time.Now().Before(deadline); {
		reply, err := call(ctx, request)
		if err != nil {
			return err
		}
		if len(reply.Missing) == 0 {
			return nil
		}
	}
	return errors.New("hosts do not acknowledge an endpoint")
}
