package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/install/sandbox"
)

const (
	connectTime    = time.Second
	connectClients = 4
	connectPort    = 9000
)

// accept answers connections to a workload with one byte until stop is called.
func (l *lab) accept(ctx context.Context, name string) (stop func(), err error) {
	var listener net.Listener
	err = l.Inside(name, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf(":%d", connectPort))
		return err //nolint:wrapcheck // below
	})
	if err != nil {
		return nil, fmt.Errorf("listening in %s: %w", name, err)
	}
	serve := func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var word [1]byte
			if _, err := conn.Read(word[:]); err == nil {
				_, _ = conn.Write(word[:])
				_, _ = conn.Read(word[:]) // until the client ends it
			}
			_ = conn.Close()
		}
	}
	for range connectClients {
		go serve()
	}
	return func() { _ = listener.Close() }, nil
}

// connect gives how many connections per second some clients in a workload make, each one byte to and fro.
func (l *lab) connect(ctx context.Context, from, addr string) (float64, error) {
	var counts [connectClients]int
	end := time.Now().Add(connectTime)
	clients, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for i := range counts {
		clients.Go(func() error {
			return l.Inside(from, func() error {
				for time.Now().Before(end) {
					if err := once(ctx, addr); err != nil {
						return err
					}
					counts[i]++
				}
				return nil
			})
		})
	}
	if err := clients.Wait(); err != nil {
		return 0, fmt.Errorf("connecting from %s: %w", from, err)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(begin).Seconds(), nil
}

// once makes a connection and ends it by a reset, which leaves no port behind that rests.
func once(ctx context.Context, addr string) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", addr, connectPort))
	if err != nil {
		return err //nolint:wrapcheck // says it all
	}
	defer conn.Close() //nolint:errcheck // a reset
	err = conn.(*net.TCPConn).SetLinger(0)
	word := []byte{1}
	if err == nil {
		_, err = conn.Write(word)
	}
	if err == nil {
		_, err = conn.Read(word)
	}
	return err //nolint:wrapcheck // says it all
}

// services compares connections through a service that has one provider on another host with those to the provider
// itself.
func services(ctx context.Context, b *bench) ([]pair, error) {
	l, err := newLab(ctx, b, sandbox.Config{Hosts: 2})
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.guarded(ctx); err != nil {
		return nil, err
	}
	if err := l.start(ctx, sandbox.Workload{Name: "client", Host: 1, Group: "guarded"},
		sandbox.Workload{Name: "provider", Host: 2, Group: "guarded", Labels: map[string]string{"app": "bench"}}); err != nil {
		return nil, err
	}
	const vip = "10.1.2.200"
	if err := l.rest(ctx, "serviceLBs/default:bench/", map[string]any{
		"serviceName": "bench", "networkName": "bench", "ipAddress": vip, "selectors": []string{"app=bench"},
		"ports": []string{fmt.Sprintf("%d:%d:TCP", connectPort, connectPort)},
	}); err != nil {
		return nil, err
	}
	stop, err := l.accept(ctx, "provider")
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := l.steady(ctx, 1, 2); err != nil {
		return nil, err
	}
	var pairs []pair
	for round := -1; round < b.pairs; round++ { // the first round warms up
		var rates [2]float64
		for i, addr := range []string{l.addrs["provider"], vip} {
			if rates[i], err = l.connect(ctx, "client", addr); err != nil {
				return nil, err
			}
		}
		if round >= 0 {
			pairs = append(pairs, pair{rates[0], rates[1]})
		}
	}
	return pairs, nil
}

// attachOne attaches and detaches workloads, one after the other, and gives the time of one CNI ADD, in milliseconds.
func (l *lab) attachOne(ctx context.Context, p plugin, host int, space string, round int) (float64, error) {
	const times = 4
	var took time.Duration
	for i := range times {
		id := fmt.Sprintf("bench-%d-%d-%d", host, round+1, i)
		begin := time.Now()
		err := p.run(ctx, l.Sandbox, host, "ADD", space, id)
		took += time.Since(begin)
		if err = errors.Join(err, p.run(ctx, l.Sandbox, host, "DEL", space, id)); err != nil {
			return 0, err
		}
	}
	return milliseconds(took) / times, nil
}

// attachPlugin is ours, as a runtime calls it on a host for a member of a group.
func (l *lab) attachPlugin(b *bench, host int, group string) plugin {
	return plugin{binary: b.binDir + "/contivk8s", env: append(os.Environ(), l.Environment(host)...),
		config: `{"cniVersion":"1.0.0","name":"bench","type":"contivk8s","group":"` + group + `"}`}
}
