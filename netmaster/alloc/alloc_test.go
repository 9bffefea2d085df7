package alloc

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func addresses(first, last string) Range { return Addresses(addr(first), addr(last)) }

// TestAgainstBruteForce compares sets of runs with a plain map, operation by operation.
func TestAgainstBruteForce(t *testing.T) {
	const seeds, steps, size = 40, 600, 64
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		set, plain := NewSet(), map[int]bool{}
		for range steps {
			n := rnd.IntN(size)
			if rnd.IntN(2) == 0 {
				if got := set.Add(Number(n)); got == plain[n] {
					t.Fatalf("seed %d: Add(%d) said %v", seed, n, got)
				}
				plain[n] = true
			} else {
				if got := set.Remove(Number(n)); got != plain[n] {
					t.Fatalf("seed %d: Remove(%d) said %v", seed, n, got)
				}
				delete(plain, n)
			}
			compare(t, rnd, set, plain, size)
		}
	}
}

func compare(t *testing.T, rnd *rand.Rand, set *Set, plain map[int]bool, size int) {
	t.Helper()
	if set.Len() != len(plain) {
		t.Fatalf("Len is %d, not %d", set.Len(), len(plain))
	}
	first, last := rnd.IntN(size), rnd.IntN(size)
	avoid := []Range{Numbers(rnd.IntN(size), rnd.IntN(size)), Numbers(rnd.IntN(size), rnd.IntN(size))}
	want, found := 0, false
	for n := first; n <= last && !found; n++ {
		if v := Number(n); !plain[n] && !avoid[0].Contains(v) && !avoid[1].Contains(v) {
			want, found = n, true
		}
	}
	got, ok := set.LowestFree(Numbers(first, last), avoid...)
	if ok != found || ok && got.Int() != want {
		t.Fatalf("LowestFree(%d-%d avoiding %v) of %v is %v %v, not %v %v", first, last, avoid, plain, got, ok, want, found)
	}
	usage := UsageOf(Numbers(first, last), set, avoid...)
	covered := 0
	for _, runs := range [][]Range{usage.Used, usage.Free} {
		for _, run := range runs {
			for v := range run.Values() {
				covered++
				n := v.Int()
				used := plain[n] || avoid[0].Contains(v) || avoid[1].Contains(v)
				if used == (&runs[0] == firstOf(usage.Free)) {
					t.Fatalf("%d of %d-%d is on the wrong side of %+v", n, first, last, usage)
				}
			}
		}
	}
	if covered != max(0, last-first+1) {
		t.Fatalf("usage of %d-%d covers %d numbers: %+v", first, last, covered, usage)
	}
}

func firstOf(runs []Range) *Range {
	if len(runs) == 0 {
		return nil
	}
	return &runs[0]
}

func TestFormat(t *testing.T) {
	set := NewSet()
	for _, a := range []string{"10.1.2.2", "10.1.2.3", "2001:db8::1"} {
		set.Add(Address(addr(a)))
	}
	u := UsageOf(addresses("10.1.2.1", "10.1.2.254"), set, addresses("10.1.2.1", "10.1.2.1"))
	if used, free := FormatAddresses(u.Used), FormatAddresses(u.Free); used != "10.1.2.1-10.1.2.3" || free != "10.1.2.4-10.1.2.254" {
		t.Errorf("used %q, free %q", used, free)
	}
	u = UsageOf(addresses("10.2.2.1", "10.2.2.254"), NewSet(), addresses("10.2.2.31", "10.2.2.132"),
		addresses("10.2.2.5", "10.2.2.10"), addresses("10.2.2.11", "10.2.2.30"), addresses("10.2.2.133", "10.2.2.180"))
	if used, free := FormatAddresses(u.Used), FormatAddresses(u.Free); used != "10.2.2.5-10.2.2.180" ||
		free != "10.2.2.1-10.2.2.4, 10.2.2.181-10.2.2.254" {
		t.Errorf("used %q, free %q", used, free)
	}
	if got := FormatNumbers([]Range{Numbers(1, 1), Numbers(10, 11), Numbers(300, 300)}); got != "1, 10-11, 300" {
		t.Errorf("numbers %q", got)
	}
}

func TestBigRanges(t *testing.T) {
	set := NewSet()
	in := addresses("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")
	for _, want := range []string{"2001:db8::1", "2001:db8::3", "2001:db8::4"} {
		v, ok := set.LowestFree(in, addresses("2001:db8::2", "2001:db8::2"))
		if !ok || v.Addr() != addr(want) {
			t.Fatalf("got %v %v, not %s", v.Addr(), ok, want)
		}
		set.Add(v)
	}
	whole := addresses("ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	set.Add(whole.Last)
	if _, ok := set.LowestFree(Range{whole.Last, whole.Last}); ok {
		t.Error("the last address of all is given twice")
	}
}

// BenchmarkLowestFree is a /8 with 20 000 addresses in use all over it.
func BenchmarkLowestFree(b *testing.B) {
	set, rnd := NewSet(), rand.New(rand.NewPCG(1, 1))
	first := Address(addr("10.0.0.1"))
	in := addresses("10.0.0.1", "10.255.255.254")
	for range 20_000 {
		set.Add(Value{first.hi, first.lo + uint64(rnd.IntN(60_000))})
	}
	for b.Loop() {
		v, _ := set.LowestFree(in)
		set.Add(v)
	}
}
