package aci_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/aci"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is a helper that remembers what it was told, and refuses if it is told to.
type gateway struct {
	mu       sync.Mutex
	calls    []string          // "createAppProf blue:app"
	profiles map[string]string // what it knows, as it came
	refuse   string            // an answer in the place of success
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var said struct {
		Tenant  string `json:"tenant"`
		Profile string `json:"app-prof"`
	}
	if r.Method != http.MethodPost || json.Unmarshal(body, &said) != nil || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "wrong", http.StatusBadRequest)
		return
	}
	key := said.Tenant + ":" + said.Profile
	g.calls = append(g.calls, strings.TrimPrefix(r.URL.Path, "/")+" "+key)
	if g.refuse != "" {
		_, _ = io.WriteString(w, g.refuse)
		return
	}
	switch r.URL.Path {
	case "/createAppProf":
		g.profiles[key] = string(body)
	case "/deleteAppProf":
		delete(g.profiles, key)
	}
	_, _ = io.WriteString(w, `{"result":"success","info":"done"}`)
}

// rig is a netmaster's objects in fabric mode aci, and a gateway.
type rig struct {
	t       *testing.T
	ledger  *ledger.Ledger
	objects *objects.Objects
	gateway *gateway
	fabric  *aci.Reconciler
	end     func()
}

func newRig(t *testing.T, infra string) *rig {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	revision, err := store.Commit(t.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put("lead", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	log := logrus.NewEntry(quiet)
	book, err := ledger.Open(t.Context(), store, func() (objdb.Compare, bool) { return objdb.Unchanged("lead", revision), true }, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(book.Close)
	own := objects.New(book, objects.Options{}, log)
	if _, err := own.Seed(t.Context(), &state.Global{FwdMode: state.ForwardBridge, NetworkInfraType: infra}); err != nil {
		t.Fatal(err)
	}
	g := &gateway{profiles: map[string]string{}}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	r := &rig{t: t, ledger: book, objects: own, gateway: g}
	r.fabric = &aci.Reconciler{Model: book, Notes: own, Gateway: aci.Client{URL: server.URL}, Log: log, Retry: 5 * time.Millisecond}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		r.stop()
	})
	return r
}

// lead starts the leader's work.
func (r *rig) lead() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.fabric.Run(ctx) })
	r.end = func() { cancel(); running.Wait() }
}

func (r *rig) stop() {
	if r.end != nil {
		r.end()
		r.end = nil
	}
}

func must[T any](r *rig, change func(context.Context, *T) (int64, error), object T) {
	r.t.Helper()
	if _, err := change(r.t.Context(), &object); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) shop() {
	r.t.Helper()
	must(r, r.objects.CreateTenant, state.Tenant{TenantName: "blue"})
	must(r, r.objects.CreateNetwork, state.Network{TenantName: "blue", NetworkName: "n1", Subnet: "10.1.1.0/24", Gateway: "10.1.1.254", Encap: "vlan"})
	must(r, r.objects.CreateExtContractsGroup, state.ExtContractsGroup{
		TenantName: "blue", ContractsGroupName: "ext", ContractsType: "consumed", Contracts: []string{"uni/tn-common/brc-dns"},
	})
	must(r, r.objects.PutPolicy, state.Policy{TenantName: "blue", PolicyName: "p"})
	must(r, r.objects.PutEndpointGroup, state.EndpointGroup{TenantName: "blue", GroupName: "web", NetworkName: "n1", ExtContractsGrps: []string{"ext"}})
	must(r, r.objects.PutEndpointGroup, state.EndpointGroup{TenantName: "blue", GroupName: "db", NetworkName: "n1", Policies: []string{"p"}})
	r.rule("1", "web", "tcp", 5432, state.ActionAllow)
	r.rule("2", "web", "tcp", 5433, state.ActionAllow)
	r.rule("3", "", "icmp", 0, state.ActionAllow)
	r.rule("4", "web", "udp", 53, state.ActionDeny)
}

