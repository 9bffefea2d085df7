package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/mgmtfn/cni"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/netplugin/mastertest"
)

// binDir holds netplugin and contivk8s, built once.
var binDir string

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "contiv-daemon-test-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(binDir) }()
	build := exec.Command("go", "build", "-o", binDir,
		"github.com/contiv/contiv/cmd/contivk8s", "github.com/contiv/contiv/cmd/netplugin")
	if output, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("building the programs: %v\n%s", err, output))
	}
	if m.Run() != 0 {
		return
	}
	if err := goleak.Find(); err != nil {
		panic(err)
	}
}

// lab is a host: a network namespace with an Open vSwitch (userspace datapath) of its own.
type lab struct {
	ns, dir  string
	switchID int // process
	agent    *exec.Cmd
	ended    chan error
	log      bytes.Buffer
	tls      *tls.Config // of REST; nil: plain
}

const patience = 20 * time.Second

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

var nsNumber atomic.Int32

func newNetNS(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("npd-%d-%d", os.Getpid(), nsNumber.Add(1))
	mustRun(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	mustRun(t, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "npd") //nolint:usetesting // the test's own is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &lab{ns: newNetNS(t), dir: dir}
	mustRun(t, "ip", "-n", l.ns, "addr", "add", "192.0.2.1/32", "dev", "lo")
	mustRun(t, "ovsdb-tool", "create", dir+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	db := l.startOVS(t, "ovsdb-server", dir+"/conf.db", "--remote=punix:"+dir+"/db.sock")
	t.Cleanup(func() { kill(db) })
	mustRun(t, "ovs-vsctl", "--db=unix:"+dir+"/db.sock", "--no-wait", "init")
	l.startSwitch(t)
	t.Cleanup(func() { kill(l.switchID) })
	return l
}

func (l *lab) startOVS(t *testing.T, program string, args ...string) (process int) {
	t.Helper()
	pidFile := filepath.Join(l.dir, program+".pid")
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.ns, program, "--detach", "--no-chdir",
		"--pidfile=" + pidFile, "--unixctl=" + filepath.Join(l.dir, program+".ctl"), "--log-file=" + filepath.Join(l.dir, program+".log")}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+l.dir, "OVS_LOGDIR="+l.dir, "OVS_DBDIR="+l.dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, output)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	process, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return process
}

func (l *lab) startSwitch(t *testing.T) {
	t.Helper()
	l.switchID = l.startOVS(t, "ovs-vswitchd", "unix:"+l.dir+"/db.sock")
}

// kill ends a process and waits until it is gone.
func kill(process int) {
	_ = syscall.Kill(process, syscall.SIGKILL)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		if errors.Is(syscall.Kill(process, 0), syscall.ESRCH) {
			return
		}
		<-tick.C
	}
}

// listen opens a socket inside the lab.
func (l *lab) listen(address string) (listener net.Listener, err error) {
	err = l.inside(func() error {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener, err
}

// inside calls do on a thread in the lab's namespace; sockets that do makes stay there.
func (l *lab) inside(do func() error) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		target, err := netns.GetFromName(l.ns)
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = target.Close() }()
		if err := netns.Set(target); err != nil {
			ended <- err
			return
		}
		ended <- do()
	}()
	return <-ended
}

func (l *lab) socket() string { return filepath.Join(l.dir, cni.SocketName) }

func (l *lab) startAgent(t *testing.T, master string, more ...string) {
	t.Helper()
	args := append([]string{"--net=/run/netns/" + l.ns, filepath.Join(binDir, "netplugin"),
		"--host", "host1", "--netmaster", master, "--vtep-ip", "192.0.2.1", "--datapath-type", "netdev",
		"--ovs-rundir", l.dir, "--run-dir", l.dir, "--log-level", "debug"}, more...)
	l.agent = exec.Command("nsenter", args...)
	l.agent.Stderr = &l.log
	if err := l.agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	l.ended = ended
	agent := l.agent
	go func() { ended <- agent.Wait() }()
	t.Cleanup(func() { kill(agent.Process.Pid) })
	eventually(t, "netplugin listens", func() bool {
		conn, err := net.Dial("unix", l.socket())
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// stopAgent wants a clean end within a second.
func (l *lab) stopAgent(t *testing.T) {
	t.Helper()
	if err := l.agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-l.ended:
		if err != nil {
			t.Errorf("netplugin: %v\n%s", err, l.log.String())
		}
	case <-time.After(time.Second):
		t.Errorf("netplugin did not stop within a second")
		kill(l.agent.Process.Pid)
		<-l.ended
	}
}

// get asks the agent's REST server.
func (l *lab) get(t *testing.T, path string, into any) int {
	t.Helper()
	scheme := "http://"
	if l.tls != nil {
		scheme = "https://"
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   l.tls,
		DialContext: func(_ context.Context, network, address string) (conn net.Conn, err error) {
			err = l.inside(func() error {
				conn, err = net.Dial(network, address)
				return err
			})
			return conn, err
		},
	}}
	answer, err := client.Get(scheme + "127.0.0.1:9090" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if into != nil {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return answer.StatusCode
}

func (l *lab) status(t *testing.T) agent.Status {
	t.Helper()
	var status agent.Status
	l.get(t, "/inspect/driver", &status)
	return status
}

// call runs contivk8s for a container, which is named like its namespace.
func (l *lab) call(command, container string) (string, error) {
	cmd := exec.Command(filepath.Join(binDir, "contivk8s"))
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + container, "CNI_NETNS=/run/netns/" + container,
		"CNI_IFNAME=eth0", "CNI_PATH=/", plugin.SocketEnv + "=" + l.socket()}
	cmd.Stdin = strings.NewReader(netConf)
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, output)
	}
	return string(output), nil
}

