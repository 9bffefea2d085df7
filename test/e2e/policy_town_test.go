package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
	"github.com/contiv/contiv/test/policy/intent"
	"github.com/contiv/contiv/test/probe"
	"github.com/contiv/contiv/test/probe/mesh"
)

// town is a cluster whose policies are written by lines of text, remembered as intents, and compared with who reaches
// whom.
type town struct {
	*cluster
	mode   string
	api    *client.Client
	intent intent.Intent
	people []*person
	mesh   *mesh.Mesh
}

// person is a workload.
type person struct {
	name            string
	host            int
	tenant, network string
	groups          []string
	addrs           []netip.Addr
}

func (p *person) end(a netip.Addr) intent.End {
	return intent.End{Tenant: p.tenant, Groups: p.groups, Addr: a}
}

// ports on which everybody listens.
var townPorts = []int{8000, 8001, 8443}

// newTown makes two tenants with the same addresses: t with networks web (groups a, b, c) and db (group d), u with web
// (group a); and nine workloads on three hosts.
func newTown(t *testing.T, mode string) *town {
	t.Helper()
	c := start(t, sandbox.Config{Hosts: 3, FwdMode: mode})
	api, err := client.New(c.URL(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	w := &town{cluster: c, mode: mode, api: api}
	for _, tenant := range []string{"t", "u"} {
		c.ok("tenant", "create", tenant)
	}
	w.do("network t web 10.1.1", "network t db 10.1.2", "network u web 10.1.1",
		"group t web a", "group t web b", "group t web c", "group t db d", "group u web a",
		"policy t p", "policy t q", "policy u p")
	for _, p := range []*person{
		{name: "a1", host: 1, tenant: "t", network: "web", groups: []string{"a"}},
		{name: "b1", host: 1, tenant: "t", network: "web", groups: []string{"b"}},
		{name: "u1", host: 1, tenant: "u", network: "web", groups: []string{"a"}},
		{name: "a2", host: 2, tenant: "t", network: "web", groups: []string{"a"}},
		{name: "ab2", host: 2, tenant: "t", network: "web", groups: []string{"a", "b"}},
		{name: "d2", host: 2, tenant: "t", network: "db", groups: []string{"d"}},
		{name: "n3", host: 3, tenant: "t", network: "web"},
		{name: "b3", host: 3, tenant: "t", network: "web", groups: []string{"b"}},
		{name: "u3", host: 3, tenant: "u", network: "web"},
	} {
		w.settle(p)
	}
	w.openMesh()
	return w
}

// settle starts a workload.
func (w *town) settle(p *person) {
	w.t.Helper()
	status := w.run(sandbox.Workload{Name: p.name, Host: p.host, Tenant: p.tenant, Network: p.network, Group: strings.Join(p.groups, ",")})
	for _, a := range status.Addresses {
		p.addrs = append(p.addrs, netip.MustParseAddr(a))
	}
	w.people = append(w.people, p)
}

func (w *town) openMesh() {
	w.t.Helper()
	var inside []probe.Inside
	for _, p := range w.people {
		inside = append(inside, w.inside(p.name))
	}
	var err error
	if w.mesh, err = mesh.New(inside, townPorts...); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.mesh.Close() })
}

// do carries out lines:
//
//	network TENANT NAME 10.1.1      of both families
//	group TENANT NETWORK NAME       ungroup TENANT NAME
//	policy TENANT NAME              unpolicy TENANT NAME
//	attach TENANT GROUP [POLICY...]
//	deny TENANT group|policy NAME none|in|out|both
//	rule TENANT POLICY ID in|out allow|deny [WORD...]      unrule TENANT POLICY ID
//
// Words of a rule are protocols and FIELD=VALUE: port=80 or 80-90, type, code, priority, group, network, ip, own.
func (w *town) do(lines ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	for _, line := range lines {
		if err := w.doOne(ctx, strings.Fields(line)); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
	}
}

