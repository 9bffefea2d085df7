package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	of "github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Priorities of table POLICY: 10 and twice the rule's, one more for a deny, so that rules of one priority and different
// verdicts never meet in one priority of the table. Flows that do meet there agree, which is why it does not matter which
// of them a packet takes.
const policyBase = 10

func rulePriority(r *protocol.Rule) uint16 {
	p := policyBase + 2*uint16(r.Priority)
	if r.Action == protocol.ActionDeny {
		p++
	}
	return p
}

// alternative is one way to match one dimension of a rule.
type alternative struct {
	family uint16 // EtherType that it implies, 0 for none
	terms  []of.Term
}

// dimension are alternatives of which one must match.
type dimension []alternative

// dimensions are what a rule asks for, without those that anything matches. impossible: one of them has no alternative.
func dimensions(r *protocol.Rule) (dims []dimension, impossible bool) {
	for _, side := range []struct {
		peer     protocol.Peer
		identity of.Reg
		address  func(netip.Prefix) of.Term
	}{{r.Src, regSrcIdentity, of.IPSrc}, {r.Dst, regDstIdentity, of.IPDst}} {
		if !side.peer.Any {
			d := dimension{}
			for _, id := range slices.Compact(slices.Sorted(slices.Values(side.peer.Identities))) {
				d = append(d, alternative{terms: []of.Term{side.identity.Is(uint32(id))}})
			}
			dims, impossible = append(dims, d), impossible || len(d) == 0
		}
		if len(side.peer.Prefixes) > 0 {
			d := dimension{}
			for _, p := range slices.Compact(slices.Clone(side.peer.Prefixes)) {
				d = append(d, prefixAlternative(p, side.address))
			}
			dims = append(dims, d)
		}
	}
	if d := transport(r); d != nil {
		dims = append(dims, d)
	}
	return dims, impossible
}

func prefixAlternative(p netip.Prefix, address func(netip.Prefix) of.Term) alternative {
	a := alternative{family: of.EtherIPv4}
	if p.Addr().Is6() {
		a.family = of.EtherIPv6
	}
	if p.Bits() > 0 {
		a.terms = []of.Term{address(p)}
	}
	return a
}

// transport is what a rule asks of the protocol and behind; nil for nothing.
func transport(r *protocol.Rule) dimension {
	var d dimension
	for _, proto := range slices.Compact(slices.Sorted(slices.Values(r.Protocols))) {
		for _, family := range []uint16{of.EtherIPv4, of.EtherIPv6} {
			if proto == policy.ICMP && family == of.EtherIPv6 || proto == policy.ICMPv6 && family == of.EtherIPv4 {
				continue
			}
			base := []of.Term{of.IPProto(proto)}
			switch {
			case r.PortLast != 0:
				for _, port := range portMasks(r.PortFirst, r.PortLast) {
					d = append(d, alternative{family, append(slices.Clip(base), of.DstPorts(proto, port.value, port.mask))})
				}
			case r.ICMPType != nil:
				d = append(d, alternative{family, append(base, icmpTerms(proto, r.ICMPType, r.ICMPCode)...)})
			default:
				d = append(d, alternative{family, base})
			}
		}
	}
	return d
}

// portMask is the ports that equal value in the bits of mask.
type portMask struct{ value, mask uint16 }

// portMasks covers a range of ports with as few masks as there can be.
func portMasks(first, last uint16) []portMask {
	var out []portMask
	for at, end := uint32(first), uint32(last); at <= end; {
		size := uint32(1)
		for at&(2*size-1) == 0 && at+2*size-1 <= end && size < 1<<15 {
			size *= 2
		}
		out = append(out, portMask{uint16(at), ^uint16(size - 1)}) //nolint:gosec // both below 1<<16
		at += size
	}
	return out
}

func icmpTerms(proto uint8, kind, code *uint8) []of.Term {
	ofType, ofCode := of.ICMPType, of.ICMPCode
	if proto == policy.ICMPv6 {
		ofType, ofCode = of.ICMPv6Type, of.ICMPv6Code
	}
	terms := []of.Term{ofType(*kind)}
	if code != nil {
		terms = append(terms, ofCode(*code))
	}
	return terms
}

// combine makes one match of one alternative of each dimension; false if they are of different families.
func combine(parts ...alternative) (of.Match, bool) {
	family, terms := uint16(0), []of.Term(nil)
	for _, p := range parts {
		if p.family != 0 {
			if family != 0 && family != p.family {
				return of.Match{}, false
			}
			family = p.family
		}
		terms = append(terms, p.terms...)
	}
	if family != 0 {
		terms = append(terms, of.EthType(family))
	}
	return of.NewMatch(terms...), true
}

