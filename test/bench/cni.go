package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// plugin is a CNI plugin as a runtime would run it: one process per command.
type plugin struct {
	binary string
	config string // network configuration on stdin
	env    []string
}

// attach compares the time of CNI ADD and DEL, whole process, of contivk8s with that of the reference bridge plugin
// with host-local addresses; width processes run at once and the time is that of all of them.
func attach(width int) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		if b.cniDir == "" {
			return nil, fmt.Errorf("CONTIV_CNI_BIN must name the directory of the reference plugins: use \"make bench\"")
		}
		s, err := up(ctx, b, sandbox.Config{Hosts: 1})
		if err != nil {
			return nil, err
		}
		defer down(s)
		if err := netctl(ctx, s, "network", "create", "--subnet=10.1.0.0/16", "bench"); err != nil {
			return nil, err
		}
		ours := plugin{binary: filepath.Join(b.binDir, "contivk8s"), env: s.Environment(1),
			config: `{"cniVersion":"1.0.0","name":"bench","type":"contivk8s","network":"bench"}`}
		reference := plugin{binary: filepath.Join(b.cniDir, "bridge"),
			config: `{"cniVersion":"1.0.0","name":"reference","type":"bridge","bridge":"cnibench","isGateway":false,
				"ipam":{"type":"host-local","subnet":"10.2.0.0/16","dataDir":"` + s.Dir() + `/host-local"}}`}
		return comparePlugins(ctx, s, b.pairs, width, reference, ours)
	}
}

func comparePlugins(ctx context.Context, s *sandbox.Sandbox, count, width int, reference, ours plugin) ([]pair, error) {
	spaces, err := makeSpaces(ctx, width)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for round := -1; round < count; round++ { // the first round warms up
		var took [2]float64
		for i, p := range []plugin{reference, ours} {
			begin := time.Now()
			for _, command := range []string{"ADD", "DEL"} {
				if err := p.runAll(ctx, s, command, spaces, round); err != nil {
					return nil, err
				}
			}
			took[i] = float64(time.Since(begin).Microseconds()) / 1000
			<-time.After(100 * time.Millisecond) // what either leaves to the kernel or the switch is not the other's
		}
		if round >= 0 {
			pairs = append(pairs, pair{took[0], took[1]})
		}
	}
	return pairs, nil
}

// makeSpaces makes namespaces that go with the sandbox.
func makeSpaces(ctx context.Context, count int) (names []string, err error) {
	for i := range count {
		name := fmt.Sprintf("bench-%d-w-cni%d", os.Getpid(), i)
		if output, err := exec.CommandContext(ctx, "ip", "netns", "add", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("making a namespace: %w: %s", err, output)
		}
		names = append(names, name)
	}
	return names, nil
}

// runAll runs a command for every namespace at once.
func (p plugin) runAll(ctx context.Context, s *sandbox.Sandbox, command string, spaces []string, round int) error {
	var wg sync.WaitGroup
	errs := make([]error, len(spaces))
	for i, space := range spaces {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = p.run(ctx, s, 1, command, space, fmt.Sprintf("bench-%d-%d", round+1, i))
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p plugin) run(ctx context.Context, s *sandbox.Sandbox, host int, command, space, id string) error {
	cmd := exec.CommandContext(ctx, p.binary)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+command, "CNI_CONTAINERID="+id, "CNI_NETNS=/run/netns/"+space, "CNI_IFNAME=eth0",
		"CNI_PATH="+filepath.Dir(p.binary))
	cmd.Stdin = bytes.NewBufferString(p.config)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := s.InsideHost(host, cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(p.binary), err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(p.binary), command, err, output.String())
	}
	return nil
}
