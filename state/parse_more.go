package state

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Protocol is an IP protocol number, 0 for any.
type Protocol uint8

// Protocols that have names or ports.
const (
	ProtocolAny   Protocol = 0
	ProtocolICMP  Protocol = 1
	ProtocolTCP   Protocol = 6
	ProtocolUDP   Protocol = 17
	ProtocolICMP6 Protocol = 58
	ProtocolSCTP  Protocol = 132
)

// HasPorts tells whether packets of the protocol carry ports.
func (p Protocol) HasPorts() bool { return p == ProtocolTCP || p == ProtocolUDP || p == ProtocolSCTP }

// ICMP is the protocol of a rule that means ICMP of both families; ParseProtocol reads it as ProtocolICMP.
const ICMP = "icmp"

// IsICMP tells whether packets of the protocol carry a type and a code.
func (p Protocol) IsICMP() bool { return p == ProtocolICMP || p == ProtocolICMP6 }

// ParseProtocol reads the protocol of a rule: nothing for any, "tcp", "udp", "sctp", "icmp", "icmp6", or a number from
// 1 to 255.
func ParseProtocol(text string) (Protocol, error) {
	switch text {
	case "":
		return ProtocolAny, nil
	case ICMP:
		return ProtocolICMP, nil
	case "icmp6":
		return ProtocolICMP6, nil
	case "sctp":
		return ProtocolSCTP, nil
	case "tcp":
		return ProtocolTCP, nil
	case "udp":
		return ProtocolUDP, nil
	}
	n, err := parseNumber(text)
	if err != nil || n < 1 || n > math.MaxUint8 || text[0] == '0' {
		return 0, fmt.Errorf(`%q is unknown; allowed: "tcp", "udp", "sctp", "icmp", "icmp6" or a number from 1 to 255, or nothing for any`, shorten(text))
	}
	return Protocol(n), nil
}

// Bandwidth is a rate as a profile says it: Amount times 1000, a million or a thousand million bits a second, for the
// units 'K', 'M' and 'G'.
type Bandwidth struct {
	Amount int64
	Unit   byte
}

// maxBitsPerSecond is what a meter of the switch can count: 32 bits of kilobits.
const maxBitsPerSecond = math.MaxUint32 * 1000

// BitsPerSecond is the rate; units are powers of 1000.
func (b Bandwidth) BitsPerSecond() int64 {
	switch b.Unit {
	case 'K':
		return b.Amount * 1e3
	case 'M':
		return b.Amount * 1e6
	case 'G':
		return b.Amount * 1e9
	}
	return 0
}

// String is the usual form: "500Kbps", "10Mbps".
func (b Bandwidth) String() string { return strconv.FormatInt(b.Amount, 10) + string(b.Unit) + "bps" }

// ParseBandwidth reads a positive number and a unit, perhaps with one space between: k, m or g of either case, alone or
// followed by "b", "bps" or "Bps".
func ParseBandwidth(text string) (Bandwidth, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	amount, err := parseNumber(text[:digits])
	switch {
	case digits == 0:
		return Bandwidth{}, fmt.Errorf("%q does not begin with a number", shorten(text))
	case err != nil:
		return Bandwidth{}, fmt.Errorf("bandwidth: %w", err)
	case text[0] == '0':
		return Bandwidth{}, fmt.Errorf("%q begins with a zero", shorten(text))
	}
	unit := strings.TrimPrefix(text[digits:], " ")
	b := Bandwidth{Amount: int64(amount)}
	if unit != "" {
		b.Unit = unit[0] &^ ('a' - 'A')
	}
	if b.BitsPerSecond() == 0 {
		return Bandwidth{}, fmt.Errorf("%q has no unit; units are Kbps, Mbps and Gbps", shorten(text))
	}
	switch unit[1:] {
	case "", "b", "bps", "Bps":
	default:
		return Bandwidth{}, fmt.Errorf("%q has an unknown unit; units are Kbps, Mbps and Gbps", shorten(text))
	}
	if b.BitsPerSecond() > maxBitsPerSecond {
		return Bandwidth{}, fmt.Errorf("%s is more than a switch can count, %d Gbps", b, int64(maxBitsPerSecond)/1e9)
	}
	return b, nil
}

// ServicePort is a port of a service's address and the port of its providers that serves it.
type ServicePort struct {
	Port, ProviderPort uint16
	Protocol           Protocol // TCP, UDP or SCTP
}

// ParseServicePorts reads the ports of a service, "servicePort:providerPort:protocol" each. There must be one at least,
// and none twice.
func ParseServicePorts(texts []string) ([]ServicePort, error) {
	if len(texts) == 0 {
		return nil, errors.New("a service needs a port")
	}
	type claim struct {
		port     uint16
		protocol Protocol
	}
	claimed := make(map[claim]bool, len(texts))
	out := make([]ServicePort, 0, len(texts))
	for _, text := range texts {
		p, err := parseServicePort(text)
		if err != nil {
			return nil, err
		}
		c := claim{p.Port, p.Protocol}
		if claimed[c] {
			return nil, fmt.Errorf("%q: that port of the service is given twice", shorten(text))
		}
		claimed[c] = true
		out = append(out, p)
	}
	return out, nil
}

