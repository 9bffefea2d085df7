package normalise_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/normalise"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// fixture is a ledger on a store in memory, with an index that is fed change by change.
type fixture struct {
	t      *testing.T
	store  objdb.Store
	ledger *ledger.Ledger
	fed    *index.Index
}

func open(t *testing.T) *fixture {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	f := &fixture{t: t, store: memory.New(), fed: index.New()}
	t.Cleanup(func() { _ = f.store.Close() })
	var err error
	if f.ledger, err = ledger.Open(context.Background(), f.store, nil, logrus.NewEntry(logger)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.ledger.Close)
	t.Cleanup(f.ledger.Subscribe(func(m *ledger.Model, change ledger.Change) {
		position := protocol.Position{Store: f.store.ID(), Revision: change.Revision}
		if err := f.fed.Apply(position, normalise.Changes(m, change), func(string, index.Ref) {}); err != nil {
			t.Error(err)
		}
	}))
	return f
}

// put writes records in one transaction and waits until the ledger has it.
func (f *fixture) put(records ...state.Record) {
	f.t.Helper()
	var txn objdb.Txn
	for _, r := range records {
		value, err := state.Encode(r)
		if err != nil {
			f.t.Fatal(err)
		}
		txn.Then = append(txn.Then, objdb.Put(r.StoreKey(), value))
	}
	f.commit(txn)
}

func (f *fixture) commit(txn objdb.Txn) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := f.store.Commit(ctx, txn); err != nil {
		f.t.Fatal(err)
	}
	if err := f.ledger.View(ctx, func(*ledger.Model) {}); err != nil {
		f.t.Fatal(err)
	}
}

// fresh is the index that a new leader would make.
func (f *fixture) fresh() *index.Index {
	f.t.Helper()
	x := index.New()
	f.ledger.ViewCached(func(m *ledger.Model) {
		if err := x.Apply(protocol.Position{}, normalise.All(m), func(string, index.Ref) {}); err != nil {
			f.t.Fatal(err)
		}
	})
	return x
}

func needs(x *index.Index, host string) map[index.Ref]string {
	out := map[index.Ref]string{}
	x.Each(host, func(entry *index.Entry) {
		text := string(entry.Encoded)
		switch entry.Kind {
		case protocol.KindGlobal, protocol.KindRule, protocol.KindService:
			_, text, _ = strings.Cut(text, `"body":`) // their revision is not of what they are made from alone
		}
		out[entry.Ref] = text
	})
	return out
}

// TestChangesAddUp makes random changes of the store, some of them to what cannot be read: fed one by one, every host needs
// what it would from scratch.
func TestChangesAddUp(t *testing.T) {
	for seed := range uint64(10) {
		f, r := open(t), rand.New(rand.NewPCG(seed, 5))
		for step := range 250 {
			record := randomRecord(r)
			switch r.IntN(9) {
			case 0, 1, 2:
				f.commit(objdb.Txn{Then: []objdb.Op{objdb.Delete(record.StoreKey())}})
			case 3:
				f.commit(objdb.Txn{Then: []objdb.Op{objdb.Put(record.StoreKey(), []byte("{"))}})
			default:
				f.put(record)
			}
			fresh := f.fresh()
			for i := range 3 {
				name := fmt.Sprintf("h%d", i)
				fresh.SetCatalog(name, i == 0)
				f.fed.SetCatalog(name, i == 0)
				if diff := cmp.Diff(needs(fresh, name), needs(f.fed, name)); diff != "" {
					t.Fatalf("seed %d step %d host %s (-from scratch +fed):\n%s", seed, step, name, diff)
				}
			}
			f.checkMTUs()
		}
	}
}

// checkMTUs compares what hosts are told with the smallest of what each living host carries.
func (f *fixture) checkMTUs() {
	f.t.Helper()
	f.ledger.ViewCached(func(m *ledger.Model) {
		var vlans, vxlans []int
		for _, h := range m.Hosts() {
			switch {
			case h.Dead:
			case h.VTEP.IsValid():
				vlans, vxlans = append(vlans, h.MTU), append(vxlans, h.MTU-50)
			default:
				vlans, vxlans = append(vlans, h.MTU), append(vxlans, h.MTU-70)
			}
		}
		if len(vlans) == 0 {
			vlans, vxlans = []int{1500}, []int{1450}
		}
		for _, r := range normalise.All(m) {
			body, err := r.Decode()
			if err != nil {
				f.t.Fatal(err)
			}
			if g, ok := body.(*protocol.Global); ok && (g.MTUVLAN != slices.Min(vlans) || g.MTUVXLAN != slices.Min(vxlans)) {
				f.t.Fatalf("MTUs %d, %d; hosts have %v, %v", g.MTUVXLAN, g.MTUVLAN, vxlans, vlans)
			}
		}
	})
}

