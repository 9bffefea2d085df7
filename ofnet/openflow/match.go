package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	of "github.com/contiv/libOpenflow/openflow13"
)

// MAC is an Ethernet address.
type MAC [6]byte

// Ethernet types that matches use.
const (
	EtherIPv4 = 0x0800
	EtherARP  = 0x0806
	EtherIPv6 = 0x86dd
)

// IP protocols that matches use.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// ParseMAC reads six colon-separated pairs of hexadecimal digits.
func ParseMAC(text string) (MAC, error) {
	var mac MAC
	if len(text) != 17 {
		return mac, fmt.Errorf("MAC address %q: want six pairs of digits as in 02:02:0a:01:00:02", text)
	}
	for i := range mac {
		hi, ok1 := hexDigit(text[3*i])
		lo, ok2 := hexDigit(text[3*i+1])
		if !ok1 || !ok2 || i < 5 && text[3*i+2] != ':' {
			return MAC{}, fmt.Errorf("MAC address %q: want six pairs of digits as in 02:02:0a:01:00:02", text)
		}
		mac[i] = hi<<4 | lo
	}
	return mac, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Number is the address as a number, for loads.
func (m MAC) Number() uint64 { return toNumber(m[:]) }

// String is the usual form, lower case.
func (m MAC) String() string { return string(appendMAC(nil, m[:])) }

// IsMulticast tells group addresses, the broadcast address among them.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// Term is one field of a match.
type Term struct {
	field  Field
	masked bool
	value  [16]byte
	mask   [16]byte
}

// Match says which packets a flow takes: those that agree with all its terms. The zero Match takes all. Matches made of
// the same terms are equal, in whatever order they were given.
type Match struct{ oxm string }

// NewMatch makes a match. A field must not appear twice, but for ranges of one register that do not overlap.
func NewMatch(terms ...Term) Match {
	var list [16]Term
	sorted := append(list[:0], terms...)
	slices.SortStableFunc(sorted, func(a, b Term) int { return int(a.field) - int(b.field) })
	var buf [160]byte
	oxm := buf[:0]
	for i, t := range sorted {
		if i+1 < len(sorted) && sorted[i+1].field == t.field {
			sorted[i+1] = t.and(sorted[i+1])
			continue
		}
		if !t.masked || t.mask != [16]byte{} { // without a bit to match it would be another key for the same packets
			oxm = t.append(oxm)
		}
	}
	return Match{string(oxm)}
}

// and is both terms, which match different bits of one field.
func (t Term) and(u Term) Term {
	for i := range t.mask {
		if !t.masked || !u.masked || t.mask[i]&u.mask[i] != 0 {
			panic(fmt.Sprintf("openflow: field %v twice in one match", t.field))
		}
		t.value[i] |= u.value[i]
		t.mask[i] |= u.mask[i]
	}
	return t.exact()
}

// exact drops a mask of all ones.
func (t Term) exact() Term {
	for _, b := range t.mask[:fields[t.field].size] {
		if b != 0xff {
			return t
		}
	}
	t.masked, t.mask = false, [16]byte{}
	return t
}

// With is the match with more terms.
func (m Match) With(terms ...Term) Match {
	old, err := decodeTerms(m.oxm)
	if err != nil {
		panic("openflow: " + err.Error()) // a Match can only be made of terms
	}
	return NewMatch(append(old, terms...)...)
}

func (t Term) append(oxm []byte) []byte {
	info := fields[t.field]
	oxm = binary.BigEndian.AppendUint16(oxm, info.class)
	if t.masked {
		oxm = append(oxm, info.num<<1|1, uint8(2*info.size))
		oxm = append(oxm, t.value[:info.size]...)
		return append(oxm, t.mask[:info.size]...)
	}
	oxm = append(oxm, info.num<<1, uint8(info.size))
	return append(oxm, t.value[:info.size]...)
}

// libField is the term as the library wants it in actions.
func (t Term) libField() of.MatchField {
	info := fields[t.field]
	return of.MatchField{
		Class: info.class, Field: info.num, Length: uint8(info.size),
		Value: &of.ByteArrayField{Data: t.value[:info.size], Length: uint8(info.size)},
	}
}

// decodeTerms is the inverse of NewMatch. Fields this package does not know are an error.
func decodeTerms(oxm string) ([]Term, error) {
	var terms []Term
	for len(oxm) > 0 {
		t, rest, err := decodeTerm(oxm)
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		oxm = rest
	}
	return terms, nil
}

func decodeTerm(oxm string) (Term, string, error) {
	var t Term
	if len(oxm) < 4 {
		return t, "", fmt.Errorf("match field cut off after %d bytes", len(oxm))
	}
	class, num, length := uint32(oxm[0])<<8|uint32(oxm[1]), uint32(oxm[2]>>1), int(oxm[3])
	field, known := fieldByHeader[class<<8|num]
	if !known {
		return t, "", fmt.Errorf("unknown match field %#x:%d", class, num)
	}
	size := fields[field].size
	t.field, t.masked = field, oxm[2]&1 != 0
	want := size
	if t.masked {
		want = 2 * size
	}
	if length != want || len(oxm) < 4+want {
		return t, "", fmt.Errorf("match field %v of length %d, want %d", field, min(length, len(oxm)-4), want)
	}
	copy(t.value[:], oxm[4:4+size])
	if t.masked {
		copy(t.mask[:], oxm[4+size:4+want])
	}
	return t, oxm[4+want:], nil
}

func number(f Field, v uint64) Term {
	t := Term{field: f}
	t.value = bigEndian(v, fields[f].size)
	return t
}

func bigEndian(v uint64, size int) (out [16]byte) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	copy(out[:], b[8-size:])
	return out
}

