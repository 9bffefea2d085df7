package policy

import (
	"slices"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Table holds rules and answers for packets. The zero value is empty and ready.
//
// Rules are found by the identities that they name, so that an answer costs what the rules about two groups cost, however
// many others there are.
type Table struct {
	rules map[string]*protocol.Rule
	bySrc map[uint16][]entry // rules that name source identities
	byDst map[uint16][]entry // rules that name destination identities only
	other []entry            // rules about everybody
}

// entry is a rule in a list that Before sorts.
type entry struct {
	key  string
	rule *protocol.Rule
}

func compare(a, b entry) int { return Before(a.rule, a.key, b.rule, b.key) }

// Set adds a rule, or replaces the one with the key. A rule that Check refuses counts as Closed says. The rule is not
// copied and must not change.
func (t *Table) Set(key string, r *protocol.Rule) {
	t.Remove(key)
	if Check(r) != nil {
		closed, any := Closed(r)
		if !any {
			return
		}
		r = &closed
	}
	if t.rules == nil {
		t.rules, t.bySrc, t.byDst = map[string]*protocol.Rule{}, map[uint16][]entry{}, map[uint16][]entry{}
	}
	t.rules[key] = r
	t.lists(r, func(list []entry) []entry {
		e := entry{key, r}
		i, _ := slices.BinarySearchFunc(list, e, compare)
		return slices.Insert(list, i, e)
	})
}

// Remove takes a rule out. One that is not there is no error.
func (t *Table) Remove(key string) {
	r, had := t.rules[key]
	if !had {
		return
	}
	delete(t.rules, key)
	t.lists(r, func(list []entry) []entry {
		i, found := slices.BinarySearchFunc(list, entry{key, r}, compare)
		if !found {
			return list
		}
		return slices.Delete(list, i, i+1)
	})
}

// lists changes each list that a rule belongs to.
func (t *Table) lists(r *protocol.Rule, change func([]entry) []entry) {
	index, identities := t.bySrc, r.Src.Identities
	switch {
	case !r.Src.Any:
	case !r.Dst.Any:
		index, identities = t.byDst, r.Dst.Identities
	default:
		t.other = change(t.other)
		return
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(identities))) {
		if index[id] = change(index[id]); len(index[id]) == 0 {
			delete(index, id)
		}
	}
}

// Decide answers what becomes of a connection that begins with the packet.
func (t *Table) Decide(p Packet) Verdict {
	var first entry
	for _, list := range [][]entry{t.bySrc[p.SrcIdentity], t.byDst[p.DstIdentity], t.other} {
		for _, e := range list {
			if first.rule != nil && compare(first, e) < 0 {
				break
			}
			if Matches(e.rule, &p) {
				first = e
				break
			}
		}
	}
	if first.rule == nil {
		return Verdict{Allow: true}
	}
	return Verdict{Allow: first.rule.Action == protocol.ActionAllow, Rule: first.key}
}
