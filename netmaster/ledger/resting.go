package ledger

import (
	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/state"
)

// Resting is what of a range of a pool was released and cannot simply be given again yet: addresses that rest, numbers
// that a host may still use. Reports count it as free. Maximal runs, in order.
func (m *Model) Resting(of state.Pool, in alloc.Range) []alloc.Range {
	p := m.pools[of]
	if p == nil || p.resting.Len() == 0 {
		return nil
	}
	set := alloc.NewSet()
	p.resting.Ascend(func(r rest) bool {
		set.Add(r.value)
		return true
	})
	return alloc.UsageOf(in, set).Used
}
