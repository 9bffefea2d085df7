package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/state"
	"github.com/contiv/contiv/test/probe"
	"github.com/contiv/contiv/test/probe/mesh"
)

// The [DP] steps of the golden tutorial's parts C and D: netctl, as users have it, and packets. The tutorial's networks of
// encapsulation vlan are overlay networks here; what netctl prints is in testdata/golden.

// trial is a cluster with workloads that try to reach each other.
type trial struct {
	*cluster
	mode  string
	names []string
	addrs map[string]netip.Addr
	mesh  *mesh.Mesh
}

// newTrial has two hosts and no workloads yet.
func newTrial(t *testing.T, mode string) *trial {
	t.Helper()
	return &trial{cluster: start(t, sandbox.Config{Hosts: 2, FwdMode: mode}), mode: mode, addrs: map[string]netip.Addr{}}
}

// settle starts a workload and wants it to have an address.
func (w *trial) settle(work sandbox.Workload, address string) {
	w.t.Helper()
	status := w.run(work)
	if status.Addresses[0] != address {
		w.t.Errorf("%s has %v, want %s", work.Name, status.Addresses, address)
	}
	w.names = append(w.names, work.Name)
	w.addrs[work.Name] = netip.MustParseAddr(status.Addresses[0])
}

// listen has all workloads listen on ports.
func (w *trial) listen(ports ...int) {
	w.t.Helper()
	var inside []probe.Inside
	for _, name := range w.names {
		inside = append(inside, w.inside(name))
	}
	var err error
	w.mesh, err = mesh.New(inside, ports...)
	w.must(err)
	w.t.Cleanup(func() { _ = w.mesh.Close() })
}

// sh runs lines of netctl.
func (w *trial) sh(lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		w.ok(strings.Fields(line)...)
	}
}

// attempt is a try and what becomes of it: "c2 c1 tcp 8000", with "!" before what is blocked.
type attempt string

// expect wants each attempt to come out within the time that a change may take.
func (w *trial) expect(step string, attempts ...attempt) {
	w.t.Helper()
	shots, wanted := make([]mesh.Shot, len(attempts)), make([]bool, len(attempts))
	for i, a := range attempts {
		text, blocked := strings.CutPrefix(string(a), "!")
		var from, to, protocol string
		if _, err := fmt.Sscan(text, &from, &to, &protocol); err != nil {
			w.t.Fatalf("%s: %v", a, err)
		}
		shots[i] = mesh.Shot{To: w.addrs[to], Protocol: map[string]int{"tcp": mesh.TCP, "udp": mesh.UDP, "icmp": mesh.ICMP}[protocol], Type: 8}
		for n, name := range w.names {
			if name == from {
				shots[i].From = n
			}
		}
		if protocol != "icmp" {
			shots[i].Port = atoi(text[strings.LastIndex(text, " ")+1:])
		}
		wanted[i] = !blocked
	}
	for began := time.Now(); ; {
		got, err := w.mesh.Volley(w.t.Context(), shots, wanted, 50*time.Millisecond, 300*time.Millisecond)
		w.must(err)
		wrong := ""
		for i, a := range attempts {
			if got[i].Answered != wanted[i] || !wanted[i] && got[i].Arrived {
				wrong += fmt.Sprintf(" %q: %+v", a, got[i])
			}
		}
		if wrong == "" {
			return
		}
		if time.Since(began) > ruleDeadline {
			w.t.Errorf("%s:%s", step, wrong)
			return
		}
	}
}

// inModes runs a test of the tutorial in both forward modes.
func inModes(t *testing.T, test func(w *trial)) {
	t.Helper()
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) { test(newTrial(t, mode)) })
	}
}

