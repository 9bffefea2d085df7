package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	of "github.com/contiv/libOpenflow/openflow13"
)

// Reg is a named range of bits of one of the sixteen 32-bit registers.
type Reg struct {
	Index uint8 // 0..15
	First uint8 // lowest bit
	Bits  uint8 // how many
	Name  string
}

// mask is the range's mask in its register.
func (r Reg) mask() uint64 { return (1<<r.Bits - 1) << r.First }

func (r Reg) check(v uint32) {
	if r.Index > 15 || r.Bits == 0 || int(r.First)+int(r.Bits) > 32 || uint64(v) > r.mask()>>r.First {
		panic(fmt.Sprintf("openflow: %d in register field %s (reg%d, %d bits from %d)", v, r.Name, r.Index, r.Bits, r.First))
	}
}

// Is matches the range being v.
func (r Reg) Is(v uint32) Term {
	r.check(v)
	return masked(FieldReg0+Field(r.Index), uint64(v)<<r.First, r.mask())
}

// String names the range and where it is: "VRF (reg5[0..15])".
func (r Reg) String() string { return fmt.Sprintf("%s (%s)", r.Name, r.where()) }

func (r Reg) where() string {
	return fmt.Sprintf("reg%d%s", r.Index, bitRange(int(r.First), int(r.Bits), 32))
}

func (r Reg) field() Field { return FieldReg0 + Field(r.Index) }

func (r Reg) ofsNbits() uint16 { return uint16(r.First)<<6 | uint16(r.Bits-1) }

// Load writes a range of a register and leaves its other bits.
func (r Reg) Load(v uint32) Action {
	r.check(v)
	return r.Range().Load(uint64(v))
}

// Range is the register field as source or target of a move.
func (r Reg) Range() Range { return Range{r.field(), r.First, r.Bits} }

// XXReg is one of the four 128-bit registers: XXReg 3 is registers 12 to 15 as one, the lowest number first. Both views
// are the same bits.
type XXReg uint8

func (x XXReg) field() Field {
	if x > 3 {
		panic(fmt.Sprintf("openflow: there is no xxreg%d", x))
	}
	return FieldXXReg0 + Field(x)
}

// Is matches the register holding an IPv6 address. It is four terms, because the switch tells such a match as that.
func (x XXReg) Is(a netip.Addr) []Term {
	t := address(FieldIP6Src, x.field(), only6("register", a))
	terms := make([]Term, 0, 4)
	for i := range 4 {
		reg := FieldReg0 + Field(4*int(x)+i)
		terms = append(terms, number(reg, uint64(binary.BigEndian.Uint32(t.value[4*i:]))))
	}
	return terms
}

// Load writes an IPv6 address into the register.
func (x XXReg) Load(a netip.Addr) Action {
	return setField(address(0, x.field(), only6("register", a)))
}

// Range is the register as source or target of a move.
func (x XXReg) Range() Range { return Whole(x.field()) }

// Range is bits of a field.
type Range struct {
	Field Field
	First uint8
	Bits  uint8
}

// Whole is all bits of a field.
func Whole(f Field) Range { return Range{f, 0, uint8(fields[f].bits)} }

// Bits is some bits of a field, the lowest first.
func Bits(f Field, first, bits uint8) Range {
	r := Range{f, first, bits}
	r.check()
	return r
}

// check refuses ranges that do not exist. A port number has 32 bits in a match and 16 in Nicira's actions, so that a
// range of it would mean two things; the VLAN is no number at all where there is none.
func (r Range) check() {
	if r.Field >= numFields || r.Bits == 0 || int(r.First)+int(r.Bits) > fields[r.Field].bits || r.Field == FieldInPort || r.Field == FieldVLAN {
		panic(fmt.Sprintf("openflow: %d bits from %d of field %v", r.Bits, r.First, r.Field))
	}
}

// fit checks that a number fits the range.
func (r Range) fit(v uint64) {
	r.check()
	if r.Bits < 64 && v>>r.Bits != 0 {
		panic(fmt.Sprintf("openflow: %#x in %d bits of field %v", v, r.Bits, r.Field))
	}
}

// Is matches the range being v, which has at most 64 bits: of a range that is wider the others must be 0. The field's
// dependencies must be matched too.
func (r Range) Is(v uint64) Term {
	r.fit(v)
	t := Term{field: r.Field, masked: true}
	size := fields[r.Field].size
	for i := range int(r.Bits) {
		at := int(r.First) + i
		bit := byte(1) << (at % 8)
		t.mask[size-1-at/8] |= bit
		if i < 64 && v>>i&1 != 0 {
			t.value[size-1-at/8] |= bit
		}
	}
	if int(r.Bits) == fields[r.Field].bits {
		t.masked, t.mask = false, [16]byte{}
	}
	return t
}

// Load writes a number into a range of at most 64 bits and leaves the field's other bits. The flow must match what the
// field depends on.
func (r Range) Load(v uint64) Action {
	r.fit(v)
	if r.Bits > 64 {
		panic(fmt.Sprintf("openflow: load of %d bits of field %v, more than 64", r.Bits, r.Field))
	}
	wire := nicira(of.NXAST_REG_LOAD)
	wire = binary.BigEndian.AppendUint16(wire, r.ofsNbits())
	wire = r.Field.appendHeader(wire)
	return closeNicira(binary.BigEndian.AppendUint64(wire, v))
}

// ofsNbits is how loads name a range of at most 64 bits.
func (r Range) ofsNbits() uint16 { return uint16(r.First)<<6 | uint16(r.Bits-1) }

// Move copies bits; both ranges must be equally long.
func Move(from, to Range) Action {
	from.check()
	to.check()
	if from.Bits != to.Bits {
		panic(fmt.Sprintf("openflow: move of %d bits of %v to %d bits of %v", from.Bits, from.Field, to.Bits, to.Field))
	}
	return encode(of.NewNXActionRegMove(uint16(from.Bits), uint16(from.First), uint16(to.First), from.Field.header(), to.Field.header()))
}
