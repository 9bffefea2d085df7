package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/mgmtfn/docker/engine"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/test/probe"
)

const image = "contiv/busybox"

// startDocker brings up a sandbox with a Docker Engine on each host and a busybox image in each.
func startDocker(t *testing.T, config sandbox.Config) *cluster {
	t.Helper()
	config.Docker = true
	c := start(t, config)
	for host := 1; host <= c.Hosts(); host++ {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := c.Engine(host).LoadBusybox(ctx, image, engine.DefaultBusybox); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// docker runs the docker command on a host's engine and fails the test if it fails.
func (c *cluster) docker(host int, args ...string) string {
	c.t.Helper()
	return strings.TrimSpace(c.onHost(host, append([]string{"docker"}, args...)...))
}

// dockerNetworks waits until both engines list exactly the given networks of Contiv.
func (c *cluster) dockerNetworks(want ...string) {
	c.t.Helper()
	for host := 1; host <= c.Hosts(); host++ {
		var got string
		c.eventually(10*time.Second, fmt.Sprintf("networks %v on host %d, got %s", want, host, got), func() bool {
			got = c.docker(host, "network", "ls", "--filter", "driver=netplugin", "--format", "{{.Name}} {{.Scope}}")
			for _, name := range want {
				if !strings.Contains("\n"+got+"\n", "\n"+name+" local\n") {
					return false
				}
			}
			return len(want) == 0 && got == "" || len(strings.Split(got, "\n")) == len(want)
		})
	}
}

// inNamespaceOf gives the network namespace of a container's process.
func (c *cluster) inNamespaceOf(host int, container string) probe.Inside {
	c.t.Helper()
	pid, err := strconv.Atoi(c.docker(host, "inspect", "-f", "{{.State.Pid}}", container))
	if err != nil {
		c.t.Fatal(err)
	}
	return func(f func() error) error {
		return sandbox.InNetNS(fmt.Sprintf("/proc/%d/ns/net", pid), f)
	}
}

// TestDockerTutorial is part A of the golden tutorial on two real engines: A2, A5 to A9, A14 to A17, A29, read with
// scope local, the engine chosen by hand, and addresses instead of names.
func TestDockerTutorial(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 2})
	c.docker(1, "run", "-d", "--name=vanilla-c", image, "sleep", "1000") // A2
	if got := c.docker(1, "inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "vanilla-c"); !strings.HasPrefix(got, "172.17.") {
		t.Errorf("A2: vanilla-c has address %q", got)
	}
	c.ok("net", "create", "--subnet=10.1.2.0/24", "contiv-net")
	c.dockerNetworks("contiv-net") // A5
	checkDockerInspect(t, c)

	c.docker(1, "run", "-d", "--name=contiv-c1", "--net=contiv-net", image, "sleep", "1000") // A7
	c.docker(2, "run", "-d", "--name=contiv-c2", "--net=contiv-net", image, "sleep", "1000")
	for host := 1; host <= 2; host++ {
		name := fmt.Sprintf("contiv-c%d", host)
		link := c.docker(host, "exec", name, "ip", "addr", "show", "eth0")
		for _, word := range []string{fmt.Sprintf("10.1.2.%d/24", host), fmt.Sprintf("02:02:0a:01:02:%02x", host), "mtu 1450"} {
			if !strings.Contains(link, word) {
				t.Errorf("A7: no %q in %s", word, link)
			}
		}
	}
	if output := c.docker(2, "exec", "contiv-c2", "ping", "-c", "3", "10.1.2.1"); !strings.Contains(output, "ttl=64") { // A8
		t.Errorf("A8: %s", output)
	}
	checkInspect(t, c) // A9
	id := c.docker(2, "ps", "-q", "--filter", "name=contiv-c2")
	c.eventually(10*time.Second, "the endpoint is found by the id that docker ps shows", func() bool {
		found, status := c.netctl("endpoint", "inspect", id)
		return status == 0 && strings.Contains(found, `"containerID": "`+id)
	})

	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "-t", "blue", "--subnet=10.1.2.0/24", "contiv-net")
	c.dockerNetworks("contiv-net", "contiv-net/blue") // A14
	for i := 1; i <= 3; i++ {                         // A15
		host := (i-1)%2 + 1
		name := fmt.Sprintf("contiv-blue-c%d", i)
		c.docker(host, "run", "-d", "--name="+name, "--net=contiv-net/blue", image, "sleep", "1000")
		if link := c.docker(host, "exec", name, "ip", "addr", "show", "eth0"); !strings.Contains(link, fmt.Sprintf("10.1.2.%d/24", i)) {
			t.Errorf("A15: %s has %s", name, link)
		}
	}
	if got := c.docker(1, "network", "inspect", "-f", `{{index .Options "pkt-tag"}} {{index .Options "tenant"}}`, "contiv-net/blue"); got != "2 blue" {
		t.Errorf("A15: inspect shows %q", got)
	}
	c.docker(1, "exec", "contiv-blue-c3", "ping", "-c", "1", "10.1.2.1") // A16
	c.docker(1, "exec", "contiv-blue-c3", "ping", "-c", "1", "10.1.2.2")
	if cmd, err := c.OnHost(t.Context(), 1, "docker", "exec", "contiv-c1", "ping", "-c", "1", "-W", "1", "10.1.2.3"); err != nil { // A17
		t.Fatal(err)
	} else if output, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("A17: a container of default reaches blue: %s", output)
	}
	c.refused([]string{"active endpoints"}, "net", "rm", "contiv-net") // A29
	c.docker(1, "rm", "-f", "contiv-c1")
	c.docker(2, "rm", "-f", "contiv-c2")
	c.ok("net", "rm", "contiv-net")
	c.dockerNetworks("contiv-net/blue")
}

