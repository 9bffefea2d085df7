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

// lost counts the probes of 1 ms that kill -9 and restart of a component cost between two hosts, with rules, all rounds together:
// a median would hide the one that matters.
func lost(component sandbox.Component) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		l, err := newLab(ctx, b, sandbox.Config{Hosts: 2})
		if err != nil {
			return nil, err
		}
		defer l.close()
		if err := l.guarded(ctx); err != nil {
			return nil, err
		}
		if err := l.start(ctx, sandbox.Workload{Name: "a", Host: 1, Group: "guarded"}, sandbox.Workload{Name: "b", Host: 2, Group: "guarded"}); err != nil {
			return nil, err
		}
		total := 0
		for range b.pairs {
			result, err := killUnderProbe(ctx, l.Sandbox, component, netip.MustParseAddr(l.addrs["b"]))
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
