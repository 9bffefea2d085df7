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

	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// world is the desired state that all hosts of a test share.
type world struct {
	set      map[drivers.Ref]protocol.Body
	revision int64
}

func newWorld(hosts ...*labHost) *world {
	w := &world{set: map[drivers.Ref]protocol.Body{}}
	w.set[drivers.Ref{Kind: protocol.KindGlobal, Key: "global"}] = &protocol.Global{ForwardMode: protocol.ForwardBridge, ARPMode: protocol.ARPProxy, MTUVXLAN: 1450}
	for i, tenant := range []string{"blue", "red"} { // the same subnets in both
		n := &protocol.Network{
			Tenant: tenant, Name: "net", Type: "data", ID: uint16(i + 1), VRF: uint16(i + 1), Encap: protocol.EncapVXLAN, VNI: uint32(101 + i),
			Subnet: netip.MustParsePrefix("10.1.0.0/16"), Subnet6: netip.MustParsePrefix("fd01::/64"),
		}
		w.set[drivers.Ref{Kind: protocol.KindNetwork, Key: n.Key()}] = n
	}
	for _, h := range hosts {
		w.set[drivers.Ref{Kind: protocol.KindHost, Key: h.name}] = &protocol.Host{Name: h.name, VTEP: netip.MustParseAddr(h.vtep), VXLANPort: DefaultVXLANPort}
	}
	return w
}

func endpointOf(p *drivers.Port) (drivers.Ref, *protocol.Endpoint) {
	return drivers.Ref{Kind: protocol.KindEndpoint, Key: p.ID.String()},
		&protocol.Endpoint{ID: p.ID, Tenant: p.Tenant, Network: p.Network, MAC: p.MAC, IPv4: p.IPv4.Addr(), IPv6: p.IPv6.Addr()}
}

// add puts an endpoint into the world and answers the change.
func (w *world) add(p *drivers.Port) drivers.Update {
	ref, body := endpointOf(p)
	w.set[ref] = body
	w.revision++
	return drivers.Update{Position: w.position(), Set: map[drivers.Ref]protocol.Body{ref: body}}
}

func (w *world) remove(p *drivers.Port) drivers.Update {
	ref, _ := endpointOf(p)
	delete(w.set, ref)
	w.revision++
	return drivers.Update{Position: w.position(), Gone: []drivers.Ref{ref}}
}

func (w *world) position() protocol.Position {
	return protocol.Position{Store: "s", Revision: w.revision}
}

func (w *world) all() drivers.Update {
	return drivers.Update{Position: w.position(), Replace: true, Set: w.set}
}

func apply(tb testing.TB, d *Driver, u drivers.Update) {
	tb.Helper()
	not, err := d.Apply(tb.Context(), u)
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range not {
		if !strings.Contains(n.Reason, "no port on this host") {
			tb.Errorf("not realised: %+v", n)
		}
	}
}

// container is an endpoint with its namespace.
type container struct {
	ns   string
	port drivers.Port
}

func (c *container) ip() string  { return c.port.IPv4.Addr().String() }
func (c *container) ip6() string { return c.port.IPv6.Addr().String() }

// newContainer is number n of a host and tenant, not attached yet; without gateway.
func newContainer(tb testing.TB, h *labHost, tenant string, n int) *container {
	tb.Helper()
	c := &container{ns: newNetNS(tb, "c")}
	c.port = testPort(h.name, n, nsPath(c.ns))
	c.port.ID.ContainerID = fmt.Sprintf("%s-c%d", tenant, n)
	c.port.Tenant, c.port.Gateway, c.port.Gateway6 = tenant, netip.Addr{}, netip.Addr{}
	return c
}

func attach(tb testing.TB, d *Driver, c *container) drivers.Attachment {
	tb.Helper()
	att, err := d.PreparePort(tb.Context(), c.port)
	if err != nil {
		tb.Fatal(err)
	}
	return att
}

func mustPing(tb testing.TB, from, to *container) {
	tb.Helper()
	for _, addr := range []string{to.ip(), to.ip6()} {
		waitFor(tb, 5*time.Second, fmt.Sprintf("%s to answer %s", addr, from.port.ID), func() bool {
			return ping(tb, from.ns, addr, "-c", "1", "-W", "0.02") == 1
		})
	}
}

