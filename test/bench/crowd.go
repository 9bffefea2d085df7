package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/install/sandbox"
)

// What is on the hosts of the crowd: groups, each with a policy.
const (
	crowdGroups = 100
	crowdRules  = 50 // of one policy
)

// crowd measures a cluster in which hosts 1 and 2 have workloads of 100 groups and so all 5 000 rules, and hosts 3 and 4
// as many workloads of a group that has none: the denominator.
//
// Figures: "same" and "across" (Mbit/s), with " cost" (ms of the switches' processor time for 100 MB), "connections" and
// "connections across" (per second), "attach" (ms).
func crowd() *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		l, err := newLab(ctx, b, sandbox.Config{Hosts: 4})
		if err != nil {
			return nil, err
		}
		defer l.close()
		if err := l.gather(ctx); err != nil {
			return nil, err
		}
		rules, err := l.flows(ctx, 1, 50)
		if err != nil {
			return nil, err
		}
		bare, err := l.flows(ctx, 3, 50)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "  flows of rules: %.0f, and %.0f where there are none\n", rules, bare)
		out := figures{}
		if err := l.crowdTraffic(ctx, b, out); err != nil {
			return nil, err
		}
		return out, l.crowdAttach(ctx, b, out)
	}}
}

// gather makes the groups, rules and workloads. Workload "full-N" is of group N; "full-a" sends to "full-b" on its host
// and to "full-c", and so do "free-a", "free-b" and "free-c".
func (l *lab) gather(ctx context.Context) error {
	if err := l.network(ctx, "full", "10.1.0.0/16"); err != nil {
		return err
	}
	if err := l.network(ctx, "open", "10.2.0.0/16"); err != nil {
		return err
	}
	if err := l.group(ctx, "open", "free"); err != nil {
		return err
	}
	for _, write := range []func(context.Context, int) error{l.crowdGroup, l.crowdRules} {
		tasks, inner := errgroup.WithContext(ctx)
		tasks.SetLimit(workers)
		for i := range crowdGroups {
			tasks.Go(func() error { return write(inner, i) })
		}
		if err := tasks.Wait(); err != nil {
			return err //nolint:wrapcheck // names the object
		}
	}
	workloads := []sandbox.Workload{
		{Name: "full-a", Host: 1, Group: "g0"}, {Name: "full-b", Host: 1, Group: "g1"}, {Name: "full-c", Host: 2, Group: "g1"},
		{Name: "free-a", Host: 3, Group: "free"}, {Name: "free-b", Host: 3, Group: "free"}, {Name: "free-c", Host: 4, Group: "free"},
	}
	for i := range crowdGroups { // as many everywhere: the userspace datapath looks at every port for packets
		for host, group := range []string{fmt.Sprintf("g%d", i), fmt.Sprintf("g%d", i), "free", "free"} {
			workloads = append(workloads, sandbox.Workload{Name: fmt.Sprintf("x%d-%d", host+1, i), Host: host + 1, Group: group})
		}
	}
	if err := l.start(ctx, workloads...); err != nil {
		return err
	}
	if err := l.serve(ctx, "full-b", "full-c", "free-b", "free-c"); err != nil {
		return err
	}
	return l.steady(ctx, 1, 2, 3, 4)
}

// crowdGroup makes a group with its policy.
func (l *lab) crowdGroup(ctx context.Context, i int) error {
	name := fmt.Sprintf("g%d", i)
	if err := l.policy(ctx, name); err != nil {
		return err
	}
	return l.group(ctx, "full", name, name)
}

// crowdRules makes various rules of a group's policy, among them one for all TCP ports that are measured.
func (l *lab) crowdRules(ctx context.Context, i int) error {
	name := fmt.Sprintf("g%d", i)
	for j := range crowdRules {
		rule := map[string]any{
			"action": []string{"allow", "allow", "allow", "deny"}[j%4], "protocol": []string{"tcp", "tcp", "udp"}[j%3],
			"port": 1000 + j, "priority": 1 + j%10,
		}
		switch {
		case j == 0:
			rule = map[string]any{"action": "allow", "protocol": "tcp", "port": 5000, "portEnd": 9999, "priority": 20,
				"fromEndpointGroup": fmt.Sprintf("g%d", (i+crowdGroups-1)%crowdGroups)}
		case j%10 == 9:
			rule["fromIpAddress"] = fmt.Sprintf("10.3.%d.0/24", i)
		default:
			rule["fromEndpointGroup"] = fmt.Sprintf("g%d", (i+j)%crowdGroups)
		}
		if err := l.rule(ctx, name, j+1, rule); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) crowdTraffic(ctx context.Context, b *bench, out figures) error {
	for _, server := range []string{"full-b", "full-c", "free-b", "free-c"} {
		stop, err := l.accept(ctx, server)
		if err != nil {
			return err
		}
		defer stop()
	}
	for range b.pairs {
		for where, to := range map[string]string{"same": "b", "across": "c"} {
			if err := l.compareStreams(ctx, out, where, [2]string{"free-a", "free-" + to}, [2]string{"full-a", "full-" + to}); err != nil {
				return err
			}
		}
		for name, to := range map[string]string{"connections": "b", "connections across": "c"} {
			bare, err := l.connect(ctx, "free-a", l.addrs["free-"+to])
			if err != nil {
				return err
			}
			full, err := l.connect(ctx, "full-a", l.addrs["full-"+to])
			if err != nil {
				return err
			}
			out.add(name, bare, full)
		}
	}
	return nil
}

func (l *lab) crowdAttach(ctx context.Context, b *bench, out figures) error {
	free, full := l.attachPlugin(b, 3, "free"), l.attachPlugin(b, 1, "g7")
	spaces, err := makeSpaces(ctx, 1)
	if err != nil {
		return err
	}
	for round := -1; round < b.pairs; round++ { // the first round warms up
		bare, err := l.attachOne(ctx, free, 3, spaces[0], round)
		if err != nil {
			return err
		}
		with, err := l.attachOne(ctx, full, 1, spaces[0], round)
		if err != nil {
			return err
		}
		if round >= 0 {
			out.add("attach", bare, with)
		}
	}
	return nil
}
