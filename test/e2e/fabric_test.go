package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// TestIPv6 runs step F4.1 to F4.3 on the overlay: neighbour discovery is answered in the switch.
func TestIPv6(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "contiv-net", "--subnet=20.1.1.0/24", "--subnetv6=2001:db8:1::/100")
	c.run(sandbox.Workload{Name: "web", Host: 1, Network: "contiv-net"})
	db := c.run(sandbox.Workload{Name: "db", Host: 2, Network: "contiv-net"})
	if len(db.Addresses) != 2 {
		t.Fatalf("db has %v, want an IPv4 and an IPv6 address", db.Addresses)
	}
	c.reaches("web", db.Addresses[0])
	c.reaches("web", db.Addresses[1])
	c.refused([]string{"conflicts with subnetv6"}, "net", "create", "other", "--subnet=20.1.2.0/24", "--subnetv6=2001:db8:1::/64")
}

// TestARPFlood switches the cluster to ARP mode flood and back while workloads run.
func TestARPFlood(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, b, addr := pair(c)
	for _, mode := range []string{"flood", "proxy"} {
		c.ok("global", "set", "--arp-mode", mode)
		c.eventually(5*time.Second, "traffic in ARP mode "+mode, func() bool {
			_, _ = c.exec(a, "ip", "neigh", "flush", "dev", "eth0")
			_, _ = c.exec(b, "ip", "neigh", "flush", "dev", "eth0")
			_, err := c.exec(a, "ping", "-c", "1", "-W", "1", addr.String())
			return err == nil
		})
	}
}

// TestAntiSpoof forges addresses inside a workload: nothing gets out.
func TestAntiSpoof(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, _, addr := pair(c)
	c.reaches(a, addr.String())
	for _, forge := range [][]string{
		{"ip", "addr", "add", "10.1.2.77/24", "dev", "eth0"},
	} {
		if output, err := c.exec(a, forge...); err != nil {
			t.Fatalf("%v: %v %s", forge, err, output)
		}
	}
	if output, err := c.exec(a, "ping", "-c", "2", "-i", "0.1", "-W", "0.3", "-I", "10.1.2.77", addr.String()); err == nil {
		t.Errorf("a forged source address is answered:\n%s", output)
	}
	c.reaches(a, addr.String())
	if output, err := c.exec(a, "ip", "link", "set", "eth0", "address", "02:02:0a:01:02:63"); err != nil {
		t.Fatalf("changing the MAC: %v %s", err, output)
	}
	c.isolated(a, addr.String())
}

// TestTCP moves a megabyte between workloads of one host and of two: checksums, MTU and the tunnel are right.
func TestTCP(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	_, b, addr := pair(c)
	c.run(sandbox.Workload{Name: "near", Host: 2, Network: "n"})
	server, err := c.Exec(t.Context(), b, "iperf3", "-s")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	for _, from := range []string{"n-a", "near"} {
		c.eventually(10*time.Second, "1 MB by TCP from "+from, func() bool {
			output, err := c.exec(from, "iperf3", "-c", addr.String(), "-n", "1M")
			return err == nil && strings.Contains(output, "receiver")
		})
	}
	if output, err := c.exec("n-a", "ping", "-c", "2", "-i", "0.1", "-M", "do", "-s", "1422", addr.String()); err != nil {
		t.Errorf("a full-size packet does not pass: %v\n%s", err, output)
	}
}

// TestNothingIsLeft brings a sandbox down after a crash of everything in it.
func TestNothingIsLeft(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	c.ok("net", "create", "--subnet=10.1.2.0/24", "n")
	c.run(sandbox.Workload{Name: "w", Host: 1, Network: "n", Command: []string{"sleep", "1000"}})
	for _, component := range []sandbox.Component{sandbox.Netplugin, sandbox.Netmaster, sandbox.OVS} {
		c.must(c.Kill(component, 1))
	}
	c.must(c.Down(t.Context()))
	c.must(c.Down(t.Context())) // twice
	status, err := c.Status()
	if err == nil {
		t.Errorf("the sandbox still answers: %+v", status)
	}
}