func TestTwoHosts(t *testing.T) {
	t.Parallel()
	underlay := newUnderlay(t)
	h1, h2 := newHost(t, underlay, 1), newHost(t, underlay, 2)
	d1, d2 := newDriver(t, h1), newDriver(t, h2)
	w := newWorld(h1, h2)
	apply(t, d1, w.all())
	apply(t, d2, w.all())
	b1, b2, b3 := newContainer(t, h1, "blue", 1), newContainer(t, h2, "blue", 2), newContainer(t, h1, "blue", 3)
	r2 := newContainer(t, h2, "red", 2) // the addresses of b2 in another tenant
	for _, c := range []*container{b1, b2, b3, r2} {
		own, other := d1, d2
		if c.port.ID.Host == h2.name {
			own, other = d2, d1
		}
		u := w.add(&c.port)
		if c == b3 { // port first, then record
			attach(t, own, c)
			apply(t, own, u)
		} else {
			apply(t, own, u)
			attach(t, own, c)
		}
		apply(t, other, u)
	}
	mustPing(t, b1, b2)
	mustPing(t, b2, b3)
	mustPing(t, b1, b3)

	// Only the blue one must have answered: the red one has the same address.
	run(t, "ip", "-n", b2.ns, "link", "set", "eth0", "down")
	if n := ping(t, b1.ns, b2.ip(), "-c", "1"); n != 0 {
		t.Error("a container of another tenant answered")
	}
	run(t, "ip", "-n", b2.ns, "link", "set", "eth0", "up")

	if n := ping(t, b1.ns, b2.ip(), "-c", "1", "-M", "do", "-s", fmt.Sprint(1450-28)); n != 1 {
		t.Error("a packet as large as the MTU does not pass")
	}
	mustTCP(t, b1, b3)
	mustTCP(t, b1, b2)

	if err := d2.RemovePort(t.Context(), b2.port.ID); err != nil {
		t.Fatal(err)
	}
	u := w.remove(&b2.port)
	apply(t, d1, u)
	apply(t, d2, u)
	if n := ping(t, b1.ns, b2.ip(), "-c", "1"); n != 0 {
		t.Error("a removed endpoint answers")
	}
	for _, d := range []*Driver{d1, d2} {
		if s := d.Status(); s.Realised != w.position() || s.Problem != "" || !s.Connected || len(s.NotRealised) != 0 {
			t.Errorf("status %+v", s)
		}
	}
}

// mustTCP moves a mebibyte: with partial checksums the connection would hang.
func mustTCP(tb testing.TB, from, to *container) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	server := exec.CommandContext(ctx, "ip", "netns", "exec", to.ns, "iperf3", "-s", "-1", "-p", "5201")
	if err := server.Start(); err != nil {
		tb.Fatal(err)
	}
	waitFor(tb, 5*time.Second, "iperf3 to listen", func() bool {
		out, _ := exec.Command("ip", "netns", "exec", to.ns, "ss", "-ltn").Output()
		return strings.Contains(string(out), ":5201")
	})
	out, err := exec.CommandContext(ctx, "ip", "netns", "exec", from.ns, "iperf3", "-c", to.ip(), "-n", "1M").CombinedOutput()
	if err != nil {
		tb.Errorf("TCP from %s to %s: %v\n%s", from.port.ID, to.port.ID, err, out)
		cancel()
	}
	_ = server.Wait()
}

// A port without record, and a source that is not the record's, pass nothing.
func TestFailsClosed(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	apply(t, d, w.add(&a.port))
	attach(t, d, a)
	attach(t, d, b)
	if n := ping(t, b.ns, a.ip(), "-c", "1"); n != 0 {
		t.Error("a port without a record reaches others")
	}
	apply(t, d, w.add(&b.port))
	mustPing(t, b, a)
	run(t, "ip", "-n", b.ns, "addr", "add", "10.1.0.77/16", "dev", "eth0")
	if n := ping(t, b.ns, a.ip(), "-c", "1", "-I", "10.1.0.77"); n != 0 {
		t.Error("a false source address passes")
	}
	mustPing(t, b, a)

	// The host's own stack must not be reachable from a container.
	run(t, "ip", "-n", h.ns, "addr", "add", "10.1.0.99/32", "dev", "lo")
	if n := ping(t, b.ns, "10.1.0.99", "-c", "1"); n != 0 {
		t.Error("the kernel of the host answers a container")
	}
}

