package state

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Validate reports the first wrong field as a *FieldError, and then fields that cannot be together. Call SetDefaults
// before. Whether peers exist is not checked here.
func (r *Rule) Validate() error {
	if err := firstError(
		checkWord("action", r.Action, ActionAllow, ActionDeny),
		checkWord("direction", r.Direction, DirectionIn, DirectionOut),
		checkOptionalName("fromEndpointGroup", r.FromEndpointGroup),
		checkPeer("fromIpAddress", r.FromIPAddress),
		checkOptionalName("fromNetwork", r.FromNetwork),
		checkOctet("icmpCode", r.ICMPCode),
		checkOctet("icmpType", r.ICMPType),
		checkName("policyName", r.PolicyName),
		checkBetween("port", r.Port, 0, maxPort, "0 means any"),
		checkBetween("portEnd", r.PortEnd, 0, maxPort, "0: the port alone"),
		checkBetween("priority", r.Priority, 1, maxPriority, "the larger wins"),
		r.checkProtocol(),
		checkName("ruleId", r.RuleID),
		checkName("tenantName", r.TenantName),
		checkOptionalName("toEndpointGroup", r.ToEndpointGroup),
		checkPeer("toIpAddress", r.ToIPAddress),
		checkOptionalName("toNetwork", r.ToNetwork),
	); err != nil {
		return err
	}
	return firstError(r.checkSides(), r.checkPeerFields(), r.checkFamilies(), r.checkPort(), r.checkICMP())
}

func (r *Rule) checkProtocol() error {
	if _, err := ParseProtocol(r.Protocol); err != nil {
		return &FieldError{"protocol", BadFormat, err.Error()}
	}
	return nil
}

// checkSides refuses peers on the side where the group with the policy itself is. An address is allowed there for "in"
// as the original allowed it: it narrows the rule to members with that address.
func (r *Rule) checkSides() error {
	type side struct{ field, value string }
	own := []side{{"toEndpointGroup", r.ToEndpointGroup}, {"toNetwork", r.ToNetwork}}
	peer := "from"
	if r.Direction == DirectionOut {
		own = []side{
			{"fromEndpointGroup", r.FromEndpointGroup}, {"fromIpAddress", r.FromIPAddress}, {"fromNetwork", r.FromNetwork},
		}
		peer = "to"
	}
	for _, s := range own {
		if s.value != "" {
			return &FieldError{s.field, BadFormat, fmt.Sprintf("a rule of direction %q says the peer in the fields that begin with %q", r.Direction, peer)}
		}
	}
	return nil
}

// checkPeerFields refuses a network beside a group or an address: the network alone says which addresses it means.
func (r *Rule) checkPeerFields() error {
	for _, s := range []struct{ name, network, group, address string }{
		{"from", r.FromNetwork, r.FromEndpointGroup, r.FromIPAddress},
		{"to", r.ToNetwork, r.ToEndpointGroup, r.ToIPAddress},
	} {
		if s.network == "" {
			continue
		}
		with := ""
		switch {
		case s.group != "":
			with = s.name + "EndpointGroup"
		case s.address != "" && (s.name == "from" || r.Direction == DirectionOut):
			with = s.name + "IpAddress"
		}
		if with != "" {
			return &FieldError{s.name + "Network", BadFormat, "it cannot be together with " + with + "; give one of them"}
		}
	}
	return nil
}

// checkFamilies refuses addresses that no packet can have together.
func (r *Rule) checkFamilies() error {
	if r.FromIPAddress != "" && r.ToIPAddress != "" && strings.Contains(r.FromIPAddress, ":") != strings.Contains(r.ToIPAddress, ":") {
		return &FieldError{"toIpAddress", BadFormat, "it must be of the same family as fromIpAddress"}
	}
	return nil
}

