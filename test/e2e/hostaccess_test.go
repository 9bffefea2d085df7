package e2e

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// TestHostAccess runs F11 of the golden tutorial, with IPv6: hosts and containers reach each other by contivh1, containers
// get out by contivh0, nobody gets in by the private subnet, and what is no longer there takes only its own routes along.
func TestHostAccess(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 3, FwdMode: "routing"})
	c.ok("net", "create", "-s", "17.5.4.0/22", "-g", "17.5.4.1", "--subnetv6", "2001:db8:17::/64", "--gatewayv6", "2001:db8:17::1", "pipe-net")
	c.ok("net", "create", "-n", "infra", "-s", "123.4.5.0/24", "-g", "123.4.5.1", "--subnetv6", "2001:db8:123::/64", "--gatewayv6", "2001:db8:123::1", "contivh1")
	c.ok("net", "create", "-s", "13.5.7.0/24", "-g", "13.5.7.1", "bunker-net")
	c.ok("policy", "create", "p")
	c.ok("group", "create", "-p", "p", "bunker-net", "epg-a")
	for host := 1; host <= 3; host++ {
		c.hasRoutes(host, "17.5.4.0/22 via 123.4.5.1", "13.5.7.0/24 via 123.4.5.1", "2001:db8:17::/64 via 2001:db8:123::1")
	}
	if shown := c.onHost(1, "ip", "addr", "show", "contivh1"); !strings.Contains(shown, "/24") || !strings.Contains(shown, "02:02:7b:04:05:") ||
		!strings.Contains(shown, "mtu 1450") {
		t.Errorf("contivh1 of host 1:\n%s", shown)
	}
	addrs := map[string]string{}
	for name, host := range map[string]int{"a1": 1, "a2": 2, "a3": 3} {
		addrs[name] = c.run(sandbox.Workload{Name: name, Host: host, Network: "bunker-net", Group: "epg-a"}).Addresses[0]
	}
	pipe := c.run(sandbox.Workload{Name: "pipe", Host: 2, Network: "pipe-net"}).Addresses
	outside := c.outsideIPv6()

	master := c.address(1, "mgmt0")
	for _, name := range []string{"a1", "a2", "a3", "pipe"} {
		c.reachesSoon(name, master)            // by contivh0 of the own host, and from there on
		c.reachesSoon(name, c.infraAddress(1)) // over the overlay
	}
	c.reachesSoon("pipe", outside)
	c.reaches("a1", addrs["a2"])
	c.reaches("a1", pipe[0])
	for host := 1; host <= 3; host++ {
		for _, addr := range []string{addrs["a1"], addrs["a2"], addrs["a3"], pipe[0], pipe[1]} {
			c.hostReaches(host, addr)
		}
	}
	c.tcpOut("a2", master)
	c.isolatedByPrivateSubnet("a1", "a2")
	c.isolatedTenants(pipe[0], master)
	c.rulesHoldOutside("a1", master)
	c.hostAccessStays("a2", master, addrs["a2"])

	for _, name := range []string{"a1", "a2", "a3", "pipe"} {
		if err := c.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	c.ok("group", "rm", "epg-a")
	c.ok("net", "rm", "bunker-net")
	for host := 1; host <= 3; host++ {
		c.lacksRoutes(host, "13.5.7.0/24")
		c.hasRoutes(host, "17.5.4.0/22 via 123.4.5.1")
	}
	c.ok("net", "rm", "pipe-net")
	c.lacksRoutes(1, "17.5.4.0/22", "2001:db8:17::/64")
	c.ok("net", "rm", "contivh1")
	for host := 1; host <= 3; host++ {
		c.eventually(5*time.Second, "contivh1 to go", func() bool { return !strings.Contains(c.onHost(host, "ip", "-o", "link"), "contivh1") })
	}
	if status, out := c.rest("GET", "/api/v1/inspect/networks/default:contivh1/", ""); status != 404 {
		t.Errorf("contivh1 is left: %d %s", status, out)
	}
}

func (c *cluster) routes(host int) string {
	return c.onHost(host, "ip", "route", "show", "dev", "contivh1") + c.onHost(host, "ip", "-6", "route", "show", "dev", "contivh1")
}