// checkDockerInspect is step A6.
func checkDockerInspect(t *testing.T, c *cluster) {
	t.Helper()
	var networks []struct {
		Driver, Scope string
		EnableIPv6    bool
		IPAM          struct {
			Driver  string
			Options map[string]string
			Config  []struct{ Subnet, Gateway string }
		}
		Options    map[string]string
		Containers map[string]any
	}
	if err := json.Unmarshal([]byte(c.docker(1, "network", "inspect", "contiv-net")), &networks); err != nil {
		t.Fatalf("A6: %v", err)
	}
	got := networks[0]
	if got.Driver != "netplugin" || got.Scope != "local" || got.IPAM.Driver != "netplugin" || got.EnableIPv6 ||
		got.IPAM.Options["network"] != "contiv-net" || got.IPAM.Options["tenant"] != "default" ||
		len(got.IPAM.Config) != 1 || got.IPAM.Config[0].Subnet != "10.1.2.0/24" || got.IPAM.Config[0].Gateway != "" ||
		got.Options["encap"] != "vxlan" || got.Options["pkt-tag"] != "1" || got.Options["tenant"] != "default" || len(got.Containers) != 0 {
		t.Errorf("A6: %+v", got)
	}
}

// TestDockerGroupsAndUserNetworks: groups are docker networks too, a container may be on two networks, and a network
// that a docker user creates goes with its docker network.
func TestDockerGroupsAndUserNetworks(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "a")
	c.ok("net", "create", "--subnet=10.1.3.0/24", "-g", "10.1.3.254", "b")
	c.ok("group", "create", "a", "web")
	c.dockerNetworks("a", "b", "web")

	c.docker(1, "run", "-d", "--name=two", "--net=web", image, "sleep", "1000")
	c.docker(1, "network", "connect", "b", "two")
	for link, addr := range map[string]string{"eth0": "10.1.2.1/24", "eth1": "10.1.3.1/24"} {
		if got := c.docker(1, "exec", "two", "ip", "addr"); !strings.Contains(got, addr) {
			t.Errorf("%s of a container on two networks: no %s in\n%s", link, addr, got)
		}
	}
	var web client.Inspection[client.EndpointGroup, client.EndpointGroupOper]
	if err := json.Unmarshal([]byte(c.ok("group", "inspect", "web")), &web); err != nil || web.Oper.NumEndpoints != 1 {
		t.Errorf("group web has %d endpoints (%v)", web.Oper.NumEndpoints, err)
	}
	c.docker(1, "rm", "-f", "two")

	c.docker(2, "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "--subnet", "10.9.0.0/24", "-o", "network=mine", "mine")
	if table := c.ok("net", "ls", "-q"); !strings.Contains(table, "mine") {
		t.Errorf("the network of a docker user is not Contiv's: %s", table)
	}
	c.docker(2, "run", "-d", "--name=user", "--net=mine", image, "sleep", "1000")
	if got := c.docker(2, "exec", "user", "ip", "addr", "show", "eth0"); !strings.Contains(got, "10.9.0.") {
		t.Errorf("a container on the user's network has %s", got)
	}
	c.docker(2, "rm", "-f", "user")
	c.docker(2, "network", "rm", "mine")
	c.eventually(5*time.Second, "the user's network goes", func() bool { return !strings.Contains(c.ok("net", "ls", "-q"), "mine") })

	c.docker(1, "network", "create", "-d", "contiv", "--ipam-driver", "contiv", "-o", "network=a", "--ipam-opt", "network=a",
		"--subnet", "10.1.2.0/24", "alias")
	c.docker(1, "run", "-d", "--name=aliased", "--net=alias", image, "sleep", "1000")
	if got := c.docker(1, "exec", "aliased", "ip", "addr", "show", "eth0"); !strings.Contains(got, "10.1.2.") {
		t.Errorf("a container on an alias of network a has %s", got)
	}
	c.docker(1, "rm", "-f", "aliased")
	c.docker(1, "network", "rm", "alias")
	c.ok("group", "rm", "web")
	c.ok("net", "rm", "a")
	c.ok("net", "rm", "b")
	c.dockerNetworks()
}

