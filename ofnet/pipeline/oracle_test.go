package pipeline

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/ofnet/openflow/unixctl"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/policy/policytest"
	"github.com/contiv/contiv/ofnet/protocol"
)

var (
	oracleCases = flag.Int("oracle.cases", 3200, "random cases of TestPolicyOracle")
	oracleSeed  = flag.Uint64("oracle.seed", 1, "first seed of TestPolicyOracle")
)

const casesOfWorld = 80

// firstPort of the lab's ports that local endpoints have; there are four.
const (
	firstPort  = 5
	localPorts = 4
)

// oracle is a world on a switch: the first endpoints are here, the others on h2.
type oracle struct {
	*lab
	mode    string
	control *unixctl.Client
	random  *policytest.World
	rules   policy.Table
	macs    []string
}

func (o *oracle) local(i int) bool { return i < localPorts }

// install makes the world of a seed the switch's.
func (o *oracle) install(t *testing.T, seed uint64, mode string) {
	t.Helper()
	o.mode = mode
	r := rand.New(rand.NewPCG(seed, 7))
	o.random = policytest.New(r, 1+r.IntN(40))
	o.rules, o.macs = policy.Table{}, nil
	w := newWorld(mode)
	w.network("t", "net", 3)
	for i, e := range o.random.Endpoints {
		host, port := "h2", uint32(0)
		if o.local(i) {
			host, port = "h1", uint32(firstPort+i)
		}
		o.macs = append(o.macs, fmt.Sprintf("02:02:00:00:00:%02x", i+1))
		w.endpoint("t:net", id(host, fmt.Sprint(i)), port, o.macs[i], e.IPv4.String(), e.IPv6.String(), e.Identity)
	}
	for key, rule := range o.random.Rules {
		w.Rules[key] = *rule
		o.rules.Set(key, rule)
	}
	p := Compile(w.State)
	if len(p.NotRealised) > 0 {
		t.Fatalf("seed %d: %v", seed, p.NotRealised)
	}
	o.lab.install(t, p)
}

// packet writes a packet from one endpoint to another as it reaches this host.
func (o *oracle) packet(p policy.Packet, from, to int) string {
	in := fmt.Sprintf("in_port=%d", firstPort+from)
	if !o.local(from) {
		in = fmt.Sprintf("in_port=100,tun_id=%s,tun_src=172.31.0.2,tun_dst=172.31.0.1", redVNI)
	}
	src, dst := o.macs[from], o.macs[to]
	if o.mode == protocol.ForwardRouting {
		if dst = routerMAC.String(); !o.local(from) {
			src = dst
		}
	}
	return fmt.Sprintf("%s,dl_src=%s,dl_dst=%s,%s", in, src, dst, network(p))
}

// network writes what a packet has behind the Ethernet header.
func network(p policy.Packet) string {
	six, address := "", "nw_src=%s,nw_dst=%s"
	if p.Src.Is6() {
		six, address = "6", "ipv6_src=%s,ipv6_dst=%s"
	}
	address = fmt.Sprintf(address, p.Src, p.Dst)
	for proto, name := range map[uint8]string{policy.TCP: "tcp", policy.UDP: "udp", policy.SCTP: "sctp"} {
		if p.Protocol == proto {
			return fmt.Sprintf("%s%s,%s,%s_src=%d,%s_dst=%d,nw_ttl=64", name, six, address, name, p.SrcPort, name, p.DstPort)
		}
	}
	version := strings.Replace(six, "6", "v6", 1)
	return fmt.Sprintf("icmp%s,%s,icmp%s_type=%d,icmp%s_code=%d,nw_ttl=64", six, address, version, p.ICMPType, version, p.ICMPCode)
}

// goes tells where a traced packet ends: the number of a local endpoint's port, the tunnel, or nowhere.
func (o *oracle) goes(trace *unixctl.Trace) string {
	var where []string
	for _, actions := range trace.Outputs() {
		for _, a := range topLevel(actions) {
			switch {
			case strings.HasPrefix(a, "tnl_push") || strings.HasPrefix(a, "clone(tnl_push"):
				where = append(where, "tunnel")
			case o.names[a] != "" && o.names[a] != "wire":
				where = append(where, o.names[a])
			}
		}
	}
	return strings.Join(where, ",")
}

// states of a connection that the packet finds, and whether it is judged then.
var states = []struct {
	ct     []string
	judged bool
}{{nil, true}, {[]string{"trk,est"}, true}, {[]string{"trk,est,rpl"}, false}, {[]string{"trk,rel"}, false}}

// TestPolicyOracle compares verdicts of the policy language with what a real switch does to packets, traced through the
// compiled pipeline: to and from local endpoints, here and beyond the tunnel, first and later packets, both families, both forward modes.
func TestPolicyOracle(t *testing.T) {
	l := newLab(t, 1)
	l.Appctl("tnl/neigh/set", "br-phy", "172.31.0.2", "aa:55:aa:55:00:02")
	o := &oracle{lab: l, control: l.Control()}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	denied, began := 0, time.Now()
	for n := range *oracleCases {
		seed := *oracleSeed + uint64(n/casesOfWorld)
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		if n%casesOfWorld == 0 {
			o.install(t, seed, []string{protocol.ARPProxy, protocol.ForwardRouting}[seed%2])
		}
		p, from, to := o.random.Packet(r)
		if !o.local(from) && !o.local(to) {
			from, p.Src, p.SrcIdentity = o.other(p, r.IntN(min(localPorts, len(o.macs))))
			if from == to {
				continue
			}
		}
		state := states[r.IntN(len(states))]
		verdict := o.rules.Decide(p)
		want := ""
		if verdict.Allow || !state.judged {
			if want = "tunnel"; o.local(to) {
				want = fmt.Sprint("p", firstPort+to)
			}
		} else {
			denied++
		}
		trace, err := o.control.Trace(ctx, l.Bridge, o.packet(p, from, to), unixctl.Options{CTNext: state.ct})
		if err != nil {
			t.Fatalf("seed %d case %d: %v", seed, n, err)
		}
		if got := o.goes(trace); got != want {
			o.report(t, seed, n, p, verdict, state.ct, got, want, trace)
		}
	}
	t.Logf("%d cases, %d of them denied, in %v", *oracleCases, denied, time.Since(began).Round(time.Millisecond))
	if denied < *oracleCases/10 {
		t.Errorf("only %d of %d cases are denied: the test sees too little", denied, *oracleCases)
	}
}

// other makes the endpoint i the source of the packet.
func (o *oracle) other(p policy.Packet, i int) (from int, src netip.Addr, identity uint16) {
	e := o.random.Endpoints[i]
	if p.Src.Is4() {
		return i, e.IPv4, e.Identity
	}
	return i, e.IPv6, e.Identity
}

func (o *oracle) report(t *testing.T, seed uint64, n int, p policy.Packet, verdict policy.Verdict, ct []string, got, want string, trace *unixctl.Trace) {
	t.Helper()
	var rules strings.Builder
	for _, key := range slices.Sorted(maps.Keys(o.random.Rules)) {
		if policy.Matches(o.random.Rules[key], &p) {
			fmt.Fprintf(&rules, "  %s: %+v\n", key, *o.random.Rules[key])
		}
	}
	t.Fatalf("seed %d case %d, connection %v: %v\ngoes to %q, want %q; verdict %+v\nrules that match:\n%s%s", seed, n, ct, p, got, want, verdict, rules.String(), trace.Text)
}
