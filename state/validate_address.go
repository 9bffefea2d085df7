package state

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Prefix lengths of a network's subnets.
const (
	minSubnetBits  = 8
	minSubnet6Bits = 16
	maxSubnet6Bits = 127
)

// AddrRange is every address from First to Last, both of one family and included. The zero value is empty.
type AddrRange struct {
	First, Last netip.Addr
}

// Contains reports whether the address lies in the range.
func (r AddrRange) Contains(a netip.Addr) bool {
	return r.First.IsValid() && a.BitLen() == r.First.BitLen() && !a.Less(r.First) && !r.Last.Less(a)
}

// Covers reports whether the whole of the other range lies in this one.
func (r AddrRange) Covers(other AddrRange) bool {
	return r.Contains(other.First) && r.Contains(other.Last)
}

// Overlaps reports whether the ranges share an address.
func (r AddrRange) Overlaps(other AddrRange) bool {
	return r.Contains(other.First) || other.Contains(r.First)
}

// String is "first-last", or the address alone when there is only one.
func (r AddrRange) String() string {
	switch {
	case !r.First.IsValid():
		return ""
	case r.First == r.Last:
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// Subnet is the parsed form of a network's subnet text.
type Subnet struct {
	// Prefix is the subnet itself, without host bits.
	Prefix netip.Prefix
	// AddrRange is what the network claims: the part written before the slash as "a-b", else the whole prefix.
	// Networks of one tenant must not overlap in it.
	AddrRange
}

// Usable is the part of the claimed range that an endpoint or gateway can have: without the network and broadcast
// address of IPv4 prefixes up to /30, and without the all-zero host of IPv6 (the routers' anycast address).
// It is empty when nothing remains.
func (s Subnet) Usable() AddrRange {
	r := s.AddrRange
	if r.First == s.Prefix.Addr() && s.hasNetworkAddress() {
		r.First = r.First.Next()
	}
	if r.Last == lastAddr(s.Prefix) && s.hasBroadcast() {
		r.Last = r.Last.Prev()
	}
	if r.Last.Less(r.First) {
		return AddrRange{}
	}
	return r
}

func (s Subnet) hasNetworkAddress() bool { return s.Prefix.Addr().Is6() || s.hasBroadcast() }

func (s Subnet) hasBroadcast() bool { return s.Prefix.Addr().Is4() && s.Prefix.Bits() <= 30 }

// ParseSubnet reads an IPv4 subnet: "10.1.2.0/24", "200.1.1.1/24" (host bits are dropped) or, to use a part of it
// only, "10.1.1.50-10.1.1.100/24". Prefix lengths are 8 to 32; a /31 has two usable addresses and a /32 one.
func ParseSubnet(text string) (Subnet, error) {
	addrs, bits, err := splitLength(text)
	if err != nil {
		return Subnet{}, err
	}
	if bits < minSubnetBits || bits > 32 {
		return Subnet{}, fmt.Errorf("prefix length %d, allowed are %d to 32", bits, minSubnetBits)
	}
	first, last, isRange := strings.Cut(addrs, "-")
	from, err := parseIPv4(first)
	if err != nil {
		return Subnet{}, err
	}
	if from.IsMulticast() || from.IsLoopback() {
		return Subnet{}, fmt.Errorf("%s is no address a container can have", from)
	}
	prefix := netip.PrefixFrom(from, bits).Masked()
	whole := AddrRange{prefix.Addr(), lastAddr(prefix)}
	if !isRange {
		return Subnet{prefix, whole}, nil
	}
	to, err := parseIPv4(last)
	if err != nil {
		return Subnet{}, err
	}
	part := AddrRange{from, to}
	if to.Less(from) {
		return Subnet{}, fmt.Errorf("range %s ends before it starts", part)
	}
	if !whole.Covers(part) {
		return Subnet{}, fmt.Errorf("range %s leaves the subnet %s", part, prefix)
	}
	return Subnet{prefix, part}, nil
}

// linkLocal6 are the addresses that every interface makes by itself (RFC 4291, 2.5.6).
var linkLocal6 = netip.MustParsePrefix("fe80::/10")

// ParseSubnet6 reads an IPv6 subnet such as "2001:db8::/64"; host bits are dropped. Prefix lengths are 16 to 127.
func ParseSubnet6(text string) (Subnet, error) {
	addr, bits, err := splitLength(text)
	if err != nil {
		return Subnet{}, err
	}
	if bits < minSubnet6Bits || bits > maxSubnet6Bits {
		return Subnet{}, fmt.Errorf("prefix length %d, allowed are %d to %d", bits, minSubnet6Bits, maxSubnet6Bits)
	}
	from, err := parseIPv6(addr)
	if err != nil {
		return Subnet{}, err
	}
	prefix := netip.PrefixFrom(from, bits).Masked()
	if from.IsMulticast() || from.IsLoopback() || prefix.Overlaps(linkLocal6) {
		return Subnet{}, fmt.Errorf("%s holds multicast, loopback or link-local addresses, which no network can give", prefix)
	}
	return Subnet{prefix, AddrRange{prefix.Addr(), lastAddr(prefix)}}, nil
}

// ParsePool reads the address pool of a group: "10.1.2.5-10.1.2.10", or one address alone.
func ParsePool(text string) (AddrRange, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := parseIPv4(first)
	if err != nil {
		return AddrRange{}, err
	}
	to, err := parseIPv4(last)
	if err != nil {
		return AddrRange{}, err
	}
	if to.Less(from) {
		return AddrRange{}, fmt.Errorf("range %s-%s ends before it starts", from, to)
	}
	return AddrRange{from, to}, nil
}

// Range is every number from First to Last, both included.
type Range struct {
	First, Last int
}

// Contains reports whether the number lies in the range.
func (r Range) Contains(n int) bool { return r.First <= n && n <= r.Last }

// String is the form that ParseRange reads.
func (r Range) String() string { return strconv.Itoa(r.First) + "-" + strconv.Itoa(r.Last) }

// ParseRange reads one range of positive numbers, such as "1-4094".
func ParseRange(text string) (Range, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		return Range{}, fmt.Errorf("%q is not of the form first-last", shorten(text))
	}
	from, err := parseNumber(first)
	if err != nil {
		return Range{}, err
	}
	to, err := parseNumber(last)
	if err != nil {
		return Range{}, err
	}
	if from < 1 || to < from {
		return Range{}, fmt.Errorf("range %q must start at 1 or more and not end before it starts", text)
	}
	return Range{from, to}, nil
}

// parseNumber reads up to 8 decimal digits, nothing else.
func parseNumber(text string) (int, error) {
	if text == "" || len(text) > 8 || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number of 1 to 8 digits", shorten(text))
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("reading a number: %w", err)
	}
	return n, nil
}

func splitLength(text string) (addrs string, bits int, err error) {
	addrs, length, ok := strings.Cut(text, "/")
	if !ok {
		return "", 0, fmt.Errorf("%q has no prefix length", shorten(text))
	}
	if len(length) > 1 && length[0] == '0' {
		return "", 0, fmt.Errorf("%q has a prefix length with a leading zero", shorten(text))
	}
	bits, err = parseNumber(length)
	if err != nil {
		return "", 0, fmt.Errorf("prefix length: %w", err)
	}
	return addrs, bits, nil
}

func parseIPv4(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address", shorten(text))
	}
	return a, nil
}

func parseIPv6(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv6 address", shorten(text))
	}
	return a, nil
}

// lastAddr is the address of a masked prefix with all host bits set.
func lastAddr(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}
