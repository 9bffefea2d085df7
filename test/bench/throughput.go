package main

import (
	"context"
	"fmt"

	"github.com/contiv/contiv/install/sandbox"
)

// throughput compares TCP through our pipeline, with rules and connection tracking, with TCP through a bridge of the same
// switch processes, same datapath and same tunnel, whose only flow is NORMAL: from a to b on the same host, and to c on
// another.
//
// Figures, "same" and "across": Mbit/s; with " cost": milliseconds of the switches' processor time for 100 MB.
func throughput() *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		l, err := newLab(ctx, b, sandbox.Config{Hosts: 2})
		if err != nil {
			return nil, err
		}
		defer l.close()
		if err := l.buildThroughput(ctx); err != nil {
			return nil, err
		}
		out := figures{}
		for range b.pairs {
			for where, to := range map[string]string{"same": "b", "across": "c"} {
				if err := l.compareStreams(ctx, out, where, [2]string{"plain-a", "plain-" + to}, [2]string{"ours-a", "ours-" + to}); err != nil {
					return nil, err
				}
			}
		}
		return out, nil
	}}
}

// compareStreams sends first between the workloads that are the denominator, then between ours.
func (l *lab) compareStreams(ctx context.Context, out figures, where string, plain, ours [2]string) error {
	reference, err := l.stream(ctx, plain[0], plain[1])
	if err != nil {
		return err
	}
	own, err := l.stream(ctx, ours[0], ours[1])
	if err != nil {
		return err
	}
	out.add(where, reference.rate, own.rate)
	out.add(where+" cost", reference.cost, own.cost)
	return nil
}

// buildThroughput makes workloads a and b on host 1 and c on host 2, twice: "ours" attached by Contiv, in a group that
// lets in what a rule allows, "plain" on a bridge with one NORMAL flow.
func (l *lab) buildThroughput(ctx context.Context) error {
	if err := l.guarded(ctx); err != nil {
		return err
	}
	for i, name := range []string{"a", "b", "c"} {
		if err := l.start(ctx, sandbox.Workload{Name: "ours-" + name, Host: i/2 + 1, Group: "guarded"}); err != nil {
			return err
		}
		if err := l.plug(ctx, "plain-"+name, i/2+1, fmt.Sprintf("10.1.3.%d", i+1)); err != nil {
			return err
		}
	}
	return l.serve(ctx, "ours-b", "ours-c", "plain-b", "plain-c")
}

// guarded makes a network "bench" and a group "guarded" whose members let in what they send each other, and nothing else: a
// rule for each protocol that benchmarks use.
func (l *lab) guarded(ctx context.Context) error {
	if err := l.network(ctx, "bench", "10.1.2.0/24"); err != nil {
		return err
	}
	if err := l.policy(ctx, "bench"); err != nil {
		return err
	}
	if err := l.group(ctx, "bench", "guarded", "bench"); err != nil {
		return err
	}
	for i, protocol := range []string{"tcp", "udp"} {
		if err := l.rule(ctx, "bench", i+1, map[string]any{"action": "allow", "protocol": protocol, "fromEndpointGroup": "guarded"}); err != nil {
			return err
		}
	}
	return nil
}

// plug makes a namespace with a veth on the host's plain bridge.
func (l *lab) plug(ctx context.Context, name string, host int, addr string) error {
	l.addrs[name], l.hosts[name] = addr, host
	script := fmt.Sprintf(`set -e
ip netns add %[1]s
ip link add %[2]s type veth peer name eth0 netns %[1]s
ip link set %[2]s up
ip -n %[1]s addr add %[3]s/24 dev eth0
ip -n %[1]s link set eth0 mtu 1450 up
ip netns exec %[1]s ethtool -K eth0 tx off >/dev/null
ovs-vsctl --may-exist add-br plain -- set bridge plain datapath_type=netdev \
  -- --may-exist add-port plain vx-plain -- set interface vx-plain type=vxlan options:remote_ip=%[4]s options:key=9999 \
  -- add-port plain %[2]s
ovs-ofctl del-flows plain
ovs-ofctl add-flow plain actions=normal`, l.netns(name), "v-"+name, addr, fmt.Sprintf("198.19.0.%d", 3-host))
	return l.onHost(ctx, host, "bash", "-c", script)
}