func (c *cluster) hasRoutes(host int, routes ...string) {
	c.t.Helper()
	c.eventually(10*time.Second, "contivh1 to come up", func() bool { return strings.Contains(c.onHost(host, "ip", "-o", "link"), "contivh1") })
	for _, route := range routes {
		c.eventually(5*time.Second, "route "+route, func() bool { return strings.Contains(c.routes(host), route) })
	}
}

func (c *cluster) lacksRoutes(host int, routes ...string) {
	c.t.Helper()
	for _, route := range routes {
		c.eventually(5*time.Second, "route "+route+" to go", func() bool { return !strings.Contains(c.routes(host), route) })
	}
}

// address is the first IPv4 address of an interface of a host.
func (c *cluster) address(host int, link string) string {
	c.t.Helper()
	fields := strings.Fields(c.onHost(host, "ip", "-4", "-o", "addr", "show", "dev", link))
	for i, field := range fields {
		if field == "inet" {
			return netip.MustParsePrefix(fields[i+1]).Addr().String()
		}
	}
	c.t.Fatalf("%s of host %d has no IPv4 address: %v", link, host, fields)
	return ""
}

func (c *cluster) infraAddress(host int) string { return c.address(host, "contivh1") }

// outsideIPv6 gives the hosts' management network IPv6 and answers the address of host 3 there.
func (c *cluster) outsideIPv6() string {
	c.onHost(2, "ip", "addr", "add", "fd99::2/64", "dev", "mgmt0", "nodad")
	c.onHost(3, "ip", "addr", "add", "fd99::3/64", "dev", "mgmt0", "nodad")
	return "fd99::3"
}

// reachesSoon is reaches for what a background task may still be making.
func (c *cluster) reachesSoon(from, addr string) {
	c.t.Helper()
	c.eventually(5*time.Second, from+" to reach "+addr, func() bool {
		_, err := c.exec(from, "ping", "-c", "1", "-W", "1", addr)
		return err == nil
	})
}

func (c *cluster) hostReaches(host int, addr string) {
	c.t.Helper()
	c.eventually(5*time.Second, addr+" to answer the host", func() bool { return c.hostPings(host, addr) })
}

func (c *cluster) hostPings(host int, addr string) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	cmd, err := c.OnHost(ctx, host, "ping", "-c", "2", "-i", "0.1", "-W", "0.5", addr)
	if err != nil {
		c.t.Fatal(err)
	}
	return cmd.Run() == nil
}

// tcpOut moves a megabyte from a workload to a host, both ways: checksums and MTU are right.
func (c *cluster) tcpOut(from, addr string) {
	c.t.Helper()
	server, err := c.OnHost(c.t.Context(), 1, "iperf3", "-s", "-p", "5299")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	for _, direction := range []string{"--bytes", "--reverse"} {
		args := []string{"iperf3", "-c", addr, "-p", "5299", "-n", "1M"}
		if direction == "--reverse" {
			args = append(args, direction)
		}
		c.eventually(10*time.Second, "1 MB by TCP out of "+from, func() bool {
			output, err := c.exec(from, args...)
			return err == nil && strings.Contains(output, "receiver")
		})
	}
}

// isolatedByPrivateSubnet: containers answer to their private addresses only on their own host, and only the host.
func (c *cluster) isolatedByPrivateSubnet(from, other string) {
	c.t.Helper()
	for port := 16; port < 20; port++ {
		private := netip.AddrFrom4([4]byte{172, 19, 0, byte(port)}).String()
		c.isolated(from, private)
		c.isolated(other, private)
	}
	c.onHost(3, "ip", "route", "add", "172.19.0.16/30", "via", c.address(1, "mgmt0"), "dev", "mgmt0")
	for _, last := range []string{"16", "17", "18", "19"} {
		if c.hostPings(3, "172.19.0."+last) {
			c.t.Errorf("host 3 reaches private address 172.19.0.%s of host 1", last)
		}
	}
	c.onHost(3, "ip", "route", "del", "172.19.0.16/30", "via", c.address(1, "mgmt0"), "dev", "mgmt0")
}

