package normalise_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// TestUnreadableRecords: when a record of a policy cannot be read, the groups that it is about are shut, in both directions
// and before every rule; nobody else is. It ends when the record can be read, or is gone.
func TestUnreadableRecords(t *testing.T) {
	rule := func(policy, id string) *state.Rule {
		return &state.Rule{TenantName: "t", PolicyName: policy, RuleID: id, Priority: 100, Direction: "in", Action: "allow"}
	}
	a := &state.EndpointGroup{TenantName: "t", GroupName: "a", NetworkName: "web", Policies: []string{"p"}}
	endpoint := func(identity int, groups ...string) *state.Endpoint {
		id := state.EndpointID{Host: "h", ContainerID: fmt.Sprint(identity), IfName: "eth0"}
		return &state.Endpoint{EndpointID: id, TenantName: "t", NetworkName: "web", Groups: groups, Identity: identity}
	}
	for name, test := range map[string]struct {
		record state.Record
		shut   map[string][]uint16 // by group, with their identities
	}{
		"rule":                 {rule("p", "1"), map[string][]uint16{"a": {1, 12}, "c": {3}}},
		"rule of an idle one":  {rule("idle", "1"), nil},
		"policy":               {&state.Policy{TenantName: "t", PolicyName: "p"}, map[string][]uint16{"a": {1, 12}, "c": {3}}},
		"group":                {a, map[string][]uint16{"a": {1, 12}}},
		"group without policy": {&state.EndpointGroup{TenantName: "t", GroupName: "b", NetworkName: "web"}, map[string][]uint16{"b": {2, 12}}},
		"network profile":      {&state.Netprofile{TenantName: "t", ProfileName: "p"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			town(f)
			f.put(rule("p", "1"), rule("p", "2"), endpoint(1, "a"), endpoint(2, "b"), endpoint(12, "a", "b"))
			f.commit(objdb.Txn{Then: []objdb.Op{objdb.Put(test.record.StoreKey(), []byte("{"))}})
			wantShut(t, f, test.shut)
			f.commit(objdb.Txn{Then: []objdb.Op{objdb.Delete(test.record.StoreKey())}})
			wantShut(t, f, nil)
			f.commit(objdb.Txn{Then: []objdb.Op{objdb.Put(test.record.StoreKey(), []byte("{"))}})
			f.put(test.record)
			wantShut(t, f, nil)
		})
	}
}

// wantShut compares the groups that are shut, made from scratch, and what the index was fed.
func wantShut(t *testing.T, f *fixture, want map[string][]uint16) {
	t.Helper()
	got := map[string][]uint16{}
	for key, r := range f.rules() {
		body := bodyOf[protocol.Rule](t, r.Record)
		if body.Policy != "" || body.Priority != 100 || body.Action != protocol.ActionDeny || body.ID == 0 {
			continue
		}
		own, peer := body.Dst, body.Src
		if body.Direction == state.DirectionOut {
			own, peer = peer, own
		}
		if !peer.Any || len(peer.Prefixes)+len(own.Prefixes)+len(body.Protocols) > 0 || len(r.Guards) != 1 {
			t.Errorf("%s lets something pass: %+v", key, body)
		}
		if body.Direction == state.DirectionIn {
			got[body.Name] = own.Identities
		} else if in := bodyOf[protocol.Rule](t, f.rules()[protocol.DefaultRuleKey("t", body.Name, "in")].Record); !slices.Equal(in.Dst.Identities, own.Identities) {
			t.Errorf("%s: %v in, %v out", body.Name, in.Dst.Identities, own.Identities)
		}
	}
	if len(got) != len(want) {
		t.Errorf("shut are %v, want %v", got, want)
	}
	for group, identities := range want {
		if !slices.Equal(got[group], identities) {
			t.Errorf("%s: %v, want %v", group, got[group], identities)
		}
	}
	if fresh, fed := needs(f.fresh(), "h"), needs(f.fed, "h"); fmt.Sprint(fresh) != fmt.Sprint(fed) {
		t.Errorf("from scratch %v\nfed %v", fresh, fed)
	}
}

// TestUnreadableNumbers: rules still mean the members of a group whose numbers cannot be read.
func TestUnreadableNumbers(t *testing.T) {
	f := open(t)
	town(f)
	f.put(
		&state.Rule{TenantName: "t", PolicyName: "p", RuleID: "1", Priority: 1, Direction: "in", Action: "deny", FromEndpointGroup: "b"},
		&state.EndpointGroup{TenantName: "t", GroupName: "d", NetworkName: "db", DefaultDeny: "in"},
		&state.Allocation{Pool: state.PoolGroup, Number: 4, Owner: state.GroupStatePrefix + "t:d"},
	)
	for i, groups := range [][]string{{"a"}, {"b"}, {"c"}, {"d"}, {"a", "b"}} {
		identity := []int{1, 2, 3, 4, 12}[i]
		f.put(&state.Endpoint{
			EndpointID: state.EndpointID{Host: "h", ContainerID: fmt.Sprint(i), IfName: "eth0"}, TenantName: "t",
			NetworkName: []string{"web", "web", "db", "db", "web"}[i], Groups: groups, Identity: identity,
		})
	}
	before := needs(f.fed, "h")
	for _, key := range []string{state.GroupSetPrefix + "t:a,b", state.GroupStatePrefix + "t:a", state.GroupStatePrefix + "t:b", state.GroupStatePrefix + "t:d"} {
		f.commit(objdb.Txn{Then: []objdb.Op{objdb.Put(key, []byte("{"))}})
		after := needs(f.fed, "h")
		for ref, body := range before {
			if ref.Kind == protocol.KindRule && after[ref] != body {
				t.Errorf("%s unreadable: %s is %s, was %s", key, ref.Key, after[ref], body)
			}
		}
	}
	f.ledger.ViewCached(func(m *ledger.Model) {
		if n := len(m.Unreadable("")); n != 4 {
			t.Errorf("%d records are unreadable", n)
		}
	})
}