func masked(f Field, v, mask uint64) Term {
	size := fields[f].size
	return Term{field: f, masked: true, value: bigEndian(v&mask, size), mask: bigEndian(mask, size)}.exact()
}

func mac(f Field, m MAC) Term {
	t := Term{field: f}
	copy(t.value[:], m[:])
	return t
}

func prefix(v4, v6 Field, p netip.Prefix) Term {
	if !p.IsValid() {
		panic("openflow: match on an invalid prefix")
	}
	p = p.Masked()
	t := Term{field: v6}
	if p.Addr().Is4() {
		t.field = v4
	}
	copy(t.value[:], p.Addr().AsSlice())
	if size := fields[t.field].size; p.Bits() < 8*size {
		t.masked = true
		for i := range p.Bits() {
			t.mask[i/8] |= 0x80 >> (i % 8)
		}
	}
	return t
}

func address(v4, v6 Field, a netip.Addr) Term {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
		panic(fmt.Sprintf("openflow: match on address %q", a))
	}
	return prefix(v4, v6, netip.PrefixFrom(a, a.BitLen()))
}

func only4(what string, a netip.Addr) netip.Addr {
	if !a.Is4() {
		panic(fmt.Sprintf("openflow: %s %q is not an IPv4 address", what, a))
	}
	return a
}

func only6(what string, a netip.Addr) netip.Addr {
	if !a.Is6() || a.Is4In6() {
		panic(fmt.Sprintf("openflow: %s %q is not an IPv6 address", what, a))
	}
	return a
}

// InPort matches the OpenFlow number of the port the packet came in through.
func InPort(port uint32) Term { return number(FieldInPort, uint64(port)) }

// EthSrc matches the source address.
func EthSrc(m MAC) Term { return mac(FieldEthSrc, m) }

// EthDst matches the destination address.
func EthDst(m MAC) Term { return mac(FieldEthDst, m) }

// EthSrcMasked matches the bits of the source address that are set in mask.
func EthSrcMasked(m, mask MAC) Term { return maskedMAC(FieldEthSrc, m, mask) }

// EthDstMasked matches the bits of the destination address that are set in mask.
func EthDstMasked(m, mask MAC) Term { return maskedMAC(FieldEthDst, m, mask) }