// isolatedTenants: another tenant, with the same addresses, gets out too, but not by way of the host into this one.
func (c *cluster) isolatedTenants(ours, outside string) {
	c.t.Helper()
	c.ok("tenant", "create", "blue")
	c.ok("net", "create", "-t", "blue", "-s", "13.5.7.0/24", "-g", "13.5.7.1", "bunker-net")
	c.ok("net", "create", "-t", "blue", "-s", "10.6.0.0/24", "-g", "10.6.0.1", "own")
	c.run(sandbox.Workload{Name: "twin", Host: 1, Tenant: "blue", Network: "bunker-net"})
	c.run(sandbox.Workload{Name: "apart", Host: 1, Tenant: "blue", Network: "own"})
	c.reachesSoon("twin", outside)
	c.reachesSoon("apart", outside)
	c.isolated("apart", ours) // a network of the other tenant only, to which the host has a route
	if shown := c.routes(1); strings.Contains(shown, "10.6.0.0/24") {
		c.t.Errorf("the host has a route to another tenant:\n%s", shown)
	}
	for _, name := range []string{"twin", "apart"} {
		if err := c.Remove(name); err != nil {
			c.t.Fatal(err)
		}
	}
	c.ok("net", "rm", "-t", "blue", "bunker-net")
	c.ok("net", "rm", "-t", "blue", "own")
	c.reaches("a1", ours)
}

// rulesHoldOutside: a rule about an address holds for what goes out through the host.
func (c *cluster) rulesHoldOutside(from, outside string) {
	c.t.Helper()
	c.ok("policy", "rule-add", "--direction", "out", "--action", "deny", "--to-ip-address", outside, "p", "1")
	c.eventually(5*time.Second, "a rule to hold outside", func() bool {
		_, err := c.exec(from, "ping", "-c", "1", "-W", "0.3", outside)
		return err != nil
	})
	c.reachesSoon(from, c.infraAddress(1))
	c.ok("policy", "rule-rm", "p", "1")
	c.reachesSoon(from, outside)
}

// hostAccessStays: nothing is lost when the agent is killed, and everything is back when the switch is.
func (c *cluster) hostAccessStays(workload, outside, addr string) {
	c.t.Helper()
	before := c.routes(2)
	c.losesNothingOut(workload, outside, func() {
		c.must(c.Kill(sandbox.Netplugin, 2))
		c.must(c.Start(c.t.Context(), sandbox.Netplugin, 2))
	})
	c.hostReaches(2, addr)
	c.must(c.Kill(sandbox.OVS, 2))
	c.must(c.Start(c.t.Context(), sandbox.OVS, 2))
	c.reachesSoon(workload, outside)
	c.hostReaches(2, addr)
	c.hostReaches(1, addr)
	if after := c.routes(2); after != before {
		c.t.Errorf("the routes of host 2 were\n%s\nand are\n%s", before, after)
	}
}

// losesNothingOut disturbs a ping every 5 ms to the outside; what a busy machine drops now and then is tried again.
func (c *cluster) losesNothingOut(from, addr string, disturb func()) {
	c.t.Helper()
	var last string
	for range 3 {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		cmd, err := c.Exec(ctx, from, "ping", "-q", "-i", "0.005", "-w", "4", addr)
		if err != nil {
			c.t.Fatal(err)
		}
		var output strings.Builder
		cmd.Stdout = &output
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		disturb()
		waitErr := cmd.Wait()
		cancel()
		last = output.String()
		if waitErr == nil && strings.Contains(last, " 0% packet loss") {
			return
		}
	}
	c.t.Errorf("packets out of %s are lost each time:\n%s", from, last)
}

// TestHostAccessOff: an agent that is told not to leaves nothing in the host.
func TestHostAccessOff(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 1, FwdMode: "routing", NetpluginArgs: []string{"--host-access=false"}})
	c.ok("net", "create", "-s", "10.1.2.0/24", "-g", "10.1.2.1", "n")
	c.run(sandbox.Workload{Name: "w", Host: 1, Network: "n"})
	c.isolated("w", c.address(1, "mgmt0"))
	if links := c.onHost(1, "ip", "-o", "link"); strings.Contains(links, "contivh0") {
		t.Errorf("links of the host:\n%s", links)
	}
	if _, err := exec.LookPath("nft"); err == nil {
		if rules := c.onHost(1, "nft", "list", "ruleset"); strings.Contains(rules, "contiv") {
			t.Errorf("rules of the host:\n%s", rules)
		}
	}
}

// TestHostAccessPage runs every command of docs/host-access.md.
func TestHostAccessPage(t *testing.T) {
	runPage(t, "host-access.md", 8, "20.1.1.0/24 via 132.1.1.1", "2 received")
}
