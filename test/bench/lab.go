package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/install/sandbox"
)

// lab is a sandbox whose workloads talk to each other.
type lab struct {
	*sandbox.Sandbox
	addrs map[string]string // by workload
	hosts map[string]int
}

// workers is how many objects or workloads are made at a time.
const workers = 8

func newLab(ctx context.Context, b *bench, config sandbox.Config) (*lab, error) {
	s, err := up(ctx, b, config)
	if err != nil {
		return nil, err
	}
	return &lab{Sandbox: s, addrs: map[string]string{}, hosts: map[string]int{}}, nil
}

func (l *lab) close() { down(l.Sandbox) }

// rest writes an object, such as "rules/default:p:1/".
func (l *lab) rest(ctx context.Context, path string, object map[string]any) error {
	object["tenantName"] = "default"
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return post(ctx, l.URL()+"/api/v1/"+path, string(body))
}

func (l *lab) network(ctx context.Context, name, subnet string) error {
	return l.rest(ctx, "networks/default:"+name+"/", map[string]any{"networkName": name, "encap": "vxlan", "subnet": subnet})
}

// group makes a group that denies what no rule of its policies allows, or one without policies.
func (l *lab) group(ctx context.Context, network, name string, policies ...string) error {
	object := map[string]any{"networkName": network, "groupName": name, "policies": policies}
	if len(policies) > 0 {
		object["defaultDeny"] = "in"
	}
	return l.rest(ctx, "endpointGroups/default:"+name+"/", object)
}

func (l *lab) policy(ctx context.Context, name string) error {
	return l.rest(ctx, "policys/default:"+name+"/", map[string]any{"policyName": name})
}

// rule adds a rule for what comes in.
func (l *lab) rule(ctx context.Context, policy string, number int, what map[string]any) error {
	what["policyName"], what["ruleId"], what["direction"] = policy, strconv.Itoa(number), "in"
	return l.rest(ctx, fmt.Sprintf("rules/default:%s:%d/", policy, number), what)
}

// start runs workloads, some at a time.
func (l *lab) start(ctx context.Context, workloads ...sandbox.Workload) error {
	found := make([]sandbox.WorkloadStatus, len(workloads))
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(workers)
	for i, w := range workloads {
		tasks.Go(func() (err error) {
			if found[i], err = l.Run(ctx, w); err != nil {
				return fmt.Errorf("starting a workload: %w", err)
			}
			return nil
		})
	}
	err := tasks.Wait()
	for _, w := range found {
		if len(w.Addresses) > 0 {
			l.addrs[w.Name], l.hosts[w.Name] = w.Addresses[0], w.Host
		}
	}
	return err //nolint:wrapcheck // made above
}

func (l *lab) netns(name string) string { return fmt.Sprintf("bench-%d-w-%s", os.Getpid(), name) }

// serve starts an iperf3 server; Down ends it with everything else in the namespace.
func (l *lab) serve(ctx context.Context, names ...string) error {
	for _, name := range names {
		server := exec.CommandContext(ctx, "ip", "netns", "exec", l.netns(name), "iperf3", "-s", "-D")
		if output, err := server.CombinedOutput(); err != nil {
			return fmt.Errorf("starting iperf3 in %s: %w: %s", name, err, output)
		}
	}
	return nil
}

// stream is what two seconds of TCP came to.
type stream struct {
	rate float64 // Mbit/s received
	cost float64 // milliseconds of the switches' processor time for 100 MB
}

// stream sends TCP from one workload to another.
func (l *lab) stream(ctx context.Context, from, to string) (stream, error) {
	before, err := l.switchTime(from, to)
	if err != nil {
		return stream{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client := exec.CommandContext(ctx, "ip", "netns", "exec", l.netns(from),
		"iperf3", "-c", l.addrs[to], "-t", "2", "-J", "--connect-timeout", "3000")
	output, err := client.Output()
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bytes float64 `json:"bytes"`
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if jsonErr := json.Unmarshal(output, &report); jsonErr != nil || report.Error != "" || report.End.Received.Rate == 0 {
		return stream{}, fmt.Errorf("iperf3 from %s to %s: %w %s", from, to, err, report.Error)
	}
	after, err := l.switchTime(from, to)
	if err != nil {
		return stream{}, err
	}
	return stream{report.End.Received.Rate / 1e6, milliseconds(after-before) / report.End.Received.Bytes * 1e8}, nil
}

// switchTime is the processor time that the switches of two workloads' hosts used.
func (l *lab) switchTime(one, other string) (total time.Duration, err error) {
	hosts := map[int]bool{l.hosts[one]: true, l.hosts[other]: true}
	for host := range hosts {
		used, err := cpuTime(l.PID(sandbox.OVS, host))
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

func (l *lab) onHost(ctx context.Context, host int, args ...string) error {
	_, err := l.output(ctx, host, args...)
	return err
}

func (l *lab) output(ctx context.Context, host int, args ...string) (string, error) {
	cmd, err := l.OnHost(ctx, host, args...)
	if err != nil {
		return "", err
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("on host %d: %v: %w: %s", host, args, err, output)
	}
	return output, nil
}

// flows counts those of a host's bridge, of one table or of all (-1).
func (l *lab) flows(ctx context.Context, host, table int) (float64, error) {
	what := ""
	if table >= 0 {
		what = fmt.Sprintf("table=%d", table)
	}
	text, err := l.output(ctx, host, "ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", "contivVxlanBridge", what)
	if err != nil {
		return 0, err
	}
	_, count, _ := strings.Cut(text, "flow_count=")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil {
		return 0, fmt.Errorf("counting the flows of host %d: %q", host, text)
	}
	return float64(n), nil
}

// steady waits until the flows of hosts are as many as they were a while ago.
func (l *lab) steady(ctx context.Context, hosts ...int) error {
	const pause, same = 200 * time.Millisecond, 5
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before := make([]float64, len(hosts))
	for quiet := 0; quiet < same; {
		quiet++
		for i, host := range hosts {
			now, err := l.flows(ctx, host, -1)
			if err != nil {
				return err
			}
			if now != before[i] {
				before[i], quiet = now, 0
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("flows keep changing: %w", ctx.Err())
		}
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
