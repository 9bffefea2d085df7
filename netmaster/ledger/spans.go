package ledger

import (
	"github.com/google/btree"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/state"
)

// spans are the address ranges that the networks of one tenant claim, to find overlaps without reading them all.
// Networks of a tenant do not overlap, so that only the nearest range below an end need be looked at.
type spans struct {
	tree *btree.BTreeG[span]
}

type span struct {
	alloc.Range
	key string // of the network in the store
}

func newSpans() *spans {
	return &spans{btree.NewG(16, func(a, b span) bool {
		if a.First != b.First {
			return a.First.Less(b.First)
		}
		return a.key < b.key
	})}
}

func (s *spans) add(key string, n *state.Network) {
	for _, r := range rangesOf(n) {
		s.tree.ReplaceOrInsert(span{r, key})
	}
}

func (s *spans) drop(key string, n *state.Network) {
	for _, r := range rangesOf(n) {
		s.tree.Delete(span{r, key})
	}
}

// overlapping gives the store keys of networks that claim a part of the range, the first found only.
func (s *spans) overlapping(in alloc.Range) (keys []string) {
	if s == nil {
		return nil
	}
	s.tree.DescendLessOrEqual(span{alloc.Range{First: in.Last}, "\xff"}, func(nearest span) bool {
		if nearest.Overlaps(in) {
			keys = append(keys, nearest.key)
		}
		return false
	})
	return keys
}

// rangesOf are the addresses that a network claims.
func rangesOf(n *state.Network) []alloc.Range {
	var out []alloc.Range
	if subnet, err := state.ParseSubnet(n.Subnet); err == nil {
		out = append(out, alloc.Addresses(subnet.First, subnet.Last))
	}
	if n.IPv6Subnet == "" {
		return out
	}
	if subnet, err := state.ParseSubnet6(n.IPv6Subnet); err == nil {
		out = append(out, alloc.Addresses(subnet.First, subnet.Last))
	}
	return out
}
