package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// path of a throughput measurement: from host 1 to another workload there, or to one on host 2.
type path int

const (
	sameHost path = iota
	acrossHosts
)

// throughput compares TCP through our pipeline with TCP through a bridge of the same switch processes, same datapath
// and same tunnel, whose only flow is NORMAL.
func throughput(where path) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		lab, err := newThroughputLab(ctx, b)
		if err != nil {
			return nil, err
		}
		defer lab.close()
		var pairs []pair
		for range b.pairs {
			plain, err := lab.measure(ctx, "plain", where)
			if err != nil {
				return nil, err
			}
			ours, err := lab.measure(ctx, "ours", where)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, pair{plain, ours})
		}
		return pairs, nil
	}
}

// throughputLab is a sandbox of two hosts with workloads a and b on host 1 and c on host 2, twice: "ours" attached
// by Contiv, "plain" on a bridge with one NORMAL flow.
type throughputLab struct {
	*sandbox.Sandbox
	addrs map[string]string // "ours-b" -> address
}

func newThroughputLab(ctx context.Context, b *bench) (*throughputLab, error) {
	s, err := up(ctx, b, sandbox.Config{Hosts: 2})
	if err != nil {
		return nil, err
	}
	lab := &throughputLab{Sandbox: s, addrs: map[string]string{}}
	if err := lab.build(ctx); err != nil {
		lab.close()
		return nil, err
	}
	return lab, nil
}

func (l *throughputLab) build(ctx context.Context) error {
	if err := netctl(ctx, l.Sandbox, "network", "create", "--subnet=10.1.2.0/24", "bench"); err != nil {
		return err
	}
	places := []struct {
		name string
		host int
	}{{"a", 1}, {"b", 1}, {"c", 2}}
	for i, place := range places {
		w, err := l.Run(ctx, sandbox.Workload{Name: "ours-" + place.name, Host: place.host, Network: "bench"})
		if err != nil {
			return fmt.Errorf("starting a workload: %w", err)
		}
		l.addrs[w.Name] = w.Addresses[0]
		if err := l.plug(ctx, "plain-"+place.name, place.host, fmt.Sprintf("10.1.3.%d", i+1)); err != nil {
			return err
		}
	}
	for _, server := range []string{"ours-b", "ours-c", "plain-b", "plain-c"} {
		if err := l.serve(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

// plug makes a namespace with a veth on the host's plain bridge.
func (l *throughputLab) plug(ctx context.Context, name string, host int, addr string) error {
	netns, link, peer := l.netns(name), "v-"+name, fmt.Sprintf("198.19.0.%d", 3-host)
	l.addrs[name] = addr
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
ovs-ofctl add-flow plain actions=normal`, netns, link, addr, peer)
	return l.onHost(ctx, host, "bash", "-c", script)
}

func (l *throughputLab) netns(name string) string {
	return fmt.Sprintf("bench-%d-w-%s", os.Getpid(), name)
}

// serve starts an iperf3 server; Down ends it with everything else in the namespace.
func (l *throughputLab) serve(ctx context.Context, name string) error {
	server := exec.CommandContext(ctx, "ip", "netns", "exec", l.netns(name), "iperf3", "-s", "-D")
	if output, err := server.CombinedOutput(); err != nil {
		return fmt.Errorf("starting iperf3 in %s: %w: %s", name, err, output)
	}
	return nil
}

// measure gives Mbit/s received in two seconds.
func (l *throughputLab) measure(ctx context.Context, kind string, where path) (float64, error) {
	target := kind + "-b"
	if where == acrossHosts {
		target = kind + "-c"
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client := exec.CommandContext(ctx, "ip", "netns", "exec", l.netns(kind+"-a"),
		"iperf3", "-c", l.addrs[target], "-t", "2", "-J", "--connect-timeout", "3000")
	output, err := client.Output()
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if jsonErr := json.Unmarshal(output, &report); jsonErr != nil || report.Error != "" || report.End.Received.Rate == 0 {
		return 0, fmt.Errorf("iperf3 from %s-a to %s: %w %s", kind, target, err, report.Error)
	}
	return report.End.Received.Rate / 1e6, nil
}

func (l *throughputLab) close() { down(l.Sandbox) }

func (l *throughputLab) onHost(ctx context.Context, host int, args ...string) error {
	cmd, err := l.OnHost(ctx, host, args...)
	if err != nil {
		return err
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("on host %d: %v: %w: %s", host, args, err, output)
	}
	return nil
}

// up brings up a sandbox of this run.
func up(ctx context.Context, b *bench, config sandbox.Config) (*sandbox.Sandbox, error) {
	config.Name, config.BinDir = fmt.Sprintf("bench-%d", os.Getpid()), b.binDir
	s, err := sandbox.Up(ctx, config, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("bringing up a sandbox: %w", err)
	}
	return s, nil
}

func down(s *sandbox.Sandbox) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Down(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func netctl(ctx context.Context, s *sandbox.Sandbox, args ...string) error {
	cmd, err := s.OnHost(ctx, 1, append([]string{"netctl"}, args...)...)
	if err != nil {
		return err
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("netctl %v: %w: %s", args, err, output)
	}
	return nil
}
