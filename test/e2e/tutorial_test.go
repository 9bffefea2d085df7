package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

// columns splits a line of a netctl table.
func columns(line string) []string {
	var cells []string
	for _, cell := range strings.Split(line, "  ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

func lines(output string) []string { return strings.Split(strings.TrimSpace(output), "\n") }

// TestTutorial is part A of the golden tutorial with workloads attached through CNI: steps A1, A3, A4, A7 to A13,
// A15 to A17, A27 to A29 and A31. The steps that are about docker are in TestDockerTutorial.
func TestTutorial(t *testing.T) {
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) { playTutorial(t, mode) })
	}
}

func playTutorial(t *testing.T, mode string) {
	t.Helper()
	c := start(t, sandbox.Config{Hosts: 3, FwdMode: mode})
	if got := c.ok("version"); !strings.Contains(got, "Client Version:") || !strings.Contains(got, "\n\nServer Version:") {
		t.Errorf("A1: netctl version printed %q", got)
	}
	if got := c.ok("net", "create", "--subnet=10.1.2.0/24", "contiv-net"); got != "Creating network default:contiv-net\n" {
		t.Errorf("A3: printed %q", got)
	}
	checkNetworkTable(t, c)

	c1 := c.run(sandbox.Workload{Name: "contiv-c1", Host: 1, Network: "contiv-net"})
	c2 := c.run(sandbox.Workload{Name: "contiv-c2", Host: 2, Network: "contiv-net"})
	for i, w := range []sandbox.WorkloadStatus{c1, c2} {
		wantIP, wantMAC := fmt.Sprintf("10.1.2.%d", i+1), fmt.Sprintf("02:02:0a:01:02:%02x", i+1)
		if len(w.Addresses) != 1 || w.Addresses[0] != wantIP || w.MAC != wantMAC {
			t.Errorf("A7: %s has %v %s, want %s %s", w.Name, w.Addresses, w.MAC, wantIP, wantMAC)
		}
		if link, _ := c.exec(w.Name, "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1450") {
			t.Errorf("A7: MTU of %s is not 1450: %s", w.Name, link)
		}
	}
	ttl := map[string]string{state.ForwardBridge: "ttl=64", state.ForwardRouting: "ttl=63"}[mode] // a router counts as a hop
	if output, err := c.exec("contiv-c2", "ping", "-c", "3", "-i", "0.1", "10.1.2.1"); err != nil || !strings.Contains(output, ttl) {
		t.Errorf("A8: ping from c2 to c1: %v\n%s", err, output)
	}
	checkInspect(t, c)

	if got := c.ok("tenant", "create", "blue"); got != "Creating tenant: blue\n" {
		t.Errorf("A10: printed %q", got)
	}
	if got := c.ok("tenant", "ls"); got != "Name\n----\nblue\ndefault\n" {
		t.Errorf("A11: printed %q", got)
	}
	if got := c.ok("net", "create", "-t", "blue", "--subnet=10.1.2.0/24", "contiv-net"); got != "Creating network blue:contiv-net\n" {
		t.Errorf("A12: printed %q", got)
	}
	for flag, want := range map[string]int{"-t=blue": 1, "-t=default": 1, "-a": 2} {
		if got := lines(c.ok("net", "ls", flag)); len(got) != want+2 {
			t.Errorf("A13: net ls %s has %d rows, want %d:\n%s", flag, len(got)-2, want, strings.Join(got, "\n"))
		}
	}
	for i := 1; i <= 3; i++ {
		w := c.run(sandbox.Workload{Name: fmt.Sprintf("contiv-blue-c%d", i), Host: i, Tenant: "blue", Network: "contiv-net"})
		if want := fmt.Sprintf("10.1.2.%d", i); w.Addresses[0] != want {
			t.Errorf("A15: %s has %v, want %s", w.Name, w.Addresses, want)
		}
	}
	c.reaches("contiv-blue-c3", "10.1.2.1")
	c.reaches("contiv-blue-c3", "10.1.2.2")
	c.isolated("contiv-c1", "10.1.2.3") // A17

	c.refused([]string{"contiv-net", "conflicts with subnet"}, "net", "create", "--subnet=10.1.2.128/25", "other")          // A27
	if got := c.ok("net", "create", "--subnet=10.1.2.0/24", "contiv-net"); got != "Creating network default:contiv-net\n" { // A28
		t.Errorf("A28: printed %q", got)
	}
	c.refused([]string{"active endpoints"}, "net", "rm", "contiv-net") // A29
	c.refused([]string{"has 1 networks"}, "tenant", "rm", "blue")      // A31
}

// checkNetworkTable is step A4.
func checkNetworkTable(t *testing.T, c *cluster) {
	t.Helper()
	table := lines(c.ok("net", "ls"))
	if len(table) != 3 {
		t.Fatalf("A4: net ls has %d lines:\n%s", len(table), strings.Join(table, "\n"))
	}
	header := []string{"Tenant", "Network", "Nw Type", "Encap type", "Packet tag", "Subnet", "Gateway", "IPv6Subnet", "IPv6Gateway", "Cfgd Tag"}
	if got := columns(table[0]); strings.Join(got, "|") != strings.Join(header, "|") {
		t.Errorf("A4: header is %q", got)
	}
	if strings.Trim(table[1], "- ") != "" {
		t.Errorf("A4: the second line is not dashes: %q", table[1])
	}
	want := "default|contiv-net|data|vxlan|0|10.1.2.0/24"
	if got := strings.Join(columns(table[2]), "|"); got != want {
		t.Errorf("A4: row is %q, want %q", got, want)
	}
}

// checkInspect is step A9.
func checkInspect(t *testing.T, c *cluster) {
	t.Helper()
	var got client.Inspection[client.Network, client.NetworkOper]
	if err := json.Unmarshal([]byte(c.ok("net", "inspect", "contiv-net")), &got); err != nil {
		t.Fatalf("A9: %v", err)
	}
	oper := got.Oper
	if oper.AllocatedAddressesCount != 2 || oper.AllocatedIPAddresses != "10.1.2.1-10.1.2.2" ||
		oper.AvailableIPAddresses != "10.1.2.3-10.1.2.254" || oper.NumEndpoints != 2 || oper.ExternalPktTag != 1 ||
		oper.NetworkTag != "contiv-net.default" {
		t.Errorf("A9: inspect shows %+v", oper)
	}
	hosts := map[string]bool{}
	for _, endpoint := range oper.Endpoints {
		hosts[endpoint.HomingHost] = true
	}
	if !hosts["host1"] || !hosts["host2"] || len(oper.Endpoints) != 2 {
		t.Errorf("A9: endpoints are %+v", oper.Endpoints)
	}
}
