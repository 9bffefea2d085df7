package state

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrInvalid is the class of every error of Validate: the object can never be accepted as it is.
var ErrInvalid = errors.New("invalid object")

// Problem is what is wrong with a field, in words that scripts of the original's users look for.
type Problem string

// The problems of a field.
const (
	TooLong    Problem = "string too long"
	BadFormat  Problem = "string invalid format"
	OutOfBound Problem = "Value Out of bound"
)

// FieldError names the first field of an object, by its JSON name in alphabetical order, that cannot be accepted.
type FieldError struct {
	Field   string
	Problem Problem
	Detail  string // what was found and what is allowed
}

// Error is "field problem: detail".
func (e *FieldError) Error() string {
	return e.Field + " " + string(e.Problem) + ": " + e.Detail
}

// Is makes a FieldError an ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// Lengths of text fields, in bytes.
const (
	maxName = 64
	maxTag  = 128
)

// Numbers that packets can carry and that ranges may span.
const (
	maxVLAN      = 4094
	maxVNI       = 1<<24 - 1
	maxVLANRange = 4095 // may be written, is never handed out
	maxVNIRange  = 65535
	maxVNISpan   = 16000
)

// Factory values of the global object.
const (
	DefaultInfraType = "default"
	DefaultPvtSubnet = "172.19.0.0/16"
	DefaultVLANs     = "1-4094"
	DefaultVXLANs    = "1-10000"
)

// DefaultGlobal is the global object of a new cluster.
func DefaultGlobal(fwdMode string) Global {
	g := Global{FwdMode: fwdMode}
	g.SetDefaults()
	return g
}

// SetDefaults fills fields that were left out with their factory value; the forward mode has none.
func (g *Global) SetDefaults() {
	g.Inherit(&Global{
		ArpMode: ARPProxy, Name: GlobalName, NetworkInfraType: DefaultInfraType, PvtSubnet: DefaultPvtSubnet,
		Vlans: DefaultVLANs, Vxlans: DefaultVXLANs,
	})
}

// Inherit fills fields that were left out with those of the other object, also those that this version does not know.
func (g *Global) Inherit(from *Global) {
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&g.ArpMode, from.ArpMode}, {&g.FwdMode, from.FwdMode}, {&g.Name, from.Name},
		{&g.NetworkInfraType, from.NetworkInfraType}, {&g.PvtSubnet, from.PvtSubnet},
		{&g.Vlans, from.Vlans}, {&g.Vxlans, from.Vxlans},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if g.unknown == nil {
		g.unknown = from.unknown
	}
}

// SetDefaults fills fields that were left out: nwType data, encap vxlan.
func (n *Network) SetDefaults() {
	if n.NwType == "" {
		n.NwType = NetworkData
	}
	if n.Encap == "" {
		n.Encap = EncapVXLAN
	}
}

// Validate reports the first wrong field as a *FieldError.
func (t *Tenant) Validate() error {
	return firstError(
		checkOptionalName("defaultNetwork", t.DefaultNetwork),
		checkName("tenantName", t.TenantName),
	)
}

// Validate reports the first wrong field as a *FieldError. Call SetDefaults before.
func (n *Network) Validate() error {
	return firstError(
		checkTag("cfgdTag", n.CfgdTag),
		checkWord("encap", n.Encap, EncapVLAN, EncapVXLAN),
		n.checkGateway(),
		n.checkGateway6(),
		n.checkSubnet6(),
		checkName("networkName", n.NetworkName),
		checkWord("nwType", n.NwType, NetworkData, NetworkInfra),
		n.checkPktTag(),
		n.checkSubnet(),
		checkName("tenantName", n.TenantName),
	)
}

// Validate reports the first wrong field as a *FieldError. Whether the pool lies in the network is not checked here.
func (g *EndpointGroup) Validate() error {
	return firstError(
		checkTag("cfgdTag", g.CfgdTag),
		checkDeny(g.DefaultDeny),
		checkNames("extContractsGrps", g.ExtContractsGrps),
		checkName("groupName", g.GroupName),
		g.checkPool(),
		checkLength("netProfile", g.NetProfile, maxName),
		checkName("networkName", g.NetworkName),
		checkNames("policies", g.Policies),
		checkName("tenantName", g.TenantName),
	)
}

// Validate reports the first wrong field as a *FieldError. Call SetDefaults or Inherit before.
func (g *Global) Validate() error {
	return firstError(
		checkWord("arpMode", g.ArpMode, ARPProxy, ARPFlood, ""),
		checkWord("fwdMode", g.FwdMode, ForwardBridge, ForwardRouting, ""),
		checkWord("name", g.Name, GlobalName),
		checkWord("networkInfraType", g.NetworkInfraType, "aci", "aci-opflex", DefaultInfraType, ""),
		g.checkPvtSubnet(),
		checkRange("vlans", g.Vlans, maxVLANRange, maxVLANRange),
		checkRange("vxlans", g.Vxlans, maxVNIRange, maxVNISpan),
	)
}

