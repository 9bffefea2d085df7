package main

import (
	"fmt"
	"math"
	"slices"
)

// pair is one measurement of the denominator and of ours, taken one after the other.
type pair struct{ denominator, ours float64 }

// summary of the ratios ours/denominator of interleaved pairs.
type summary struct {
	denominator, ours float64 // medians
	ratio             float64 // median of the ratios
	low, high         float64 // 95 % interval of that median, by order statistics (distribution-free)
	pairs             int
}

func summarise(pairs []pair) summary {
	ratios, denominators, ours := make([]float64, len(pairs)), make([]float64, len(pairs)), make([]float64, len(pairs))
	for i, p := range pairs {
		ratios[i], denominators[i], ours[i] = p.ours/p.denominator, p.denominator, p.ours
	}
	slices.Sort(ratios)
	low, high := medianInterval(len(ratios))
	return summary{denominator: median(denominators), ours: median(ours), ratio: median(ratios),
		low: ratios[low], high: ratios[high], pairs: len(pairs)}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
}

// medianInterval gives the indices of the sorted values between which the median lies with at least 95 %
// probability: the largest k with P(Binomial(n, 1/2) < k) <= 2.5 %, counted from both ends. Fewer than six values
// have no such interval; then it is all of them.
func medianInterval(n int) (low, high int) {
	probability, below := math.Pow(0.5, float64(n)), 0.0
	k := 0
	for ; k < n/2; k++ {
		below += probability
		if below > 0.025 {
			break
		}
		probability *= float64(n-k) / float64(k+1)
	}
	low = max(k-1, 0)
	return low, n - 1 - low
}

// budget is a bound on a ratio, or on a count that has no denominator.
type budget struct {
	bound   float64
	atLeast bool // else at most
}

func (b budget) String() string {
	if b.atLeast {
		return fmt.Sprintf(">= %.2f", b.bound)
	}
	return fmt.Sprintf("<= %.2f", b.bound)
}

// verdict: a budget is missed only when the whole interval lies beyond it.
func (b budget) verdict(s summary) string {
	missed := s.low > b.bound
	if b.atLeast {
		missed = s.high < b.bound
	}
	if missed {
		return "MISSED"
	}
	return "met"
}
