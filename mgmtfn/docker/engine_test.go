package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/contiv/contiv/mgmtfn/docker/engine"
	"github.com/contiv/contiv/ofnet/protocol"
)

// host is one engine with a plugin beside it.
type host struct {
	name   string
	engine *engine.Engine
	agent  *fakeAgent
	plugin *Plugin
	stop   func() error // the plugin
}

const (
	testImage = "box:latest"
	dockerCLI = "/usr/bin/docker" // Debian's, which fits Debian's engine and newer ones
	// envDockerd names another engine to test with, such as one built from github.com/docker/docker/cmd/dockerd.
	envDockerd = "CONTIV_TEST_DOCKERD"
)

// newNamespace makes a network namespace with its loopback up, removed with the test.
func newNamespace(t *testing.T) (netns.NsHandle, string) {
	t.Helper()
	name := randomName(t, "cdk")
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	made, err := netns.NewNamed(name)
	if back := netns.Set(own); back != nil {
		panic(back) // this thread must not run other tests
	}
	_ = own.Close()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close(); _ = netns.DeleteNamed(name) })
	at, err := netlink.NewHandleAt(made)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if lo, err := at.LinkByName("lo"); err != nil || at.LinkSetUp(lo) != nil {
		t.Fatal("loopback of the new namespace does not come up")
	}
	return made, "/run/netns/" + name
}

// newHosts starts n engines and plugins on a fake cluster.
func newHosts(t *testing.T, cluster *fakeCluster, config engine.Config, names ...string) []*host {
	t.Helper()
	var hosts []*host
	for _, name := range names {
		ns, path := newNamespace(t)
		dir := t.TempDir()
		config.Dir, config.NetNS, config.Dockerd = dir, path, os.Getenv(envDockerd)
		running, err := engine.Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		h := &host{name: name, engine: running, agent: cluster.agent(name, ns)}
		t.Cleanup(func() {
			// The engine asks the plugin while it cleans up.
			if err := running.Close(context.Background()); err != nil {
				t.Errorf("closing the engine: %v", err)
			}
			if h.stop != nil {
				if err := h.stop(); err != nil {
					t.Errorf("stopping the plugin: %v", err)
				}
			}
		})
		if err := running.LoadBusybox(t.Context(), testImage, engine.DefaultBusybox); err != nil {
			t.Fatal(err)
		}
		h.start(t)
		hosts = append(hosts, h)
	}
	return hosts
}

// start the plugin, again after h.stop.
func (h *host) start(t *testing.T) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.DebugLevel)
	plugin, err := New(Config{
		Agent: h.agent, Host: h.name, PluginDir: h.engine.PluginDir(), DockerHost: h.engine.Host(),
		Resync: 300 * time.Millisecond, Grace: time.Second, Log: log.WithField("host", h.name),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- plugin.Run(ctx) }()
	h.plugin = plugin
	h.stop = func() error { h.stop = nil; cancel(); return <-done }
}

// try runs the docker command against this host's engine.
func (h *host) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, dockerCLI, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.engine.Host())
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (h *host) docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.try(args...)
	// Engine 20.10 now and then loses its own hook's socket while it starts a container; the container is there, stopped.
	if name := slices.Index(args, "--name"); err != nil && strings.Contains(out, "error running hook") && name >= 0 && name+1 < len(args) {
		t.Logf("%s: the engine failed by itself, trying again: %s", h.name, out)
		_, _ = h.try("rm", "-f", args[name+1])
		out, err = h.try(args...)
	}
	if err != nil {
		t.Fatalf("%s: docker %s: %v\n%s", h.name, strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a docker command that must fail and say a word.
func (h *host) refused(t *testing.T, word string, args ...string) {
	t.Helper()
	if out, err := h.try(args...); err == nil || !strings.Contains(out, word) {
		t.Errorf("%s: docker %s: want a refusal with %q, got %v\n%s", h.name, strings.Join(args, " "), word, err, out)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, fulfilled func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !fulfilled() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not so: %s", what)
		}
	}
}

// networks are the names of Contiv's docker networks.
func (h *host) networks() []string {
	out, err := h.try("network", "ls", "--format", "{{.Driver}}:{{.Name}}:{{.Scope}}")
	if err != nil {
		return nil
	}
	var names []string
	for _, line := range strings.Fields(out) {
		if driver, rest, _ := strings.Cut(line, ":"); isOurs(driver) {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}

func (h *host) hasNetworks(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, h.name+" has networks "+strings.Join(want, " "), func() bool { return slices.Equal(h.networks(), want) })
}

// run starts a container and answers its first address and interface table.
func (h *host) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	h.docker(t, append(append([]string{"run", "-d", "--name", name}, args...), testImage)...)
	return h.docker(t, "exec", name, "ip", "addr")
}

func want(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("want %q in:\n%s", word, text)
		}
	}
}