func (n *Network) checkGateway() error {
	if n.Gateway == "" {
		return nil
	}
	gw, err := parseIPv4(n.Gateway)
	if err != nil {
		return &FieldError{"gateway", BadFormat, err.Error() + "; give an address of the subnet, or none"}
	}
	subnet, err := ParseSubnet(n.Subnet)
	if err != nil {
		return n.checkSubnet()
	}
	whole := Subnet{subnet.Prefix, AddrRange{subnet.Prefix.Addr(), lastAddr(subnet.Prefix)}}
	if !whole.Usable().Contains(gw) {
		return &FieldError{"gateway", OutOfBound, fmt.Sprintf("%s is out of subnet %s; allowed are %s", gw, subnet.Prefix, whole.Usable())}
	}
	return nil
}

func (n *Network) checkGateway6() error {
	if n.IPv6Gateway == "" {
		return nil
	}
	gw, err := parseIPv6(n.IPv6Gateway)
	if err != nil {
		return &FieldError{"ipv6Gateway", BadFormat, err.Error() + "; give an address of ipv6Subnet, or none"}
	}
	if n.IPv6Subnet == "" {
		return &FieldError{"ipv6Gateway", OutOfBound, fmt.Sprintf("%s is given without an ipv6Subnet", gw)}
	}
	subnet, err := ParseSubnet6(n.IPv6Subnet)
	if err != nil {
		return n.checkSubnet6()
	}
	if !subnet.Contains(gw) {
		return &FieldError{"ipv6Gateway", OutOfBound, fmt.Sprintf("%s is out of subnet %s", gw, subnet.Prefix)}
	}
	return nil
}

func (n *Network) checkSubnet() error {
	if _, err := ParseSubnet(n.Subnet); err != nil {
		return &FieldError{"subnet", BadFormat, err.Error() + `; write it as "10.1.2.0/24" or, for a part, "10.1.2.50-10.1.2.100/24"`}
	}
	return nil
}

func (n *Network) checkSubnet6() error {
	if n.IPv6Subnet == "" {
		return nil
	}
	if _, err := ParseSubnet6(n.IPv6Subnet); err != nil {
		return &FieldError{"ipv6Subnet", BadFormat, err.Error() + `; write it as "2001:db8::/64", or leave it out`}
	}
	return nil
}

func (n *Network) checkPktTag() error {
	limit, what := maxVNI, "VXLAN"
	if n.Encap == EncapVLAN {
		limit, what = maxVLAN, "VLAN"
	}
	if n.PktTag < 0 || n.PktTag > limit {
		return &FieldError{"pktTag", OutOfBound, fmt.Sprintf("%d is no %s tag; allowed are 1 to %d, or 0 for any free one", n.PktTag, what, limit)}
	}
	return nil
}

func (g *EndpointGroup) checkPool() error {
	if g.IPPool == "" {
		return nil
	}
	if _, err := ParsePool(g.IPPool); err != nil {
		return &FieldError{"ipPool", BadFormat, err.Error() + `; write it as "10.1.2.5-10.1.2.10"`}
	}
	return nil
}

func (g *Global) checkPvtSubnet() error {
	p, err := netip.ParsePrefix(g.PvtSubnet)
	if err != nil || !p.Addr().Is4() || p.Bits() != 16 {
		return &FieldError{"pvtSubnet", BadFormat, fmt.Sprintf("%q is not an IPv4 subnet of length 16, such as %q", shorten(g.PvtSubnet), DefaultPvtSubnet)}
	}
	return nil
}

func checkRange(field, text string, limit, span int) error {
	r, err := ParseRange(text)
	if err != nil {
		return &FieldError{field, BadFormat, err.Error() + `; write it as "1-4000"`}
	}
	if r.Last > limit || r.Last-r.First > span {
		return &FieldError{field, OutOfBound, fmt.Sprintf("%s: numbers go up to %d, and a range spans at most %d", r, limit, span)}
	}
	return nil
}

func checkWord(field, value string, allowed ...string) error {
	for _, word := range allowed {
		if value == word {
			return nil
		}
	}
	words := make([]string, 0, len(allowed))
	for _, word := range allowed {
		if word != "" {
			words = append(words, fmt.Sprintf("%q", word))
		}
	}
	return &FieldError{field, BadFormat, fmt.Sprintf("%q is unknown; allowed: %s", shorten(value), strings.Join(words, ", "))}
}

func checkNames(field string, names []string) error {
	for _, name := range names {
		if err := checkName(field, name); err != nil {
			return err
		}
	}
	return nil
}

func checkOptionalName(field, value string) error {
	if value == "" {
		return nil
	}
	return checkName(field, value)
}

func checkTag(field, value string) error {
	if value == "" {
		return nil
	}
	return checkNameOf(field, value, maxTag)
}

func checkName(field, value string) error { return checkNameOf(field, value, maxName) }

func checkNameOf(field, value string, limit int) error {
	if err := checkLength(field, value, limit); err != nil {
		return err
	}
	if value == "" {
		return &FieldError{field, BadFormat, "it must not be empty"}
	}
	if !isName(value) {
		return &FieldError{field, BadFormat, fmt.Sprintf("%q; allowed are letters, digits, and inside a name also - and single dots", value)}
	}
	return nil
}

func checkLength(field, value string, limit int) error {
	if len(value) > limit {
		return &FieldError{field, TooLong, fmt.Sprintf("%d characters, at most %d are allowed", len(value), limit)}
	}
	return nil
}

// isName reports whether the text is one or more labels joined by dots, each of ASCII letters and digits with "-"
// allowed inside.
func isName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// shorten keeps messages readable when somebody sends a book.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