// TestGoldenPolicyTutorial is parts C1 and C2.
func TestGoldenPolicyTutorial(t *testing.T) {
	inModes(t, func(w *trial) {
		w.sh("tenant create TestTenant", "network create --tenant TestTenant --subnet=10.1.1.0/24 --gateway=10.1.1.254 TestNet",
			"group create -t TestTenant TestNet epgA", "group create -t TestTenant TestNet epgB")
		w.settle(sandbox.Workload{Name: "a", Host: 1, Tenant: "TestTenant", Group: "epgA"}, "10.1.1.1")
		w.settle(sandbox.Workload{Name: "b", Host: 2, Tenant: "TestTenant", Group: "epgB"}, "10.1.1.2")
		w.listen(8000, 8001)
		w.expect("C1.7", "a b icmp", "a b tcp 8000", "b a tcp 8000")
		w.sh("policy create -t TestTenant policyAB",
			"policy rule-add -t TestTenant -d in --protocol icmp --from-group epgA --action deny policyAB 1",
			"group create -t TestTenant -p policyAB TestNet epgB")
		w.expect("C1.13", "!a b icmp", "b a icmp", "a b tcp 8000")
		w.sh("policy rule-add -t TestTenant -d in --protocol tcp --port 0 --from-group epgA --action deny policyAB 2",
			"policy rule-add -t TestTenant -d in --protocol tcp --port 8001 --from-group epgA --action allow --priority 10 policyAB 3")
		w.expect("C2.4 to C2.6", "a b tcp 8001", "!a b tcp 8000", "b a tcp 8000", "b a tcp 8001")
	})
}

// TestGoldenPolicyGuide is part D.
func TestGoldenPolicyGuide(t *testing.T) {
	inModes(t, func(w *trial) {
		w.sh("net create -s 20.1.1.0/24 -g 20.1.1.254 contiv-net", "policy create web-policy",
			"policy rule-add web-policy 1 -direction=in -protocol=tcp -action=deny",
			"policy rule-add web-policy 2 -direction=in -protocol=tcp -port=80 -action=allow -priority=10",
			"policy rule-add web-policy 3 -direction=in -protocol=tcp -port=443 -action=allow -priority=10",
			"group create contiv-net web-group -policy=web-policy", "policy create new-web-policy")
		w.settle(sandbox.Workload{Name: "web", Host: 1, Group: "web-group"}, "20.1.1.1")
		w.settle(sandbox.Workload{Name: "client", Host: 2, Network: "contiv-net"}, "20.1.1.2")
		w.settle(sandbox.Workload{Name: "web2", Host: 2, Group: "web-group"}, "20.1.1.3")
		w.listen(80, 443, 8080)
		w.expect("D5", "client web tcp 80", "client web tcp 443", "!client web tcp 8080", "client web udp 8080", "client web icmp",
			"web client tcp 8080", "web2 web tcp 80", "!web2 web tcp 8080")
		w.sh("policy rule-add web-policy 4 -direction=in -protocol=tcp -port=8080 -action=allow -priority 10")
		w.expect("D7", "client web tcp 8080", "client web2 tcp 8080")
		w.sh("policy rule-rm web-policy 4")
		w.expect("D8", "!client web tcp 8080", "!client web2 tcp 8080", "client web tcp 80")
		w.sh("group create contiv-net web-group -policy=new-web-policy")
		w.expect("D10", "client web tcp 8080", "client web tcp 80")
		w.refused([]string{"active endpoints"}, "group", "delete", "web-group")
		w.sh("policy create allow-diags", "policy rule-add allow-diags 1 -direction=in -protocol=icmp -action=allow -priority=20",
			"policy rule-add web-policy 5 -direction=in -protocol=icmp -action=deny",
			"group create contiv-net web-group -policy=web-policy -policy=allow-diags")
		w.expect("D12", "client web icmp", "!client web tcp 8080", "client web tcp 443")
		w.sh("group create contiv-net web-group -policy=web-policy")
		w.expect("D13", "!client web icmp", "!client web tcp 8080", "client web tcp 443")
	})
}

