package pipeline

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// claim is something that only one record may have: an address within a network, a port, a network's number. Two records
// that claim the same can be there for a moment, when an address goes from one to another; then the first by key is
// realised and the other is not, so that no flow belongs to two records.
type claim struct {
	kind  claimKind
	scope string // of an address: the tenant of an IP address, since its networks do not overlap; the network of a MAC address
	addr  netip.Addr
	mac   openflow.MAC
	num   uint32
}

type claimKind uint8

const (
	claimIP claimKind = iota + 1
	claimMAC
	claimPort
	claimBD
	claimVNI
	claimVIP
	claimService
	claimSubnet
)

// claims knows who claims what.
type claims[K any] struct {
	holders map[claim][]K // sorted
	compare func(a, b K) int
}

func (c *claims[K]) add(what []claim, who K) {
	for _, w := range what {
		list := c.holders[w]
		if i, found := slices.BinarySearchFunc(list, who, c.compare); !found {
			c.holders[w] = slices.Insert(list, i, who)
		}
	}
}

func (c *claims[K]) remove(what []claim, who K) {
	for _, w := range what {
		list := c.holders[w]
		if i, found := slices.BinarySearchFunc(list, who, c.compare); found {
			if list = slices.Delete(list, i, i+1); len(list) == 0 {
				delete(c.holders, w)
			} else {
				c.holders[w] = list
			}
		}
	}
}

// rival is who comes before in one of the claims.
func (c *claims[K]) rival(what []claim, who K) (first K, lost bool) {
	for _, w := range what {
		if list := c.holders[w]; len(list) > 0 && c.compare(list[0], who) < 0 {
			return list[0], true
		}
	}
	return first, false
}

func compareIDs(a, b protocol.EndpointID) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
}

func networkClaims(n *protocol.Network) []claim {
	out := []claim{{kind: claimBD, num: uint32(n.ID)}, {kind: claimVNI, num: n.VNI}}
	for _, p := range []netip.Prefix{n.Subnet, n.Subnet6} {
		if p.IsValid() {
			out = append(out, claim{kind: claimSubnet, num: uint32(n.VRF), scope: p.String()})
		}
	}
	return out
}

func endpointClaims(e *protocol.Endpoint, port uint32) []claim {
	var out []claim
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() {
			out = append(out, claim{kind: claimIP, scope: e.Tenant, addr: a})
		}
	}
	if mac, err := openflow.ParseMAC(e.MAC); err == nil {
		out = append(out, claim{kind: claimMAC, scope: e.NetworkKey(), mac: mac})
	}
	if port != 0 {
		out = append(out, claim{kind: claimPort, num: port})
	}
	return out
}
