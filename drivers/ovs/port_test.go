package ovs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

var addrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// newDriver starts a driver for a lab host.
func newDriver(tb testing.TB, h *labHost) *Driver {
	tb.Helper()
	logger := logrus.New()
	logger.SetOutput(tb.Output())
	d, err := New(tb.Context(), Config{Host: h.name, RunDir: h.dir, DatapathType: DatapathNetdev, NetNS: nsPath(h.ns),
		ControlSocket: h.dir + "/vsw.ctl", Log: logrus.NewEntry(logger)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

// testPort is the port of container number n of a host in network 10.1.0.0/16.
func testPort(host string, n int, netNS string) drivers.Port {
	return drivers.Port{
		ID:     protocol.EndpointID{Host: host, ContainerID: fmt.Sprintf("c%d", n), IfName: "eth0"},
		Tenant: "blue", Network: "net", Groups: []string{"web"}, Encap: protocol.EncapVXLAN,
		MAC:  fmt.Sprintf("02:02:0a:01:%02x:%02x", n/256, n%256),
		IPv4: netip.MustParsePrefix(fmt.Sprintf("10.1.%d.%d/16", n/256, n%256)), IPv6: netip.MustParsePrefix(fmt.Sprintf("fd01::%x/64", n)),
		Gateway: netip.MustParseAddr("10.1.255.254"), Gateway6: netip.MustParseAddr("fd01::ffff"),
		MTU: 1450, NetNS: netNS, Owner: "cni", Notes: map[string]string{"pod": "x"},
	}
}

// links are the names of the links of a namespace, one a line: what else there is of them, such as the bridge's MTU, the
// switch changes in its own time.
func links(tb testing.TB, ns string) string {
	tb.Helper()
	out, err := exec.Command("ip", "-n", ns, "-o", "-br", "link").Output()
	if err != nil {
		tb.Fatalf("listing the links of %s: %v", ns, err)
	}
	var names strings.Builder
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		names.WriteString(name + "\n")
	}
	return names.String()
}

func TestPreparePortInNamespace(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	before := links(t, h.ns)
	container := newNetNS(t, "c")
	want := testPort("h1", 1, nsPath(container))

	att, err := d.PreparePort(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if att.ContainerLink != "eth0" || !strings.HasPrefix(att.HostLink, hostLinkPrefix) || len(att.HostLink) != 15 {
		t.Errorf("links %q and %q", att.HostLink, att.ContainerLink)
	}
	show := run(t, "ip", "-n", container, "addr", "show", "eth0")
	for _, part := range []string{"mtu 1450", "state UP", "02:02:0a:01:00:01", "inet 10.1.0.1/16", "inet6 fd01::1/64"} {
		if !strings.Contains(show, part) {
			t.Errorf("container end lacks %q:\n%s", part, show)
		}
	}
	if strings.Contains(show, "fd01::1/64 scope global tentative") {
		t.Errorf("IPv6 address is tentative:\n%s", show)
	}
	for _, family := range []string{"-4", "-6"} {
		if routes := run(t, "ip", "-n", container, family, "route"); !strings.Contains(routes, "default via ") {
			t.Errorf("no default route:\n%s", routes)
		}
	}
	if features := run(t, "ip", "netns", "exec", container, "ethtool", "-k", "eth0"); !strings.Contains(features, "tx-checksumming: off") {
		t.Errorf("checksum offload is on:\n%s", features)
	}

	again, err := d.PreparePort(t.Context(), want)
	if err != nil || !cmp.Equal(att, again, addrs) {
		t.Errorf("repeated: %v, %s", err, cmp.Diff(att, again, addrs))
	}
	list, err := d.Attachments(t.Context())
	if err != nil || !cmp.Equal([]drivers.Attachment{att}, list, addrs) {
		t.Errorf("attachments: %v, %s", err, cmp.Diff([]drivers.Attachment{att}, list, addrs))
	}
	if ids := h.vsctl("get", "interface", att.HostLink, "external_ids:endpoint-id"); ids != `"h1/c1/eth0"` {
		t.Errorf("endpoint-id is %s", ids)
	}

	for range 2 {
		if err := d.RemovePort(t.Context(), want.ID); err != nil {
			t.Fatal(err)
		}
	}
	if after := links(t, h.ns); after != before {
		t.Errorf("links left behind:\n%s\nbefore:\n%s", after, before)
	}
	checkMemory(t, d, 0, []protocol.EndpointID{want.ID})
	if err := d.Forget(t.Context(), want.ID, protocol.EndpointID{Host: "no", ContainerID: "such", IfName: "one"}); err != nil {
		t.Fatal(err)
	}
	checkMemory(t, d, 0, []protocol.EndpointID{})
}

func checkMemory(tb testing.TB, d *Driver, attachments int, removed []protocol.EndpointID) {
	tb.Helper()
	list, err := d.Attachments(tb.Context())
	if err != nil || len(list) != attachments {
		tb.Errorf("attachments: %v, %v; want %d", list, err, attachments)
	}
	gone, err := d.Removed(tb.Context())
	if err != nil || !cmp.Equal(removed, gone) {
		tb.Errorf("removed: %v, %v; want %v", gone, err, removed)
	}
}

// Docker moves the link by itself; checksum offload must stay off through that.
func TestPreparePortForDocker(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	want := testPort("h1", 1, "")
	att, err := d.PreparePort(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	show := run(t, "ip", "-n", h.ns, "addr", "show", att.ContainerLink)
	if !strings.Contains(show, "02:02:0a:01:00:01") || !strings.Contains(show, "mtu 1450") || strings.Contains(show, "inet") {
		t.Errorf("waiting link:\n%s", show)
	}
	container := newNetNS(t, "c")
	run(t, "ip", "-n", h.ns, "link", "set", att.ContainerLink, "netns", container, "name", "eth0")
	run(t, "ip", "-n", container, "link", "set", "eth0", "up")
	if features := run(t, "ip", "netns", "exec", container, "ethtool", "-k", "eth0"); !strings.Contains(features, "tx-checksumming: off") {
		t.Errorf("checksum offload came back:\n%s", features)
	}
	again, err := d.PreparePort(t.Context(), want)
	if err != nil || !cmp.Equal(att, again, addrs) {
		t.Errorf("after the move: %v, %s", err, cmp.Diff(att, again, addrs))
	}
	if out := links(t, container); !strings.Contains(out, "eth0") {
		t.Errorf("repeating took the link away from the container:\n%s", out)
	}
}

func TestPreparePortAgainAfterContainerEndIsGone(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	container := newNetNS(t, "c")
	want := testPort("h1", 1, nsPath(container))
	if _, err := d.PreparePort(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "-n", container, "link", "del", "eth0")
	if _, err := d.PreparePort(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if out := links(t, container); !strings.Contains(out, "eth0") {
		t.Errorf("no link in the container:\n%s", out)
	}
	checkMemory(t, d, 1, []protocol.EndpointID{})
}

func TestPreparePortRollsBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	container := newNetNS(t, "c")
	want := testPort("h1", 1, nsPath(container))
	hostBefore, containerBefore := links(t, h.ns), links(t, container)
	broken := errors.New("broken for the test")
	for _, step := range []string{stepLink, stepHost, stepContainer, stepPlug, stepFlows} {
		d.fail = func(now string) error {
			if now == step {
				return broken
			}
			return nil
		}
		if _, err := d.PreparePort(t.Context(), want); !errors.Is(err, broken) {
			t.Errorf("%s: %v", step, err)
		}
		checkMemory(t, d, 0, []protocol.EndpointID{})
		if now := links(t, h.ns); now != hostBefore {
			t.Errorf("%s left on the host:\n%s", step, now)
		}
		if now := links(t, container); now != containerBefore {
			t.Errorf("%s left in the container:\n%s", step, now)
		}
	}
	d.fail = nil
	if _, err := d.PreparePort(t.Context(), want); err != nil {
		t.Errorf("after all those failures: %v", err)
	}
}

func TestPreparePortRefuses(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	container := newNetNS(t, "c")
	run(t, "ip", "-n", container, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	for name, c := range map[string]struct {
		change func(*drivers.Port)
		want   string
	}{
		"interface exists": {func(*drivers.Port) {}, "has an interface eth0 already"},
		"no namespace":     {func(p *drivers.Port) { p.NetNS = "/run/netns/no-such" }, "no network namespace there"},
		"not a namespace":  {func(p *drivers.Port) { p.NetNS = "/etc/passwd" }, "no network namespace there"},
		"bad MAC":          {func(p *drivers.Port) { p.MAC = "02:02" }, "MAC address"},
		"slash in ID":      {func(p *drivers.Port) { p.ID.ContainerID = "a/b" }, "slash"},
		"long name":        {func(p *drivers.Port) { p.ID.IfName = "averyverylongname" }, "longer than 15"},
		"MTU":              {func(p *drivers.Port) { p.MTU = 0 }, "MTU"},
		"VLAN":             {func(p *drivers.Port) { p.Encap = protocol.EncapVLAN }, "encapsulation"},
	} {
		port := testPort("h1", 1, nsPath(container))
		c.change(&port)
		if _, err := d.PreparePort(t.Context(), port); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", name, err, c.want)
		}
		checkMemory(t, d, 0, []protocol.EndpointID{})
	}
}

// A new driver finds what the one before made, and removes what it left half made.
func TestMemoryOverRestart(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	container := newNetNS(t, "c")
	kept, gone := testPort("h1", 1, nsPath(container)), testPort("h1", 2, "")
	att, err := d.PreparePort(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.PreparePort(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := d.RemovePort(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	number := d.ports[kept.ID].number
	_ = d.Close()
	run(t, "ip", "-n", h.ns, "link", "add", "vvporthalf", "type", "veth", "peer", "name", "vporthalf")
	run(t, "ip", "-n", h.ns, "link", "set", "vvporthalf", "alias", d.links.owner+"h1/c9/eth0")

	d = newDriver(t, h)
	list, err := d.Attachments(t.Context())
	if err != nil || !cmp.Equal([]drivers.Attachment{att}, list, addrs) {
		t.Errorf("attachments: %v, %s", err, cmp.Diff([]drivers.Attachment{att}, list, addrs))
	}
	checkMemory(t, d, 1, []protocol.EndpointID{gone.ID})
	if d.ports[kept.ID].number != number {
		t.Errorf("port number %d, was %d", d.ports[kept.ID].number, number)
	}
	if out := links(t, h.ns); strings.Contains(out, "half") {
		t.Errorf("stray link is there:\n%s", out)
	}
	if _, err := d.PreparePort(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if again := d.ports[gone.ID].number; again <= number+1 {
		t.Errorf("number %d was given to another port just before", again)
	}
	checkMemory(t, d, 2, []protocol.EndpointID{}) // made again: no longer removed
}

// Links of others keep their names; a link of ours that nobody knows any more is replaced.
func TestLinkNameTaken(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	foreign, ours := testPort("h1", 1, ""), testPort("h1", 2, "")
	foreignLink, _ := linkNames(foreign.ID, 0)
	ourLink, ourPeer := linkNames(ours.ID, 0)
	run(t, "ip", "-n", h.ns, "link", "add", foreignLink, "type", "veth", "peer", "name", "other")
	run(t, "ip", "-n", h.ns, "link", "set", foreignLink, "alias", "of another program")
	run(t, "ip", "-n", h.ns, "link", "add", ourLink, "type", "veth", "peer", "name", ourPeer)
	att, err := d.PreparePort(t.Context(), foreign)
	if want, _ := linkNames(foreign.ID, 1); err != nil || att.HostLink != want {
		t.Errorf("%q, %v; want %q", att.HostLink, err, want)
	}
	att, err = d.PreparePort(t.Context(), ours)
	if err != nil || att.HostLink != ourLink {
		t.Errorf("%q, %v; want %q", att.HostLink, err, ourLink)
	}
	if err := d.RemovePort(t.Context(), foreign.ID); err != nil {
		t.Fatal(err)
	}
	if out := links(t, h.ns); !strings.Contains(out, foreignLink) {
		t.Errorf("the link of another program is gone:\n%s", out)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	h.vsctl("add-br", DefaultBridge) // system
	_, err := New(t.Context(), Config{Host: "h1", RunDir: h.dir, DatapathType: DatapathNetdev, NetNS: nsPath(h.ns)})
	if err == nil || !strings.Contains(err.Error(), "--datapath-type system") {
		t.Errorf("existing bridge of another type: %v", err)
	}
	if got := h.vsctl("get", "bridge", DefaultBridge, "datapath_type"); got != `""` {
		t.Errorf("datapath type became %s", got)
	}
	if exec.Command("modprobe", "openvswitch").Run() != nil {
		if _, err = New(t.Context(), Config{Host: "h1", RunDir: h.dir, NetNS: nsPath(h.ns)}); err == nil || !strings.Contains(err.Error(), "--datapath-type netdev") {
			t.Errorf("kernel without datapath: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err = New(ctx, Config{Host: "h1", RunDir: t.TempDir(), DatapathType: DatapathNetdev}); err == nil || !strings.Contains(err.Error(), "ovsdb-server") {
		t.Errorf("no Open vSwitch: %v", err)
	}
}
