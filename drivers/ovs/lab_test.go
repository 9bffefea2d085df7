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

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func newNetNS(t testing.TB, kind string) string {
	t.Helper()
	name := uniqueName(kind)
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

func nsPath(name string) string { return "/run/netns/" + name }

type labHost struct {
	t      testing.TB
	name   string // in the cluster
	ns     string
	dir    string
	vtep   string
	vswPID int
	dbPID  int
}

// newUnderlay is a namespace with a learning bridge that hosts are wired to.
func newUnderlay(t testing.TB) string {
	t.Helper()
	ns := newNetNS(t, "u")
	run(t, "ip", "-n", ns, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", ns, "link", "set", "br0", "up")
	return ns
}

// newHost starts a host; with an underlay it has the VTEP address 172.31.0.<number> on an OVS bridge of its own, which
// the userspace datapath needs for tunnels.
func newHost(t testing.TB, underlay string, number int) *labHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovs") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &labHost{t: t, name: fmt.Sprintf("h%d", number), ns: newNetNS(t, "h"), dir: dir, vtep: fmt.Sprintf("172.31.0.%d", number)}
	run(t, "ovsdb-tool", "create", h.dir+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	h.startDB()
	t.Cleanup(func() { endProcess(t, h.dbPID) })
	h.vsctl("--no-wait", "init")
	h.startSwitch()
	t.Cleanup(func() { endProcess(t, h.vswPID) })
	if underlay != "" {
		port := fmt.Sprintf("p%d", number)
		run(t, "ip", "link", "add", port, "netns", underlay, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		run(t, "ip", "-n", underlay, "link", "set", port, "master", "br0", "up")
		run(t, "ip", "-n", h.ns, "link", "set", "eth0", "up")
		h.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "fail_mode=standalone", "--", "add-port", "br-phy", "eth0")
		run(t, "ip", "-n", h.ns, "addr", "add", h.vtep+"/24", "dev", "br-phy")
		run(t, "ip", "-n", h.ns, "link", "set", "br-phy", "up")
	}
	return h
}

func (h *labHost) exec(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.ns}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVS_LOGDIR="+h.dir, "OVS_DBDIR="+h.dir, "OVS_SYSCONFDIR="+h.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("on host %s: %s: %v\n%s", h.ns, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *labHost) vsctl(args ...string) string {
	h.t.Helper()
	return strings.TrimSpace(h.exec(append([]string{"ovs-vsctl", "--timeout=10", "--db=unix:" + h.dir + "/db.sock"}, args...)...))
}

func (h *labHost) ofctl(command string, args ...string) string {
	h.t.Helper()
	return h.exec(append([]string{"ovs-ofctl", "-O", "OpenFlow13", command, "unix:" + h.dir + "/" + DefaultBridge + ".mgmt"}, args...)...)
}

func (h *labHost) startDB() {
	h.t.Helper()
	h.exec("ovsdb-server", h.dir+"/conf.db", "--remote=punix:"+h.dir+"/db.sock", "--unixctl="+h.dir+"/ovsdb.ctl",
		"--pidfile="+h.dir+"/ovsdb.pid", "--log-file="+h.dir+"/ovsdb.log", "--detach", "--no-chdir")
	h.dbPID = h.pid("ovsdb.pid")
}

func (h *labHost) startSwitch() {
	h.t.Helper()
	h.exec("ovs-vswitchd", "unix:"+h.dir+"/db.sock", "--unixctl="+h.dir+"/vsw.ctl", "--pidfile="+h.dir+"/vsw.pid",
		"--log-file="+h.dir+"/vsw.log", "--detach", "--no-chdir")
	h.vswPID = h.pid("vsw.pid")
}

// killSwitch ends ovs-vswitchd as a crash would.
func (h *labHost) killSwitch() {
	h.t.Helper()
	endProcess(h.t, h.vswPID)
	_ = os.Remove(filepath.Join(h.dir, "vsw.pid"))
}

func (h *labHost) pid(file string) int {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, file))
	if err != nil {
		h.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// endProcess kills a process and waits until it is gone.
func endProcess(t testing.TB, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	waitFor(t, 10*time.Second, fmt.Sprintf("process %d to end", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// waitFor polls a condition until it holds.
func waitFor(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
		<-tick.C
	}
}

// ping sends count packets and answers how many came back.
func ping(t testing.TB, ns, to string, args ...string) (received int) {
	t.Helper()
	args = append([]string{"netns", "exec", ns, "ping", "-n", "-q", "-W", "1"}, append(args, to)...)
	out, _ := exec.Command("ip", args...).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if i := strings.Index(line, " packets transmitted, "); i >= 0 {
			if _, err := fmt.Sscanf(line[i:], " packets transmitted, %d received", &received); err != nil {
				t.Fatalf("reading %q: %v", line, err)
			}
			return received
		}
	}
	t.Fatalf("ping of %s from %s: %s", to, ns, out)
	return 0
}