// TestGoldenRuleMatrix is part D-matrix. DM12 and DM13 are inverted: an answer to what a group asked for always passes, so
// a rule about what comes in does not end the group's own pings.
func TestGoldenRuleMatrix(t *testing.T) {
	inModes(t, func(w *trial) {
		private := "10.1.0.0/16"
		w.sh("net create -s "+private+" -g 10.1.1.254 private", "net create -s 20.1.0.0/16 -g 20.1.1.254 dummy",
			"policy create first", "policy create second", "group create private srv1 -p first", "group create private srv2 -p second")
		w.settle(sandbox.Workload{Name: "c1", Host: 1, Group: "srv1"}, "10.1.0.1")
		w.settle(sandbox.Workload{Name: "c2", Host: 2, Group: "srv2"}, "10.1.0.2")
		w.listen(8000, 8001)
		in, out := "policy rule-add first %d -d in -l tcp ", "policy rule-add first %d -d out -l tcp "
		add := func(format string, id int, rest string) { w.t.Helper(); w.sh(fmt.Sprintf(format, id) + rest) }
		remove := func(ids ...int) {
			w.t.Helper()
			for _, id := range ids {
				w.sh(fmt.Sprintf("policy rule-rm first %d", id))
			}
		}
		open := func(step string, from, to string) {
			w.t.Helper()
			w.expect(step, attempt(from+" "+to+" tcp 8000"), attempt(from+" "+to+" tcp 8001"), attempt(to+" "+from+" tcp 8000"))
		}
		half := func(step string, from, to string) {
			w.t.Helper()
			w.expect(step, attempt(from+" "+to+" tcp 8000"), attempt("!"+from+" "+to+" tcp 8001"), attempt(to+" "+from+" tcp 8001"))
		}
		for _, d := range []struct{ rule, peer, from, to, names string }{
			{in, "from", "c2", "c1", "DM1 DM2 DM3 DM4 DM5 DM6"}, {out, "to", "c1", "c2", "DM7 DM8 DM9 DM10 DM11 DM11"},
		} {
			names := strings.Fields(d.names)
			add(d.rule, 1, "-j deny")
			w.expect(names[0], attempt("!"+d.from+" "+d.to+" tcp 8000"), attempt("!"+d.from+" "+d.to+" tcp 8001"), attempt(d.to+" "+d.from+" tcp 8001"))
			add(d.rule, 2, "-P 8000 -j allow -p 100")
			half(names[1], d.from, d.to)
			add(d.rule, 3, "--"+d.peer+"-group srv2 -P 8001 -j allow -p 100")
			open(names[2], d.from, d.to)
			remove(3)
			half(names[2], d.from, d.to)
			for i, peers := range [][2]string{{"-network private", "-network dummy"}, {"-ip-address 10.1.0.2", "-ip-address 20.1.0.0/16"}} {
				add(d.rule, 3, "--"+d.peer+peers[0]+" -j allow -p 10")
				add(d.rule, 4, "--"+d.peer+peers[1]+" -j deny -p 100")
				open(names[3+i], d.from, d.to)
				remove(3, 4)
				half(names[3+i], d.from, d.to)
			}
			remove(1, 2)
			open(names[5], d.from, d.to)
		}
		w.sh("policy rule-add first 1 -d in -l icmp -j deny")
		w.expect("DM12", "c1 c2 icmp", "!c2 c1 icmp")
		w.sh("policy rule-add first 2 -d in -l icmp -j allow -p 100 --from-ip-address 10.1.0.2")
		w.expect("DM13", "c1 c2 icmp", "c2 c1 icmp")
		remove(2)
		w.expect("DM13", "c1 c2 icmp", "!c2 c1 icmp")
		remove(1)
		w.expect("DM13", "c1 c2 icmp", "c2 c1 icmp")
	})
}

// TestGoldenGroupPools is F2.3: the containers of a group have the addresses of its pool, as long as there are any.
func TestGoldenGroupPools(t *testing.T) {
	w := newTrial(t, state.ForwardBridge)
	w.sh("net create -s 10.2.2.0/24 contiv-net", "group create contiv-net g1 --ip-pool 10.2.2.5-10.2.2.10")
	for i := range 6 {
		w.settle(sandbox.Workload{Name: fmt.Sprint("c", i), Host: 1 + i%2, Group: "g1"}, fmt.Sprintf("10.2.2.%d", 5+i))
	}
	if status, err := w.Run(t.Context(), sandbox.Workload{Name: "seventh", Host: 1, Group: "g1"}); err == nil {
		t.Errorf("the seventh of six has %v", status.Addresses)
	}
	w.listen(80)
	w.expect("F2.3", "c0 c5 tcp 80", "c5 c0 tcp 80")
}
