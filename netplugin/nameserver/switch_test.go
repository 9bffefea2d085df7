package nameserver_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs"
	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netplugin/nameserver"
	"github.com/contiv/contiv/ofnet/openflow/ovstest"
	"github.com/contiv/contiv/ofnet/protocol"
)

// bench is a host with a real switch, workloads and a resolver outside the cluster.
type bench struct {
	t        *testing.T
	driver   *ovs.Driver
	server   *nameserver.Server
	set      map[drivers.Ref]protocol.Body
	revision int64
	taken    atomic.Int64 // packets that the agent got
	upstream string
	asked    atomic.Int64 // queries that the resolver got
}

// Intercept counts what goes by.
func (b *bench) Intercept(ctx context.Context, take func(drivers.DNSPacket)) error {
	return b.driver.Intercept(ctx, func(p drivers.DNSPacket) { b.taken.Add(1); take(p) })
}

func newBench(t *testing.T, mode string) *bench {
	t.Helper()
	sw := ovstest.Start(t)
	b := &bench{t: t, set: map[drivers.Ref]protocol.Body{}}
	var err error
	b.driver, err = ovs.New(t.Context(), ovs.Config{
		Host: "h1", RunDir: sw.Dir, DatapathType: ovs.DatapathNetdev, NetNS: "/run/netns/" + sw.NetNS, ControlSocket: sw.Dir + "/vswitchd.ctl",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.driver.Close() })
	b.upstream = serveDNS(t, nil, "127.0.0.1:0", &b.asked)
	log := logrus.New()
	log.SetOutput(t.Output())
	log.SetLevel(logrus.DebugLevel)
	b.server = nameserver.New(nameserver.Config{Domain: "contiv", Servers: nameserver.FixedServers(b.upstream), Log: logrus.NewEntry(log)})
	b.set[drivers.Ref{Kind: protocol.KindGlobal, Key: "global"}] = &protocol.Global{ForwardMode: mode, ARPMode: protocol.ARPProxy, MTUVXLAN: 1450}
	for i, tenant := range []string{"blue", "red"} {
		n := &protocol.Network{
			Tenant: tenant, Name: "net", Type: "data", ID: uint16(i + 1), VRF: uint16(i + 1), Encap: protocol.EncapVXLAN, VNI: uint32(101 + i),
			Subnet: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.1.255.254"), Subnet6: netip.MustParsePrefix("fd01::/64"),
		}
		b.set[drivers.Ref{Kind: protocol.KindNetwork, Key: n.Key()}] = n
	}
	return b
}

// apply hands the whole state over.
func (b *bench) apply() {
	b.t.Helper()
	b.revision++
	update := drivers.Update{Position: protocol.Position{Store: "s", Revision: b.revision}, Replace: true, Set: b.set}
	if missing, err := b.server.Follow(b.driver).Apply(b.t.Context(), update); err != nil || len(missing) > 0 {
		b.t.Fatalf("%v, not realised %v", err, missing)
	}
}

// run starts the name server and answers what stops it.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Run(ctx, b) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		done <- nil
	}
	b.t.Cleanup(stop)
	return stop
}

var workloads atomic.Int32

// workload is a container with two addresses.
type workload struct {
	t    *testing.T
	ns   string
	addr netip.Addr
}

