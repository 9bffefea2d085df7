package unixctl

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Tuple is how the packets of one direction of a connection look. For ICMP the ports are 0 and ID is the echo's.
type Tuple struct {
	Src, Dst netip.AddrPort
	ID       uint16
}

// Connection is what conntrack knows of one.
type Connection struct {
	Protocol uint8
	// Orig is the direction of the first packet, as it was before any translation; Reply the other, after it: who really
	// answers is Reply.Src.
	Orig, Reply Tuple
	Zone        uint16
	Mark        uint32
	Label       [2]uint64 // bits 64 to 127, and 0 to 63
}

// Connections lists the connections that a datapath ("netdev@ovs-netdev") tracks; of one zone, or of all for 0. Those
// that cannot be read are left out and counted.
func (c *Client) Connections(ctx context.Context, datapath string, zone uint16) (list []Connection, unread int, err error) {
	args := []string{datapath}
	if zone != 0 {
		args = append(args, fmt.Sprintf("zone=%d", zone))
	}
	text, err := c.Call(ctx, "dpctl/dump-conntrack", args...)
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(text) {
		conn, ok := parseConnection(strings.TrimSpace(line))
		if !ok {
			unread++
			continue
		}
		list = append(list, conn)
	}
	return list, unread, nil
}

// parseConnection reads a line such as "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=53),reply=(...),zone=9,mark=3".
func parseConnection(line string) (c Connection, ok bool) {
	proto, rest, ok := strings.Cut(line, ",orig=(")
	if !ok {
		return c, false
	}
	orig, rest, ok1 := strings.Cut(rest, "),reply=(")
	reply, rest, ok2 := strings.Cut(rest, ")")
	ok = ok1 && ok2 && c.parseProtocol(proto) && c.Orig.parse(orig) && c.Reply.parse(reply)
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "zone":
			var v uint64
			v, err = strconv.ParseUint(value, 10, 16)
			c.Zone = uint16(v)
		case "mark":
			var v uint64
			v, err = strconv.ParseUint(value, 0, 32)
			c.Mark = uint32(v)
		case "labels":
			c.Label, err = parseLabel(value)
		}
		ok = ok && err == nil
	}
	return c, ok
}

var protocols = map[string]uint8{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}

// parseProtocol reads a name or a number.
func (c *Connection) parseProtocol(text string) bool {
	if number, known := protocols[text]; known {
		c.Protocol = number
		return true
	}
	number, err := strconv.ParseUint(text, 10, 8)
	c.Protocol = uint8(number)
	return err == nil
}

func parseLabel(text string) (label [2]uint64, err error) {
	digits, _ := strings.CutPrefix(text, "0x")
	if len(digits) > 16 {
		if label[0], err = strconv.ParseUint(digits[:len(digits)-16], 16, 64); err != nil {
			return label, err
		}
		digits = digits[len(digits)-16:]
	}
	label[1], err = strconv.ParseUint(digits, 16, 64)
	return label, err
}

func (t *Tuple) parse(text string) bool {
	var src, dst netip.Addr
	var numbers [3]uint16 // ports and id
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		number := -1
		switch key {
		case "src":
			src, err = netip.ParseAddr(value)
		case "dst":
			dst, err = netip.ParseAddr(value)
		case "sport":
			number = 0
		case "dport":
			number = 1
		case "id":
			number = 2
		}
		if number >= 0 {
			var v uint64
			v, err = strconv.ParseUint(value, 10, 16)
			numbers[number] = uint16(v)
		}
		if err != nil {
			return false
		}
	}
	t.Src, t.Dst, t.ID = netip.AddrPortFrom(src, numbers[0]), netip.AddrPortFrom(dst, numbers[1]), numbers[2]
	return src.IsValid() && dst.IsValid()
}
