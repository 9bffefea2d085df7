package ovs

import (
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
)

// The lab: hosts are network namespaces with an Open vSwitch each (userspace datapath), containers are namespaces.
// All of it goes when the test ends.

var labCount atomic.Int32

// uniqueName is a name that no other test run on this machine uses.
func uniqueName(kind string) string {
	return fmt.Sprintf("ovs%s%d-%d", kind, os.Getpid(), labCount.Add(1))
}

func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func newNetNS(tb testing.TB, kind string) string {
	tb.Helper()
	name := uniqueName(kind)
	run(tb, "ip", "netns", "add", name)
	tb.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	run(tb, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

func nsPath(name string) string { return "/run/netns/" + name }

type labHost struct {
	tb     testing.TB
	name   string // in the cluster
	ns     string
	dir    string
	vtep   string
	vswPID int
	dbPID  int
}

// newUnderlay is a namespace with a learning bridge that hosts are wired to.
func newUnderlay(tb testing.TB) string {
	tb.Helper()
	ns := newNetNS(tb, "u")
	run(tb, "ip", "-n", ns, "link", "add", "br0", "type", "bridge")
	run(tb, "ip", "-n", ns, "link", "set", "br0", "up")
	return ns
}

// newHost starts a host; with an underlay it has the VTEP address 172.31.0.<number> on an OVS bridge of its own, which
// the userspace datapath needs for tunnels.
func newHost(tb testing.TB, underlay string, number int) *labHost {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // the test's own is too long for the name of a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &labHost{tb: tb, name: fmt.Sprintf("h%d", number), ns: newNetNS(tb, "h"), dir: dir, vtep: fmt.Sprintf("172.31.0.%d", number)}
	run(tb, "ovsdb-tool", "create", h.dir+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	h.startDB()
	tb.Cleanup(func() { endProcess(tb, h.dbPID) })
	h.vsctl("--no-wait", "init")
	h.startSwitch()
	tb.Cleanup(func() { endProcess(tb, h.vswPID) })
	if underlay != "" {
		port := fmt.Sprintf("p%d", number)
		run(tb, "ip", "link", "add", port, "netns", underlay, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		run(tb, "ip", "-n", underlay, "link", "set", port, "master", "br0", "up")
		run(tb, "ip", "netns", "exec", h.ns, "sysctl", "-qw", "net.ipv4.conf.eth0.arp_ignore=1") // else it answers for br-phy
		run(tb, "ip", "-n", h.ns, "link", "set", "eth0", "up")
		h.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone", "--", "add-port", "br-phy", "eth0")
		run(tb, "ip", "-n", h.ns, "addr", "add", h.vtep+"/24", "dev", "br-phy")
		run(tb, "ip", "-n", h.ns, "link", "set", "br-phy", "up")
	}
	return h
}

func (h *labHost) exec(args ...string) string {
	h.tb.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.ns}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVS_LOGDIR="+h.dir, "OVS_DBDIR="+h.dir, "OVS_SYSCONFDIR="+h.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.tb.Fatalf("on host %s: %s: %v\n%s", h.ns, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *labHost) vsctl(args ...string) string {
	h.tb.Helper()
	return strings.TrimSpace(h.exec(append([]string{"ovs-vsctl", "--timeout=10", "--db=unix:" + h.dir + "/db.sock"}, args...)...))
}

func (h *labHost) ofctl(command string, args ...string) string {
	h.tb.Helper()
	return h.exec(append([]string{"ovs-ofctl", "-O", "OpenFlow13", command, "unix:" + h.dir + "/" + DefaultBridge + ".mgmt"}, args...)...)
}

func (h *labHost) startDB() {
	h.tb.Helper()
	h.exec("ovsdb-server", h.dir+"/conf.db", "--remote=punix:"+h.dir+"/db.sock", "--unixctl="+h.dir+"/ovsdb.ctl",
		"--pidfile="+h.dir+"/ovsdb.pid", "--log-file="+h.dir+"/ovsdb.log", "--detach", "--no-chdir")
	h.dbPID = h.pid("ovsdb.pid")
}

func (h *labHost) startSwitch() {
	h.tb.Helper()
	h.exec("ovs-vswitchd", "unix:"+h.dir+"/db.sock", "--unixctl="+h.dir+"/vsw.ctl", "--pidfile="+h.dir+"/vsw.pid",
		"--log-file="+h.dir+"/vsw.log", "--detach", "--no-chdir")
	h.vswPID = h.pid("vsw.pid")
}

// killSwitch ends ovs-vswitchd as a crash would.
func (h *labHost) killSwitch() {
	h.tb.Helper()
	endProcess(h.tb, h.vswPID)
	_ = os.Remove(filepath.Join(h.dir, "vsw.pid"))
}

func (h *labHost) pid(file string) int {
	h.tb.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, file))
	if err != nil {
		h.tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		h.tb.Fatal(err)
	}
	return pid
}

// endProcess kills a process and waits until it is gone.
func endProcess(tb testing.TB, pid int) {
	tb.Helper()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	waitFor(tb, 10*time.Second, fmt.Sprintf("process %d to end", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// waitFor polls a condition until it holds.
func waitFor(tb testing.TB, limit time.Duration, what string, holds func() bool) {
	tb.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %v in vain for %s", limit, what)
		}
		<-tick.C
	}
}

// ping sends count packets and answers how many came back.
func ping(tb testing.TB, ns, to string, args ...string) (received int) {
	tb.Helper()
	args = append([]string{"netns", "exec", ns, "ping", "-n", "-q", "-W", "1"}, append(args, to)...)
	out, _ := exec.Command("ip", args...).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if i := strings.Index(line, " packets transmitted, "); i >= 0 {
			if _, err := fmt.Sscanf(line[i:], " packets transmitted, %d received", &received); err != nil {
				tb.Fatalf("reading %q: %v", line, err)
			}
			return received
		}
	}
	tb.Logf("ping of %s from %s: no answer to count: %q", to, ns, out)
	return 0
}
