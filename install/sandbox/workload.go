package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	types "github.com/containernetworking/cni/pkg/types/100"
)

// Workload is what Run is asked for.
type Workload struct {
	Name    string            `json:"name"`
	Host    int               `json:"host"`
	Tenant  string            `json:"tenant,omitempty"`
	Network string            `json:"network,omitempty"`
	Group   string            `json:"group,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Command []string          `json:"command,omitempty"` // run in the background; none: an empty namespace
}

// workload is a running one.
type workload struct {
	Workload
	Addresses []string `json:"addresses"` // without prefix length
	MAC       string   `json:"mac"`
	Process   *process `json:"process,omitempty"`
}

// WorkloadStatus is a line of List.
type WorkloadStatus struct {
	Workload
	Addresses []string `json:"addresses"`
	MAC       string   `json:"mac"`
	NetNS     string   `json:"netns"`
	Running   bool     `json:"running"` // its command, if it has one
}

const (
	workloadInterface = "eth0"
	// attachTimeout is how long an attach or detach may take, as container runtimes limit it too.
	attachTimeout = 30 * time.Second
)

// Run makes a namespace, attaches it to the network through the CNI plugin of its host, and starts the command in it.
// On error nothing is left behind.
func (s *Sandbox) Run(ctx context.Context, w Workload) (WorkloadStatus, error) {
	if err := s.checkHost(w.Host); err != nil {
		return WorkloadStatus{}, err
	}
	if !validName.MatchString(w.Name) {
		return WorkloadStatus{}, fmt.Errorf("workload name %q: use up to 20 lower-case letters, digits and dashes", w.Name)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attachTimeout)
		defer cancel()
	}
	started := workload{Workload: w}
	err := s.claimWorkload(started)
	if err != nil {
		return WorkloadStatus{}, err
	}
	if err := s.runWorkload(ctx, &started); err != nil {
		return WorkloadStatus{}, errors.Join(err, s.removeWorkload(started))
	}
	err = s.change(func(rec *record) error { rec.Workloads[w.Name] = started; return nil })
	return s.status(started), err
}

func (s *Sandbox) claimWorkload(w workload) error {
	return s.change(func(rec *record) error {
		if _, taken := rec.Workloads[w.Name]; taken {
			return fmt.Errorf("workload %q exists already: remove it with \"contiv-sandbox rm %s\"", w.Name, w.Name)
		}
		rec.Workloads[w.Name] = w
		return nil
	})
}

func (s *Sandbox) runWorkload(ctx context.Context, w *workload) error {
	netns := s.workloadNetNS(w.Name)
	if err := addNetNS(netns); err != nil {
		return err
	}
	cni, list, runtime, err := s.cni(w.Workload)
	if err != nil {
		return err
	}
	answer, err := cni.AddNetworkList(ctx, list, runtime)
	if err != nil {
		return fmt.Errorf("attaching workload %q: %w", w.Name, err)
	}
	result, err := types.GetResult(answer)
	if err != nil {
		return fmt.Errorf("reading the CNI result of workload %q: %w", w.Name, err)
	}
	for _, ip := range result.IPs {
		w.Addresses = append(w.Addresses, ip.Address.IP.String())
	}
	for _, link := range result.Interfaces {
		if link.Sandbox != "" {
			w.MAC = link.Mac
		}
	}
	if len(w.Command) == 0 {
		return nil
	}
	args, err := s.withResolver(w.Command)
	if err != nil {
		return err
	}
	started, err := s.spawn(command{who: "workload-" + w.Name, netns: netns, args: args})
	if err != nil {
		return err
	}
	w.Process = &started
	return nil
}

// cni is the runtime's view of one workload: libcni, as kubelet's container runtime or Nomad would use it.
func (s *Sandbox) cni(w Workload) (*libcni.CNIConfig, *libcni.NetworkConfigList, *libcni.RuntimeConf, error) {
	section := map[string]any{}
	for key, value := range map[string]string{"tenant": w.Tenant, "network": w.Network, "group": w.Group} {
		if value != "" {
			section[key] = value
		}
	}
	labels := []map[string]string{} // the CNI convention for labels
	for _, key := range sortedKeys(w.Labels) {
		labels = append(labels, map[string]string{"key": key, "value": w.Labels[key]})
	}
	config, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "contiv-net",
		"plugins": []any{map[string]any{
			"type": "contivk8s", "agentSocket": s.hostDir(w.Host, "run", "contiv-cni.sock"),
			"args": map[string]any{"contiv": section, "cni": map[string]any{"labels": labels}},
		}},
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("encoding the CNI configuration: %w", err)
	}
	list, err := libcni.ConfListFromBytes(config)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the CNI configuration: %w", err)
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{s.config().BinDir}, s.hostDir(w.Host, "cni"), nil)
	runtime := &libcni.RuntimeConf{
		ContainerID: s.name + "-" + w.Name, NetNS: netnsPath(s.workloadNetNS(w.Name)), IfName: workloadInterface,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"CONTIV_NAME", w.Name}},
	}
	return cni, list, runtime, nil
}

// Remove ends a workload and detaches it. One that is not there is an error.
func (s *Sandbox) Remove(name string) error {
	rec, err := s.view()
	if err != nil {
		return err
	}
	w, ok := rec.Workloads[name]
	if !ok {
		return fmt.Errorf("there is no workload %q: see \"contiv-sandbox ps\"", name)
	}
	return s.removeWorkload(w)
}

// removeWorkload has time of its own: it also clears up after a caller that gave up.
func (s *Sandbox) removeWorkload(w workload) error {
	ctx, cancel := context.WithTimeout(context.Background(), attachTimeout)
	defer cancel()
	if w.Process != nil {
		if err := w.Process.kill(); err != nil {
			return err
		}
	}
	cni, list, runtime, err := s.cni(w.Workload)
	if err != nil {
		return err
	}
	if err := cni.DelNetworkList(ctx, list, runtime); err != nil {
		return fmt.Errorf("detaching workload %q: %w", w.Name, err)
	}
	if err := removeNetNS(s.workloadNetNS(w.Name)); err != nil {
		return err
	}
	return s.change(func(rec *record) error { delete(rec.Workloads, w.Name); return nil })
}

// List gives every workload by name.
func (s *Sandbox) List() ([]WorkloadStatus, error) {
	rec, err := s.view()
	if err != nil {
		return nil, err
	}
	list := make([]WorkloadStatus, 0, len(rec.Workloads))
	for _, name := range sortedKeys(rec.Workloads) {
		list = append(list, s.status(rec.Workloads[name]))
	}
	return list, nil
}

func (s *Sandbox) status(w workload) WorkloadStatus {
	return WorkloadStatus{Workload: w.Workload, Addresses: slices.Clone(w.Addresses), MAC: w.MAC,
		NetNS: netnsPath(s.workloadNetNS(w.Name)), Running: w.Process != nil && w.Process.alive()}
}

// Exec is a command to run inside a workload; the caller wires its input and output and starts it with RunCommand.
func (s *Sandbox) Exec(ctx context.Context, name string, args ...string) (*Command, error) {
	rec, err := s.view()
	if err != nil {
		return nil, err
	}
	if _, ok := rec.Workloads[name]; !ok {
		return nil, fmt.Errorf("there is no workload %q: see \"contiv-sandbox ps\"", name)
	}
	if len(args) == 0 {
		return nil, errors.New("no command given")
	}
	if args, err = s.withResolver(args); err != nil {
		return nil, err
	}
	return s.inside(ctx, s.workloadNetNS(name), s.Environment(0), args)
}

// OnHost is a command to run as a host, with the environment of its tools (ovs-vsctl, docker, netctl).
func (s *Sandbox) OnHost(ctx context.Context, host int, args ...string) (*Command, error) {
	if err := s.checkHost(host); err != nil {
		return nil, err
	}
	return s.inside(ctx, s.hostNetNS(host), s.Environment(host), args)
}

// Inside runs f on a thread in a workload's namespace; sockets that f makes stay there.
func (s *Sandbox) Inside(name string, f func() error) error {
	return inNetNS(s.workloadNetNS(name), f)
}

// InsideHost is Inside for a host.
func (s *Sandbox) InsideHost(host int, f func() error) error {
	return inNetNS(s.hostNetNS(host), f)
}

// Command is an exec.Cmd that is started in a namespace.
type Command struct {
	*exec.Cmd
	netns string
}

func (s *Sandbox) inside(ctx context.Context, netns string, env, args []string) (*Command, error) {
	if len(args) == 0 {
		return nil, errors.New("no command given")
	}
	path, err := lookPath(args[0], s.config().BinDir)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return &Command{Cmd: cmd, netns: netns}, nil
}

// lookPath finds a program in the sandbox's own directory first.
func lookPath(program, binDir string) (string, error) {
	if !strings.Contains(program, "/") {
		if own := filepath.Join(binDir, program); isExecutable(own) {
			return own, nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("finding program %q: %w", program, err)
	}
	return path, nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// Start begins the command in its namespace.
func (c *Command) Start() error { return inNetNS(c.netns, c.Cmd.Start) }

// Run starts the command and waits for it; the error is that of exec.Cmd.Wait.
func (c *Command) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// CombinedOutput runs the command and gives what it printed.
func (c *Command) CombinedOutput() (string, error) {
	var output strings.Builder
	c.Stdout, c.Stderr = &output, &output
	err := c.Run()
	return output.String(), err
}