func (r *rig) rule(id, from, protocol string, port int, action string) {
	r.t.Helper()
	must(r, r.objects.CreateRule, state.Rule{
		TenantName: "blue", PolicyName: "p", RuleID: id, Direction: "in", Protocol: protocol, Port: port, FromEndpointGroup: from, Action: action,
	})
}

func (r *rig) profile(groups ...string) {
	r.t.Helper()
	must(r, r.objects.PutAppProfile, state.AppProfile{TenantName: "blue", AppProfileName: "app", EndpointGroups: groups})
}

// await waits until the gateway is in the state that is described.
func (r *rig) await(what string, is func(calls []string, profiles map[string]string) bool) {
	r.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		r.gateway.mu.Lock()
		ok := is(r.gateway.calls, r.gateway.profiles)
		seen := fmt.Sprint(r.gateway.calls, r.gateway.profiles)
		r.gateway.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-deadline:
			r.t.Fatalf("%s; the gateway has %s; status %+v", what, seen, r.fabric.Status())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (r *rig) awaitStatus(want ...aci.Status) {
	r.t.Helper()
	diff := ""
	r.await("status", func([]string, map[string]string) bool {
		diff = cmp.Diff(want, append([]aci.Status(nil), r.fabric.Status()...))
		return diff == ""
	})
}

const shopSpec = `{"aci-gw-api-version":"v1.2","tenant":"blue","app-prof":"app",` +
	`"contract-defs":[{"name":"pExpose","filter-info":[{"protocol":"icmp","servport":"0"}]},` +
	`{"name":"pFrmweb","filter-info":[{"protocol":"tcp","servport":"5432"},{"protocol":"tcp","servport":"5433"}]}],` +
	`"epgs":[{"name":"db","nw-name":"n1","gw-cidr":"10.1.1.254/24","vlan-tag":"3","contract-links":[` +
	`{"link-kind":"PROVIDE","contract-name":"pExpose","contract-dn":"","contract-kind":"INTERNAL"},` +
	`{"link-kind":"PROVIDE","contract-name":"pFrmweb","contract-dn":"","contract-kind":"INTERNAL"}]},` +
	`{"name":"web","nw-name":"n1","gw-cidr":"10.1.1.254/24","vlan-tag":"2","contract-links":[` +
	`{"link-kind":"CONSUME","contract-name":"","contract-dn":"uni/tn-common/brc-dns","contract-kind":"EXTERNAL"},` +
	`{"link-kind":"CONSUME","contract-name":"pFrmweb","contract-dn":"","contract-kind":"INTERNAL"}]}]}`

// TestGatewayFollowsTheStore: profiles, rules, settings and deletions reach the gateway, each once.
func TestGatewayFollowsTheStore(t *testing.T) {
	r := newRig(t, aci.Fabric)
	r.shop()
	r.lead()
	r.profile("web", "db")
	r.await("a new profile", func(_ []string, p map[string]string) bool { return p["blue:app"] != "" })
	if diff := cmp.Diff(shopSpec, r.gateway.profiles["blue:app"]); diff != "" {
		t.Errorf("what the gateway was told (-want +got):\n%s", diff)
	}
	r.awaitStatus(aci.Status{Profile: "blue:app", State: aci.InStep})

	if _, err := r.objects.DeleteRule(t.Context(), "blue:p:2"); err != nil {
		t.Fatal(err)
	}
	r.await("a rule less", func(_ []string, p map[string]string) bool { return !strings.Contains(p["blue:app"], "5433") })
	must(r, r.objects.PutAciGw, state.AciGw{PhysicalDomain: "phys", EnforcePolicies: state.No})
	r.await("settings", func(_ []string, p map[string]string) bool {
		return strings.Contains(p["blue:app"], `"gw-config":{"enforcePolicies":"no"`) && strings.Contains(p["blue:app"], `"contract-defs":[]`)
	})
	if _, err := r.objects.DeleteAppProfile(t.Context(), "blue:app"); err != nil {
		t.Fatal(err)
	}
	r.await("a deletion", func(_ []string, p map[string]string) bool { return len(p) == 0 })
	r.awaitStatus()
	r.stop()
	want := []string{"createAppProf blue:app", "createAppProf blue:app", "createAppProf blue:app", "deleteAppProf blue:app"}
	if diff := cmp.Diff(want, r.gateway.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestGatewayThatFails is told again until it agrees, and what it says is shown meanwhile.
func TestGatewayThatFails(t *testing.T) {
	r := newRig(t, aci.Fabric)
	r.shop()
	r.gateway.refuse = `{"result":"failed","info":"no such physical domain"}`
	r.lead()
	r.profile("web")
	r.await("several attempts", func(calls []string, _ map[string]string) bool { return len(calls) >= 3 })
	r.awaitStatus(aci.Status{Profile: "blue:app", State: aci.Failed, Problem: "createAppProf: failed - no such physical domain"})
	r.setRefusal("")
	r.await("agreement", func(_ []string, p map[string]string) bool { return p["blue:app"] != "" })
	r.awaitStatus(aci.Status{Profile: "blue:app", State: aci.InStep})
}

func (r *rig) setRefusal(answer string) {
	r.gateway.mu.Lock()
	defer r.gateway.mu.Unlock()
	r.gateway.refuse = answer
}

// TestNextLeaderRemovesWhatTheLastOneTold: a deletion that no leader could pass on is not forgotten.
func TestNextLeaderRemovesWhatTheLastOneTold(t *testing.T) {
	r := newRig(t, aci.Fabric)
	r.shop()
	r.lead()
	r.profile("web")
	r.await("a new profile", func(_ []string, p map[string]string) bool { return p["blue:app"] != "" })
	r.stop()
	if got := r.fabric.Status(); len(got) > 0 {
		t.Errorf("who does not lead knows %+v", got)
	}
	if _, err := r.objects.DeleteAppProfile(t.Context(), "blue:app"); err != nil {
		t.Fatal(err)
	}
	r.setRefusal(`no JSON`)
	r.lead()
	r.await("a try", func(calls []string, _ map[string]string) bool {
		return len(calls) > 2 && calls[len(calls)-1] == "deleteAppProf blue:app"
	})
	r.stop()
	r.setRefusal("")
	r.lead()
	r.await("a deletion", func(_ []string, p map[string]string) bool { return len(p) == 0 })
	r.awaitStatus()
	r.stop()
	r.ledger.ViewCached(func(m *ledger.Model) {
		if left := m.GatewayProfiles(); len(left) > 0 {
			t.Errorf("%d notes are left", len(left))
		}
	})
}

// TestWhatTheFabricCannotDo is not told, and said: a contract in its place would allow more.
func TestWhatTheFabricCannotDo(t *testing.T) {
	echo := 8
	for name, test := range map[string]struct {
		rule    state.Rule
		problem string // "": it can be told
	}{
		"address":    {state.Rule{FromIPAddress: "10.9.0.0/16", Action: "allow"}, `rule "blue:p:9" names an address or a network; ACI knows groups only`},
		"port range": {state.Rule{Protocol: "tcp", Port: 80, PortEnd: 90, Action: "allow"}, `rule "blue:p:9" has a range of ports or an ICMP type; ACI knows single ports only`},
		"icmp type":  {state.Rule{Protocol: "icmp", ICMPType: &echo, Action: "allow"}, `rule "blue:p:9" has a range of ports or an ICMP type; ACI knows single ports only`},
		"deny before an allow": {
			state.Rule{Protocol: "tcp", Priority: 7, Action: "deny"},
			"rule \"blue:p:9\" takes away from what rule \"blue:p:1\" allows; ACI only knows what is allowed\n" +
				"rule \"blue:p:9\" takes away from what rule \"blue:p:2\" allows; ACI only knows what is allowed",
		},
		"deny of one port": {
			state.Rule{Protocol: "tcp", Port: 5433, FromEndpointGroup: "web", Action: "deny"},
			`rule "blue:p:9" takes away from what rule "blue:p:2" allows; ACI only knows what is allowed`,
		},
		"deny of another port":      {state.Rule{Protocol: "tcp", Port: 1, Priority: 7, Action: "deny"}, ""},
		"deny of another protocol":  {state.Rule{Protocol: "udp", Priority: 7, Action: "deny"}, ""},
		"deny of another direction": {state.Rule{Direction: "out", Protocol: "tcp", Priority: 7, Action: "deny"}, ""},
		"single port":               {state.Rule{Protocol: "tcp", Port: 80, PortEnd: 80, Action: "allow"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, aci.Fabric)
			r.shop()
			r.lead()
			test.rule.TenantName, test.rule.PolicyName, test.rule.RuleID = "blue", "p", "9"
			if test.rule.Direction == "" {
				test.rule.Direction = "in"
			}
			must(r, r.objects.CreateRule, test.rule)
			r.profile("db")
			if test.problem == "" {
				r.awaitStatus(aci.Status{Profile: "blue:app", State: aci.InStep})
				return
			}
			r.awaitStatus(aci.Status{Profile: "blue:app", State: aci.Failed, Problem: test.problem})
			r.stop()
			if len(r.gateway.calls) > 0 {
				t.Errorf("calls %q", r.gateway.calls)
			}
		})
	}
}

// TestOtherFabrics: without fabric mode aci there is no gateway.
func TestOtherFabrics(t *testing.T) {
	r := newRig(t, state.DefaultInfraType)
	r.shop()
	r.profile("web")
	r.lead()
	r.awaitStatus()
	must(r, r.objects.PutPolicy, state.Policy{TenantName: "blue", PolicyName: "q"})
	r.stop()
	if len(r.gateway.calls) > 0 {
		t.Errorf("calls %q", r.gateway.calls)
	}
}

// TestDefaultGroup: in fabric mode aci an endpoint without a group is in default-group.
func TestDefaultGroup(t *testing.T) {
	r := newRig(t, aci.Fabric)
	r.shop()
	must(r, r.objects.CreateNetwork, state.Network{TenantName: "blue", NetworkName: "hosts", NwType: state.NetworkInfra, Subnet: "10.2.1.0/24", Encap: "vlan"})
	if _, err := r.objects.RegisterHost(t.Context(), &protocol.RegisterRequest{Host: "h1", MTU: 1500}); err != nil {
		t.Fatal(err)
	}
	create := func(container, network string, groups ...string) (*state.Endpoint, error) {
		e, _, err := r.objects.CreateEndpoint(t.Context(), &protocol.CreateEndpointRequest{
			ID: protocol.EndpointID{Host: "h1", ContainerID: container, IfName: "eth0"}, Tenant: "blue", Network: network, Groups: groups,
		})
		return e, err
	}
	if _, err := create("c1", "n1"); objects.KindOf(err) != objects.NotFound || !strings.Contains(err.Error(), "default-group") {
		t.Errorf("no default-group: %v", err)
	}
	must(r, r.objects.PutEndpointGroup, state.EndpointGroup{TenantName: "blue", GroupName: "default-group", NetworkName: "n1"})
	for range 2 { // the second is the same endpoint
		if e, err := create("c1", "n1"); err != nil || len(e.Groups) != 1 || e.Groups[0] != "default-group" {
			t.Errorf("without a group: %+v, %v", e, err)
		}
	}
	if e, err := create("c2", "n1", "web"); err != nil || e.Groups[0] != "web" {
		t.Errorf("with a group: %+v, %v", e, err)
	}
	if e, err := create("c3", "hosts"); err != nil || len(e.Groups) > 0 {
		t.Errorf("on an infra network: %+v, %v", e, err)
	}
}
