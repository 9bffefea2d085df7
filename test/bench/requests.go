package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// batch is how many requests are timed at a time: some tenths of a second. All batches together make fewer networks
// than there are VXLAN ids.
const batch = 1400

// networkCreates compares networks created per second over REST with the bare handler.
func networkCreates(clients int) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		network, _, err := shapes(ctx)
		if err != nil {
			return nil, err
		}
		return compareRequests(ctx, b, clients, network, func(m *master) (func(int) error, error) {
			if err := post(ctx, "http://"+m.rest+"/api/v1/globals/global/", `{"name":"global","vxlans":"1-16000"}`); err != nil {
				return nil, err
			}
			return func(i int) error {
				name := fmt.Sprintf("net%d", i)
				body := fmt.Sprintf(`{"tenantName":"default","networkName":"%s","encap":"vxlan","subnet":"10.%d.%d.0/24"}`, name, i/256, i%256)
				return post(ctx, "http://"+m.rest+"/api/v1/networks/default:"+name+"/", body)
			}, nil
		})
	}
}

// addressReserves compares addresses allocated per second in one network, each client an agent of its own, with the
// bare handler.
func addressReserves(clients int) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		_, address, err := shapes(ctx)
		if err != nil {
			return nil, err
		}
		return compareRequests(ctx, b, clients, address, func(m *master) (func(int) error, error) {
			if err := post(ctx, "http://"+m.rest+"/api/v1/networks/default:n/",
				`{"tenantName":"default","networkName":"n","encap":"vxlan","subnet":"10.0.0.0/12"}`); err != nil {
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
		})
	}
}

// compareRequests times batches of the bare handler and of netmaster, both running all the time.
func compareRequests(ctx context.Context, b *bench, clients int, s shape, prepare func(*master) (func(int) error, error)) ([]pair, error) {
	dir, err := os.MkdirTemp("", "contiv-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	bare, stopBare, err := startBare(ctx, s, filepath.Join(dir, "bare"))
	if err != nil {
		return nil, err
	}
	defer stopBare()
	m, err := startMaster(ctx, b, filepath.Join(dir, "ours"))
	if err != nil {
		return nil, err
	}
	defer m.stop()
	ours, err := prepare(m)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for round := -1; round < b.pairs; round++ { // the first round warms up
		first := (round + 1) * batch
		reference, err := perSecond(clients, first, func(int) error { return post(ctx, "http://"+bare, "{}") })
		if err != nil {
			return nil, fmt.Errorf("bare handler: %w", err)
		}
		own, err := perSecond(clients, first, ours)
		if err != nil {
			return nil, fmt.Errorf("netmaster: %w", err)
		}
		if round >= 0 {
			pairs = append(pairs, pair{reference, own})
		}
	}
	return pairs, nil
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
	response, err := keepAlive.Do(request)
	if err != nil {
		return fmt.Errorf("POST %s: %w", url, err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("POST %s: %s %s %w", url, response.Status, answer, err)
	}
	return nil
}

func startBare(ctx context.Context, s shape, dir string) (addr string, stop func(), err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", nil, fmt.Errorf("encoding the shape: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-bare", string(text), "-dir", dir)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("starting the bare handler: %w", err)
	}
	stop = func() {
		_ = input.Close()
		_ = cmd.Wait()
	}
	addr, err = bufio.NewReader(output).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the bare handler did not start: %w", err)
	}
	return strings.TrimSpace(addr), stop, nil
}

// master is a netmaster process on loopback with an embedded store.
type master struct {
	rest, rpc string
	cmd       *exec.Cmd
	cancels   []func()
	output    bytes.Buffer
}

func startMaster(ctx context.Context, b *bench, dir string) (*master, error) {
	m := &master{}
	var err error
	if m.rest, err = freeAddress(); err != nil {
		return nil, err
	}
	if m.rpc, err = freeAddress(); err != nil {
		return nil, err
	}
	m.cmd = exec.CommandContext(ctx, filepath.Join(b.binDir, "netmaster"), "--data-dir", dir, "--run-dir", dir+"-run",
		"--external-address", m.rest, "--internal-address", m.rest, "--rpc-address", m.rpc, "--log-level", "warn")
	m.cmd.Stdout, m.cmd.Stderr = &m.output, &m.output
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting netmaster: %w", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if err = post(ctx, "http://"+m.rest+"/api/v1/tenants/warm/", `{"tenantName":"warm"}`); err == nil {
			return m, nil
		}
	}
	m.stop()
	return nil, fmt.Errorf("netmaster does not answer: %w: %s", err, m.output.String())
}

func (m *master) stop() {
	for _, cancel := range m.cancels {
		cancel()
	}
	_ = m.cmd.Process.Signal(os.Interrupt)
	_ = m.cmd.Wait()
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close() //nolint:errcheck // only its number is wanted
	return listener.Addr().String(), nil
}

// simulated is an agent without a datapath.
type simulated struct{ host string }

func (a simulated) Describe(context.Context) (protocol.RegisterRequest, error) {
	return protocol.RegisterRequest{Host: a.host, MTU: 1500, Datapath: "simulated"}, nil
}

func (simulated) Registered(context.Context, protocol.RegisterRequest, protocol.RegisterReply) error {
	return nil
}

func (simulated) Apply(context.Context, drivers.Update) ([]protocol.NotRealised, error) {
	return nil, nil
}

// agents attaches a number of simulated hosts.
func (m *master) agents(ctx context.Context, count int) ([]*session.Session, error) {
	var list []*session.Session
	for i := range count {
		s, err := session.New(session.Config{Masters: []string{m.rpc}, Agent: simulated{fmt.Sprintf("host%d", i+1)}, Log: silent()})
		if err != nil {
			return nil, fmt.Errorf("making an agent: %w", err)
		}
		runCtx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(runCtx) }()
		m.cancels = append(m.cancels, func() { cancel(); <-done })
		wait, cancelWait := context.WithTimeout(ctx, 10*time.Second)
		defer cancelWait()
		for !s.Connected() {
			select {
			case <-s.Changed():
			case <-wait.Done():
				return nil, fmt.Errorf("agent %d does not register: %s", i+1, s.Status().Problem)
			}
		}
		list = append(list, s)
	}
	return list, nil
}