// pinger sends a packet each millisecond until stop. That answers the number of the last that was answered, and how many
// before it were not.
func pinger(tb testing.TB, from, to *container) (stop func() (last, lost int)) {
	tb.Helper()
	var out strings.Builder
	cmd := exec.Command("ip", "netns", "exec", from.ns, "ping", "-n", "-i", "0.001", to.ip())
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return func() (last, lost int) {
		tb.Helper()
		_ = cmd.Process.Signal(interrupt)
		_ = cmd.Wait()
		answered := map[int]bool{}
		for line := range strings.Lines(out.String()) {
			if _, rest, ok := strings.Cut(line, "icmp_seq="); ok && strings.Contains(line, "time=") {
				var seq int
				if _, err := fmt.Sscanf(rest, "%d", &seq); err != nil {
					tb.Fatalf("reading %q: %v", line, err)
				}
				answered[seq], last = true, max(last, seq)
			}
		}
		return last, last - len(answered)
	}
}

// The agent dies and comes back, with other desired state: unchanged endpoints lose nothing.
func TestAgentRestartLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	a, b, gone, late := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2), newContainer(t, h, "blue", 3), newContainer(t, h, "blue", 4)
	for _, c := range []*container{a, b, gone} {
		apply(t, d, w.add(&c.port))
		attach(t, d, c)
	}
	mustPing(t, a, b)
	mustPing(t, a, gone)
	stop := pinger(t, a, b)
	restarts := 0
	for begin := time.Now(); time.Since(begin) < time.Second; restarts++ {
		_ = d.Close() // all that a kill leaves is what the switch has
		d = newDriver(t, h)
		if s := d.Status(); s.Realised.Revision != 0 || s.Problem == "" {
			t.Errorf("before the first state: %+v", s)
		}
		apply(t, d, w.all())
	}
	_ = d.Close()
	w.remove(&gone.port)
	w.add(&late.port)
	d = newDriver(t, h)
	attach(t, d, late)
	apply(t, d, w.all())
	sent, lost := stop()
	t.Logf("%d restarts, %d packets sent, %d lost", restarts, sent, lost)
	if sent < 200 {
		t.Errorf("only %d packets were sent, too few to tell", sent)
	}
	if lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	mustPing(t, a, late)
	if n := ping(t, a.ns, gone.ip(), "-c", "1"); n != 0 {
		t.Error("an endpoint that went while the agent was away answers")
	}
	round := fmt.Sprintf("cookie=%#x", d.Status().Details["round"])
	for line := range strings.Lines(h.ofctl("dump-flows", "--no-stats")) {
		if strings.Contains(line, "cookie=") && !strings.Contains(line, round) {
			t.Errorf("a flow of an earlier round is left: %s", line)
		}
	}
}

func TestSwitchRestartIsReplayed(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	a, b, late := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2), newContainer(t, h, "blue", 3)
	for _, c := range []*container{a, b} {
		apply(t, d, w.add(&c.port))
		attach(t, d, c)
	}
	mustPing(t, a, b)
	h.killSwitch()
	waitFor(t, 5*time.Second, "the driver to notice", func() bool { return !d.Status().Connected })
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.Apply(short, w.add(&late.port)); err == nil {
		t.Error("applied without a switch")
	}
	if s := d.Status(); s.Problem == "" || s.Realised == s.Desired {
		t.Errorf("status without a switch: %+v", s)
	}
	before := links(t, h.ns)
	if _, err := d.PreparePort(short, late.port); err == nil {
		t.Error("made a port without a switch")
	}
	if now := links(t, h.ns); now != before {
		t.Errorf("links left behind:\n%s\nbefore:\n%s", now, before)
	}
	h.startSwitch()
	from := time.Now()
	mustPing(t, a, b)
	t.Logf("forwarding again %v after ovs-vswitchd was started", time.Since(from))
	attach(t, d, late)
	mustPing(t, a, late)
	waitFor(t, 5*time.Second, "all to be realised", func() bool { return d.Status().Realised == w.position() })
}

