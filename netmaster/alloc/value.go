// Package alloc does the arithmetic of pools: which numbers or addresses of a pool are taken, which is the lowest free
// one, and how used and free ones are written for people. It is pure: no I/O, no clock, no store. Who owns what, and
// what may be given again when, is decided by its callers.
package alloc

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
	"strconv"
)

// Value is a member of a pool: a number, or an address of either family in one space of 128 bits (IPv4 addresses stand
// where IPv6 maps them, so that both families of a network share a set without meeting).
type Value struct {
	hi, lo uint64
}

// Number is the value of a non-negative number.
func Number(n int) Value { return Value{lo: uint64(n)} }

// Int is the number that the value was made of.
func (v Value) Int() int { return int(v.lo) }

// Address is the value of a valid address; a zone is dropped.
func Address(a netip.Addr) Value {
	raw := a.As16()
	return Value{binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])}
}

// Addr is the address that the value was made of.
func (v Value) Addr() netip.Addr {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], v.hi)
	binary.BigEndian.PutUint64(raw[8:], v.lo)
	return netip.AddrFrom16(raw).Unmap()
}

// Less orders values as numbers and as addresses.
func (v Value) Less(w Value) bool { return v.hi < w.hi || v.hi == w.hi && v.lo < w.lo }

// next is v+1; it wraps at the end of the space, which no pool reaches.
func (v Value) next() Value {
	lo, carry := bits.Add64(v.lo, 1, 0)
	return Value{v.hi + carry, lo}
}

// prev is v-1; it wraps at zero.
func (v Value) prev() Value {
	lo, borrow := bits.Sub64(v.lo, 1, 0)
	return Value{v.hi - borrow, lo}
}

// Range is every value from First to Last, both included. It is empty when Last is less than First.
type Range struct {
	First, Last Value
}

// Numbers is a range of numbers.
func Numbers(first, last int) Range { return Range{Number(first), Number(last)} }

// Addresses is a range of addresses of one family. Invalid addresses make the empty range.
func Addresses(first, last netip.Addr) Range {
	if !first.IsValid() || !last.IsValid() {
		return Range{First: Value{lo: 1}}
	}
	return Range{Address(first), Address(last)}
}

// Contains reports whether the value lies in the range.
func (r Range) Contains(v Value) bool { return !v.Less(r.First) && !r.Last.Less(v) }

// Empty reports whether nothing lies in the range.
func (r Range) Empty() bool { return r.Last.Less(r.First) }

// Overlaps reports whether the ranges share a value.
func (r Range) Overlaps(s Range) bool {
	return !r.Empty() && !s.Empty() && !s.Last.Less(r.First) && !r.Last.Less(s.First)
}

// clip is the part of r inside s.
func (r Range) clip(s Range) Range {
	if r.First.Less(s.First) {
		r.First = s.First
	}
	if s.Last.Less(r.Last) {
		r.Last = s.Last
	}
	return r
}

func numberText(v Value) string { return strconv.Itoa(v.Int()) }

func addrText(v Value) string { return v.Addr().String() }

// Values walks over the range in order.
func (r Range) Values() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for v := r.First; r.Contains(v); v = v.next() {
			if !yield(v) {
				return
			}
		}
	}
}