func (b *bench) workload(tenant, name string, n int, groups ...string) *workload {
	b.t.Helper()
	w := &workload{t: b.t, ns: fmt.Sprintf("names%d-%d", os.Getpid(), workloads.Add(1)), addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(n)})}
	mustRun(b.t, "ip", "netns", "add", w.ns)
	b.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", w.ns).Run() })
	mustRun(b.t, "ip", "-n", w.ns, "link", "set", "lo", "up")
	port := drivers.Port{
		ID: protocol.EndpointID{Host: "h1", ContainerID: tenant + "-" + name, IfName: "eth0"}, Tenant: tenant, Network: "net", Groups: groups,
		Encap: protocol.EncapVXLAN, MAC: fmt.Sprintf("02:02:0a:01:00:%02x", n), MTU: 1450, NetNS: "/run/netns/" + w.ns,
		IPv4: netip.PrefixFrom(w.addr, 16), IPv6: netip.MustParsePrefix(fmt.Sprintf("fd01::%x/64", n)),
	}
	if _, err := b.driver.PreparePort(b.t.Context(), port); err != nil {
		b.t.Fatal(err)
	}
	e := &protocol.Endpoint{ID: port.ID, Tenant: tenant, Network: "net", Groups: groups, MAC: port.MAC, IPv4: w.addr, IPv6: port.IPv6.Addr(), Name: name}
	b.set[drivers.Ref{Kind: protocol.KindEndpoint, Key: e.ID.String()}] = e
	for i, group := range groups {
		g := &protocol.Group{Tenant: tenant, Name: group, Network: "net", ID: uint16(10 + i)}
		b.set[drivers.Ref{Kind: protocol.KindGroup, Key: g.Key()}] = g
	}
	// Something to have queries sent to that is nobody: the packets get as far as the switch.
	mustRun(b.t, "ip", "-n", w.ns, "route", "add", "198.51.100.0/24", "dev", "eth0")
	mustRun(b.t, "ip", "-n", w.ns, "neigh", "add", "198.51.100.9", "lladdr", "02:02:02:02:02:02", "dev", "eth0")
	return w
}

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// inside runs f in the namespace of a workload, nil for this one; sockets that f makes stay there.
func (w *workload) inside(f func() error) error {
	if w == nil {
		return f()
	}
	return sandbox.InNetNS("/run/netns/"+w.ns, f)
}

// serveDNS runs a DNS server that knows names outside the cluster: any label under "example.", and a long TXT.
func serveDNS(t *testing.T, w *workload, address string, asked *atomic.Int64) string {
	t.Helper()
	handler := dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		reply := new(dns.Msg).SetReply(q)
		switch name := q.Question[0].Name; {
		case strings.HasPrefix(name, "long."):
			for range 20 {
				text := fmt.Sprintf("%s 60 IN TXT %q", name, strings.Repeat("x", 200))
				record, _ := dns.NewRR(text)
				reply.Answer = append(reply.Answer, record)
			}
		case strings.HasSuffix(strings.ToLower(name), "example."):
			record, _ := dns.NewRR(name + " 60 IN A 203.0.113.7")
			reply.Answer = append(reply.Answer, record)
		default:
			reply.Rcode = dns.RcodeNameError
		}
		if _, udp := out.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncate(1232)
		}
		_ = out.WriteMsg(reply)
	})
	var packets net.PacketConn
	var listener net.Listener
	err := w.inside(func() (err error) {
		for range 10 { // a port that is free for UDP may be taken for TCP
			if packets, err = net.ListenPacket("udp", address); err != nil {
				return err
			}
			if listener, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
				return nil
			}
			_ = packets.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return packets.LocalAddr().String()
}

// ask sends a query and waits for the answer.
func (w *workload) ask(network, server string, wait time.Duration, query *dns.Msg) (*dns.Msg, error) {
	var conn net.Conn
	err := w.inside(func() (err error) {
		conn, err = net.DialTimeout(network, server, wait)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()             //nolint:errcheck // the test is done with it
	room := uint16(dns.MinMsgSize) // what is longer is cut off and cannot be read
	if edns := query.IsEdns0(); edns != nil {
		room = edns.UDPSize()
	}
	client := &dns.Client{Net: network, Timeout: wait, UDPSize: room}
	reply, _, err := client.ExchangeWithConn(query, &dns.Conn{Conn: conn, UDPSize: room})
	return reply, err
}

func question(name string, kind uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
}

var nameServer = netip.AddrPortFrom(protocol.NameServer, 53).String()

// has asks for addresses and compares.
func (w *workload) has(name string, kind uint16, server string, want ...string) {
	w.t.Helper()
	reply, err := w.ask("udp", server, 2*time.Second, question(name, kind))
	if err != nil {
		w.t.Errorf("%s %s at %s: %v", name, dns.TypeToString[kind], server, err)
		return
	}
	got := data(reply)
	slices.Sort(want)
	if reply.Rcode != dns.RcodeSuccess || !slices.Equal(got, want) {
		w.t.Errorf("%s %s at %s: %s %v, want %v", name, dns.TypeToString[kind], server, dns.RcodeToString[reply.Rcode], got, want)
	}
}

func data(reply *dns.Msg) (out []string) {
	for _, record := range reply.Answer {
		out = append(out, strings.TrimPrefix(record.String(), record.Header().String()))
	}
	slices.Sort(out)
	return out
}

func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			b.t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// answering waits until the name server is in the path.
func (b *bench) answering(w *workload, name string) {
	b.t.Helper()
	b.eventually("answers", func() bool {
		reply, err := w.ask("udp", nameServer, 100*time.Millisecond, question(name, dns.TypeA))
		return err == nil && len(reply.Answer) > 0
	})
}

// TestSwitch asks over a real switch, in both forward modes.
func TestSwitch(t *testing.T) {
	for _, mode := range []string{protocol.ForwardBridge, protocol.ForwardRouting} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode)
			web, db, red := b.workload("blue", "web", 2, "front"), b.workload("blue", "db", 3, "front", "back"), b.workload("red", "web", 4)
			b.apply()
			b.run()
			b.answering(web, "db")

			const nobody = "198.51.100.9:53"
			for _, server := range []string{nameServer, nobody} {
				web.has("db", dns.TypeA, server, "10.1.0.3")
				web.has("DB.Blue.contiv", dns.TypeA, server, "10.1.0.3")
				web.has("db", dns.TypeAAAA, server, "fd01::3")
				web.has("db", dns.TypeANY, server, "10.1.0.3", "fd01::3")
				web.has("front", dns.TypeA, server, "10.1.0.2", "10.1.0.3")
				web.has("3.0.1.10.in-addr.arpa", dns.TypePTR, server, "db.blue.contiv.")
				web.has("www.example", dns.TypeA, server, "203.0.113.7")
			}
			db.has("web", dns.TypeA, "[fd01::2]:53", "10.1.0.2") // over IPv6, to an endpoint: known names are answered all the same
			red.has("web", dns.TypeA, nameServer, "10.1.0.4")
			b.tcp(web, nobody)
			b.realServer(web, db)
		})
	}
}