// checkPort refuses a port that nothing could match: only some protocols have ports.
func (r *Rule) checkPort() error {
	number, _ := ParseProtocol(r.Protocol)
	switch {
	case r.Port != 0 && !number.HasPorts():
		return &FieldError{"port", OutOfBound, fmt.Sprintf(
			"%d without a protocol that has ports; give protocol %q, %q or %q, or no port", r.Port, "tcp", "udp", "sctp")}
	case r.PortEnd != 0 && r.Port == 0:
		return &FieldError{"portEnd", BadFormat, "it ends the range that port begins; give port, too"}
	case r.PortEnd != 0 && r.PortEnd < r.Port:
		return &FieldError{"portEnd", OutOfBound, fmt.Sprintf("%d is before port %d, where the range begins", r.PortEnd, r.Port)}
	}
	return nil
}

// checkICMP refuses a type or code that nothing could match.
func (r *Rule) checkICMP() error {
	number, _ := ParseProtocol(r.Protocol)
	switch {
	case r.ICMPCode != nil && r.ICMPType == nil:
		return &FieldError{"icmpCode", BadFormat, "a code means something only with a type; give icmpType, too"}
	case r.ICMPType != nil && !number.IsICMP():
		return &FieldError{"icmpType", BadFormat, fmt.Sprintf("it needs protocol %q (of IPv4, when there is a type) or %q", ICMP, "icmp6")}
	}
	return nil
}

func checkOctet(field string, value *int) error {
	if value == nil {
		return nil
	}
	return checkBetween(field, *value, 0, math.MaxUint8, "leave it out for any")
}

// checkDeny checks the direction of a default.
func checkDeny(word string) error {
	return checkWord("defaultDeny", word, DirectionIn, DirectionOut, DenyBoth, DenyNone, "")
}

func checkPeer(field, text string) error {
	if text == "" {
		return nil
	}
	if _, err := ParsePeer(text); err != nil {
		return &FieldError{field, BadFormat, err.Error() + `; write it as "10.1.2.3", "10.1.2.0/24", "10.1.2.10-20" or "2001:db8::/64"`}
	}
	return nil
}

// ParsePeer reads the addresses of a rule's peer: one address of either family, a prefix (host bits are dropped; length
// 0 is refused), or "10.1.2.10-20", the IPv4 addresses from the first to the one with that last octet, which may have a
// prefix length that holds them all.
func ParsePeer(text string) (AddrRange, error) {
	addrs, bits, whole := text, 32, strings.Contains(text, "/")
	six := strings.Contains(text, ":")
	if six {
		bits = 128
	}
	most := bits
	if whole {
		var err error
		if addrs, bits, err = splitLength(text); err != nil {
			return AddrRange{}, err
		}
	}
	if bits < 1 || bits > most {
		return AddrRange{}, fmt.Errorf("prefix length %d, allowed are 1 to %d; for any address leave it out", bits, most)
	}
	if six {
		from, err := parseIPv6(addrs)
		if err != nil {
			return AddrRange{}, err
		}
		prefix := netip.PrefixFrom(from, bits).Masked()
		return AddrRange{prefix.Addr(), lastAddr(prefix)}, nil
	}
	start, last, isRange := strings.Cut(addrs, "-")
	from, err := parseIPv4(start)
	if err != nil {
		return AddrRange{}, err
	}
	prefix := netip.PrefixFrom(from, bits).Masked()
	all := AddrRange{prefix.Addr(), lastAddr(prefix)}
	if !isRange {
		return all, nil
	}
	part, err := rangeOfOctets(from, last)
	if err != nil {
		return AddrRange{}, err
	}
	if whole && !all.Covers(part) {
		return AddrRange{}, fmt.Errorf("range %s leaves the prefix %s", part, prefix)
	}
	return part, nil
}

// rangeOfOctets is the addresses from one to that with another last octet.
func rangeOfOctets(from netip.Addr, last string) (AddrRange, error) {
	octet, err := parseNumber(last)
	if err != nil || octet > 255 || len(last) > 1 && last[0] == '0' {
		return AddrRange{}, fmt.Errorf("%q is not the last octet of a range, 0 to 255", shorten(last))
	}
	raw := from.As4()
	raw[3] = byte(octet)
	part := AddrRange{from, netip.AddrFrom4(raw)}
	if part.Last.Less(part.First) {
		return AddrRange{}, fmt.Errorf("range %s ends before it starts", part)
	}
	return part, nil
}
