package pipeline

import (
	"maps"
	"net/netip"
	"slices"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// member is what an endpoint adds to its network's flood groups.
type member struct {
	network string     // key; empty: nothing
	port    uint32     // of a local endpoint
	vtep    netip.Addr // of a remote endpoint's host
}

// flood is who gets the packets for all in a network.
type flood struct {
	ports map[uint32]int // how many endpoints bring them in
	vteps map[netip.Addr]int
}

func newFlood() *flood { return &flood{map[uint32]int{}, map[netip.Addr]int{}} }

// count adds a member, or takes it out with by = -1.
func (f *flood) count(m member, by int) {
	if m.port != 0 {
		tally(f.ports, m.port, by)
	} else {
		tally(f.vteps, m.vtep, by)
	}
}

func tally[K comparable](m map[K]int, k K, by int) {
	if m[k] += by; m[k] == 0 {
		delete(m, k)
	}
}

// floodGroups are the network's two groups: for packets from local endpoints, local ports and peers; for those from
// peers, local ports only. The switch itself leaves out the port a packet came in through.
func (v *view) floodGroups(n *protocol.Network, f *flood) []of.Group {
	var local []of.Bucket
	for _, port := range slices.Sorted(maps.Keys(f.ports)) {
		local = append(local, of.Bucket{Actions: of.Do(of.Output(port))})
	}
	all := slices.Clone(local)
	for _, vtep := range slices.SortedFunc(maps.Keys(f.vteps), netip.Addr.Compare) {
		all = append(all, of.Bucket{Actions: of.Do(of.SetTunDst(vtep), of.Output(v.TunnelPort))})
	}
	return append(split(groupFloodLocal, n.ID, local), split(groupFloodAll, n.ID, all)...)
}

// split makes a group whose message is not too long: of all buckets, or of groups that share them out.
func split(kind uint32, network uint16, buckets []of.Bucket) []of.Group {
	top := of.Group{ID: groupID(kind, network, 0), Type: of.GroupAll, Buckets: buckets}
	if top.Size() <= of.MaxGroupBytes {
		return []of.Group{top}
	}
	top.Buckets = nil
	var parts []of.Group
	for len(buckets) > 0 {
		part := of.Group{ID: groupID(kind, network, len(parts)+1), Type: of.GroupAll}
		size := part.Size()
		for len(buckets) > 0 {
			if size += buckets[0].Size(); size > of.MaxGroupBytes {
				break
			}
			part.Buckets, buckets = append(part.Buckets, buckets[0]), buckets[1:]
		}
		parts = append(parts, part)
		top.Buckets = append(top.Buckets, of.Bucket{Actions: of.Do(of.ToGroup(part.ID))})
	}
	return append(parts, top)
}
