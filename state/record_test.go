package state

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestUnknownFieldsSurviveRewrite(t *testing.T) {
	const stored = `{"host":"h1","containerID":"c","ifName":"eth0","tenantName":"t","networkName":"n","ipv4":"10.0.0.1",` +
		`"mac":"02:02:0a:00:00:01","created":"2026-01-02T03:04:05Z","fromTheFuture":{"a":1},"more":[2]}`
	var ep Endpoint
	if err := Decode([]byte(stored), &ep); err != nil {
		t.Fatal(err)
	}
	ep.ContainerName = "web"
	data, err := Encode(&ep)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"host":"h1","containerID":"c","ifName":"eth0","tenantName":"t","networkName":"n","ipv4":"10.0.0.1",` +
		`"mac":"02:02:0a:00:00:01","containerName":"web","created":"2026-01-02T03:04:05Z","fromTheFuture":{"a":1},"more":[2]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("rewritten record (-want +got):\n%s", diff)
	}
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	records := []Record{
		&Tenant{TenantName: "t"},
		&Network{TenantName: "t", NetworkName: "n", Encap: EncapVXLAN, Subnet: "10.1.2.0/24", PktTag: 7},
		&EndpointGroup{TenantName: "t", GroupName: "g", NetworkName: "n", Policies: []string{"p"}},
		&Global{Name: GlobalName, FwdMode: ForwardBridge},
		&TenantState{TenantName: "t", VRF: 3},
		&NetworkState{TenantName: "t", NetworkName: "n", ID: 1, VNI: 9, Docker: &DockerOwner{Host: "h", NetworkID: "x"}},
		&GroupState{TenantName: "t", GroupName: "g", ID: 1, Identity: 2},
		&Endpoint{EndpointID: EndpointID{"h", "c", "eth0"}, IPv4: netip.MustParseAddr("10.0.0.1"), Created: time.Unix(1, 0).UTC()},
		&Host{Name: "h", VTEP: netip.MustParseAddr("192.0.2.1"), Registered: time.Unix(1, 0).UTC()},
		&Allocation{Owner: "x", Released: &Release{At: time.Unix(1, 0).UTC(), Owner: "y"}},
	}
	for _, want := range records {
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got := cloneType(want)
		if err := Decode(data, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Extra{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%T (-want +got):\n%s", want, diff)
		}
	}
}

func cloneType(r Record) Record {
	switch r.(type) {
	case *Tenant:
		return &Tenant{}
	case *Network:
		return &Network{}
	case *EndpointGroup:
		return &EndpointGroup{}
	case *Global:
		return &Global{}
	case *TenantState:
		return &TenantState{}
	case *NetworkState:
		return &NetworkState{}
	case *GroupState:
		return &GroupState{}
	case *Endpoint:
		return &Endpoint{}
	case *Host:
		return &Host{}
	default:
		return &Allocation{}
	}
}

func TestAllocationKeys(t *testing.T) {
	for _, want := range []Allocation{
		{Pool: PoolVLAN, Number: 112},
		{Pool: AddressPool("default:contiv-net"), Addr: netip.MustParseAddr("10.1.2.3")},
		{Pool: AddressPool("a.b:c.d"), Addr: netip.MustParseAddr("2001:db8::1")},
	} {
		got, err := ParseAllocationKey(want.StoreKey())
		if err != nil {
			t.Fatal(err)
		}
		if got.StoreKey() != want.StoreKey() || got.Pool != want.Pool || got.Number != want.Number || got.Addr != want.Addr {
			t.Errorf("key %q read as %+v", want.StoreKey(), got)
		}
	}
	for _, bad := range []string{"", "alloc/", "alloc/vlan", "alloc/vlan/", "alloc/vlan/x", "alloc/addr/t:n/10", "x/vlan/1"} {
		if a, err := ParseAllocationKey(bad); err == nil {
			t.Errorf("key %q accepted as %+v", bad, a)
		}
	}
}
