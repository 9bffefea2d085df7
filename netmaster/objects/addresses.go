package objects

import (
	"net/netip"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// space is where an address of one family is taken from.
type space struct {
	network string // model key
	pool    state.Pool
	subnet  state.Subnet
	gateway netip.Addr      // never given
	group   string          // whose pool it is; "" for the network's
	allowed state.AddrRange // what may be given, but for the gateway and the pools of other groups
	name    string          // for messages: "subnet 10.1.2.0/24" or "pool 10.1.2.5-10.1.2.9"
}

// space4 is where an endpoint of the group (nil for none) gets its IPv4 address.
func space4(n *state.Network, g *state.EndpointGroup) (space, error) {
	subnet, err := state.ParseSubnet(n.Subnet)
	if err != nil {
		return space{}, refuse(Internal, "subnet %q of network %q: %v", n.Subnet, n.Key(), err)
	}
	s := newSpace(n, subnet, n.Gateway)
	if g == nil || g.IPPool == "" {
		return s, nil
	}
	pool, err := state.ParsePool(g.IPPool)
	if err != nil {
		return space{}, refuse(Internal, "pool %q of group %q: %v", g.IPPool, g.Key(), err)
	}
	s.group, s.allowed, s.name = g.Key(), pool, "pool "+pool.String()
	return s, nil
}

// space6 is where an endpoint gets its IPv6 address; false if the network has none.
func space6(n *state.Network) (space, bool, error) {
	if n.IPv6Subnet == "" {
		return space{}, false, nil
	}
	subnet, err := state.ParseSubnet6(n.IPv6Subnet)
	if err != nil {
		return space{}, false, refuse(Internal, "subnet %q of network %q: %v", n.IPv6Subnet, n.Key(), err)
	}
	return newSpace(n, subnet, n.IPv6Gateway), true, nil
}

func newSpace(n *state.Network, subnet state.Subnet, gateway string) space {
	gw, _ := netip.ParseAddr(gateway) // zero without, and then never met
	return space{
		network: n.Key(), pool: state.AddressPool(n.Key()), subnet: subnet, gateway: gw,
		allowed: subnet.Usable(), name: "subnet " + subnet.Prefix.String(),
	}
}

// avoid is what must not be given of the space: the gateway, and what belongs to groups if the space is the network's.
func (s space) avoid(tx *txn) []alloc.Range {
	var out []alloc.Range
	if s.gateway.IsValid() {
		out = append(out, alloc.Addresses(s.gateway, s.gateway))
	}
	if s.group != "" || !s.subnet.Prefix.Addr().Is4() {
		return out
	}
	for _, record := range tx.Possible(ledger.PooledGroupsOfNetwork(s.network)) {
		if pool, ok := poolOf(record); ok {
			out = append(out, alloc.Addresses(pool.First, pool.Last))
		}
	}
	return out
}

func poolOf(record state.Record) (state.AddrRange, bool) {
	g, ok := record.(*state.EndpointGroup)
	if !ok {
		return state.AddrRange{}, false
	}
	pool, err := state.ParsePool(g.IPPool)
	return pool, err == nil
}

// takeAddress gives the lowest free address of the space, else the one that rests longest. The allocation is as given,
// but for the address.
func (tx *txn) takeAddress(s space, as state.Allocation) (netip.Addr, error) {
	in, avoid := alloc.Addresses(s.allowed.First, s.allowed.Last), s.avoid(tx)
	as.Pool = s.pool
	if v, ok := tx.LowestFree(s.pool, in, avoid...); ok {
		as.Addr = v.Addr()
		tx.Put(&as)
		return as.Addr, nil
	}
	if resting := tx.LongestResting(s.pool, in, avoid...); resting != nil {
		as.Addr = resting.Addr
		tx.Put(&as)
		return as.Addr, nil
	}
	tx.Settle(ledger.PooledGroupsOfNetwork(s.network))
	return netip.Addr{}, refuse(Exhausted, "address exhaustion in %s of network %q: all %d usable addresses are taken",
		s.name, s.network, tx.usedIn(s))
}

func (tx *txn) usedIn(s space) (n int) {
	if !s.subnet.Prefix.Addr().Is4() {
		return 0
	}
	for _, run := range tx.Usage(s.pool, alloc.Addresses(s.allowed.First, s.allowed.Last)).Used {
		n += run.Last.Int() - run.First.Int() + 1
	}
	return n
}

// takeWantedAddress gives an address that was asked for by number, or by the token of its reservation.
func (tx *txn) takeWantedAddress(s space, want netip.Addr, token string, as state.Allocation) error {
	if err := s.check(tx, want); err != nil {
		return err
	}
	as.Pool, as.Addr = s.pool, want
	held := tx.Allocation(as)
	switch {
	case held == nil, held.Released != nil:
	case held.Reserved != nil && token != "" && held.Reserved.Token == token:
	case held.Reserved != nil:
		return refuse(Conflict, "requested address %s of network %q is reserved by host %q until %s; ask for another one",
			want, s.network, held.Reserved.Host, held.Reserved.Expires.Format("15:04:05"))
	default:
		return refuse(Conflict, "requested address %s of network %q is used by %s; ask for another one, or for none to get any free one",
			want, s.network, ownerName(held.Owner))
	}
	tx.Put(&as)
	return nil
}

// check refuses an address that the space may never give.
func (s space) check(tx *txn, want netip.Addr) error {
	switch {
	case !s.allowed.Contains(want):
		return refuse(Invalid, "requested address %s is not in %s of network %q; allowed are %s", want, s.name, s.network, s.allowed)
	case want == s.gateway:
		return refuse(Conflict, "requested address %s is the gateway of network %q", want, s.network)
	case s.group != "":
		return nil
	}
	other := tx.Find(ledger.PooledGroupsOfNetwork(s.network), func(r state.Record) bool {
		pool, ok := poolOf(r)
		return ok && pool.Contains(want)
	})
	if g, ok := other.(*state.EndpointGroup); ok {
		return refuse(Conflict, "requested address %s belongs to the pool %s of group %q", want, g.IPPool, g.Key())
	}
	return nil
}

// giveBackAddress ends the use of an address; it rests for a while, if that is wanted.
func (tx *txn) giveBackAddress(network string, addr netip.Addr, owner string) {
	if !addr.IsValid() {
		return
	}
	held := tx.Allocation(state.Allocation{Pool: state.AddressPool(network), Addr: addr})
	if held == nil || held.Owner != owner {
		return
	}
	if tx.rest <= 0 {
		tx.Delete(held)
		return
	}
	tx.Put(tx.released(held))
}
