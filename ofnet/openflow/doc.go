// Package openflow speaks OpenFlow 1.3 with Nicira extensions to one Open vSwitch bridge.
//
// It has two halves. The values (Flow, Group, Meter, Match, Actions) are pure: they hold no pointer to anything live,
// compare with ==, or Equal where they hold a list, and print exactly as ovs-ofctl prints them, so that they can be
// written to golden files, fed to ovs-ofctl and compared with its output. Conn is the edge: one connection to the
// management socket of a bridge, with bundles, statistics and packet-ins.
//
// Matches and actions are kept in their wire form from the moment they are made: a flow is then a few short strings,
// cheap to keep by the hundred thousand, to compare and to send. contiv/libOpenflow encodes single fields, plain actions,
// groups, meters and bundle control; messages that are sent by the thousand, actions that hold others (ct, learn) and
// every decoder are written here, because the library's decoders panic on input they do not know and its encoders
// allocate per byte field and cut off what is set in another order than they expect.
//
// What there is, by file:
//
//	match, matchl4, conntrack   terms of matches: NewMatch(EthType(EtherIPv4), CTState(CTTrk|CTNew, 0), ...)
//	register                    Reg and XXReg, registers; Range, any bits of any field: Is, Load, Move
//	action, conntrack, learn    CT, NAT, Learn, Punt and Multipath are structs with a method Action; others are functions
//	flow, bucket                Flow, Group, Meter; what fits into a group
//	conn, exchange              Conn: bundles, meters, groups
//	event                       packet-ins and removed flows: Conn.Packets, Conn.Removed
//	stats, reply                counters of flows, groups, meters, ports
//	ctflush                     forgetting connections
//
// Package unixctl beside it asks ovs-vswitchd itself: what it would do to a packet, which connections it knows.
//
// Constructors panic on values that cannot exist (a register value that does not fit, a zero address): these are
// programming errors. Callers check input before they make flows of it.
package openflow