func parseServicePort(text string) (ServicePort, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return ServicePort{}, fmt.Errorf("%q has %d parts, not 3", shorten(text), len(parts))
	}
	var ports [2]uint16
	for i := range ports {
		n, err := parseNumber(parts[i])
		if err != nil || n < 1 || n > maxPort {
			return ServicePort{}, fmt.Errorf("%q: %q is no port; ports are 1 to %d", shorten(text), shorten(parts[i]), maxPort)
		}
		ports[i] = uint16(n)
	}
	p := ServicePort{Port: ports[0], ProviderPort: ports[1]}
	switch {
	case strings.EqualFold(parts[2], "tcp"):
		p.Protocol = ProtocolTCP
	case strings.EqualFold(parts[2], "udp"):
		p.Protocol = ProtocolUDP
	case strings.EqualFold(parts[2], "sctp"):
		p.Protocol = ProtocolSCTP
	default:
		return ServicePort{}, fmt.Errorf("%q: protocol %q is unknown; allowed: TCP, UDP, SCTP", shorten(text), shorten(parts[2]))
	}
	return p, nil
}

// Selectors are labels that a container must have, all of them.
type Selectors map[string]string

// ParseSelectors reads "key=value" texts. There must be one at least, and no key may have two values.
func ParseSelectors(texts []string) (Selectors, error) {
	if len(texts) == 0 {
		return nil, errors.New("a service needs a selector, else it would be served by every container")
	}
	out := make(Selectors, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" || strings.Contains(value, "=") {
			return nil, fmt.Errorf("%q is not a key and a value with one = between", shorten(text))
		}
		if other, twice := out[key]; twice && other != value {
			return nil, fmt.Errorf("%q: no container can have the label twice, also with the value %q", shorten(text), shorten(other))
		}
		out[key] = value
	}
	return out, nil
}

// Match tells whether the labels have every selector. A label that is missing is not the same as an empty one.
func (s Selectors) Match(labels map[string]string) bool {
	for key, want := range s {
		if have, ok := labels[key]; !ok || have != want {
			return false
		}
	}
	return len(s) > 0
}

// ParseRouterIP reads the address of a BGP speaker with the prefix length of its subnet.
func ParseRouterIP(text string) (netip.Prefix, error) {
	addr, bits, err := splitLength(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	from, err := parseIPv4(addr)
	if err != nil {
		return netip.Prefix{}, err
	}
	if bits < 1 || bits > 32 {
		return netip.Prefix{}, fmt.Errorf("prefix length %d, allowed are 1 to 32", bits)
	}
	if from.IsMulticast() || from.IsUnspecified() {
		return netip.Prefix{}, fmt.Errorf("%s is no address a router can have", from)
	}
	return netip.PrefixFrom(from, bits), nil
}

// ParseAS reads the number of an autonomous system, 1 to 4294967295, also as "high.low" of 16 bits each.
func ParseAS(text string) (uint32, error) {
	wrong := fmt.Errorf("%q is no number of an autonomous system, 1 to %d", shorten(text), uint32(math.MaxUint32))
	high, low, isDotted := strings.Cut(text, ".")
	if !isDotted {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
			return 0, wrong
		}
		return uint32(n), nil
	}
	var n uint32
	for _, half := range []string{high, low} {
		part, err := strconv.ParseUint(half, 10, 16)
		if err != nil || half[0] == '+' {
			return 0, wrong
		}
		n = n<<16 | uint32(part)
	}
	if n == 0 {
		return 0, wrong
	}
	return n, nil
}

// NodeBinding names a leaf switch of an ACI fabric.
type NodeBinding struct {
	Pod, Node int
}

// PathBinding names a port of a leaf switch.
type PathBinding struct {
	NodeBinding
	Module, Port int
}

// ParseNodeBindings reads a list with commas of "topology/pod-1/node-101"; an empty text is an empty list.
func ParseNodeBindings(text string) ([]NodeBinding, error) {
	return parseList(text, func(item string) (b NodeBinding, err error) {
		if !scanNumbers(item, []string{"topology/pod-", "/node-", ""}, &b.Pod, &b.Node) {
			err = fmt.Errorf(`%q is not of the form "topology/pod-1/node-101"`, shorten(item))
		}
		return b, err
	})
}

// ParsePathBindings reads a list with commas of "topology/pod-1/paths-101/pathep-[eth1/14]"; an empty text is an empty
// list.
func ParsePathBindings(text string) ([]PathBinding, error) {
	return parseList(text, func(item string) (b PathBinding, err error) {
		if !scanNumbers(item, []string{"topology/pod-", "/paths-", "/pathep-[eth", "/", "]"}, &b.Pod, &b.Node, &b.Module, &b.Port) {
			err = fmt.Errorf(`%q is not of the form "topology/pod-1/paths-101/pathep-[eth1/14]"`, shorten(item))
		}
		return b, err
	})
}

func parseList[T any](text string, parse func(string) (T, error)) ([]T, error) {
	if text == "" {
		return nil, nil
	}
	var out []T
	for item := range strings.SplitSeq(text, ",") {
		one, err := parse(item)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// scanNumbers reads a text of fixed words with a number between each two of them.
func scanNumbers(text string, words []string, numbers ...*int) bool {
	rest, ok := strings.CutPrefix(text, words[0])
	for i, into := range numbers {
		if !ok {
			return false
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := parseNumber(rest[:digits])
		if err != nil {
			return false
		}
		*into = n
		rest, ok = strings.CutPrefix(rest[digits:], words[i+1])
	}
	return ok && rest == ""
}