// product is each combination of the alternatives; nil and false if there are more than most.
func product(dims []dimension, most int) ([]of.Match, bool) {
	chosen := [][]alternative{nil}
	for _, d := range dims {
		var next [][]alternative
		for _, c := range chosen {
			for _, a := range d {
				if with := append(slices.Clip(c), a); compatible(with) {
					next = append(next, with)
				}
			}
			if len(next) > most {
				return nil, false
			}
		}
		chosen = next
	}
	out := make([]of.Match, 0, len(chosen))
	for _, c := range chosen {
		m, _ := combine(c...)
		out = append(out, m)
	}
	return out, true
}

func compatible(parts []alternative) bool {
	_, ok := combine(parts...)
	return ok
}

// slot is one flow of table POLICY, and the rules that want it.
type slot struct {
	direct  []directOwner // sorted by key; the first is who counts
	clauses []clause      // sorted by rule id
	flow    of.Flow       // as it was last compiled; zero if it was not
}

// directOwner is a rule that is decided by this flow alone.
type directOwner struct {
	key string
	id  uint32
}

// clause is the part that a flow has in the conjunction of a rule: clause number of so many.
type clause struct {
	rule      uint32
	number, n uint8
}

func (s *slot) empty() bool { return len(s.direct)+len(s.clauses) == 0 }

// part is what a rule contributes to a slot: a clause, or the verdict if n is 0.
type part struct {
	slot of.Key
	clause
}

// ruleParts are the slots of a rule. Of several dimensions with several alternatives, a conjunction needs the sum of
// them and one more, their product is what they multiply to: the smaller is taken.
func ruleParts(r *protocol.Rule) []part {
	dims, impossible := dimensions(r)
	if impossible {
		return nil
	}
	sum := 1
	for _, d := range dims {
		sum += len(d)
	}
	most := sum
	if len(dims) < 2 {
		most = len(dims)*sum + 1 // there is no conjunction of one
	}
	if matches, ok := product(dims, most); ok {
		return verdicts(r, matches)
	}
	var parts []part
	n := uint8(len(dims)) //nolint:gosec // at most 5
	for i, d := range dims {
		for _, a := range d {
			m, _ := combine(a)
			parts = append(parts, part{slotOf(r, m), clause{r.ID, uint8(i + 1), n}}) //nolint:gosec // at most 5
		}
	}
	return append(parts, verdicts(r, []of.Match{of.NewMatch(of.ConjID(r.ID))})...)
}

func slotOf(r *protocol.Rule, m of.Match) of.Key {
	return of.Key{Table: tablePolicy, Priority: rulePriority(r), Match: m}
}

// verdicts are slots that decide.
func verdicts(r *protocol.Rule, matches []of.Match) []part {
	parts := make([]part, 0, len(matches))
	for _, m := range matches {
		parts = append(parts, part{slot: slotOf(r, m)})
	}
	return parts
}

// ruleTable is the flows of all rules. A rule that cannot be enforced as it is written is enforced as policy.Closed says,
// and named.
type ruleTable struct {
	rules   map[string]*protocol.Rule // by key, as the others
	holders map[uint32][]string       // the keys of the rules that claim an id, sorted: the first has it
	parts   map[string][]part
	refused map[string]refusal
	slots   map[of.Key]*slot
	touched map[of.Key]struct{} // slots to compile
}

func newRuleTable() *ruleTable {
	return &ruleTable{
		map[string]*protocol.Rule{}, map[uint32][]string{}, map[string][]part{}, map[string]refusal{}, map[of.Key]*slot{},
		map[of.Key]struct{}{},
	}
}

// set puts a rule in, in the place of what there was under its key; nil takes it out.
func (t *ruleTable) set(key string, r *protocol.Rule) {
	if old := t.rules[key]; old != nil {
		heirs := t.holders[old.ID]
		i := slices.Index(heirs, key)
		if t.holders[old.ID] = slices.Delete(heirs, i, i+1); len(t.holders[old.ID]) == 0 {
			delete(t.holders, old.ID)
		}
		delete(t.rules, key)
		t.place(key, nil)
		t.placeHolders(old.ID)
	}
	if r != nil {
		t.rules[key] = r
		t.holders[r.ID] = append(t.holders[r.ID], key)
		slices.Sort(t.holders[r.ID])
		t.placeHolders(r.ID)
	}
}

