package main

import (
	"context"
	"fmt"

	"github.com/contiv/contiv/install/sandbox"
)

// How the cluster of growth is populated: on each of two hosts so many workloads of each group, before and after.
const (
	growthGroups = 10
	growthBefore = 1
	growthAfter  = 6
	growthRules  = 10 // of each group
)

// growth has the workloads of every group become six times as many, and counts flows on the first host.
//
// Figures: "policy", those of table POLICY after against before; "formula", what was added to a host that had no
// workload, but for the rules, against the formula of docs/pipeline.md.
func growth() *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		l, err := newLab(ctx, b, sandbox.Config{Hosts: 2})
		if err != nil {
			return nil, err
		}
		defer l.close()
		if err := l.growthIntent(ctx); err != nil {
			return nil, err
		}
		if err := l.steady(ctx, 1, 2); err != nil {
			return nil, err
		}
		base, err := l.otherFlows(ctx, 1)
		if err != nil {
			return nil, err
		}
		if err := l.populate(ctx, 0, growthBefore); err != nil {
			return nil, err
		}
		before, err := l.flows(ctx, 1, policyTable)
		if err != nil {
			return nil, err
		}
		if err := l.populate(ctx, growthBefore, growthAfter); err != nil {
			return nil, err
		}
		after, err := l.flows(ctx, 1, policyTable)
		if err != nil {
			return nil, err
		}
		others, err := l.otherFlows(ctx, 1)
		if err != nil {
			return nil, err
		}
		const networks, local, remote = 1, growthGroups * growthAfter, growthGroups * growthAfter
		out := figures{}
		out.add("policy", before, after)
		out.add("formula", 4*networks+9*local+4*remote, others-base)
		return out, nil
	}}
}

// policyTable is the number of table POLICY.
const policyTable = 50

// otherFlows counts those of a host but for the rules.
func (l *lab) otherFlows(ctx context.Context, host int) (float64, error) {
	all, err := l.flows(ctx, host, -1)
	if err != nil {
		return 0, err
	}
	rules, err := l.flows(ctx, host, policyTable)
	return all - rules, err
}

func (l *lab) growthIntent(ctx context.Context) error {
	if err := l.network(ctx, "bench", "10.1.0.0/16"); err != nil {
		return err
	}
	for i := range growthGroups {
		name := fmt.Sprintf("g%d", i)
		if err := l.policy(ctx, name); err != nil {
			return err
		}
		if err := l.group(ctx, "bench", name, name); err != nil {
			return err
		}
	}
	for i := range growthGroups {
		for j := range growthRules {
			rule := map[string]any{"action": "allow", "protocol": "tcp", "port": 1000 + j, "fromEndpointGroup": fmt.Sprintf("g%d", (i+j)%growthGroups)}
			if err := l.rule(ctx, fmt.Sprintf("g%d", i), j+1, rule); err != nil {
				return err
			}
		}
	}
	return nil
}

// populate starts the workloads of every group from one number to another, on both hosts.
func (l *lab) populate(ctx context.Context, from, to int) error {
	var workloads []sandbox.Workload
	for i := range growthGroups {
		for n := from; n < to; n++ {
			for host := 1; host <= 2; host++ {
				workloads = append(workloads, sandbox.Workload{Name: fmt.Sprintf("x%d-%d-%d", host, i, n), Host: host, Group: fmt.Sprintf("g%d", i)})
			}
		}
	}
	if err := l.start(ctx, workloads...); err != nil {
		return err
	}
	return l.steady(ctx, 1, 2)
}