func maskedMAC(f Field, m, mask MAC) Term {
	t := mac(f, m)
	t.masked = true
	copy(t.mask[:], mask[:])
	for i := range mask {
		t.value[i] &= mask[i]
	}
	return t
}

// EthType matches the Ethernet type.
func EthType(v uint16) Term { return number(FieldEthType, uint64(v)) }

// IPProto matches the protocol of IPv4 or the last next-header of IPv6. Needs EthType.
func IPProto(v uint8) Term { return number(FieldIPProto, uint64(v)) }

// IPSrc matches source addresses of either family. Needs the EthType of that family.
func IPSrc(p netip.Prefix) Term { return prefix(FieldIPSrc, FieldIP6Src, p) }

// IPDst matches destination addresses of either family. Needs the EthType of that family.
func IPDst(p netip.Prefix) Term { return prefix(FieldIPDst, FieldIP6Dst, p) }

// IPSrcAddr matches one source address of either family. Needs the EthType of that family.
func IPSrcAddr(a netip.Addr) Term { return address(FieldIPSrc, FieldIP6Src, a) }

// IPDstAddr matches one destination address of either family. Needs the EthType of that family.
func IPDstAddr(a netip.Addr) Term { return address(FieldIPDst, FieldIP6Dst, a) }

// ARPOp matches the operation, 1 for a request and 2 for a reply. Needs EthType(EtherARP), as the other ARP fields do.
func ARPOp(v uint16) Term { return number(FieldARPOp, uint64(v)) }

// ARPSpa matches the sender's IPv4 address.
func ARPSpa(a netip.Addr) Term { return address(FieldARPSpa, 0, only4("ARP sender", a)) }

// ARPTpa matches the target's IPv4 address.
func ARPTpa(a netip.Addr) Term { return address(FieldARPTpa, 0, only4("ARP target", a)) }

// ARPTpaIn matches the target's IPv4 address being in a subnet.
func ARPTpaIn(p netip.Prefix) Term {
	only4("ARP target", p.Addr())
	return prefix(FieldARPTpa, 0, p)
}

// ARPSha matches the sender's MAC address.
func ARPSha(m MAC) Term { return mac(FieldARPSha, m) }

// ARPTha matches the target's MAC address.
func ARPTha(m MAC) Term { return mac(FieldARPTha, m) }

// NDTarget matches the target of a neighbour solicitation or advertisement. Needs ICMPv6Type 135 or 136.
func NDTarget(a netip.Addr) Term { return address(0, FieldNDTarget, only6("target", a)) }

// NDTargetIn matches the target of neighbour discovery being in a subnet. Needs ICMPv6Type 135 or 136.
func NDTargetIn(p netip.Prefix) Term {
	only6("target", p.Addr())
	return prefix(0, FieldNDTarget, p)
}

// NDSll matches the source link-layer option, all zero where there is none. Needs ICMPv6Type 135.
func NDSll(m MAC) Term { return mac(FieldNDSll, m) }

// NDTll matches the target link-layer option, all zero where there is none. Needs ICMPv6Type 136.
func NDTll(m MAC) Term { return mac(FieldNDTll, m) }

// TunID matches the key of the tunnel the packet came through: the VNI.
func TunID(v uint64) Term { return number(FieldTunID, v) }

// TunDst matches the outer destination address of the tunnel packet, of either family.
func TunDst(a netip.Addr) Term { return address(FieldTunDst, FieldTunDst6, a) }

// TunSrc matches the outer source address of the tunnel packet, of either family.
func TunSrc(a netip.Addr) Term { return address(FieldTunSrc, FieldTunSrc6, a) }

// VLAN matches tagged packets of one VLAN.
func VLAN(vid uint16) Term { return number(FieldVLAN, uint64(vid)|0x1000) }

// Untagged matches packets without a VLAN tag.
func Untagged() Term { return number(FieldVLAN, 0) }

// Tagged matches packets with a VLAN tag, of whatever VLAN.
func Tagged() Term { return masked(FieldVLAN, 0x1000, 0x1000) }
