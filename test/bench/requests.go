package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// batch is how many requests are timed at a time: some tenths of a second. All batches together make fewer networks
// than there are VXLAN ids.
const batch = 1400

// request is a kind of request that P6 measures.
type request struct {
	name string
	// shape runs one on a store in memory.
	shape func(context.Context, *workshop) error
	// prepare makes what the requests need, and gives what does the one with a number; a client calls it with numbers
	// that leave the same rest when divided by clients.
	prepare func(ctx context.Context, m *master, clients int) (func(int) error, error)
}

var (
	networkCreate = request{"network create", func(ctx context.Context, w *workshop) error {
		_, err := w.CreateNetwork(ctx, &state.Network{TenantName: "default", NetworkName: "net1000", Encap: "vxlan", Subnet: "10.200.100.0/24"})
		return err
	}, func(ctx context.Context, m *master, _ int) (func(int) error, error) {
		if err := post(ctx, m.url("globals/global/"), `{"name":"global","vxlans":"1-16000"}`); err != nil {
			return nil, err
		}
		return func(i int) error {
			name := fmt.Sprintf("net%d", i)
			return post(ctx, m.url("networks/default:"+name+"/"),
				fmt.Sprintf(`{"tenantName":"default","networkName":"%s","encap":"vxlan","subnet":"10.%d.%d.0/24"}`, name, i/256, i%256))
		}, nil
	}}
	groupCreate = request{"group create", func(ctx context.Context, w *workshop) error {
		_, err := w.PutEndpointGroup(ctx, &state.EndpointGroup{TenantName: "default", NetworkName: "n", GroupName: "group1000"})
		return err
	}, func(ctx context.Context, m *master, _ int) (func(int) error, error) {
		return func(i int) error {
			name := fmt.Sprintf("group%d", i)
			return post(ctx, m.url("endpointGroups/default:"+name+"/"),
				fmt.Sprintf(`{"tenantName":"default","networkName":"n","groupName":"%s"}`, name))
		}, post(ctx, m.url("networks/default:n/"), networkN)
	}}
	ruleCreate = request{"rule create", func(ctx context.Context, w *workshop) error {
		_, err := w.PutPolicy(ctx, &state.Policy{TenantName: "default", PolicyName: "p"})
		if err == nil {
			_, err = w.CreateRule(ctx, &state.Rule{
				TenantName: "default", PolicyName: "p", RuleID: "1000", Direction: "in", Action: "allow", Protocol: "tcp", Port: 1000, Priority: 1,
			})
		}
		return err
	}, func(ctx context.Context, m *master, _ int) (func(int) error, error) {
		return func(i int) error { return postRule(ctx, m, i) }, post(ctx, m.url("policys/default:p/"), `{"tenantName":"default","policyName":"p"}`)
	}}
	addressReserve = request{"address in one network", func(ctx context.Context, w *workshop) error {
		_, err := w.ReserveAddress(ctx, "host1", &protocol.ReserveAddressRequest{Tenant: "default", Network: "n"})
		return err
	}, func(ctx context.Context, m *master, clients int) (func(int) error, error) {
		if err := post(ctx, m.url("networks/default:n/"), networkN); err != nil {
			return nil, err
		}
		agents, err := m.agents(ctx, clients)
		if err != nil {
			return nil, err
		}
		return func(i int) error {
			_, err := agents[i%clients].ReserveAddress(ctx, protocol.ReserveAddressRequest{Tenant: "default", Network: "n"})
			return err
		}, nil
	}}
)

const networkN = `{"tenantName":"default","networkName":"n","encap":"vxlan","subnet":"10.0.0.0/12"}`

// postRule makes a rule of policy p; no two are the same.
func postRule(ctx context.Context, m *master, i int) error {
	return post(ctx, m.url(fmt.Sprintf("rules/default:p:%d/", i)), fmt.Sprintf(`{"tenantName":"default","policyName":"p","ruleId":"%d",`+
		`"direction":"in","action":"allow","protocol":"tcp","port":%d,"priority":%d}`, i, i%60000+1, i/60000+1))
}

// rates compares a kind of request with the bare handler, both running all the time.
//
// Figures: "rate" (per second) and "cpu" (microseconds of the server's processor time for one).
func rates(kind request, clients int) *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		s, err := shapeOf(ctx, kind)
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "contiv-bench-")
		if err != nil {
			return nil, fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		bare, err := startBare(ctx, s, filepath.Join(dir, "bare"))
		if err != nil {
			return nil, err
		}
		defer bare.stop()
		m, err := startMaster(ctx, b, filepath.Join(dir, "ours"))
		if err != nil {
			return nil, err
		}
		defer m.stop()
		ours, err := kind.prepare(ctx, m, clients)
		if err != nil {
			return nil, err
		}
		out := figures{}
		for round := -1; round < b.pairs; round++ { // the first round warms up
			first := (round + 1) * batch
			reference, err := measureBatch(clients, first, bare.pid, func(int) error { return post(ctx, bare.url, "{}") })
			if err != nil {
				return nil, fmt.Errorf("bare handler: %w", err)
			}
			own, err := measureBatch(clients, first, m.cmd.Process.Pid, ours)
			if err != nil {
				return nil, fmt.Errorf("netmaster: %w", err)
			}
			if round >= 0 {
				out.add("rate", reference.perSecond, own.perSecond)
				out.add("cpu", reference.cpu, own.cpu)
			}
		}
		return out, nil
	}}
}

// served is what a batch of requests came to.
type served struct {
	perSecond float64
	cpu       float64 // microseconds of the server for one
}

func measureBatch(clients, first, pid int, do func(int) error) (served, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return served{}, err
	}
	rate, err := perSecond(clients, first, do)
	if err != nil {
		return served{}, err
	}
	after, err := cpuTime(pid)
	return served{rate, float64((after - before).Microseconds()) / batch}, err
}

// perSecond does a batch of requests from a number of clients; each number is handed to one client.
func perSecond(clients, first int, do func(int) error) (float64, error) {
	var next atomic.Int64
	errs := make([]error, clients)
	begin := time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= batch {
					return
				}
				if errs[client] = do(first + i); errs[client] != nil {
					return
				}
			}
		}()
	}
	wg.Wait()
	took := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return batch / took.Seconds(), nil
}

var keepAlive = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func post(ctx context.Context, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("POST %s: %w", url, err)
	}
	_, err = send(request)
	return err
}

// send does a request and gives the body of an answer of success.
func send(request *http.Request) ([]byte, error) {
	response, err := keepAlive.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s %s", request.Method, request.URL, response.Status, answer)
	}
	return answer, nil
}

// bareHandler is the process of serveBare.
type bareHandler struct {
	url  string
	pid  int
	stop func()
}

func startBare(ctx context.Context, s shape, dir string) (*bareHandler, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding the shape: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-bare", string(text), "-dir", dir)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	stop := func() {
		_ = input.Close()
		_ = cmd.Wait()
	}
	addr, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("the bare handler did not start: %w", err)
	}
	return &bareHandler{"http://" + strings.TrimSpace(addr), cmd.Process.Pid, stop}, nil
}
