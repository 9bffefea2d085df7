package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Component is a part of the cluster that can be started, stopped, killed and paused.
type Component string

// Components. OVS is two processes, ovsdb-server and ovs-vswitchd.
const (
	Netplugin Component = "netplugin"
	Netmaster Component = "netmaster"
	OVS       Component = "ovs"
	Store     Component = "store"
	Docker    Component = "docker"

	ovsDatabase Component = "ovsdb-server"
	ovsSwitch   Component = "ovs-vswitchd"
)

// Components lists all of them, for messages.
var Components = []Component{Netplugin, Netmaster, OVS, Store, Docker}

// StopGrace is how long Stop waits after SIGTERM before it kills. An engine gets dockerGrace: it gives each container
// ten seconds of its own.
const (
	StopGrace   = 5 * time.Second
	dockerGrace = 20 * time.Second
)

// switchNice is what the start script of Open vSwitch gives to its processes (ovs-ctl, --ovs-vswitchd-priority). The
// userspace datapath needs it: on a busy machine the sockets it reads from hold a quarter of a second of traffic.
const switchNice = -10

// processes of a component, in the order in which they are started.
func (c Component) processes() []Component {
	if c == OVS {
		return []Component{ovsDatabase, ovsSwitch}
	}
	return []Component{c}
}

// check refuses what this sandbox does not have.
func (s *Sandbox) check(component Component, host int) error {
	config := s.config()
	if err := s.checkHost(host); err != nil {
		return err
	}
	switch component {
	case Netplugin, OVS:
		return nil
	case Netmaster:
		if host > config.Netmasters {
			return fmt.Errorf("there is no netmaster %d: the sandbox has %d", host, config.Netmasters)
		}
		return nil
	case Store:
		if config.Store == StoreEmbedded {
			return errors.New("the store is embedded in netmaster: name netmaster, or use \"up --store etcd\"")
		}
		return nil
	case Docker:
		if !config.Docker {
			return errors.New("this sandbox has no Docker Engines: use \"up --docker\"")
		}
		return nil
	default:
		return fmt.Errorf("unknown component %q: use one of %v", component, Components)
	}
}

// Start starts a component of a host and returns when it listens. One that runs already is left alone.
func (s *Sandbox) Start(ctx context.Context, component Component, host int) error {
	if err := s.check(component, host); err != nil {
		return err
	}
	if s.config().Docker && (component == Netplugin || component == Docker) {
		if err := s.startHolder(ctx, host); err != nil {
			return err
		}
	}
	for _, part := range component.processes() {
		if err := s.startProcess(ctx, part, host); err != nil {
			return err
		}
	}
	if component == OVS {
		return s.addUnderlayBridge(ctx, host)
	}
	return nil
}

