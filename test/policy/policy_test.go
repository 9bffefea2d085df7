// Package policy_test holds what netmaster makes of policies, and what hosts make of that, against what users wrote.
package policy_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
	"github.com/contiv/contiv/test/policy/intent"
)

var (
	cases = flag.Int("policy.cases", 200_000, "random cases of TestIntents")
	first = flag.Uint64("policy.seed", 1, "first seed of TestIntents")
)

// casesOfWorld are spread over the steps in which a world changes.
const (
	stepsOfWorld = 5
	casesOfStep  = 60
)

// TestIntents makes random policies, lets netmaster's normalisation turn them into records change by change, as agents
// get them, and compares the verdicts of the table that agents hold with those of what users wrote.
func TestIntents(t *testing.T) {
	began, asked, allowed, byRule, byDefault := time.Now(), 0, 0, 0, 0
	for seed := *first; asked < *cases; seed++ {
		w := newWorld(t, seed)
		for range stepsOfWorld {
			w.change()
			for range casesOfStep {
				verdict := w.ask()
				asked++
				if verdict.Allow {
					allowed++
				}
				switch {
				case len(verdict.By) > 0 && strings.HasPrefix(verdict.By[0], "default"):
					byDefault++
				case len(verdict.By) > 0:
					byRule++
				}
			}
		}
		w.close()
	}
	t.Logf("%d cases, %d allowed, %d decided by a rule, %d by a default, in %v", asked, allowed, byRule, byDefault, time.Since(began).Round(time.Millisecond))
	if part := asked / 10; allowed < part || asked-allowed < part || byRule < part || byDefault < part/4 {
		t.Error("too one-sided to test much")
	}
}

// world is a cluster's policies in a store, and the rules of it that hosts have.
type world struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	store   objdb.Store
	ledger  *ledger.Ledger
	stop    func()
	intent  intent.Intent
	numbers map[string]int // identities by "tenant:group,group"
	rules   int
	records map[string]*protocol.Rule // what hosts have
	table   policy.Table
}

const tenants = "tu"

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	w := &world{
		t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 3)), store: memory.New(), numbers: map[string]int{}, records: map[string]*protocol.Rule{},
	}
	var err error
	if w.ledger, err = ledger.Open(t.Context(), w.store, nil, logrus.NewEntry(logger)); err != nil {
		t.Fatal(err)
	}
	stop := w.ledger.Subscribe(w.feed)
	w.stop = func() {
		stop()
		w.ledger.Close()
		_ = w.store.Close()
	}
	for i, tenant := range strings.Split(tenants, "") {
		w.build(i, tenant)
	}
	return w
}

func (w *world) close() { w.stop() }

// feed does what an agent does with the records that it gets.
func (w *world) feed(m *ledger.Model, change ledger.Change) {
	for _, r := range normalise.Changes(m, change) {
		if r.Kind != protocol.KindRule {
			continue
		}
		if r.Body == nil {
			w.table.Remove(r.Key)
			delete(w.records, r.Key)
			continue
		}
		body, err := r.Decode()
		if err != nil {
			w.t.Errorf("seed %d: %s: %v", w.seed, r.Key, err)
			continue
		}
		rule := body.(*protocol.Rule)
		w.table.Set(r.Key, rule)
		w.records[r.Key] = rule
	}
}

// build makes a tenant. The tenants use the same names and addresses.
func (w *world) build(i int, tenant string) {
	var records []state.Record
	records = append(records, &state.Tenant{TenantName: tenant}, &state.TenantState{TenantName: tenant, VRF: i + 1})
	if i == 0 {
		records = append(records, &state.Global{Name: state.GlobalName, FwdMode: w.pick(state.ForwardBridge, state.ForwardRouting)})
	}
	for j, n := range []*state.Network{
		{NetworkName: "web", Subnet: "10.1.1.0/24", IPv6Subnet: "2001:db8:1::/64"}, {NetworkName: "db", Subnet: "10.1.2.4-10.1.2.99/24"},
	} {
		n.TenantName, n.Encap = tenant, state.EncapVXLAN
		records = append(records, n, &state.NetworkState{TenantName: tenant, NetworkName: n.NetworkName, ID: 2*i + j + 1, VNI: 2*i + j + 1})
		w.intent.Networks = append(w.intent.Networks, n)
	}
	for _, name := range []string{"p", "q", "x"} {
		p := &state.Policy{TenantName: tenant, PolicyName: name, DefaultDeny: w.deny(30)}
		records = append(records, p)
		w.intent.Policies = append(w.intent.Policies, p)
	}
	for j, name := range []string{"a", "b", "c", "d"} {
		g := &state.EndpointGroup{TenantName: tenant, GroupName: name, NetworkName: []string{"web", "db"}[j/2], Policies: w.policies(), DefaultDeny: w.deny(30)}
		identity := w.number(tenant, name)
		records = append(records, g, &state.GroupState{TenantName: tenant, GroupName: name, ID: identity, Identity: identity})
		w.intent.Groups = append(w.intent.Groups, g)
	}
	for _, set := range sets[tooFewForSet:] {
		records = append(records, &state.GroupSet{TenantName: tenant, Groups: set, Identity: w.number(tenant, set...)})
	}
	w.put(records...)
	for range w.r.IntN(25) {
		w.addRule(tenant)
	}
}

