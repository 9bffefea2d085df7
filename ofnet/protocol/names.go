package protocol

import "net/netip"

// NameServer is an address at which every host answers DNS queries of its own endpoints, on every network: workloads can
// be given it as their resolver. It is on the link: a route to it needs no gateway.
var NameServer = netip.AddrFrom4([4]byte{169, 254, 254, 53})
