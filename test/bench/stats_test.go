package main

import (
	"math"
	"testing"
)

func TestMedianInterval(t *testing.T) {
	// Coverage of [low, high] for a median is 1 - 2 P(Binomial(n, 1/2) <= low).
	for n := 6; n <= 60; n++ {
		low, high := medianInterval(n)
		coverage := 1 - 2*binomialTail(n, low)
		if high != n-1-low || coverage < 0.95 {
			t.Errorf("n=%d: interval %d..%d covers %.4f", n, low, high, coverage)
		}
		if wider := 1 - 2*binomialTail(n, low+1); wider >= 0.95 {
			t.Errorf("n=%d: interval %d..%d is wider than needed", n, low, high)
		}
	}
}

// binomialTail is P(Binomial(n, 1/2) <= k), summed term by term.
func binomialTail(n, k int) float64 {
	sum := 0.0
	for i := 0; i <= k; i++ {
		lg, _ := math.Lgamma(float64(n + 1))
		li, _ := math.Lgamma(float64(i + 1))
		lj, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(lg - li - lj - float64(n)*math.Ln2)
	}
	return sum
}

func TestVerdict(t *testing.T) {
	pairs := func(ratio float64) []pair {
		var list []pair
		for i := range 9 {
			list = append(list, pair{denominator: 100, ours: 100*ratio + float64(i-4)})
		}
		return list
	}
	for _, test := range []struct {
		ratio  float64
		budget budget
		want   string
	}{
		{0.99, budget{0.95, true}, "met"},
		{0.94, budget{0.95, true}, "met"}, // the interval reaches over the bound
		{0.80, budget{0.95, true}, "MISSED"},
		{1.30, budget{1.4, false}, "met"},
		{1.60, budget{1.4, false}, "MISSED"},
	} {
		if got := test.budget.verdict(summarise(pairs(test.ratio))); got != test.want {
			t.Errorf("ratio %v against %v: %s, want %s", test.ratio, test.budget, got, test.want)
		}
	}
}