func (w *town) doOne(ctx context.Context, words []string) error {
	tenant, name := words[1], words[len(words)-1]
	switch words[0] {
	case "network":
		n := &state.Network{TenantName: tenant, NetworkName: words[2], Encap: state.EncapVXLAN, Subnet: name + ".0/24", Gateway: name + ".254"}
		third := name[strings.LastIndex(name, ".")+1:]
		n.IPv6Subnet, n.IPv6Gateway = "fd00:0:0:"+third+"::/64", "fd00:0:0:"+third+"::fe"
		w.intent.Networks = append(w.intent.Networks, n)
		_, err := w.api.Networks().Post(ctx, &client.Network{Network: *n})
		return err
	case "group":
		g := &state.EndpointGroup{TenantName: tenant, NetworkName: words[2], GroupName: name}
		w.intent.Groups = append(w.intent.Groups, g)
		return w.putGroup(ctx, g)
	case "ungroup":
		w.intent.Groups = without(w.intent.Groups, state.ModelKey(tenant, name))
		return w.api.EndpointGroups().Delete(ctx, state.ModelKey(tenant, name))
	case "attach":
		g := byKey(w.intent.Groups, state.ModelKey(tenant, words[2]))
		g.Policies = words[3:]
		return w.putGroup(ctx, g)
	case "policy":
		p := &state.Policy{TenantName: tenant, PolicyName: name}
		w.intent.Policies = append(w.intent.Policies, p)
		return w.putPolicy(ctx, p)
	case "unpolicy":
		w.intent.Policies = without(w.intent.Policies, state.ModelKey(tenant, name))
		return w.api.Policies().Delete(ctx, state.ModelKey(tenant, name))
	case "deny":
		if words[2] == "group" {
			g := byKey(w.intent.Groups, state.ModelKey(tenant, words[3]))
			g.DefaultDeny = name
			return w.putGroup(ctx, g)
		}
		p := byKey(w.intent.Policies, state.ModelKey(tenant, words[3]))
		p.DefaultDeny = name
		return w.putPolicy(ctx, p)
	case "rule":
		r, err := ruleOf(words[1:])
		if err != nil {
			return err
		}
		w.intent.Rules = append(w.intent.Rules, r)
		_, err = w.api.Rules().Post(ctx, &client.Rule{Rule: *r})
		return err
	case "unrule":
		key := state.ModelKey(tenant, words[2]) + ":" + name
		w.intent.Rules = without(w.intent.Rules, key)
		return w.api.Rules().Delete(ctx, key)
	}
	return fmt.Errorf("unknown word %q", words[0])
}

func (w *town) putGroup(ctx context.Context, g *state.EndpointGroup) error {
	_, err := w.api.EndpointGroups().Post(ctx, &client.EndpointGroup{EndpointGroup: *g})
	return err
}

func (w *town) putPolicy(ctx context.Context, p *state.Policy) error {
	_, err := w.api.Policies().Post(ctx, &client.Policy{Policy: *p})
	return err
}

func byKey[T interface{ Key() string }](list []T, key string) (found T) {
	for _, one := range list {
		if one.Key() == key {
			found = one
		}
	}
	return found
}

func without[T interface{ Key() string }](list []T, key string) []T {
	return slices.DeleteFunc(list, func(one T) bool { return one.Key() == key })
}