func (s *Sandbox) startProcess(ctx context.Context, part Component, host int) error {
	name := processName(part, host)
	rec, err := s.view()
	if err != nil {
		return err
	}
	if rec.Processes[name].alive() {
		return nil
	}
	start, listens, err := s.commandOf(part, host)
	if err != nil {
		return err
	}
	started, err := s.spawn(start)
	if err != nil {
		return err
	}
	if err := s.change(func(rec *record) error { rec.Processes[name] = started; return nil }); err != nil {
		return errors.Join(err, started.kill())
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = waitFor(ctx, func() bool { return !started.alive() || listens() })
	if err == nil && started.alive() {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("starting %s of host %d: %w", part, host, ctx.Err())
	}
	return fmt.Errorf("%s of host %d did not start; its log %s ends with:\n%s", part, host, s.logFile(name), s.logTail(name))
}

// commandOf tells how a process is started and how it is seen to be ready.
func (s *Sandbox) commandOf(part Component, host int) (command, func() bool, error) {
	start := command{who: processName(part, host), netns: s.hostNetNS(host), env: s.Environment(host)}
	ovs := s.hostDir(host, "ovs")
	switch part {
	case ovsDatabase:
		start.nice = switchNice
		start.args = []string{"ovsdb-server", ovs + "/conf.db", "--remote=punix:" + ovs + "/db.sock",
			"--pidfile=" + ovs + "/ovsdb-server.pid", "--no-chdir"}
		return start, s.answersUnix(ovs + "/db.sock"), s.createDatabase(host)
	case ovsSwitch:
		start.nice = switchNice
		start.args = []string{"ovs-vswitchd", "unix:" + ovs + "/db.sock",
			"--pidfile=" + ovs + "/ovs-vswitchd.pid", "--no-chdir", "-vconsole:warn"}
		return start, answersControl(ovs, "ovs-vswitchd"), nil
	case Netmaster:
		start.args = s.netmasterArgs(host)
		return start, s.answersTCP(s.managementAddr(host).Addr().String() + ":9999"), nil
	case Netplugin:
		start.args = s.netpluginArgs(host)
		return start, s.answersUnix(s.hostDir(host, "run", "contiv-cni.sock")), nil
	case Store:
		args, port, err := s.storeArgs(host)
		start.args = args
		return start, s.answersTCP(fmt.Sprintf("%s:%d", s.managementAddr(host).Addr(), port)), err
	case dockerHolder:
		start.args, start.netns = s.Engine(host).Holder(), "" // it enters the namespace by itself
		return start, s.Engine(host).Held, nil
	case Docker:
		return s.dockerCommand(host)
	default:
		return start, nil, fmt.Errorf("unknown component %q", part)
	}
}

func (s *Sandbox) netmasterArgs(host int) []string {
	config, addr := s.config(), s.managementAddr(host).Addr()
	args := []string{filepath.Join(config.BinDir, "netmaster"),
		"--external-address", "0.0.0.0:9999", "--internal-address", fmt.Sprintf("%s:9999", addr),
		"--rpc-address", fmt.Sprintf("%s:9001", addr), "--fwdmode", config.FwdMode,
		"--data-dir", s.hostDir(host, "netmaster"), "--run-dir", s.hostDir(host, "run")}
	args = append(args, s.storeFlag()...)
	return append(args, config.NetmasterArgs...)
}

func (s *Sandbox) netpluginArgs(host int) []string {
	config := s.config()
	var masters []string
	for n := 1; n <= config.Netmasters; n++ {
		masters = append(masters, fmt.Sprintf("%s:9001", s.managementAddr(n).Addr()))
	}
	args := []string{filepath.Join(config.BinDir, "netplugin"),
		"--host", s.hostName(host), "--netmaster", strings.Join(masters, ","), "--vtep-ip", s.vtepAddr(host).Addr().String(),
		"--datapath-type", "netdev", "--ovs-rundir", s.hostDir(host, "ovs"), "--run-dir", s.hostDir(host, "run")}
	if config.Docker {
		args = append(args, "--mode", "docker", "--docker-host", s.Engine(host).Host(), "--docker-plugin-dir", s.Engine(host).PluginDir())
	}
	return append(args, config.NetpluginArgs...)
}

// createDatabase makes an empty OVS configuration; one that is there is kept.
func (s *Sandbox) createDatabase(host int) error {
	for _, dir := range []string{"ovs", "run"} {
		if err := os.MkdirAll(s.hostDir(host, dir), 0o755); err != nil {
			return fmt.Errorf("making a directory of host %d: %w", host, err)
		}
	}
	file := s.hostDir(host, "ovs", "conf.db")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	output, err := exec.Command("ovsdb-tool", "create", file, "/usr/share/openvswitch/vswitch.ovsschema").CombinedOutput()
	if err != nil {
		return fmt.Errorf("making the OVS database of host %d: %w: %s", host, err, output)
	}
	return nil
}

// addUnderlayBridge gives the host its VTEP address on an OVS bridge: the userspace datapath sends tunnel packets out
// only through one (see reference of ovs-vswitchd "native tunneling"). Idempotent; needed again after a restart of
// the switch, which makes the bridge's interface anew.
func (s *Sandbox) addUnderlayBridge(ctx context.Context, host int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ovs-vsctl", "--db=unix:"+s.hostDir(host, "ovs", "db.sock"),
		"--", "--may-exist", "add-br", physicalBridge,
		"--", "set", "bridge", physicalBridge, "datapath_type=netdev", "fail_mode=standalone",
		"--", "--may-exist", "add-port", physicalBridge, hostUnderlayLink, "--", "list-br")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("making the underlay bridge of host %d: %w: %s", host, err, output)
	}
	for _, bridge := range strings.Fields(string(output)) {
		if err := waitFor(ctx, s.answersUnix(s.hostDir(host, "ovs", bridge+".mgmt"))); err != nil {
			return fmt.Errorf("bridge %s of host %d does not come up: %w", bridge, host, err)
		}
	}
	return inNetNS(s.hostNetNS(host), func() error {
		var err error
		if waitErr := waitFor(ctx, func() bool { err = addAddr(physicalBridge, s.vtepAddr(host)); return err == nil }); waitErr != nil {
			return fmt.Errorf("underlay bridge of host %d: %w", host, err)
		}
		return answerOwnARPOnly(hostUnderlayLink)
	})
}

