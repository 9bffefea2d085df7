package openflow

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	of "github.com/contiv/libOpenflow/openflow13"
)

// CTMark matches the bits of the connection mark that are set in mask, which must not be 0.
func CTMark(v, mask uint32) Term {
	if mask == 0 {
		panic("openflow: match on no bit of ct_mark")
	}
	return masked(FieldCTMark, uint64(v), uint64(mask))
}

// CTZone matches the zone that the packet was tracked in; 0 if it was not tracked. It may be matched and not be written.
func CTZone(v uint16) Term { return number(FieldCTZone, uint64(v)) }

// ConjID matches packets for which each clause of a conjunction matched. See Conjunction.
func ConjID(id uint32) Term { return number(FieldConjID, uint64(id)) }

// CTState matches flags of the connection state: those of set must be set, those of clear must not.
func CTState(set, clear CTFlags) Term { return masked(FieldCTState, uint64(set), uint64(set|clear)) }

// CTFlags are flags of a connection's state.
type CTFlags uint32

// Flags of CTFlags.
const (
	CTNew CTFlags = 1 << iota
	CTEst
	CTRel
	CTRpl
	CTInv
	CTTrk
	CTSNAT
	CTDNAT
)

// CT sends a packet through connection tracking: Action makes the action of it.
type CT struct {
	// Commit makes the tracker remember the connection; without it a connection is only looked up. With Force a
	// connection that is known in the other direction is forgotten first.
	Commit, Force bool
	// Table is where a copy of the packet goes on, knowing its connection; 0 for nowhere. The packet itself goes on
	// behind the action as it was.
	Table uint8
	// Zone is where connections are told apart, ZoneFrom 16 bits of a field that hold it. One of them is given, or
	// none for zone 0.
	Zone     uint16
	ZoneFrom Range
	NAT      NAT
	// Exec are loads, moves and sets of FieldCTMark and FieldCTLabel, done to the connection. Needs Commit.
	Exec Actions
}

// NATKind says what an address translation does.
type NATKind uint8

// Kinds of address translation.
const (
	NATNone    NATKind = iota
	NATRestore         // what was begun for the connection goes on, in both directions; nothing for others
	NATSrc             // the source becomes an address of the range, for a connection that begins
	NATDst             // the destination becomes one
)

// NAT is an address translation of a connection, the zero value none.
type NAT struct {
	Kind NATKind
	// First and Last are addresses of one family. Without Last it is First alone, without both the address stays
	// (which source translation takes for "any address that avoids a clash").
	First, Last netip.Addr
	// FirstPort and LastPort need First. Without LastPort it is FirstPort alone, without both the port stays if it can.
	FirstPort, LastPort uint16
}

// RestoreNAT translates packets of connections that were translated when they began.
func RestoreNAT() NAT { return NAT{Kind: NATRestore} }

// SNAT gives new connections a source address, and a port if that is not 0.
func SNAT(a netip.Addr, port uint16) NAT { return NAT{Kind: NATSrc, First: a, FirstPort: port} }

// DNAT gives new connections a destination address, and a port if that is not 0.
func DNAT(a netip.Addr, port uint16) NAT { return NAT{Kind: NATDst, First: a, FirstPort: port} }

func (n NAT) check() {
	bad := n.Kind > NATDst || n.Kind <= NATRestore && n != (NAT{Kind: n.Kind})
	for _, a := range []netip.Addr{n.First, n.Last} {
		bad = bad || a.Is4In6() || a.Zone() != "" || a.IsValid() && a.IsUnspecified()
	}
	bad = bad || n.Last.IsValid() && (n.Last.BitLen() != n.First.BitLen() || n.Last.Less(n.First))
	bad = bad || n.FirstPort != 0 && !n.First.IsValid() || n.LastPort != 0 && (n.FirstPort == 0 || n.LastPort < n.FirstPort)
	if bad {
		panic(fmt.Sprintf("openflow: address translation %+v", n))
	}
}

