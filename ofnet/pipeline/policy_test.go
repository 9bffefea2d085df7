package pipeline

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

func identities(ids ...uint16) protocol.Peer { return protocol.Peer{Identities: ids} }

var anyPeer = protocol.Peer{Any: true}

// TestGoldenPolicy shows what each form of a rule becomes.
func TestGoldenPolicy(t *testing.T) {
	echo := uint8(8)
	w := newWorld(protocol.ARPProxy)
	for _, r := range []protocol.Rule{
		{ID: 1, Priority: 1, Action: "deny", Src: anyPeer, Dst: identities(20), Protocols: []uint8{6}},
		{ID: 2, Priority: 10, Action: "allow", Src: identities(10), Dst: identities(20), Protocols: []uint8{6}, PortFirst: 80, PortLast: 80},
		{ID: 3, Priority: 10, Action: "deny", Src: protocol.Peer{Any: true, Prefixes: prefixes("10.1.0.0/16")}, Dst: identities(20)},
		{ID: 4, Priority: 20, Action: "allow", Src: identities(10, 30), Dst: identities(20, 40, 50), Protocols: []uint8{6}, PortFirst: 8080, PortLast: 8081},
		{ID: 5, Priority: 20, Action: "allow", Src: identities(10, 30, 31), Dst: identities(20, 40, 50), Protocols: []uint8{6}, PortFirst: 90, PortLast: 90},
		{ID: 6, Priority: 30, Action: "allow", Src: anyPeer, Dst: identities(20), Protocols: []uint8{1, 58}},
		{ID: 7, Priority: 31, Action: "allow", Src: anyPeer, Dst: identities(20), Protocols: []uint8{1}, ICMPType: &echo},
		{ID: 8, Priority: 40, Action: "deny", Src: anyPeer, Dst: identities(20), Protocols: []uint8{17}, PortFirst: 1000, PortLast: 1010},
		{ID: 9, Priority: 50, Action: "deny", Src: identities(), Dst: identities(20)},
		{ID: 10, Priority: 60, Action: "log", Src: anyPeer, Dst: identities(20), Protocols: []uint8{6}},
		{ID: 11, Priority: 0, Action: "deny", Src: identities(60), Dst: anyPeer},
	} {
		w.rule(r)
	}
	p := Compile(w.State)
	for k := range p.Flows {
		if k.Table != tablePolicy {
			delete(p.Flows, k)
		}
	}
	golden(t, "policy", p.text())
}

// TestPortMasks compares with all ports.
func TestPortMasks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		first := uint16(1 + r.IntN(1<<16-1))
		last := first + uint16(r.IntN(1<<16-int(first)))
		masks := portMasks(first, last)
		if len(masks) > 30 {
			t.Errorf("%d-%d: %d masks", first, last, len(masks))
		}
		for port := 1; port < 1<<16; port++ {
			in := 0
			for _, m := range masks {
				if uint16(port)&m.mask == m.value {
					in++
				}
			}
			want := 0
			if uint16(port) >= first && uint16(port) <= last {
				want = 1
			}
			if in != want {
				t.Fatalf("%d-%d: port %d is in %d masks", first, last, port, in)
			}
		}
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}