// tcp asks over TCP, and for what UDP has no room for.
func (b *bench) tcp(web *workload, nobody string) {
	b.t.Helper()
	for i := range 60 {
		e := &protocol.Endpoint{
			ID: protocol.EndpointID{Host: "h9", ContainerID: fmt.Sprint("far", i), IfName: "eth0"}, Tenant: "blue", Network: "net", Groups: []string{"many"},
			IPv4: netip.AddrFrom4([4]byte{10, 1, 9, byte(i)}),
		}
		b.server.Apply(drivers.Update{Set: map[drivers.Ref]protocol.Body{{Kind: protocol.KindEndpoint, Key: e.ID.String()}: e}})
	}
	for _, server := range []string{nameServer, nobody} {
		reply, err := web.ask("udp", server, 2*time.Second, question("many", dns.TypeA))
		if err != nil || !reply.Truncated || len(reply.Answer) < 20 {
			b.t.Errorf("60 addresses in 512 bytes: %v, %v", reply, err)
		}
		reply, err = web.ask("udp", server, 2*time.Second, question("many", dns.TypeA).SetEdns0(4096, false))
		if err != nil || reply.Truncated || len(reply.Answer) != 60 || reply.IsEdns0() == nil {
			b.t.Errorf("60 addresses with EDNS: %v, %v", reply, err)
		}
		reply, err = web.ask("tcp", server, 2*time.Second, question("many", dns.TypeA))
		if err != nil || reply.Truncated || len(reply.Answer) != 60 {
			b.t.Errorf("60 addresses over TCP: %v, %v", reply, err)
		}
		reply, err = web.ask("tcp", server, 2*time.Second, question("long.example", dns.TypeTXT))
		if err != nil || len(reply.Answer) != 20 {
			b.t.Errorf("a long text of a resolver over TCP: %v, %v", reply, err)
		}
	}
}

