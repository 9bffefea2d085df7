package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/ofnet/protocol"
)

const (
	changeHosts     = 50
	changeEndpoints = 20 // of each host
	changeRounds    = 400
)

// ruleChange measures how long a change of a rule takes to every one of 50 simulated hosts, all of which need it: from the
// REST call to when netmaster has the last acknowledgement.
//
// Figures: "median" and "p99" (ms).
func ruleChange() *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		dir, err := os.MkdirTemp("", "contiv-bench-")
		if err != nil {
			return nil, fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		m, err := startMaster(ctx, b, filepath.Join(dir, "store"))
		if err != nil {
			return nil, err
		}
		defer m.stop()
		if err := m.changeIntent(ctx); err != nil {
			return nil, err
		}
		var took []float64
		for i := range changeRounds {
			one, err := m.changeRule(ctx, i)
			if err != nil {
				return nil, err
			}
			took = append(took, milliseconds(one))
		}
		slices.Sort(took)
		out := figures{}
		out.absolute("median", median(took))
		out.absolute("p99", took[int(math.Ceil(0.99*float64(len(took))))-1])
		return out, nil
	}}
}

// changeIntent makes a group with a policy, and endpoints of it on every host.
func (m *master) changeIntent(ctx context.Context) error {
	for _, object := range [][2]string{
		{"networks/default:n/", networkN},
		{"policys/default:p/", `{"tenantName":"default","policyName":"p"}`},
		{"endpointGroups/default:g/", `{"tenantName":"default","networkName":"n","groupName":"g","policies":["p"]}`},
	} {
		if err := post(ctx, m.url(object[0]), object[1]); err != nil {
			return err
		}
	}
	sessions, err := m.agents(ctx, changeHosts)
	if err != nil {
		return err
	}
	for i, session := range sessions {
		for n := range changeEndpoints {
			if _, err := session.CreateEndpoint(ctx, protocol.CreateEndpointRequest{
				ID:     protocol.EndpointID{Host: fmt.Sprintf("host%d", i+1), ContainerID: fmt.Sprintf("%064x", i*1000+n), IfName: "eth0"},
				Tenant: "default", Network: "n", Groups: []string{"g"},
			}); err != nil {
				return err //nolint:wrapcheck // names the call
			}
		}
	}
	return m.acknowledged(ctx, changeHosts)
}

// changeRule adds a rule, or every other time removes that, and gives the time to the last acknowledgement.
func (m *master) changeRule(ctx context.Context, i int) (time.Duration, error) {
	key := fmt.Sprintf("default:p:%d", i/2)
	var before []int64
	for _, agent := range m.fleet.agents {
		before = append(before, agent.rules.Load())
	}
	begin := time.Now()
	if i%2 == 0 {
		if err := postRule(ctx, m, i/2); err != nil {
			return 0, err
		}
	} else {
		request, err := http.NewRequestWithContext(ctx, http.MethodDelete, m.url("rules/"+key+"/"), nil)
		if err != nil {
			return 0, fmt.Errorf("removing a rule: %w", err)
		}
		if _, err := send(request); err != nil {
			return 0, err
		}
	}
	return m.allTold(ctx, begin, before)
}

// allTold waits until every agent has one more change of rules than before, and netmaster knows that all have
// acknowledged what there is for them.
func (m *master) allTold(ctx context.Context, begin time.Time, before []int64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for i, agent := range m.fleet.agents {
		for agent.rules.Load() == before[i] {
			select {
			case <-time.After(100 * time.Microsecond):
			case <-ctx.Done():
				return 0, fmt.Errorf("%s is not told of a rule: %w", agent.host, ctx.Err())
			}
		}
	}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.rest+"/info", nil)
		if err != nil {
			return 0, fmt.Errorf("asking how far the hosts are: %w", err)
		}
		answer, err := send(request)
		if err != nil {
			return 0, err
		}
		var info client.Info
		if err := json.Unmarshal(answer, &info); err != nil {
			return 0, fmt.Errorf("reading how far the hosts are: %w", err)
		}
		if len(info.Hosts) != changeHosts {
			return 0, errors.New("not all simulated hosts are registered")
		}
		behind := func(h client.HostInfo) bool { return !h.Connected || h.Acknowledged != h.Desired }
		if !slices.ContainsFunc(info.Hosts, behind) {
			return time.Since(begin), nil
		}
	}
}
