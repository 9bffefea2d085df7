// Package ovstest starts a private Open vSwitch for tests: its own database and its own ovs-vswitchd with the userspace
// datapath, in a network namespace of its own, because the userspace datapath makes a device of fixed name. All files are
// in a temporary directory. It needs root and the openvswitch-switch package, no running service.
package ovstest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/contiv/contiv/ofnet/openflow/unixctl"
)

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// patience bounds every wait of this package.
const patience = 20 * time.Second

// OVS is a running Open vSwitch with one bridge.
type OVS struct {
	Dir    string // run directory: sockets and pid files
	NetNS  string // name of the network namespace that ovs-vswitchd lives in
	Bridge string
	t      testing.TB
}

var instances atomic.Int32

// Start runs an Open vSwitch with one netdev bridge, fail_mode secure, and stops it when the test ends.
func Start(tb testing.TB) *OVS {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // TempDir makes names that are too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	o := &OVS{Dir: dir, NetNS: fmt.Sprintf("ovstest-%d-%d", os.Getpid(), instances.Add(1)), Bridge: "br-test", t: tb}
	tb.Cleanup(o.stop)
	o.Run("ip", "netns", "add", o.NetNS)
	o.Run("ovsdb-tool", "create", o.path("conf.db"), schema)
	o.Run("ovsdb-server", o.path("conf.db"), "--remote=punix:"+o.path("db.sock"), "--unixctl="+o.path("ovsdb.ctl"),
		"--pidfile="+o.path("ovsdb-server.pid"), "--log-file="+o.path("ovsdb.log"), "--detach", "--no-chdir")
	o.Vsctl("--no-wait", "init")
	o.StartSwitch()
	o.Vsctl("add-br", o.Bridge, "--", "set", "bridge", o.Bridge, "datapath_type=netdev", "fail_mode=secure",
		"protocols=[OpenFlow10,OpenFlow13,OpenFlow15]")
	o.Wait("socket of "+o.Bridge, func() bool { _, err := os.Stat(o.Socket()); return err == nil })
	return o
}

// Socket is the path of the bridge's OpenFlow management socket.
func (o *OVS) Socket() string { return o.path(o.Bridge + ".mgmt") }

// DB is the path of the database's socket.
func (o *OVS) DB() string { return o.path("db.sock") }

func (o *OVS) path(name string) string { return filepath.Join(o.Dir, name) }

// StartSwitch starts ovs-vswitchd again after StopSwitch.
func (o *OVS) StartSwitch() {
	o.t.Helper()
	o.RunInside("ovs-vswitchd", "unix:"+o.DB(), "--unixctl="+o.path("vswitchd.ctl"), "--pidfile="+o.path("ovs-vswitchd.pid"),
		"--log-file="+o.path("vswitchd.log"), "--detach", "--no-chdir")
}

// StopSwitch stops ovs-vswitchd; flows and groups are lost with it, the database stays.
func (o *OVS) StopSwitch() {
	o.t.Helper()
	if err := o.kill("ovs-vswitchd.pid"); err != nil {
		o.t.Fatal(err)
	}
}

// AddPort adds an internal port, a device in the switch's network namespace, with an OpenFlow number.
func (o *OVS) AddPort(name string, number int) {
	o.t.Helper()
	o.Vsctl("add-port", o.Bridge, name, "--", "set", "interface", name, "type=internal", fmt.Sprintf("ofport_request=%d", number))
}

// Vsctl runs ovs-vsctl.
func (o *OVS) Vsctl(args ...string) string {
	o.t.Helper()
	return o.Run("ovs-vsctl", append([]string{"--db=unix:" + o.DB()}, args...)...)
}

// Ofctl runs an ovs-ofctl command on the bridge: Ofctl("dump-flows", "table=3").
func (o *OVS) Ofctl(command string, args ...string) string {
	o.t.Helper()
	all := append([]string{"-O", "OpenFlow13", command, "unix:" + o.Socket()}, args...)
	return o.Run("ovs-ofctl", all...)
}

// Control connects to the control socket of ovs-vswitchd, until the test ends.
func (o *OVS) Control() *unixctl.Client {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := unixctl.Dial(ctx, o.path("vswitchd.ctl"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Appctl runs a command of ovs-vswitchd.
func (o *OVS) Appctl(args ...string) string {
	o.t.Helper()
	return o.Run("ovs-appctl", append([]string{"-t", o.path("vswitchd.ctl")}, args...)...)
}

// Flows are the bridge's flows, one per line as ovs-ofctl prints them without statistics.
func (o *OVS) Flows() []string {
	o.t.Helper()
	return trimmed(o.Ofctl("dump-flows", "--no-stats"))
}

// Groups are the bridge's groups, one per line.
func (o *OVS) Groups() []string {
	o.t.Helper()
	return trimmed(o.Ofctl("dump-groups"))
}

func trimmed(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "OFPST") {
			out = append(out, line)
		}
	}
	return out
}

// Run runs a program with this instance's environment and answers what it prints; failure ends the test.
func (o *OVS) Run(program string, args ...string) string {
	o.t.Helper()
	out, err := o.Try(program, args...)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// RunInside runs a program in the network namespace of the switch.
func (o *OVS) RunInside(program string, args ...string) string {
	o.t.Helper()
	return o.Run("nsenter", append([]string{"--net=/run/netns/" + o.NetNS, program}, args...)...)
}

// Try is Run that answers the error, with what the program said.
func (o *OVS) Try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.Dir, "OVS_LOGDIR="+o.Dir, "OVS_DBDIR="+o.Dir, "OVS_SYSCONFDIR="+o.Dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Wait waits until done holds.
func (o *OVS) Wait(what string, done func() bool) {
	o.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			o.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (o *OVS) stop() {
	for _, name := range []string{"ovs-vswitchd.pid", "ovsdb-server.pid"} {
		if err := o.kill(name); err != nil {
			o.t.Errorf("stopping Open vSwitch: %v", err)
		}
	}
	if _, err := o.Try("ip", "netns", "del", o.NetNS); err != nil {
		o.t.Errorf("removing network namespace: %v", err)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		o.t.Error(err)
	}
}

// kill ends the process of a pid file, if there is one, and waits for its end.
func (o *OVS) kill(name string) error {
	text, err := os.ReadFile(o.path(name))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("pid file %s says %q", name, text)
	}
	sig := syscall.SIGTERM
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	_ = syscall.Kill(pid, sig)
	for end := time.Now().Add(5 * time.Second); syscall.Kill(pid, 0) == nil; <-tick.C {
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return fmt.Errorf("process %d of %s did not end on SIGTERM", pid, name)
		}
	}
	_ = os.Remove(o.path(name))
	return nil
}