func TestTwoEngines(t *testing.T) {
	fabric, _ := newNamespace(t)
	cluster := newFakeCluster(fabric)
	hosts := newHosts(t, cluster, engine.Config{}, "h1", "h2")
	h1, h2 := hosts[0], hosts[1]

	cluster.addNetwork("default", "contiv-net", "10.1.2.0/24", 1)
	cluster.addNetwork("blue", "contiv-net", "10.1.2.0/24", 2)
	cluster.addGroup("blue", "contiv-net", "web")
	cluster.addNetwork("blue", "second", "10.2.0.0/24", 3, func(n *protocol.Network) {
		n.Gateway, n.Subnet6 = netip.MustParseAddr("10.2.0.254"), netip.MustParsePrefix("fd00:2::/64")
	})
	for _, h := range hosts {
		h.hasNetworks(t, "contiv-net/blue:local", "contiv-net:local", "second/blue:local", "web/blue:local")
	}

	t.Run("inspect", func(t *testing.T) { testInspect(t, h1) })
	t.Run("ping across", func(t *testing.T) {
		want(t, h1.run(t, "c1", "--net", "contiv-net"), "10.1.2.1/24", "02:02:0a:01:02:01", "mtu 1450", "eth1")
		want(t, h2.run(t, "c2", "--net", "contiv-net"), "10.1.2.2/24", "02:02:0a:01:02:02")
		h2.docker(t, "exec", "c2", "ping", "-c", "2", "-w", "5", "10.1.2.1")
		want(t, h1.run(t, "b1", "--net", "web/blue"), "10.1.2.1/24")
		if attached, _ := h1.agent.Attachments(t.Context()); len(attached) != 2 || !slices.ContainsFunc(attached, func(a attachment) bool { return slices.Equal(a.Groups, []string{"web"}) }) {
			t.Errorf("attachments: %+v", attached)
		}
		eventually(t, "netmaster knows the container's name", func() bool {
			cluster.mu.Lock()
			defer cluster.mu.Unlock()
			return slices.Contains(cluster.events, "start c1 ")
		})
	})
	t.Run("two networks", func(t *testing.T) {
		h1.docker(t, "create", "--name", "two", "--net", "contiv-net", testImage)
		h1.docker(t, "network", "connect", "second/blue", "two")
		h1.docker(t, "start", "two")
		want(t, h1.docker(t, "exec", "two", "ip", "addr"), "10.1.2.3/24", "10.2.0.1/24", "fd00:2::1/64")
		want(t, h1.docker(t, "exec", "two", "ip", "route"), "default via 10.2.0.254")
	})
	t.Run("wishes", func(t *testing.T) {
		want(t, h1.run(t, "ip", "--net", "contiv-net", "--ip", "10.1.2.77"), "10.1.2.77/24", "02:02:0a:01:02:4d")
		h2.refused(t, "taken", "run", "--net", "contiv-net", "--ip", "10.1.2.77", testImage)
		want(t, h1.run(t, "mac", "--net", "contiv-net", "--mac-address", "02:aa:bb:cc:dd:ee"), "02:aa:bb:cc:dd:ee")
		want(t, h1.run(t, "grp", "--network", "name=contiv-net/blue,driver-opt=contiv.group=web"), "10.1.2")
		h1.refused(t, "no group nope", "run", "--network", "name=contiv-net/blue,driver-opt=contiv.group=nope", testImage)
	})
	t.Run("nothing leaks", func(t *testing.T) { testNothingLeaks(t, h1, h2) })
	t.Run("users' networks", func(t *testing.T) { testUsersNetworks(t, cluster, h1, h2) })
	t.Run("orphans", func(t *testing.T) {
		if err := h1.stop(); err != nil {
			t.Fatal(err)
		}
		cluster.removeNetwork("default", "contiv-net")
		h1.start(t)
		for _, h := range hosts {
			h.hasNetworks(t, "contiv-net/blue:local", "second/blue:local", "web/blue:local")
		}
	})
}