// Parts of a ct action on the wire; those of its translation are flags of what follows.
const (
	nxCTCommit   = 1
	nxCTForce    = 2
	nxCTNoTable  = 0xff
	nxNATSrc     = 1
	nxNATDst     = 2
	nxNATAddr4   = 1
	nxNATAddr4To = 2
	nxNATAddr6   = 4
	nxNATAddr6To = 8
	nxNATPort    = 16
	nxNATPortTo  = 32
)

// Action is the tracking as an action. The packet must be matched as IPv4 or IPv6.
func (c CT) Action() Action {
	if c.Zone != 0 && c.ZoneFrom != (Range{}) || !c.Commit && (c.Force || !c.Exec.Empty() || c.NAT.Kind > NATRestore) {
		panic(fmt.Sprintf("openflow: ct of %+v", c))
	}
	flags := uint16(0)
	if c.Commit {
		flags |= nxCTCommit
	}
	if c.Force {
		flags |= nxCTForce
	}
	wire := binary.BigEndian.AppendUint16(nicira(of.NXAST_CT), flags)
	if c.ZoneFrom == (Range{}) {
		wire = append(wire, 0, 0, 0, 0)
		wire = binary.BigEndian.AppendUint16(wire, c.Zone)
	} else {
		if c.ZoneFrom.check(); c.ZoneFrom.Bits != 16 {
			panic(fmt.Sprintf("openflow: zone of %d bits of field %v, want 16", c.ZoneFrom.Bits, c.ZoneFrom.Field))
		}
		wire = binary.BigEndian.AppendUint16(c.ZoneFrom.Field.appendHeader(wire), c.ZoneFrom.ofsNbits())
	}
	table := c.Table
	if table == 0 {
		table = nxCTNoTable
	}
	wire = append(wire, table, 0, 0, 0, 0, 0)
	wire = append(wire, c.NAT.action().wire...)
	return closeNicira(append(wire, c.Exec.wire...))
}

func (n NAT) action() Action {
	n.check()
	if n.Kind == NATNone {
		return Action{}
	}
	flags, present, tail := uint16(0), uint16(0), []byte(nil)
	switch n.Kind {
	case NATSrc:
		flags = nxNATSrc
	case NATDst:
		flags = nxNATDst
	}
	first, last := uint16(nxNATAddr4), uint16(nxNATAddr4To)
	if n.First.Is6() {
		first, last = nxNATAddr6, nxNATAddr6To
	}
	if n.First.IsValid() {
		present, tail = present|first, append(tail, n.First.AsSlice()...)
	}
	if n.Last.IsValid() {
		present, tail = present|last, append(tail, n.Last.AsSlice()...)
	}
	if n.FirstPort != 0 {
		present, tail = present|nxNATPort, binary.BigEndian.AppendUint16(tail, n.FirstPort)
	}
	if n.LastPort != 0 {
		present, tail = present|nxNATPortTo, binary.BigEndian.AppendUint16(tail, n.LastPort)
	}
	wire := append(nicira(of.NXAST_NAT), 0, 0)
	wire = binary.BigEndian.AppendUint16(wire, flags)
	wire = binary.BigEndian.AppendUint16(wire, present)
	return closeNicira(append(wire, tail...))
}

// CTClear forgets what conntrack said of the packet.
func CTClear() Action { return closeNicira(nicira(of.NXAST_CT_CLEAR)) }

// Conjunction marks a packet as matched by one clause, k of n (1..n, n 2..64), of the conjunction id. When each of the n
// clauses matched, the packet is looked up again with ConjID(id); flows of the clauses and that flow have one priority.
// Besides conjunctions such a flow has no action but Note.
func Conjunction(id uint32, k, n uint8) Action {
	if n < 2 || n > 64 || k < 1 || k > n {
		panic(fmt.Sprintf("openflow: clause %d of %d of conjunction %d", k, n, id))
	}
	return closeNicira(binary.BigEndian.AppendUint32(append(nicira(of.NXAST_CONJUNCTION), k-1, n), id))
}