// placeHolders places the rules that claim an id anew: who has it may be another now. All are taken away before, since
// clauses are told apart by the id.
func (t *ruleTable) placeHolders(id uint32) {
	for _, holder := range t.holders[id] {
		t.place(holder, nil)
	}
	for _, holder := range t.holders[id] {
		t.place(holder, t.rules[holder])
	}
}

// place gives a rule its slots and takes those away that it had.
func (t *ruleTable) place(key string, r *protocol.Rule) {
	for _, p := range t.parts[key] {
		t.slots[p.slot].remove(key, p)
		t.touched[p.slot] = struct{}{}
	}
	delete(t.parts, key)
	delete(t.refused, key)
	if r == nil {
		return
	}
	parts := t.partsOf(key, r)
	for _, p := range parts {
		s := t.slots[p.slot]
		if s == nil {
			s = &slot{}
			t.slots[p.slot] = s
		}
		s.add(key, r.ID, p)
		t.touched[p.slot] = struct{}{}
	}
	t.parts[key] = parts
}

func (t *ruleTable) partsOf(key string, r *protocol.Rule) []part {
	err := policy.Check(r)
	if first := t.holders[r.ID][0]; err == nil && first != key {
		err = fmt.Errorf("rule %s has the same id, %d", first, r.ID)
	}
	if err == nil {
		return ruleParts(r)
	}
	t.refused[key] = refusal(err.Error())
	closed, any := policy.Closed(r)
	if !any {
		return nil
	}
	// Without a conjunction, for whose id there may be another claim.
	dims, impossible := dimensions(&closed)
	if impossible {
		return nil
	}
	matches, _ := product(dims, math.MaxInt)
	return verdicts(&closed, matches)
}

func (s *slot) add(key string, id uint32, p part) {
	if p.n == 0 {
		i, _ := slices.BinarySearchFunc(s.direct, key, compareOwner)
		s.direct = slices.Insert(s.direct, i, directOwner{key, id})
		return
	}
	i, _ := slices.BinarySearchFunc(s.clauses, p.clause, compareClause)
	s.clauses = slices.Insert(s.clauses, i, p.clause)
}

func (s *slot) remove(key string, p part) {
	if p.n == 0 {
		if i, found := slices.BinarySearchFunc(s.direct, key, compareOwner); found {
			s.direct = slices.Delete(s.direct, i, i+1)
		}
		return
	}
	if i, found := slices.BinarySearchFunc(s.clauses, p.clause, compareClause); found {
		s.clauses = slices.Delete(s.clauses, i, i+1)
	}
}

func compareOwner(a directOwner, key string) int { return cmp.Compare(a.key, key) }

func compareClause(a, b clause) int {
	return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.number, b.number))
}

// compile makes the flow of a slot. A verdict comes before clauses: who matches it has the same verdict in whatever the
// clauses could complete, see policyBase.
func (s *slot) compile(k of.Key) of.Flow {
	f := of.Flow{Table: k.Table, Priority: k.Priority, Match: k.Match}
	if len(s.direct) > 0 {
		id := s.direct[0].id
		f.Cookie, f.Actions, f.Goto = cookie(categoryPolicy, id), of.Do(regRuleID.Load(id)), tableCTCommit
		if k.Priority%2 == 1 {
			f.Goto = tableDeny
		}
		return f
	}
	f.Cookie = cookie(categoryPolicy, 0)
	actions := make([]of.Action, 0, len(s.clauses))
	for _, c := range s.clauses {
		actions = append(actions, of.Conjunction(c.rule, c.number, c.n))
	}
	f.Actions = of.Do(actions...)
	return f
}

// compile makes the slots that changed again and adds to diff what that means.
func (t *ruleTable) compile(diff *differ) {
	for k := range t.touched {
		s := t.slots[k]
		if s.empty() {
			delete(t.slots, k)
			if s.flow.Table != 0 {
				diff.dropFlows[k] = struct{}{}
			}
			continue
		}
		if now := s.compile(k); now != s.flow {
			s.flow = now
			diff.flows[k] = now
		}
	}
	clear(t.touched)
}

// program adds all of the table.
func (t *ruleTable) program(p *Program) {
	for k, s := range t.slots {
		p.Flows[k] = s.flow
	}
	p.NotRealised = append(p.NotRealised, t.notRealised()...)
}

func (t *ruleTable) notRealised() []protocol.NotRealised {
	var out []protocol.NotRealised
	for key, why := range t.refused {
		out = append(out, protocol.NotRealised{Kind: protocol.KindRule, Key: key, Reason: string(why)})
	}
	return out
}
