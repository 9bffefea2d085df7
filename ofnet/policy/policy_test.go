package policy_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/policy/policytest"
	"github.com/contiv/contiv/ofnet/protocol"
)

var cases = flag.Int("policy.cases", 100_000, "random cases of TestTable")

// slow asks each rule and takes the one that comes before all others that match.
func slow(rules map[string]*protocol.Rule, p policy.Packet) policy.Verdict {
	verdict := policy.Verdict{Allow: true}
	best := -1
	for key, r := range rules {
		if !matches(r, p) {
			continue
		}
		rank := 2 * int(r.Priority)
		if r.Action == protocol.ActionDeny {
			rank++
		}
		if rank > best || rank == best && key < verdict.Rule {
			best, verdict = rank, policy.Verdict{Allow: r.Action == protocol.ActionAllow, Rule: key}
		}
	}
	return verdict
}

// matches says again, in other words than the package, what a rule is about.
func matches(r *protocol.Rule, p policy.Packet) bool {
	ok := r.Src.Any || slices.Contains(r.Src.Identities, p.SrcIdentity)
	ok = ok && (r.Dst.Any || slices.Contains(r.Dst.Identities, p.DstIdentity))
	ok = ok && among(r.Src.Prefixes, p.Src) && among(r.Dst.Prefixes, p.Dst)
	if len(r.Protocols) > 0 {
		known := false
		for _, proto := range r.Protocols {
			family := proto != 1 && proto != 58 || (proto == 1) == p.Src.Is4()
			known = known || proto == p.Protocol && family
		}
		ok = ok && known
	}
	if r.PortLast > 0 {
		ok = ok && p.DstPort >= r.PortFirst && p.DstPort <= r.PortLast
	}
	if r.ICMPType != nil {
		ok = ok && *r.ICMPType == p.ICMPType
	}
	if r.ICMPCode != nil {
		ok = ok && *r.ICMPCode == p.ICMPCode
	}
	return ok
}

func among(prefixes []netip.Prefix, addr netip.Addr) bool {
	in := len(prefixes) == 0
	for _, prefix := range prefixes {
		masked, err := addr.Prefix(prefix.Bits())
		in = in || err == nil && masked == prefix
	}
	return in
}

func TestTable(t *testing.T) {
	const packets = 50
	for seed := range uint64(*cases / packets) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := policytest.New(r, r.IntN(40))
		var table policy.Table
		for key, rule := range w.Rules {
			if err := policy.Check(rule); err != nil {
				t.Fatalf("seed %d: %v: %+v", seed, err, rule)
			}
			table.Set(key, rule)
		}
		for key := range w.Rules {
			if r.IntN(5) == 0 {
				table.Remove(key)
				delete(w.Rules, key)
			}
		}
		for range packets {
			p, _, _ := w.Packet(r)
			if got, want := table.Decide(p), slow(w.Rules, p); got != want {
				t.Fatalf("seed %d: %v: got %+v, want %+v", seed, p, got, want)
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	kind, code := uint8(8), uint8(0)
	good := func() *protocol.Rule {
		return &protocol.Rule{ID: 1, Priority: 1, Action: protocol.ActionDeny, Src: protocol.Peer{Any: true}, Dst: protocol.Peer{Identities: []uint16{2}}}
	}
	if err := policy.Check(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(r *protocol.Rule){
		"no id":                   func(r *protocol.Rule) { r.ID = 0 },
		"unknown action":          func(r *protocol.Rule) { r.Action = "log" },
		"priority":                func(r *protocol.Rule) { r.Priority = 101 },
		"range of ports":          func(r *protocol.Rule) { r.Protocols, r.PortFirst, r.PortLast = []uint8{6}, 9, 8 },
		"half a range":            func(r *protocol.Rule) { r.Protocols, r.PortLast = []uint8{6}, 8 },
		"port of any protocol":    func(r *protocol.Rule) { r.PortFirst, r.PortLast = 8, 8 },
		"port of ICMP":            func(r *protocol.Rule) { r.Protocols, r.PortFirst, r.PortLast = []uint8{1, 6}, 8, 8 },
		"ICMP type of TCP":        func(r *protocol.Rule) { r.Protocols, r.ICMPType = []uint8{6}, &kind },
		"ICMP code without type":  func(r *protocol.Rule) { r.Protocols, r.ICMPCode = []uint8{1}, &code },
		"protocol 0":              func(r *protocol.Rule) { r.Protocols = []uint8{0} },
		"identity 0":              func(r *protocol.Rule) { r.Dst.Identities = []uint16{0} },
		"any and some identities": func(r *protocol.Rule) { r.Dst.Any = true },
	} {
		r := good()
		spoil(r)
		if policy.Check(r) == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		var table policy.Table
		table.Set("k", r)
		if verdict := table.Decide(policy.Packet{SrcIdentity: 1, DstIdentity: 2, Protocol: 6, DstPort: 8}); verdict.Allow && r.Action != protocol.ActionAllow {
			t.Errorf("%s: let through what the rule was to deny", name)
		}
		if closed, any := policy.Closed(r); any {
			if err := policy.Check(&closed); err != nil {
				t.Errorf("%s: closed: %v", name, err)
			}
		}
	}
}
