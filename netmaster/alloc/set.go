package alloc

import (
	"iter"

	"github.com/google/btree"
)

// Set is a set of values, kept as the maximal runs it consists of, so that the lowest value not in it is found without
// walking over those that are: every operation is logarithmic in the number of runs. The zero value is not usable; see
// NewSet. It is not safe for concurrent change.
//
// Invariant: runs are not empty, do not overlap and do not touch.
type Set struct {
	runs *btree.BTreeG[Range]
	size uint64
}

// NewSet makes an empty set.
func NewSet() *Set {
	return &Set{runs: btree.NewG(16, func(a, b Range) bool { return a.First.Less(b.First) })}
}

// Len is the number of values that were added one by one (Add) and not removed.
func (s *Set) Len() int { return int(s.size) }

// Contains reports whether the value is in the set.
func (s *Set) Contains(v Value) bool {
	_, ok := s.runOf(v)
	return ok
}

// Add puts a value into the set; it reports false if it was there.
func (s *Set) Add(v Value) bool {
	if s.Contains(v) {
		return false
	}
	s.size++
	run := Range{v, v}
	if before, ok := s.runOf(v.prev()); ok && before.Last.Less(v) {
		s.runs.Delete(before)
		run.First = before.First
	}
	if after, ok := s.runs.Get(Range{First: v.next()}); ok && v.Less(after.First) {
		s.runs.Delete(after)
		run.Last = after.Last
	}
	s.runs.ReplaceOrInsert(run)
	return true
}

// Remove takes a value out of the set; it reports false if it was not there.
func (s *Set) Remove(v Value) bool {
	run, ok := s.runOf(v)
	if !ok {
		return false
	}
	s.size--
	s.runs.Delete(run)
	if run.First.Less(v) {
		s.runs.ReplaceOrInsert(Range{run.First, v.prev()})
	}
	if v.Less(run.Last) {
		s.runs.ReplaceOrInsert(Range{v.next(), run.Last})
	}
	return true
}

// LowestFree finds the lowest value of the range that is neither in the set nor in one of the ranges to avoid. The
// latter are few (pools of groups, a gateway) and need no order.
func (s *Set) LowestFree(in Range, avoid ...Range) (Value, bool) {
	for v := in.First; in.Contains(v); {
		if run, ok := s.runOf(v); ok {
			v = run.Last.next()
			continue
		}
		past, hit := leave(v, avoid)
		if !hit {
			return v, true
		}
		v = past
	}
	return Value{}, false
}

// leave gives the first value after a range that holds v, if one does.
func leave(v Value, ranges []Range) (Value, bool) {
	for _, r := range ranges {
		if r.Contains(v) {
			return r.Last.next(), true
		}
	}
	return v, false
}

// Runs walks over the runs that lie in the range, clipped to it, in order.
func (s *Set) Runs(in Range) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		if in.Empty() {
			return
		}
		start := in.First
		if run, ok := s.runOf(start); ok {
			start = run.First
		}
		s.runs.AscendGreaterOrEqual(Range{First: start}, func(run Range) bool {
			return !in.Last.Less(run.First) && yield(run.clip(in))
		})
	}
}

func (s *Set) runOf(v Value) (found Range, ok bool) {
	s.runs.DescendLessOrEqual(Range{First: v}, func(run Range) bool {
		found, ok = run, run.Contains(v)
		return false
	})
	return found, ok
}