// TestDockerKilledContainerLeaksNothing kills a container's process: its endpoint, link and address go.
func TestDockerKilledContainerLeaksNothing(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 1})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.dockerNetworks("n")
	for range 3 {
		c.docker(1, "run", "-d", "--rm", "--name=victim", "--net=n", image, "sleep", "1000")
		pid := c.docker(1, "inspect", "-f", "{{.State.Pid}}", "victim")
		c.onHost(1, "kill", "-9", pid)
		c.eventually(20*time.Second, "the container is gone", func() bool { return c.docker(1, "ps", "-aq") == "" })
	}
	c.eventually(20*time.Second, "no endpoint is left", func() bool {
		var got client.Inspection[client.Network, client.NetworkOper]
		return json.Unmarshal([]byte(c.ok("net", "inspect", "n")), &got) == nil && got.Oper.NumEndpoints == 0
	})
	if links := c.onHost(1, "ip", "-br", "link"); strings.Contains(links, "vport") {
		t.Errorf("links are left:\n%s", links)
	}
	c.ok("net", "rm", "n")
}

// TestDockerLiveRestore kills the engine and the agent under a probe of 1 ms between two containers that outlive
// them.
func TestDockerLiveRestore(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 2, LiveRestore: true})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.dockerNetworks("n")
	c.docker(1, "run", "-d", "--name=near", "--net=n", image, "sleep", "1000")
	c.docker(2, "run", "-d", "--name=far", "--net=n", image, "sleep", "1000")
	near, far := c.inNamespaceOf(1, "near"), c.inNamespaceOf(2, "far")
	c.losesNothing(near, far, netip.MustParseAddr("10.1.2.2"), func() {
		c.must(c.Kill(sandbox.Docker, 1))
		c.must(c.Start(t.Context(), sandbox.Docker, 1))
		c.must(c.Kill(sandbox.Netplugin, 1))
		c.must(c.Start(t.Context(), sandbox.Netplugin, 1))
		c.waitReady()
	})
	c.docker(1, "rm", "-f", "near") // the engine still manages it
	c.docker(2, "rm", "-f", "far")
	c.ok("net", "rm", "n")
}

// TestDockerRestartPolicy restarts an engine without live-restore: a container with a restart policy comes back with
// its address.
func TestDockerRestartPolicy(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 1})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.dockerNetworks("n")
	c.docker(1, "run", "-d", "--name=first", "--net=n", image, "sleep", "1000")
	c.docker(1, "run", "-d", "--stop-signal=KILL", "--restart=always", "--name=back", "--net=n", image, "sleep", "1000")
	address := func() string {
		return c.docker(1, "inspect", "-f", "{{.NetworkSettings.Networks.n.IPAddress}} {{.State.Running}}", "back")
	}
	before := address()
	for _, end := range []func(sandbox.Component, int) error{c.Stop, c.Kill} {
		c.must(end(sandbox.Docker, 1))
		c.must(c.Start(t.Context(), sandbox.Docker, 1))
		c.eventually(30*time.Second, "the container is back with its address "+before, func() bool { return address() == before })
	}
	c.docker(1, "exec", "back", "ip", "addr", "show", "eth0")
}

// TestDockerPluginSockets: both names are served.
func TestDockerPluginSockets(t *testing.T) {
	c := startDocker(t, sandbox.Config{Hosts: 1})
	for _, name := range []string{"netplugin", "contiv"} {
		if _, err := os.Stat(filepath.Join(c.Engine(1).PluginDir(), name+".sock")); err != nil {
			t.Errorf("plugin socket: %v", err)
		}
	}
}