func TestLateMTUs(t *testing.T) {
	f := open(t)
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	host := func(name string, mtu, since int) {
		f.put(&state.Host{Name: name, MTU: mtu, VTEP: netip.MustParseAddr("192.0.2.1"), MTUSince: at(since)})
	}
	expect := func(fragments ...string) {
		t.Helper()
		f.ledger.ViewCached(func(m *ledger.Model) {
			got := strings.Join(normalise.LateMTUs(m), "\n")
			if (got == "") != (len(fragments) == 0) {
				t.Errorf("warnings: %q", got)
			}
			for _, fragment := range fragments {
				if !strings.Contains(got, fragment) {
					t.Errorf("%q does not say %q", got, fragment)
				}
			}
		})
	}
	host("a", 9000, 1)
	host("b", 9000, 2)
	host("c", 1500, 3)
	expect() // nothing was there before
	f.put(&state.Endpoint{EndpointID: state.EndpointID{Host: "a", ContainerID: "c", IfName: "eth0"}, Created: at(4)})
	expect()
	host("d", 1500, 5)
	expect()
	host("e", 1400, 6)
	expect(`host "e"`, "MTU of 1400", "2026-01-02T03:06:00Z", "up to 1450", "1350 at most")
	host("e", 1500, 7)
	expect()
}

