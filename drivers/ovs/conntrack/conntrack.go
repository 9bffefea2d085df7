// Package conntrack reads what the connection tracker of Open vSwitch knows, in the words of "dpctl/dump-conntrack", which
// are the same for the userspace and the kernel datapath. Pure.
package conntrack

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Tuple is one direction of a connection.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16 // 0 for protocols without ports
}

// Entry is a connection.
type Entry struct {
	Protocol uint8
	// Orig is the direction of the first packet, as it was before any translation; Reply the other, after it: who
	// really answers is Reply.Src at Reply.SrcPort.
	Orig, Reply        Tuple
	ICMPType, ICMPCode uint8
	Zone               uint16
	Mark               uint32
}

var protocols = map[string]uint8{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136, "dccp": 33}

// Parse reads a dump, one connection a line. Lines that are none are an error; what a line says beyond an Entry is not
// looked at.
func Parse(dump string) ([]Entry, error) {
	var out []Entry
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("connection %q: %w", line, err)
		}
		out = append(out, e)
	}
	return out, nil
}

func parseLine(line string) (e Entry, err error) {
	name, rest, _ := strings.Cut(line, ",")
	if proto, known := protocols[name]; known {
		e.Protocol = proto
	} else {
		// "proto=47" by the version, or the bare number.
		n, err := strconv.ParseUint(strings.TrimPrefix(name, "proto="), 10, 8)
		if err != nil {
			return e, fmt.Errorf("unknown protocol %q", name)
		}
		e.Protocol = uint8(n)
	}
	for _, member := range split(rest) {
		key, value, _ := strings.Cut(member, "=")
		switch key {
		case "orig":
			err = e.Orig.parse(value, &e)
		case "reply":
			err = e.Reply.parse(value, nil)
		case "zone":
			var n uint64
			n, err = strconv.ParseUint(value, 0, 16)
			e.Zone = uint16(n) //nolint:gosec // 16 bits were asked for
		case "mark":
			var n uint64
			n, err = strconv.ParseUint(value, 0, 32)
			e.Mark = uint32(n) //nolint:gosec // 32 bits were asked for
		}
		if err != nil {
			return e, err
		}
	}
	if !e.Orig.Src.IsValid() || !e.Orig.Dst.IsValid() || !e.Reply.Src.IsValid() {
		return e, fmt.Errorf("no addresses")
	}
	return e, nil
}

// parse reads "(src=..,dst=..,sport=..,dport=..)". The ICMP type goes to e, if it is not nil.
func (t *Tuple) parse(text string, e *Entry) (err error) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "("), ")")
	for member := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(member, "=")
		switch key {
		case "src":
			t.Src, err = netip.ParseAddr(value)
		case "dst":
			t.Dst, err = netip.ParseAddr(value)
		case "sport":
			t.SrcPort, err = parsePort(value)
		case "dport":
			t.DstPort, err = parsePort(value)
		case "type", "code":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 8)
			if e != nil && key == "type" {
				e.ICMPType = uint8(n) //nolint:gosec // 8 bits were asked for
			} else if e != nil {
				e.ICMPCode = uint8(n) //nolint:gosec // 8 bits were asked for
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
	}
	return nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err //nolint:gosec // 16 bits were asked for
}

// split cuts at commas outside parentheses.
func split(text string) []string {
	var out []string
	depth, from := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out, from = append(out, text[from:i]), i+1
			}
		}
	}
	return append(out, text[from:])
}