// sets that endpoints are in; those from tooFewForSet on have an identity as a set.
var sets = [][]string{nil, {"a"}, {"b"}, {"c"}, {"d"}, {"a", "b"}, {"c", "d"}}

const tooFewForSet = 5

func (w *world) number(tenant string, groups ...string) int {
	key := state.GroupSetKey(tenant, groups)
	if w.numbers[key] == 0 {
		w.numbers[key] = len(w.numbers) + 1
	}
	return w.numbers[key]
}

func (w *world) pick(from ...string) string { return from[w.r.IntN(len(from))] }

// deny is a default, one in so many.
func (w *world) deny(of int) string {
	if w.r.IntN(of) > 0 {
		return w.pick("", state.DenyNone)
	}
	return w.pick(state.DirectionIn, state.DirectionOut, state.DenyBoth)
}

func (w *world) policies() (out []string) {
	for _, name := range []string{"p", "q"} {
		if w.r.IntN(2) == 0 {
			out = append(out, name)
		}
	}
	return out
}

// change does a few of the things that users do.
func (w *world) change() {
	for range 1 + w.r.IntN(3) {
		switch w.r.IntN(8) {
		case 0:
			p := *w.intent.Policies[w.r.IntN(len(w.intent.Policies))]
			p.DefaultDeny = w.deny(8)
			w.put(&p)
			replace(w.intent.Policies, &p)
		case 1, 2:
			g := *w.intent.Groups[w.r.IntN(len(w.intent.Groups))]
			g.Policies, g.DefaultDeny = w.policies(), w.deny(12)
			w.put(&g)
			replace(w.intent.Groups, &g)
		case 3:
			if n := len(w.intent.Rules); n > 0 {
				i := w.r.IntN(n)
				w.commit(objdb.Delete(w.intent.Rules[i].StoreKey()))
				w.intent.Rules = slices.Delete(w.intent.Rules, i, i+1)
			}
		default:
			w.addRule(w.pick(strings.Split(tenants, "")...))
		}
	}
}

// replace puts a record in the place of the one with its key.
func replace[T state.Record](list []T, with T) {
	for i := range list {
		if list[i].StoreKey() == with.StoreKey() {
			list[i] = with
		}
	}
}

// addRule adds one that netmaster would accept.
func (w *world) addRule(tenant string) {
	w.rules++
	for {
		r := &state.Rule{
			TenantName: tenant, PolicyName: w.pick("p", "p", "q", "x"), RuleID: fmt.Sprint(w.rules), Priority: []int{1, 1, 2, 10, 100}[w.r.IntN(5)],
			Direction: w.pick("in", "out"), Action: w.pick("allow", "deny"), Protocol: w.pick("", "tcp", "tcp", "udp", "sctp", "icmp", "icmp6", "47"),
		}
		if w.r.IntN(2) == 0 {
			r.Port, r.PortEnd = 79+w.r.IntN(4), w.r.IntN(2)*(80+w.r.IntN(5))
		}
		if w.r.IntN(2) == 0 {
			r.ICMPType = octet(w.r, 8, 128, 3)
			if w.r.IntN(2) == 0 {
				r.ICMPCode = octet(w.r, 0, 1)
			}
		}
		group, network, address := w.pick("", "", "", "a", "b", "d", "gone"), w.pick("", "", "", "", "", "web", "db", "gone"),
			w.pick("", "", "", "", "", "", "", "10.1.1.5", "10.1.1.0/29", "10.1.2.3-9", "10.1.2.0/23", "192.0.2.0/24", "2001:db8:1::5", "2001:db8:1::/125")
		if r.Direction == state.DirectionIn {
			r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress = group, network, address
			r.ToIPAddress = w.pick("", "", "", "", "", "10.1.1.0/29", "10.1.1.5-6")
		} else {
			r.ToEndpointGroup, r.ToNetwork, r.ToIPAddress = group, network, address
		}
		if r.Validate() == nil {
			w.put(r)
			w.intent.Rules = append(w.intent.Rules, r)
			return
		}
	}
}