// answerOwnARPOnly keeps the kernel from answering on a link for the addresses of others. What comes through a link that is
// in a bridge the kernel sees as well: it would answer for the bridge's address with the link's own MAC address, and who
// takes that answer for the later one sends where nobody listens.
func answerOwnARPOnly(link string) error {
	const only = "1"                                                                                         // if the address is that of the link asked on
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+link+"/arp_ignore", []byte(only), 0o644); err != nil { //nolint:gosec // of /proc/sys
		return fmt.Errorf("having %s answer ARP only for itself: %w", link, err)
	}
	return nil
}

// Stop ends a component cleanly; after StopGrace it is killed.
func (s *Sandbox) Stop(component Component, host int) error {
	grace := StopGrace
	if component == Docker {
		grace = dockerGrace
	}
	return s.eachProcess(component, host, func(p process) error { return p.stop(grace) })
}

// Kill ends a component with SIGKILL.
func (s *Sandbox) Kill(component Component, host int) error {
	return s.eachProcess(component, host, process.kill)
}

// Restart is Stop and Start.
func (s *Sandbox) Restart(ctx context.Context, component Component, host int) error {
	if err := s.Stop(component, host); err != nil {
		return err
	}
	return s.Start(ctx, component, host)
}

// Pause stops a component's processes in their tracks (SIGSTOP) until Resume.
func (s *Sandbox) Pause(component Component, host int) error {
	return s.eachProcess(component, host, func(p process) error { return p.signal(syscall.SIGSTOP) })
}

// Resume lets a paused component go on.
func (s *Sandbox) Resume(component Component, host int) error {
	return s.eachProcess(component, host, func(p process) error { return p.signal(syscall.SIGCONT) })
}

// Running tells whether every process of a component lives.
func (s *Sandbox) Running(component Component, host int) bool {
	rec, err := s.view()
	return err == nil && !slices.ContainsFunc(component.processes(), func(part Component) bool {
		return !rec.Processes[processName(part, host)].alive()
	})
}

// PID of a component's (main) process, 0 if it does not run.
func (s *Sandbox) PID(component Component, host int) int {
	rec, err := s.view()
	if err != nil {
		return 0
	}
	parts := component.processes()
	p := rec.Processes[processName(parts[len(parts)-1], host)]
	if !p.alive() {
		return 0
	}
	return p.PID
}

// eachProcess works on the processes of a component, the last started first.
func (s *Sandbox) eachProcess(component Component, host int, f func(process) error) error {
	if err := s.check(component, host); err != nil {
		return err
	}
	rec, err := s.view()
	if err != nil {
		return err
	}
	var errs []error
	for _, part := range slices.Backward(component.processes()) {
		if p, ok := rec.Processes[processName(part, host)]; ok {
			errs = append(errs, f(p))
		}
	}
	return errors.Join(errs...)
}

// answersControl tells whether a daemon of Open vSwitch serves its control socket, found as ovs-appctl finds it.
func answersControl(dir, daemon string) func() bool {
	return func() bool {
		pid, err := os.ReadFile(filepath.Join(dir, daemon+".pid"))
		return err == nil && answers("unix", filepath.Join(dir, daemon+"."+strings.TrimSpace(string(pid))+".ctl"))()
	}
}

func (s *Sandbox) answersUnix(path string) func() bool { return answers("unix", path) }

func (s *Sandbox) answersTCP(addr string) func() bool { return answers("tcp", addr) }

func answers(network, addr string) func() bool {
	return func() bool {
		conn, err := net.DialTimeout(network, addr, time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}
}