const netConf = `{"cniVersion":"1.1.0","name":"n","type":"contivk8s","network":"net"}`

// add attaches a new namespace and answers its name and its IPv4 and IPv6 addresses.
func (l *lab) add(t *testing.T) (container, ipv4, ipv6 string) {
	t.Helper()
	container = newNetNS(t)
	output, err := l.call("ADD", container)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.log.String())
	}
	var result types100.Result
	if err := json.Unmarshal([]byte(output), &result); err != nil || len(result.IPs) != 2 {
		t.Fatalf("%v: %s", err, output)
	}
	return container, result.IPs[0].Address.IP.String(), result.IPs[1].Address.IP.String()
}

func ping(from, to string) error {
	output, err := exec.Command("ip", "netns", "exec", from, "ping", "-c1", "-W1", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ping %s from %s: %w: %s", to, from, err, output)
	}
	return nil
}

// TestHost runs the programs on a real switch: containers are attached through the real plugin and talk; agent,
// netmaster and switch come and go.
func TestHost(t *testing.T) {
	l := newLab(t)
	master := mastertest.New(t, l.listen)
	l.startAgent(t, master.Address())
	one, _, _ := l.add(t)
	two, ipv4, ipv6 := l.add(t)
	// No patience: when ADD has returned, the first packet passes.
	for _, addr := range []string{ipv4, ipv6} {
		if err := ping(one, addr); err != nil {
			t.Error(err)
		}
	}
	status := l.status(t)
	if !status.Session.Connected || !status.Datapath.Connected || len(status.Attachments) != 2 ||
		status.Datapath.Realised.Revision < 12 || status.Datapath.Realised != status.Datapath.Desired {
		t.Errorf("inspect: %+v", status)
	}

	// Without agent and without netmaster packets pass; a restarted agent changes nothing.
	l.stopAgent(t)
	if _, err := l.call("DEL", one); err == nil || !strings.Contains(err.Error(), `"code": 11`) {
		t.Errorf("DEL without agent: %v", err)
	}
	master.Stop()
	l.startAgent(t, master.Address())
	if err := ping(one, ipv4); err != nil {
		t.Error(err)
	}
	if code := l.get(t, "/readyz", nil); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz without netmaster: %d", code)
	}
	if _, err := l.call("STATUS", ""); err == nil || !strings.Contains(err.Error(), `"code": 50`) {
		t.Errorf("STATUS without netmaster: %v", err)
	}
	for range 2 {
		if _, err := l.call("DEL", one); err != nil {
			t.Errorf("DEL without netmaster: %v", err)
		}
	}
	if status := l.status(t); len(status.Removed) != 1 || len(status.Attachments) != 1 {
		t.Errorf("inspect after DEL: %+v", status)
	}
	master.Start(t)
	eventually(t, "netmaster knows", func() bool { return master.Count() == 1 && len(l.status(t).Removed) == 0 })

	// The switch crashes: the agent brings everything back.
	three, _, _ := l.add(t)
	kill(l.switchID)
	l.startSwitch(t)
	eventually(t, "packets pass after the switch's restart", func() bool { return ping(three, ipv4) == nil })

	// kill -9, and the host is taken up as it was.
	kill(l.agent.Process.Pid)
	<-l.ended
	l.startAgent(t, master.Address())
	if err := ping(three, ipv4); err != nil {
		t.Error(err)
	}
	for _, container := range []string{two, three} {
		if _, err := l.call("DEL", container); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "netmaster knows", func() bool { return master.Count() == 0 })
	l.stopAgent(t)
}

// TestTLS: with certificates everybody shows one, and the host has the name in its own.
func TestTLS(t *testing.T) {
	l := newLab(t)
	cert, key := certificate(t, "host1")
	files := []string{"--tls-cert", cert, "--tls-key", key, "--tls-ca", cert}
	conf, err := parse(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	master := mastertest.New(t, func(address string) (net.Listener, error) {
		listener, err := l.listen(address)
		if err != nil {
			return nil, err
		}
		return tls.NewListener(listener, conf.tls), nil
	})
	l.startAgent(t, master.Address(), files...)
	l.tls = conf.tls
	eventually(t, "agent is ready", func() bool { return l.get(t, "/readyz", nil) == http.StatusOK })
	without := conf.tls.Clone()
	without.Certificates = nil
	err = l.inside(func() error {
		conn, err := tls.Dial("tcp", "127.0.0.1:9090", without)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes after the handshake
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a client without certificate: %v", err)
	}
	l.stopAgent(t)
}

// TestDockerMode: the plugin sockets are served also while there is no engine, and go with the agent.
func TestDockerMode(t *testing.T) {
	l := newLab(t)
	master := mastertest.New(t, l.listen)
	plugins := filepath.Join(l.dir, "plugins")
	l.startAgent(t, master.Address(), "--mode", "docker", "--docker-host", "unix://"+l.dir+"/none.sock", "--docker-plugin-dir", plugins)
	sockets := func() int {
		found, _ := filepath.Glob(plugins + "/*.sock")
		return len(found)
	}
	eventually(t, "plugin sockets are served", func() bool { return sockets() == 2 })
	eventually(t, "agent is ready", func() bool { return l.get(t, "/readyz", nil) == http.StatusOK })
	var answer inspection
	if l.get(t, "/inspect/driver", &answer); answer.Docker == nil || answer.Docker.EngineConnected {
		t.Errorf("inspect: %+v", answer.Docker)
	}
	if !master.Registrations()[0].Catalog {
		t.Error("the catalog was not asked for")
	}
	l.stopAgent(t)
	if sockets() != 0 {
		t.Error("plugin sockets are left")
	}
}
