package ovs

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// newOutside is a machine that is wired to a host, 192.0.2.2 and 2001:db8::2; the host has .1 and ::1 there.
func newOutside(tb testing.TB, h *labHost) (ns string) {
	tb.Helper()
	ns = newNetNS(tb, "o")
	run(tb, "ip", "link", "add", "lan", "netns", h.ns, "type", "veth", "peer", "name", "lan", "netns", ns)
	for netns, last := range map[string]string{h.ns: "1", ns: "2"} {
		run(tb, "ip", "-n", netns, "addr", "add", "192.0.2."+last+"/24", "dev", "lan")
		run(tb, "ip", "-n", netns, "addr", "add", "2001:db8::"+last+"/64", "dev", "lan", "nodad")
		run(tb, "ip", "-n", netns, "link", "set", "lan", "up")
	}
	return ns
}

// routingWorld is a world in forward mode routing.
func routingWorld(hosts ...*labHost) *world {
	w := newWorld(hosts...)
	w.set[drivers.Ref{Kind: protocol.KindGlobal, Key: "global"}] = &protocol.Global{
		ForwardMode: protocol.ForwardRouting, ARPMode: protocol.ARPProxy, PrivateSubnet: "172.19.0.0/16", MTUVXLAN: 1450,
	}
	return w
}

func newRoutedContainer(tb testing.TB, h *labHost, tenant string, n int) *container {
	tb.Helper()
	c := newContainer(tb, h, tenant, n)
	c.port.Gateway, c.port.Gateway6 = netip.MustParseAddr("10.1.255.254"), netip.MustParseAddr("fd01::ffff")
	return c
}

// gets waits until a namespace gets answers from all addresses.
func gets(tb testing.TB, ns string, addrs ...string) {
	tb.Helper()
	for _, addr := range addrs {
		waitFor(tb, 5*time.Second, addr+" to answer "+ns, func() bool { return ping(tb, ns, addr, "-c", "1", "-W", "0.1") == 1 })
	}
}

func notGets(tb testing.TB, ns string, addrs ...string) {
	tb.Helper()
	for _, addr := range addrs {
		if ping(tb, ns, addr, "-c", "2", "-i", "0.1", "-W", "0.2") != 0 {
			tb.Errorf("%s answers %s", addr, ns)
		}
	}
}

// rulesOf counts the rules of our table on a host; -1 without the table.
func rulesOf(tb testing.TB, d *Driver) (count int) {
	tb.Helper()
	err := d.links.host.do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		count = -1
		chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		for _, chain := range chains {
			if chain.Table.Name != rulesTable {
				continue
			}
			rules, err := conn.GetRules(chain.Table, chain)
			if err != nil {
				return err
			}
			count = max(count, 0) + len(rules)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return count
}

// TestHostAccess: containers get out through the host, to it and beyond, by both IP versions, two tenants with one
// address too; nobody gets in by the private subnet; and all of it outlives what happens to the switch and the driver.
func TestHostAccess(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	outside := newOutside(t, h)
	d := newDriver(t, h)
	w := routingWorld(h)
	a, b, twin := newRoutedContainer(t, h, "blue", 1), newRoutedContainer(t, h, "blue", 2), newRoutedContainer(t, h, "red", 1)
	all := []*container{a, b, twin}
	for _, c := range all {
		w.add(&c.port)
	}
	apply(t, d, w.all())
	numbers := map[*container]string{}
	for _, c := range all {
		numbers[c] = h.vsctl("get", "Interface", attach(t, d, c).HostLink, "ofport")
	}
	out := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "172.19.255.254", "fd63:6f6e:7476:ac13::fffe"}
	everybody := func() {
		t.Helper()
		for _, c := range all {
			gets(t, c.ns, out...)
		}
	}
	everybody()
	if told := d.Status().Details["hostAccess"]; told != "contivh0 172.19.255.254" {
		t.Errorf("status tells %v", told)
	}
	// The host reaches a container by its private address; nobody else does.
	private := "172.19.0." + numbers[a]
	gets(t, h.ns, private)
	run(t, "ip", "-n", outside, "route", "add", "172.19.0.0/16", "via", "192.0.2.1")
	notGets(t, outside, private)
	notGets(t, b.ns, private, "fd63:6f6e:7476:ac13::"+numbers[a])
	notGets(t, b.ns, "10.1.0.77")

	checkStays(t, h, d, everybody)
	h.killSwitch()
	h.startSwitch()
	everybody()

	// A new driver, as after a crash of the agent, changes nothing that is there.
	before := run(t, "ip", "-n", h.ns, "-o", "link", "show", HostLink)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	everybody()
	d = newDriver(t, h)
	if got := ping(t, a.ns, "192.0.2.2", "-c", "50", "-i", "0.002"); got != 50 {
		t.Errorf("%d of 50 answers while the driver knows nothing", got)
	}
	apply(t, d, w.all())
	everybody()
	if now := run(t, "ip", "-n", h.ns, "-o", "link", "show", HostLink); now != before {
		t.Errorf("the link is another:\n%s\n%s", before, now)
	}
}