func randomRecord(r *rand.Rand) state.Record {
	tenant, n := fmt.Sprintf("t%d", r.IntN(2)), r.IntN(2)
	network, group, host := fmt.Sprintf("n%d", n), fmt.Sprintf("g%d", n), fmt.Sprintf("h%d", r.IntN(3))
	if r.IntN(2) == 0 {
		return randomPolicyRecord(r, tenant)
	}
	switch r.IntN(16) {
	case 0:
		return &state.Tenant{TenantName: tenant}
	case 1, 2:
		return &state.TenantState{TenantName: tenant, VRF: 1 + r.IntN(9)}
	case 3:
		mode := []string{state.ForwardBridge, state.ForwardRouting}[r.IntN(2)]
		return &state.Global{Name: state.GlobalName, FwdMode: mode, ArpMode: state.ARPFlood}
	case 4, 5:
		return &state.Network{
			TenantName: tenant, NetworkName: network, Encap: state.EncapVXLAN, Subnet: "10.1.0.0/16", CfgdTag: fmt.Sprint(r.IntN(3)),
		}
	case 6, 7:
		return &state.NetworkState{TenantName: tenant, NetworkName: network, ID: 1 + r.IntN(9), VNI: 1 + r.IntN(9)}
	case 8:
		return &state.EndpointGroup{
			TenantName: tenant, GroupName: group, NetworkName: fmt.Sprintf("n%d", r.IntN(2)), NetProfile: pick(r, "", "q0", "q1"),
			Policies: somePolicies(r), DefaultDeny: pick(r, "", "", "in", "both"),
		}
	case 9:
		return &state.GroupState{TenantName: tenant, GroupName: group, ID: 1 + r.IntN(9), Identity: 1 + r.IntN(9)}
	case 10, 11:
		return &state.Host{
			Name: host, MTU: 1400 + r.IntN(3), Dead: r.IntN(4) == 0, VTEP6: netip.MustParseAddr("2001:db8::1"),
			VTEP: []netip.Addr{{}, netip.MustParseAddr("192.0.2.1")}[r.IntN(2)],
		}
	}
	return &state.Endpoint{
		EndpointID: state.EndpointID{Host: host, ContainerID: fmt.Sprintf("c%d", r.IntN(2)), IfName: "eth0"},
		TenantName: tenant, NetworkName: network, Groups: []string{group}, Identity: r.IntN(9), Stopped: r.IntN(4) == 0,
		IPv4: netip.AddrFrom4([4]byte{10, 1, 0, byte(r.IntN(2))}), MAC: "02:02:0a:01:00:01",
		Labels: []map[string]string{nil, {"app": "web"}, {"app": "db"}}[r.IntN(3)],
	}
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

func somePolicies(r *rand.Rand) (out []string) {
	for i := range 2 {
		if r.IntN(2) == 0 {
			out = append(out, fmt.Sprint("p", i))
		}
	}
	return out
}

func randomPolicyRecord(r *rand.Rand, tenant string) state.Record {
	policy, service := pick(r, "p0", "p1"), pick(r, "s0", "s1")
	switch r.IntN(8) {
	case 0, 1:
		return &state.Policy{TenantName: tenant, PolicyName: policy, DefaultDeny: pick(r, "", "", "out", "both")}
	case 2:
		return &state.GroupSet{TenantName: tenant, Groups: []string{"g0", "g1"}, Identity: 10 + r.IntN(3)}
	case 3:
		return &state.Netprofile{TenantName: tenant, ProfileName: pick(r, "q0", "q1"), Bandwidth: "10Mbps", DSCP: r.IntN(64)}
	case 4:
		return &state.ServiceLB{
			TenantName: tenant, ServiceName: service, NetworkName: pick(r, "n0", "n1"), Ports: []string{"80:80:TCP"}, Selectors: []string{pick(r, "app=web", "app=db")},
		}
	case 5:
		return &state.ServiceState{TenantName: tenant, ServiceName: service, NetworkName: pick(r, "n0", "n1"), ID: 1 + r.IntN(9), VIP: netip.MustParseAddr("10.1.0.9")}
	}
	return &state.Rule{
		TenantName: tenant, PolicyName: policy, RuleID: pick(r, "1", "2"), Priority: 1 + r.IntN(2), Direction: "in", Action: pick(r, "allow", "deny"),
		FromEndpointGroup: pick(r, "", "g0", "g1"), FromNetwork: pick(r, "", "", "n0", "n1"),
	}
}

// TestBodies pins what hosts get of each stored record.
func TestBodies(t *testing.T) {
	f := open(t)
	addr, addr6 := netip.MustParseAddr("10.1.2.9"), netip.MustParseAddr("2001:db8::9")
	endpoint := &state.Endpoint{
		EndpointID: state.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}, TenantName: "blue", NetworkName: "web",
		Groups: []string{"front"}, Identity: 12, IPv4: addr, IPv6: addr6, MAC: "02:02:0a:01:02:09", ContainerName: "shop",
	}
	f.put(
		&state.Global{Name: state.GlobalName, FwdMode: state.ForwardBridge, ArpMode: state.ARPProxy, PvtSubnet: "172.19.0.0/16"},
		&state.Tenant{TenantName: "blue"}, &state.TenantState{TenantName: "blue", VRF: 7},
		&state.Network{
			TenantName: "blue", NetworkName: "web", NwType: state.NetworkData, Encap: state.EncapVXLAN, Subnet: "10.1.2.5-10.1.2.99/24",
			Gateway: "10.1.2.1", IPv6Subnet: "2001:db8::/64", IPv6Gateway: "2001:db8::1",
		},
		&state.NetworkState{
			TenantName: "blue", NetworkName: "web", ID: 3, VNI: 4000, Docker: &state.DockerOwner{Host: "h1", NetworkID: "d1"},
		},
		&state.EndpointGroup{TenantName: "blue", GroupName: "front", NetworkName: "web"},
		&state.GroupState{TenantName: "blue", GroupName: "front", ID: 5},
		&state.Host{Name: "h1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789, MTU: 9000}, endpoint,
	)
	want := map[string]protocol.Body{
		"global": &protocol.Global{ForwardMode: "bridge", ARPMode: "proxy", PrivateSubnet: "172.19.0.0/16", MTUVXLAN: 8950, MTUVLAN: 9000},
		"blue:web": &protocol.Network{
			Tenant: "blue", Name: "web", Type: "data", ID: 3, VRF: 7, Encap: "vxlan", VNI: 4000,
			Subnet: netip.MustParsePrefix("10.1.2.0/24"), Gateway: netip.MustParseAddr("10.1.2.1"),
			Subnet6: netip.MustParsePrefix("2001:db8::/64"), Gateway6: netip.MustParseAddr("2001:db8::1"),
			Tag: "web.blue", DockerNetworkID: "d1", DockerHost: "h1",
		},
		"blue:front": &protocol.Group{Tenant: "blue", Name: "front", Network: "web", ID: 5, Tag: "front.blue"},
		"h1/c/eth0": &protocol.Endpoint{
			ID: protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}, Tenant: "blue", Network: "web", Groups: []string{"front"},
			Identity: 12, IPv4: addr, IPv6: addr6, MAC: "02:02:0a:01:02:09", Name: "shop",
		},
		"h1": &protocol.Host{Name: "h1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789},
	}
	f.ledger.ViewCached(func(m *ledger.Model) {
		f.wantBodies(want, plain(normalise.All(m)))
		delete(want, "h1")
		f.wantBodies(want, normalise.ForEndpoint(m, endpoint.EndpointID))
		f.wantBodies(map[string]protocol.Body{"blue:web": want["blue:web"]}, normalise.ForNetwork(m, "blue:web"))
		if normalise.ForNetwork(m, "blue:none") != nil || normalise.ForEndpoint(m, state.EndpointID{}) != nil {
			t.Error("records of what does not exist")
		}
	})
}

func plain(scoped []index.ScopedRecord) []protocol.Record {
	var out []protocol.Record
	for _, r := range scoped {
		out = append(out, r.Record)
	}
	return out
}

func (f *fixture) wantBodies(want map[string]protocol.Body, records []protocol.Record) {
	f.t.Helper()
	got := map[string]protocol.Body{}
	for _, r := range records {
		body, err := r.Decode()
		if err != nil {
			f.t.Fatal(err)
		}
		got[r.Key] = body
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		f.t.Errorf("records (-want +got):\n%s", diff)
	}
}

func (f *fixture) delete(r state.Record) {
	f.t.Helper()
	f.commit(objdb.Txn{Then: []objdb.Op{objdb.Delete(r.StoreKey())}})
}