func octet(r *rand.Rand, of ...int) *int {
	v := of[r.IntN(len(of))]
	return &v
}

func (w *world) put(records ...state.Record) {
	w.t.Helper()
	var ops []objdb.Op
	for _, r := range records {
		value, err := state.Encode(r)
		if err != nil {
			w.t.Fatal(err)
		}
		ops = append(ops, objdb.Put(r.StoreKey(), value))
	}
	w.commit(ops...)
}

// commit waits until the records of hosts are as of the change.
func (w *world) commit(ops ...objdb.Op) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if _, err := w.store.Commit(ctx, objdb.Txn{Then: ops}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ledger.View(ctx, func(*ledger.Model) {}); err != nil {
		w.t.Fatal(err)
	}
}

// ask compares the verdicts on a packet.
func (w *world) ask() intent.Verdict {
	w.t.Helper()
	tenant := w.pick(strings.Split(tenants, "")...)
	base := w.pick("10.1.%d.%d", "10.1.%d.%d", "2001:db8:%d::%d")
	end := func() intent.End {
		a := fmt.Sprintf(base, 1+w.r.IntN(2), 2+w.r.IntN(10))
		if w.r.IntN(12) == 0 && strings.HasPrefix(base, "10.") {
			a = "192.0.2.7"
		}
		return intent.End{Tenant: tenant, Groups: sets[w.r.IntN(len(sets))], Addr: netip.MustParseAddr(a)}
	}
	p := intent.Packet{Src: end(), Dst: end(), Protocol: []int{6, 6, 6, 17, 132, 1, 58, 47}[w.r.IntN(8)]}
	switch p.Protocol {
	case 6, 17, 132:
		p.Port = 77 + w.r.IntN(9)
	case 1, 58:
		p.Protocol = 58
		if p.Src.Addr.Is4() {
			p.Protocol = 1
		}
		p.Type, p.Code = []int{8, 128, 3}[w.r.IntN(3)], w.r.IntN(2)
	}
	want, got := w.intent.Decide(p), w.table.Decide(w.packet(p))
	if got.Allow != want.Allow || len(want.By) == 0 && got.Rule != "" || len(want.By) > 0 && !slices.Contains(want.By, byName(got.Rule)) {
		w.t.Fatalf("seed %d: %v\nwanted %+v, got %+v (-policy.seed %d repeats it)\n%s", w.seed, p, want, got, w.seed, w.text())
	}
	return want
}

// packet is what a host sees of it.
func (w *world) packet(p intent.Packet) policy.Packet {
	identity := func(e intent.End) uint16 {
		if len(e.Groups) == 0 {
			return 0
		}
		return uint16(w.number(e.Tenant, e.Groups...)) //nolint:gosec // few
	}
	return policy.Packet{
		SrcIdentity: identity(p.Src), DstIdentity: identity(p.Dst), Src: p.Src.Addr, Dst: p.Dst.Addr, Protocol: uint8(p.Protocol), //nolint:gosec // a protocol
		SrcPort: 40000, DstPort: uint16(p.Port), ICMPType: uint8(p.Type), ICMPCode: uint8(p.Code), //nolint:gosec // small
	}
}

// byName turns the key of a default, "tenant::group:direction", into the evaluator's words.
func byName(key string) string {
	if parts := strings.Split(key, ":"); len(parts) == 4 && parts[1] == "" {
		return "default " + parts[2] + " " + parts[3]
	}
	return key
}

// text is what was written, and what hosts have of it.
func (w *world) text() string {
	var b strings.Builder
	show := func(what string, value any) {
		data, err := json.Marshal(value)
		fmt.Fprintln(&b, what, string(data), err)
	}
	for _, p := range w.intent.Policies {
		show("policy", p)
	}
	for _, g := range w.intent.Groups {
		show("group", g)
	}
	for _, r := range w.intent.Rules {
		show("rule", r)
	}
	show("identities", w.numbers)
	show("hosts have", w.records)
	return b.String()
}