// ruleOf reads "TENANT POLICY ID DIRECTION ACTION WORD...".
func ruleOf(words []string) (*state.Rule, error) {
	r := &state.Rule{TenantName: words[0], PolicyName: words[1], RuleID: words[2], Direction: words[3], Action: words[4], Priority: 1}
	group, network, address := &r.FromEndpointGroup, &r.FromNetwork, &r.FromIPAddress
	if r.Direction == state.DirectionOut {
		group, network, address = &r.ToEndpointGroup, &r.ToNetwork, &r.ToIPAddress
	}
	for _, word := range words[5:] {
		field, value, has := strings.Cut(word, "=")
		var err error
		switch {
		case !has:
			r.Protocol = word
		case field == "group":
			*group = value
		case field == "network":
			*network = value
		case field == "ip":
			*address = value
		case field == "own":
			r.ToIPAddress = value
		case field == "port":
			first, last, _ := strings.Cut(value, "-")
			r.Port, err = strconv.Atoi(first)
			if last != "" && err == nil {
				r.PortEnd, err = strconv.Atoi(last)
			}
		case field == "priority":
			r.Priority, err = strconv.Atoi(value)
		case field == "type":
			r.ICMPType, err = numberOf(value)
		case field == "code":
			r.ICMPCode, err = numberOf(value)
		default:
			err = fmt.Errorf("unknown field %q", field)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func numberOf(text string) (*int, error) {
	n, err := strconv.Atoi(text)
	return &n, err
}

// reset takes away all rules and what denies by default, and all policies from groups.
func (w *town) reset() {
	w.t.Helper()
	for _, r := range slices.Clone(w.intent.Rules) {
		w.do(fmt.Sprintf("unrule %s %s %s", r.TenantName, r.PolicyName, r.RuleID))
	}
	for _, g := range w.intent.Groups {
		if len(g.Policies) > 0 || g.DefaultDeny != "" && g.DefaultDeny != state.DenyNone {
			w.do(fmt.Sprintf("deny %s group %s none", g.TenantName, g.GroupName), fmt.Sprintf("attach %s %s", g.TenantName, g.GroupName))
		}
	}
	for _, p := range w.intent.Policies {
		if p.DefaultDeny != "" && p.DefaultDeny != state.DenyNone {
			w.do(fmt.Sprintf("deny %s policy %s none", p.TenantName, p.PolicyName))
		}
	}
}

// question is a cell of the matrix, with what is to come out.
type question struct {
	mesh.Shot
	from, to *person // to: nil if nobody of the tenant has the address
	want     bool
	by       []string
}

func (q *question) String() string {
	to := "nobody"
	if q.to != nil {
		to = q.to.name
	}
	return fmt.Sprintf("%s -> %s (%s) protocol %d port %d type %d, by %v", q.from.name, to, q.To, q.Protocol, q.Port, q.Type, q.by)
}

// kinds are what is asked between any two, by family.
var kinds = map[bool][]mesh.Shot{
	true: {
		{Protocol: mesh.TCP, Port: 8000}, {Protocol: mesh.TCP, Port: 8001}, {Protocol: mesh.UDP, Port: 8000}, {Protocol: mesh.UDP, Port: 8001},
		{Protocol: mesh.ICMP, Type: 8}, {Protocol: mesh.ICMP, Type: 13}, {Protocol: mesh.SCTP, Port: 8000},
	},
	false: {
		{Protocol: mesh.TCP, Port: 8000}, {Protocol: mesh.TCP, Port: 8443}, {Protocol: mesh.UDP, Port: 8000}, {Protocol: mesh.UDP, Port: 8443},
		{Protocol: mesh.ICMPv6, Type: 128}, {Protocol: mesh.SCTP, Port: 8000},
	},
}

// questions are all cells: everybody to every address there is, also those that only the other tenant has.
func (w *town) questions() (out []question) {
	for i, from := range w.people {
		asked := map[netip.Addr]bool{}
		for _, to := range w.people {
			for _, a := range to.addrs {
				if asked[a] || slices.Contains(from.addrs, a) {
					continue
				}
				asked[a] = true
				out = append(out, w.questionsOf(i, from, a)...)
			}
		}
	}
	return out
}

func (w *town) questionsOf(i int, from *person, a netip.Addr) (out []question) {
	at := slices.IndexFunc(w.people, func(p *person) bool { return p.tenant == from.tenant && slices.Contains(p.addrs, a) })
	var to *person
	if at >= 0 {
		to = w.people[at]
	}
	src := from.addrs[0]
	if a.Is6() {
		src = from.addrs[1]
	}
	for _, shot := range kinds[a.Is4()] {
		if shot.Protocol == mesh.SCTP && at < i {
			continue // the userspace datapath tracks SCTP by addresses alone: an answer is what goes the other way
		}
		shot.From, shot.To = i, a
		q := question{Shot: shot, from: from, to: to}
		if to != nil && (w.mode == state.ForwardRouting || from.network == to.network) {
			verdict := w.intent.Decide(intent.Packet{
				Src: from.end(src), Dst: to.end(a), Protocol: shot.Protocol, Port: shot.Port, Type: int(shot.Type),
			})
			q.want, q.by = verdict.Allow, verdict.By
		}
		out = append(out, q)
	}
	return out
}

// ruleDeadline is how long a change may take to be in force everywhere (golden tutorial, part H).
const ruleDeadline = 2 * time.Second

// matches compares the whole matrix with what was written, again and again for as long as a change may take.
func (w *town) matches(what string) {
	w.t.Helper()
	questions, began := w.questions(), time.Now()
	var wrong []string
	for {
		wrong = w.volley(questions)
		if len(wrong) == 0 {
			break
		}
		if time.Since(began) > ruleDeadline {
			w.t.Errorf("%s: %d of %d cells are wrong, such as\n%s", what, len(wrong), len(questions), strings.Join(wrong[:min(8, len(wrong))], "\n"))
			return
		}
	}
	allowed := 0
	for i := range questions {
		if questions[i].want {
			allowed++
		}
	}
	w.t.Logf("%s: %d cells, %d open, %v", what, len(questions), allowed, time.Since(began).Round(time.Millisecond))
}

// volley asks all questions once and names the answers that are wrong.
func (w *town) volley(questions []question) (wrong []string) {
	w.t.Helper()
	shots, wanted := make([]mesh.Shot, len(questions)), make([]bool, len(questions))
	for i, q := range questions {
		shots[i], wanted[i] = q.Shot, q.want
	}
	got, err := w.mesh.Volley(w.t.Context(), shots, wanted, 50*time.Millisecond, 300*time.Millisecond)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, q := range questions {
		switch o := got[i]; {
		case q.want && !o.Answered:
			wrong = append(wrong, fmt.Sprintf("  no answer: %v, arrived %v", &q, o.Arrived))
		case !q.want && o.Arrived:
			wrong = append(wrong, fmt.Sprintf("  arrived: %v, answered %v", &q, o.Answered))
		case o.Arrived && o.At >= 0 && w.people[o.At] != q.to:
			wrong = append(wrong, fmt.Sprintf("  arrived at %s: %v", w.people[o.At].name, &q))
		}
	}
	return wrong
}