func testInspect(t *testing.T, h *host) {
	t.Helper()
	var got []struct {
		Driver     string
		Scope      string
		EnableIPv6 bool
		Options    map[string]string
		IPAM       struct {
			Driver  string
			Options map[string]string
			Config  []map[string]string
		}
	}
	if err := json.Unmarshal([]byte(h.docker(t, "network", "inspect", "contiv-net", "web/blue")), &got); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(got)
	golden := `[{"Driver":"netplugin","Scope":"local","EnableIPv6":false,"Options":{"encap":"vxlan","pkt-tag":"1","tenant":"default"},` +
		`"IPAM":{"Driver":"netplugin","Options":{"network":"contiv-net","tenant":"default"},"Config":[{"Subnet":"10.1.2.0/24"}]}},` +
		`{"Driver":"netplugin","Scope":"local","EnableIPv6":false,"Options":{"encap":"vxlan","pkt-tag":"2","tenant":"blue"},` +
		`"IPAM":{"Driver":"netplugin","Options":{"group":"web","network":"contiv-net","tenant":"blue"},"Config":[{"Subnet":"10.1.2.0/24"}]}}]`
	if string(text) != golden {
		t.Errorf("inspect:\n got %s\nwant %s", text, golden)
	}
}

// testNothingLeaks removes all containers in rude ways.
func testNothingLeaks(t *testing.T, h1, h2 *host) {
	t.Helper()
	h1.docker(t, "kill", "c1")
	eventually(t, "a killed container's endpoint is gone", func() bool {
		return !slices.ContainsFunc(must(h1.agent.Attachments(t.Context())), func(a attachment) bool { return a.IPv4.Addr().String() == "10.1.2.1" && a.Tenant == "default" })
	})
	h1.docker(t, "rm", "-f", "c1", "b1", "two", "ip", "mac", "grp")
	h2.docker(t, "rm", "-f", "c2")
	eventually(t, "no address and no attachment is held", func() bool {
		addrs, one := h1.agent.held()
		_, two := h2.agent.held()
		return addrs == 0 && one == 0 && two == 0
	})
	for _, h := range []*host{h1, h2} {
		at, err := netlink.NewHandleAt(h.agent.ns)
		if err != nil {
			t.Fatal(err)
		}
		links, err := at.LinkList()
		at.Close()
		for _, link := range links {
			if strings.HasPrefix(link.Attrs().Name, "fc") || err != nil {
				t.Errorf("%s: link %s is left (%v)", h.name, link.Attrs().Name, err)
			}
		}
	}
}