// realServer has an endpoint serve DNS: what the cluster does not know goes to it, over UDP and TCP.
func (b *bench) realServer(web, db *workload) {
	b.t.Helper()
	var asked atomic.Int64
	address := serveDNS(b.t, db, db.addr.String()+":53", &asked)
	before := b.asked.Load()
	web.has("other.example", dns.TypeA, address, "203.0.113.7")
	if reply, err := web.ask("tcp", address, 2*time.Second, question("long.example", dns.TypeTXT)); err != nil || len(reply.Answer) != 20 {
		b.t.Errorf("TCP to an endpoint: %v, %v", reply, err)
	}
	web.has("web", dns.TypeA, address, "10.1.0.2")
	if asked.Load() != 2 || b.asked.Load() != before {
		b.t.Errorf("the endpoint was asked %d times, want 2; the host's resolver %d times, want 0", asked.Load(), b.asked.Load()-before)
	}
}

// TestAgentGone: when the agent ends without a word, queries go where they were sent, within the time after which
// resolvers ask again; and to a new agent as soon as it is there.
func TestAgentGone(t *testing.T) {
	b := newBench(t, protocol.ForwardBridge)
	web, db := b.workload("blue", "web", 2), b.workload("blue", "db", 3)
	b.apply()
	stop := b.run()
	b.answering(web, "db")
	var asked atomic.Int64
	address := serveDNS(t, db, db.addr.String()+":53", &asked)
	stop()
	gone := time.Now()
	b.eventually("the real server answers for a name of the cluster", func() bool {
		reply, err := web.ask("udp", address, 100*time.Millisecond, question("web", dns.TypeA))
		return err == nil && reply.Rcode == dns.RcodeNameError
	})
	if took := time.Since(gone); took > 4500*time.Millisecond {
		t.Errorf("queries were lost for %v after the agent's end, want less than 4.5 s", took)
	} else {
		t.Logf("queries were lost for %v after the agent's end", took.Round(100*time.Millisecond))
	}
	b.run()
	b.answering(web, "db")
	web.has("web", dns.TypeA, address, "10.1.0.2")
}

// TestStorm: one container asks as fast as it can; another's queries are all answered at once, and the agent gets no
// more than the meter lets through.
func TestStorm(t *testing.T) {
	b := newBench(t, protocol.ForwardBridge)
	web, db := b.workload("blue", "web", 2), b.workload("blue", "db", 3)
	b.apply()
	b.run()
	b.answering(web, "db")
	const lasts = 3 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var conn net.Conn
	if err := db.inside(func() (err error) { conn, err = net.Dial("udp", nameServer); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing is awaited
	sent := make(chan int, 1)
	before := b.taken.Load()
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			wire, _ := question(fmt.Sprintf("n%d.example", n), dns.TypeA).Pack()
			_, _ = conn.Write(wire)
		}
		sent <- n
	}()
	slowest, calm := time.Duration(0), 0
	for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		began := time.Now()
		if reply, err := web.ask("udp", nameServer, time.Second, question("db", dns.TypeA)); err != nil || len(reply.Answer) != 1 {
			t.Errorf("a query of another container in the storm: %v, %v", reply, err)
		}
		slowest, calm = max(slowest, time.Since(began)), calm+1
	}
	took, storm := b.taken.Load()-before, <-sent
	t.Logf("storm of %d queries in %v: the agent got %d, of which %d were the other's, whose slowest answer took %v",
		storm, lasts, took, calm, slowest.Round(time.Millisecond))
	if limit := int64(100*(lasts.Seconds()+1)) + 200 + int64(calm); took > limit {
		t.Errorf("the agent got %d packets, want at most %d", took, limit)
	}
	if storm < 5000 || calm < 20 {
		t.Errorf("a storm of %d queries beside %d others proves nothing", storm, calm)
	}
}