// checkStays has others take parts of host access away; the driver puts them back.
func checkStays(t *testing.T, h *labHost, d *Driver, everybody func()) {
	t.Helper()
	h.vsctl("del-port", hostPort)
	everybody()
	if err := d.links.host.do(removeRules); err != nil {
		t.Fatal(err)
	}
	d.hostAccess.poke()
	waitFor(t, 5*time.Second, "the rules to be back", func() bool { return rulesOf(t, d) == 5 })
	run(t, "ip", "-n", h.ns, "addr", "flush", "dev", HostLink)
	run(t, "ip", "-n", h.ns, "addr", "add", "172.19.1.1/16", "dev", HostLink)
	d.hostAccess.poke()
	everybody()
	if shown := run(t, "ip", "-n", h.ns, "addr", "show", "dev", HostLink); strings.Contains(shown, "172.19.1.1") {
		t.Errorf("a stranger's address stays:\n%s", shown)
	}
	for range 5 {
		run(t, "ip", "-n", h.ns, "link", "del", HostLink)
		d.hostAccess.poke()
		everybody()
	}
}

// TestHostAccessGoes: another private subnet moves everything; without host access nothing of it is left.
func TestHostAccessGoes(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	newOutside(t, h)
	d := newDriver(t, h)
	before := links(t, h.ns)
	w := routingWorld(h)
	a := newRoutedContainer(t, h, "blue", 1)
	w.add(&a.port)
	apply(t, d, w.all())
	att := attach(t, d, a)
	gets(t, a.ns, "192.0.2.2")

	ref := drivers.Ref{Kind: protocol.KindGlobal, Key: "global"}
	global := *w.set[ref].(*protocol.Global)
	global.PrivateSubnet = "10.77.0.0/16"
	w.set[ref] = &global
	apply(t, d, w.all())
	gets(t, a.ns, "10.77.255.254", "192.0.2.2", "2001:db8::2")

	global.ForwardMode = protocol.ForwardBridge
	w.set[ref] = &global
	apply(t, d, w.all())
	gone := func() {
		t.Helper()
		waitFor(t, 5*time.Second, "everything to go", func() bool {
			return strings.ReplaceAll(links(t, h.ns), att.HostLink+"\n", "") == before && rulesOf(t, d) == -1
		})
		if ports := h.vsctl("list-ports", DefaultBridge); strings.Contains(ports, hostPort) {
			t.Errorf("ports of the bridge: %s", ports)
		}
	}
	gone()

	// Told not to, a driver does not, and cleans up after one that did.
	apply(t, d, routingWorld(h).all())
	waitFor(t, 5*time.Second, "host access", func() bool { return rulesOf(t, d) == 5 })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = newDriver(t, h)
	d.cfg.NoHostAccess = true
	apply(t, d, routingWorld(h).all())
	gone()
}

// TestHostLinkOfAnother: a link of that name that is not ours is left alone, and told of.
func TestHostLinkOfAnother(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	run(t, "ip", "-n", h.ns, "link", "add", HostLink, "type", "bridge")
	d := newDriver(t, h)
	if _, err := d.Apply(t.Context(), routingWorld(h).all()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 5*time.Second, "the problem to be told", func() bool {
		for _, one := range d.Status().NotRealised {
			if one.Kind == protocol.KindGlobal && strings.Contains(one.Reason, "Contiv did not make") {
				return true
			}
		}
		return false
	})
	if err := exec.Command("ip", "-n", h.ns, "link", "del", HostLink).Run(); err != nil {
		t.Fatal(err)
	}
	d.hostAccess.poke()
	waitFor(t, 5*time.Second, "host access", func() bool { return d.Status().Details["hostAccess"] != nil })
}
