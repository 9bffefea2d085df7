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
