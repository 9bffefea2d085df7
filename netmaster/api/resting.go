package api

import (
	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// restingAddresses are those of a network, of either family, that were released and are not given again yet.
func restingAddresses(m *ledger.Model, n *state.Network) (out []alloc.Range) {
	pool := state.AddressPool(n.Key())
	if subnet, err := state.ParseSubnet(n.Subnet); err == nil {
		out = m.Resting(pool, addresses(subnet.Usable()))
	}
	if n.IPv6Subnet == "" {
		return out
	}
	if subnet, err := state.ParseSubnet6(n.IPv6Subnet); err == nil {
		out = append(out, m.Resting(pool, addresses(subnet.Usable()))...)
	}
	return out
}

// quarantined are the numbers of each pool that were released and that a host may still use.
func quarantined(m *ledger.Model) map[string]string {
	const most = 1<<24 - 1 // of any pool
	out := make(map[string]string)
	for _, pool := range []state.Pool{
		state.PoolVLAN, state.PoolVNI, state.PoolVRF, state.PoolNetwork, state.PoolGroup, state.PoolIdentity, state.PoolService,
	} {
		if runs := m.Resting(pool, alloc.Numbers(1, most)); len(runs) > 0 {
			out[string(pool)] = alloc.FormatNumbers(runs)
		}
	}
	return out
}
