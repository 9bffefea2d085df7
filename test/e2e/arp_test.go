package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// TestARPFloodAfterRestart: an agent that was not there when the ARP mode was set follows it.
func TestARPFloodAfterRestart(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, _, addr := pair(c)
	answers := func() bool { // flows by which the switch of host 1 answers ARP
		return strings.Contains(c.onHost(1, "ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "contivVxlanBridge", "table=13"), "arp_tpa="+addr.String()+",arp_op=1")
	}
	if !answers() {
		t.Fatal("the switch does not answer ARP in mode proxy")
	}
	c.must(c.Kill(sandbox.Netplugin, 1))
	c.ok("global", "set", "--arp-mode", "flood")
	c.must(c.Start(t.Context(), sandbox.Netplugin, 1))
	c.waitReady()
	c.eventually(10*time.Second, "the switch floods ARP", func() bool { return !answers() })
	if output, err := c.exec(a, "ip", "neigh", "flush", "dev", "eth0"); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	c.reaches(a, addr.String())
}