func testUsersNetworks(t *testing.T, cluster *fakeCluster, h1, h2 *host) {
	t.Helper()
	h1.docker(t, "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "--subnet", "10.9.0.0/24", "-o", "network=mine", "mine")
	id := h1.docker(t, "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "--subnet", "10.8.0.0/24", "--gateway", "10.8.0.254", "unnamed")
	catalog, _ := h1.agent.Catalog()
	if own, ok := findNetwork(catalog, "default", "docker-"+id[:12]); !ok || own.Gateway.String() != "10.8.0.254" || own.DockerNetworkID != id {
		t.Errorf("network of the unnamed docker network: %+v", own)
	}
	h1.refused(t, "overlaps", "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "--subnet", "10.9.0.0/25", "other")
	h2.docker(t, "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "--ipam-opt", "network=mine", "--ipam-opt", "tenant=default", "alias")
	want(t, h1.run(t, "m1", "--net", "mine"), "10.9.0.1/24")
	want(t, h1.run(t, "u1", "--net", "unnamed"), "10.8.0.1/24")
	want(t, h1.docker(t, "exec", "u1", "ip", "route"), "default via 10.8.0.254")

	// Also after a restart of netplugin it is known what is behind each of them.
	for _, h := range []*host{h1, h2} {
		if err := h.stop(); err != nil {
			t.Fatal(err)
		}
		h.start(t)
	}
	want(t, h2.run(t, "m2", "--net", "alias"), "10.9.0.2/24")
	want(t, h1.run(t, "m3", "--net", "mine"), "10.9.0.3/24")
	h2.docker(t, "exec", "m2", "ping", "-c", "1", "-w", "5", "10.9.0.1")
	h1.docker(t, "rm", "-f", "m1", "m3", "u1")
	h2.docker(t, "rm", "-f", "m2")
	h1.docker(t, "network", "rm", "mine", "unnamed")
	h2.docker(t, "network", "rm", "alias")
	catalog, _ = h1.agent.Catalog()
	for _, network := range catalog.Networks {
		if network.DockerNetworkID != "" {
			t.Errorf("network %s is left", network.Name)
		}
	}
	h1.docker(t, "network", "create", "taken") // by docker's own driver
	cluster.addNetwork("default", "taken", "10.7.0.0/24", 7)
	h2.hasNetworks(t, "contiv-net/blue:local", "contiv-net:local", "second/blue:local", "taken:local", "web/blue:local")
	eventually(t, "the name's other user is reported", func() bool { return h1.plugin.Status().Problems["taken"] != "" })
	h1.docker(t, "network", "rm", "taken")
	h1.hasNetworks(t, "contiv-net/blue:local", "contiv-net:local", "second/blue:local", "taken:local", "web/blue:local")
	cluster.removeNetwork("default", "taken")
	h1.hasNetworks(t, "contiv-net/blue:local", "contiv-net:local", "second/blue:local", "web/blue:local")
}

func TestEngineCrash(t *testing.T) {
	fabric, _ := newNamespace(t)
	cluster := newFakeCluster(fabric)
	h := newHosts(t, cluster, engine.Config{}, "h1")[0]
	cluster.addNetwork("default", "net", "10.1.2.0/24", 1)
	h.hasNetworks(t, "net:local")
	h.run(t, "first", "--net", "net")
	h.docker(t, "rm", "-f", "first") // its address rests
	h.run(t, "lost", "--net", "net")
	want(t, h.run(t, "back", "--net", "net", "--restart", "always"), "10.1.2.3/24")
	eventually(t, "netmaster knows the containers", func() bool {
		cluster.mu.Lock()
		defer cluster.mu.Unlock()
		return slices.Contains(cluster.events, "start back ") && slices.Contains(cluster.events, "start lost ")
	})
	for _, end := range []func() error{h.engine.Kill, h.engine.Down} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := h.engine.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the container is back with its address", func() bool {
			out, err := h.try("exec", "back", "ip", "addr")
			return err == nil && strings.Contains(out, "10.1.2.3/24")
		})
		eventually(t, "the engine is followed", func() bool { return h.plugin.Status().EngineConnected })
	}
	eventually(t, "only its endpoint is left", func() bool {
		addrs, attached := h.agent.held()
		return addrs == 1 && attached == 1
	})

	// Something the engine knows nothing of is taken away.
	if _, err := h.agent.Attach(t.Context(), attachRequest{ContainerID: "nobody", IfName: ifName, Tenant: "default", Network: "net", Owner: Owner}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.agent.Attach(t.Context(), attachRequest{ContainerID: "pod", IfName: ifName, Tenant: "default", Network: "net", Owner: "cni"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stray endpoint is gone, the other front end's is not", func() bool {
		all := must(h.agent.Attachments(t.Context()))
		return len(all) == 2 && slices.ContainsFunc(all, func(a attachment) bool { return a.Owner == "cni" })
	})
}

func TestLiveRestore(t *testing.T) {
	fabric, _ := newNamespace(t)
	cluster := newFakeCluster(fabric)
	h := newHosts(t, cluster, engine.Config{LiveRestore: true}, "h1")[0]
	cluster.addNetwork("default", "net", "10.1.2.0/24", 1)
	h.hasNetworks(t, "net:local")
	h.run(t, "one", "--net", "net")
	h.run(t, "two", "--net", "net")
	pid := h.docker(t, "inspect", "-f", "{{.State.Pid}}", "one")
	var probe bytes.Buffer
	ping := exec.Command("nsenter", "--net=/proc/"+pid+"/ns/net", "ping", "-i", "0.01", "-q", "10.1.2.2")
	ping.Stdout = &probe
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	if err := h.engine.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine is followed again", func() bool { return h.plugin.Status().EngineConnected })
	want(t, h.run(t, "three", "--net", "net"), "10.1.2.3/24")
	if err := ping.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = ping.Wait()
	want(t, probe.String(), " 0% packet loss")
	h.docker(t, "exec", "one", "ping", "-c", "1", "10.1.2.2")
	h.docker(t, "rm", "-f", "one", "two", "three")
	eventually(t, "nothing is held", func() bool { addrs, attached := h.agent.held(); return addrs+attached == 0 })
}

func TestSocketsAreReplacedAndRemoved(t *testing.T) {
	dir := t.TempDir()
	stale, err := listen(filepath.Join(dir, "netplugin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(stale.path); err == nil || !strings.Contains(err.Error(), "running already") {
		t.Errorf("taking over a served socket: %v", err)
	}
	_ = stale.Close() // as a killed process leaves it
	if _, err := os.Stat(stale.path); err != nil {
		t.Fatal(err)
	}
	fresh, err := listen(stale.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fresh.path); err != nil {
		t.Errorf("the old process removed the new one's socket: %v", err)
	}
	_ = fresh.Close()
	if err := fresh.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fresh.path); !os.IsNotExist(err) {
		t.Errorf("socket is left: %v", err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
