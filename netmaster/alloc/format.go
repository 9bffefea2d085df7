package alloc

import (
	"slices"
	"strings"
)

// Usage is what is used of a range.
type Usage struct {
	// Used and Free are maximal runs, in order, that together are the whole range.
	Used, Free []Range
}

// UsageOf divides a range into what is used and what is free. Used is what the set holds and the blocks, which are
// taken whether the set holds them or not.
func UsageOf(in Range, set *Set, blocks ...Range) Usage {
	var used []Range
	for run := range set.Runs(in) {
		used = append(used, run)
	}
	for _, block := range blocks {
		if block.Overlaps(in) {
			used = append(used, block.clip(in))
		}
	}
	used = merge(used)
	return Usage{Used: used, Free: without(in, used)}
}

// merge sorts ranges and joins those that overlap or touch.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int {
		switch {
		case a.First.Less(b.First):
			return -1
		case b.First.Less(a.First):
			return 1
		}
		return 0
	})
	var out []Range
	for _, r := range ranges {
		last := len(out) - 1
		if last >= 0 && !out[last].Last.next().Less(r.First) {
			if out[last].Last.Less(r.Last) {
				out[last].Last = r.Last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// without gives the parts of a range between the used runs, which are in order and inside it.
func without(in Range, used []Range) []Range {
	var free []Range
	start := in.First
	for _, run := range used {
		if start.Less(run.First) {
			free = append(free, Range{start, run.First.prev()})
		}
		start = run.Last.next()
	}
	if in.Contains(start) {
		free = append(free, Range{start, in.Last})
	}
	return free
}

// FormatAddresses writes runs of addresses as "10.1.2.1-10.1.2.3, 10.1.2.9".
func FormatAddresses(runs []Range) string { return format(runs, addrText) }

// FormatNumbers writes runs of numbers as "1, 10-11, 300".
func FormatNumbers(runs []Range) string { return format(runs, numberText) }

func format(runs []Range, text func(Value) string) string {
	var b strings.Builder
	for i, run := range runs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text(run.First))
		if run.First != run.Last {
			b.WriteString("-" + text(run.Last))
		}
	}
	return b.String()
}
