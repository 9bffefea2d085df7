package writer

import (
	"math/rand/v2"
	"testing"

	"github.com/contiv/contiv/ofnet/openflow"
)

// Every cookie of another round is deleted, no cookie of this one, nor one of the switch's own.
func TestOtherRounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	matches := func(round uint16, cookie uint64) bool {
		for bit := RoundShift; bit < 63; bit++ { // as otherRounds says it does
			mask := uint64(1)<<bit | 1<<63
			if cookie&mask == ^(uint64(round)<<RoundShift)&(uint64(1)<<bit) {
				return true
			}
		}
		return false
	}
	if len(otherRounds(5)) != 15 {
		t.Fatalf("%d deletions", len(otherRounds(5)))
	}
	for range 100000 {
		round := uint16(random.IntN(LastRound)) + 1
		cookie := random.Uint64()
		if random.IntN(4) == 0 {
			cookie = cookie&^RoundBits | uint64(round)<<RoundShift
		}
		want := cookie>>63 == 0 && uint16(cookie>>RoundShift) != round
		if got := matches(round, cookie); got != want {
			t.Fatalf("round %#x, cookie %#x: deleted %v", round, cookie, got)
		}
	}
}

func TestChunksKeepUnitsWhole(t *testing.T) {
	var units []*unit
	for _, size := range []int{3, 3, 3, 20, 1, 9} {
		units = append(units, &unit{mods: make([]openflow.Mod, size)})
	}
	var sizes []int
	for _, chunk := range chunks(units, 10) {
		n := 0
		for _, u := range chunk {
			n += len(u.mods)
		}
		sizes = append(sizes, n)
	}
	want := []int{9, 20, 10}
	if len(sizes) != len(want) || sizes[0] != want[0] || sizes[1] != want[1] || sizes[2] != want[2] {
		t.Errorf("bundles of %v, want %v", sizes, want)
	}
}

func TestProgramKeepsWhatIsNewest(t *testing.T) {
	flow := openflow.Flow{Table: 1, Priority: 5, Cookie: 7, Goto: 2}
	p := newProgram()
	p.update(&Update{Flows: []openflow.Flow{flow}})
	first := p.units(1, func(Owner) bool { return false })
	flow.Goto = 3
	p.update(&Update{Flows: []openflow.Flow{flow}}) // while the first is on its way
	first[0].acks[0]()
	if units := p.units(1, func(Owner) bool { return false }); len(units) != 1 {
		t.Fatalf("the acknowledgement of an older change took away the newer: %v", units)
	}
	p.update(&Update{DropFlows: []openflow.Key{flow.Key()}, Flows: []openflow.Flow{flow}})
	if p.flows[flow.Key()].gone {
		t.Error("set and dropped at once: it must stay")
	}
	p.update(&Update{DropFlows: []openflow.Key{flow.Key()}})
	for _, u := range p.units(1, func(Owner) bool { return false }) {
		u.acks[0]()
	}
	if len(p.flows) != 0 || len(p.dirtyFlows) != 0 {
		t.Errorf("left after deletion: %v", p.flows)
	}
}