// The rows of a switch that comes back without its port numbers get others; flows follow.
func TestPortNumberChanges(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	for _, c := range []*container{a, b} {
		apply(t, d, w.add(&c.port))
	}
	link := attach(t, d, a).HostLink
	attach(t, d, b)
	h.vsctl("set", "interface", link, "ofport_request=4000")
	waitFor(t, 5*time.Second, "the new number", func() bool { return h.vsctl("get", "interface", link, "ofport") == "4000" })
	mustPing(t, a, b)
}

// ovsdb-server may go away and come back at any time; nothing is lost, calls wait or fail.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	for _, c := range []*container{a, b} {
		apply(t, d, w.add(&c.port))
	}
	attach(t, d, a)
	endProcess(t, h.dbPID)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if list, err := d.Attachments(short); err == nil {
		t.Errorf("attachments without a database: %v", list)
	}
	if err := d.RemovePort(short, a.port.ID); err == nil {
		t.Error("a port was removed without a note of it")
	}
	began := time.Now()
	if err := d.RemovePort(t.Context(), a.port.ID); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("a patient caller was told after %v: %v", time.Since(began), err)
	}
	h.startDB()
	attach(t, d, b)
	mustPing(t, a, b)
	if err := d.RemovePort(t.Context(), a.port.ID); err != nil {
		t.Fatal(err)
	}
	checkMemory(t, d, 1, []protocol.EndpointID{a.port.ID})

	endProcess(t, h.dbPID) // Close must end all that looks for the database
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// The switch must not undo what is set on the host end while it opens it.
func TestHostEndStaysReady(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	for n := range 100 {
		att, err := d.PreparePort(t.Context(), testPort("h1", n+1, ""))
		if err != nil {
			t.Fatal(err)
		}
		if flags := run(t, "ip", "-n", h.ns, "-o", "link", "show", att.HostLink); !strings.Contains(flags, ",UP") || !strings.Contains(flags, "NOARP") {
			t.Fatalf("after %d: %s", n, flags)
		}
	}
}

// Eight orchestrator calls at once, with flows.
func TestManyPortsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	apply(t, d, w.all())
	var all []*container
	for n := range 24 {
		all = append(all, newContainer(t, h, "blue", n+1))
	}
	updates := make([]drivers.Update, len(all))
	for i, c := range all {
		updates[i] = w.add(&c.port)
	}
	before := links(t, h.ns)
	from := time.Now()
	each(t, all, func(i int, c *container) error {
		if _, err := d.Apply(t.Context(), updates[i]); err != nil {
			return err
		}
		_, err := d.PreparePort(t.Context(), c.port)
		return err
	})
	made := time.Since(from)
	mustPing(t, all[0], all[23])
	from = time.Now()
	each(t, all, func(_ int, c *container) error { return d.RemovePort(t.Context(), c.port.ID) })
	t.Logf("%d ports, 8 at once: made in %v, removed in %v", len(all), made, time.Since(from))
	if now := links(t, h.ns); now != before {
		t.Errorf("links left behind:\n%s\nbefore:\n%s", now, before)
	}
	waitFor(t, 10*time.Second, "the flows of the ports to go", func() bool {
		return !strings.Contains(h.ofctl("dump-flows", "table=10"), "in_port=")
	})
}

func each(tb testing.TB, all []*container, do func(int, *container) error) {
	tb.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for i, c := range all {
		g.Go(func() error { return do(i, c) })
	}
	if err := g.Wait(); err != nil {
		tb.Fatal(err)
	}
}

// A host that meets many: the time of the first state and of one change, for people.
func TestScale(t *testing.T) {
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	const count = 5000
	for n := range count {
		p := testPort(fmt.Sprintf("far%d", n%50), n+1, "")
		w.add(&p)
	}
	for n := range 50 {
		name := fmt.Sprintf("far%d", n)
		w.set[drivers.Ref{Kind: protocol.KindHost, Key: name}] = &protocol.Host{Name: name, VTEP: netip.AddrFrom4([4]byte{172, 31, 1, byte(n)})}
	}
	from := time.Now()
	apply(t, d, w.all())
	whole := time.Since(from)
	p := testPort("far7", count+1, "")
	from = time.Now()
	apply(t, d, w.add(&p))
	one := time.Since(from)
	s := d.Status()
	t.Logf("%d endpoints, %v flows: all in %v, one more in %v", count, s.Details["flows"], whole, one)
	if s.Details["pending"] != 0 || s.Realised != w.position() {
		t.Errorf("status %+v", s)
	}
}
