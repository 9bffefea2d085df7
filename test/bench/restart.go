package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/test/probe"
)

// lost counts the probes of 1 ms that kill -9 and restart of a component cost between two hosts, all rounds together:
// a median would hide the one that matters.
func lost(component sandbox.Component) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		s, err := up(ctx, b, sandbox.Config{Hosts: 2})
		if err != nil {
			return nil, err
		}
		defer down(s)
		if err := netctl(ctx, s, "network", "create", "--subnet=10.1.2.0/24", "bench"); err != nil {
			return nil, err
		}
		if _, err := s.Run(ctx, sandbox.Workload{Name: "a", Host: 1, Network: "bench"}); err != nil {
			return nil, fmt.Errorf("starting a workload: %w", err)
		}
		far, err := s.Run(ctx, sandbox.Workload{Name: "b", Host: 2, Network: "bench"})
		if err != nil {
			return nil, fmt.Errorf("starting a workload: %w", err)
		}
		total := 0
		for range b.pairs {
			result, err := killUnderProbe(ctx, s, component, netip.MustParseAddr(far.Addresses[0]))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "  %v\n", result)
			total += result.Lost
		}
		return []pair{{denominator: 1, ours: float64(total)}}, nil
	}
}

func killUnderProbe(ctx context.Context, s *sandbox.Sandbox, component sandbox.Component, addr netip.Addr) (probe.Result, error) {
	from := func(f func() error) error { return s.Inside("a", f) }
	to := func(f func() error) error { return s.Inside("b", f) }
	p, err := probe.Start(ctx, from, to, addr, time.Millisecond)
	if err != nil {
		return probe.Result{}, fmt.Errorf("starting the probe: %w", err)
	}
	undisturbed := func() { <-time.After(time.Second) }
	undisturbed()
	err = s.Kill(component, 1)
	if err == nil {
		err = s.Start(ctx, component, 1)
	}
	if err == nil {
		err = s.WaitReady(ctx)
	}
	undisturbed()
	result := p.Stop()
	if err != nil {
		return result, fmt.Errorf("restarting %s: %w", component, err)
	}
	return result, nil
}

// ready measures how long a sandbox of three hosts takes to be ready, in seconds.
func ready(ctx context.Context, b *bench) ([]pair, error) {
	var pairs []pair
	for range b.pairs {
		begin := time.Now()
		s, err := up(ctx, b, sandbox.Config{Hosts: 3})
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{ours: time.Since(begin).Seconds()})
		down(s)
	}
	return pairs, nil
}
