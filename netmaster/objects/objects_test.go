package objects

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func TestTenant(t *testing.T) {
	b := newBed(t)
	b.tenant("blue")
	b.tenant("blue") // the same again is no error
	_, err := b.CreateTenant(t.Context(), &state.Tenant{TenantName: "blue", DefaultNetwork: "x"})
	b.refused(err, Conflict, "cannot change")
	_, err = b.CreateTenant(t.Context(), &state.Tenant{TenantName: "no_underscore"})
	b.refused(err, Invalid, "tenantName string invalid format")
	b.network(net4("blue:n", "10.1.0.0/24"))
	_, err = b.DeleteTenant(t.Context(), "blue")
	b.refused(err, InUse, "has 1 networks")
	b.ok(b.DeleteNetwork(t.Context(), "blue:n"))
	b.ok(b.DeleteTenant(t.Context(), "blue"))
	_, err = b.DeleteTenant(t.Context(), "blue")
	b.refused(err, NotFound, "tenant not found")
	_, err = b.DeleteTenant(t.Context(), "default")
	b.refused(err, InUse, "cannot be deleted")
	b.tenant("green") // no host holds blue's number, so it is free at once
	b.view(func(m *ledger.Model) {
		if got := m.TenantState("green").VRF; got != 2 {
			t.Errorf("VRF %d", got)
		}
	})
}

func TestNetworkRefusals(t *testing.T) {
	b := newBed(t)
	b.ok(b.PutGlobal(t.Context(), &state.Global{Vlans: "100-200", Vxlans: "1000-2000"}))
	b.tenant("blue")
	b.network(net4("default:a", "10.1.0.0/24"))
	b.network(net4("default:part1", "10.9.1.50-10.9.1.100/24"))
	b.network(net4("default:part2", "10.9.1.101-10.9.1.200/24")) // another part of one subnet
	b.network(net4("blue:a", "10.1.0.0/24"))                     // another tenant
	b.network(net4("default:a", "10.1.0.0/24"))                  // the same again
	b.group(group("default:g", "a", ""))
	six := net4("default:six", "10.2.0.0/24")
	six.IPv6Subnet = "2001:db8::/64"
	b.network(six)

	vlan, vni := net4("default:v", "10.3.0.0/24"), net4("default:v", "10.3.0.0/24")
	vlan.Encap, vlan.PktTag = state.EncapVLAN, 4000
	vni.PktTag = 999
	high := *vni
	high.PktTag = 2001
	taken := *vni
	taken.PktTag = 1000
	b.refusedNetwork(vlan, Invalid, "requested vlan not available: 4000", "100-200")
	b.refusedNetwork(vni, Invalid, "requested vxlan is out of range: 999")
	b.refusedNetwork(&high, Invalid, "requested vxlan not available: 2001")

	overlap6 := net4("default:six2", "10.4.0.0/24")
	overlap6.IPv6Subnet = "2001:db8::/48"
	gateway := net4("default:x", "10.5.0.0/24")
	gateway.Gateway = "10.6.0.1"
	broadcast := net4("default:x", "10.5.0.0/24")
	broadcast.Gateway = "10.5.0.255"
	b.refusedNetwork(net4("default:a", "10.1.0.0/25"), Conflict, "cannot change")
	b.refusedNetwork(net4("default:b", "10.1.0.128/25"), Conflict, "network `a` conflicts with subnet 10.1.0.128/25")
	b.refusedNetwork(net4("default:b", "10.1.0.77/8"), Conflict, "conflicts with subnet")
	b.refusedNetwork(net4("default:b", "10.9.1.200/24"), Conflict, "conflicts with subnet")
	b.refusedNetwork(overlap6, Conflict, "network `six` conflicts with subnetv6")
	b.refusedNetwork(net4("nobody:b", "10.7.0.0/24"), NotFound, "Tenant not found")
	b.refusedNetwork(net4("default:g", "10.7.0.0/24"), Conflict, "conflicts with the network name")
	b.refusedNetwork(net4("default:b", "10.1.1.20-44/24"), Invalid, "subnet")
	b.refusedNetwork(gateway, Invalid, "out of subnet")
	b.refusedNetwork(broadcast, Invalid, "gateway")
	_, err := b.DeleteNetwork(t.Context(), "default:a")
	b.refused(err, InUse, "has 1 endpoint groups")
	_, err = b.DeleteNetwork(t.Context(), "default:none")
	b.refused(err, NotFound, "network not found")
}

func (b *bed) refusedNetwork(n *state.Network, kind Kind, fragments ...string) {
	b.t.Helper()
	_, err := b.CreateNetwork(b.t.Context(), n)
	b.refused(err, kind, fragments...)
}

func TestTags(t *testing.T) {
	b := newBed(t)
	vlan := func(name, subnet string, tag int) *state.Network {
		n := net4("default:"+name, subnet)
		n.Encap, n.PktTag = state.EncapVLAN, tag
		return n
	}
	tag := func(key string) (got int) {
		b.view(func(m *ledger.Model) { s := m.NetworkState(key); got = s.VLAN + s.VNI })
		return got
	}
	b.network(vlan("a", "10.1.0.0/24", 112))
	b.network(vlan("b", "10.2.0.0/24", 0))
	b.network(net4("default:c", "10.3.0.0/24"))
	b.network(net4("default:d", "10.4.0.0/24"))
	for key, want := range map[string]int{"default:a": 112, "default:b": 1, "default:c": 1, "default:d": 2} {
		if got := tag(key); got != want {
			t.Errorf("%s has tag %d, not %d", key, got, want)
		}
	}
	b.refusedNetwork(vlan("e", "10.5.0.0/24", 112), Conflict, "requested vlan not available: 112", `network "default:a"`)
	_, err := b.PutGlobal(t.Context(), &state.Global{Vlans: "100-200"})
	b.refused(err, InUse, "exclude tags in use (1, 112)")
	_, err = b.PutGlobal(t.Context(), &state.Global{FwdMode: state.ForwardRouting})
	b.refused(err, InUse, "2 vlans and 2 vxlans")
	_, err = b.PutGlobal(t.Context(), &state.Global{PvtSubnet: "10.77.0.0/16"})
	b.refused(err, InUse, "private subnet")
	b.ok(b.DeleteNetwork(t.Context(), "default:b"))
	b.ok(b.PutGlobal(t.Context(), &state.Global{Vlans: "100-113"}))
	for _, name := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"} {
		b.network(vlan("n"+name, "10.1"+name+".0.0/24", 0))
	}
	if got := tag("default:n1"); got != 100 {
		t.Errorf("first automatic VLAN is %d", got)
	}
	b.refusedNetwork(vlan("last", "10.200.0.0/24", 0), Exhausted, "no vlans available", "100-113")
	b.view(func(m *ledger.Model) {
		if g := m.Global(); g.FwdMode != state.ForwardBridge || g.Vxlans != "1-10000" {
			t.Errorf("fields left out were changed: %+v", g)
		}
	})
}

func TestSeedNeverOverwrites(t *testing.T) {
	b := newBed(t)
	b.ok(b.PutGlobal(t.Context(), &state.Global{FwdMode: state.ForwardRouting, Vlans: "5-9"}))
	b.ok(b.Seed(t.Context(), &state.Global{FwdMode: state.ForwardBridge}))
	b.view(func(m *ledger.Model) {
		if g := m.Global(); g.FwdMode != state.ForwardRouting || g.Vlans != "5-9" || m.Schema() != state.SchemaVersion {
			t.Errorf("%+v, schema %d", g, m.Schema())
		}
	})
	if _, err := b.store.Commit(t.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put(state.SchemaKey, []byte("99"))}}); err != nil {
		t.Fatal(err)
	}
	b.view(func(*ledger.Model) {})
	_, err := b.Seed(t.Context(), &state.Global{})
	b.refused(err, Conflict, "layout 99")
}

func TestEndpointGroup(t *testing.T) {
	b := newBed(t)
	n := net4("default:n", "10.2.2.0/24")
	n.Gateway = "10.2.2.254"
	b.network(n)
	b.network(net4("default:m", "10.3.3.0/24"))
	b.host("h1")
	b.group(group("default:g", "n", "10.2.2.5-10.2.2.7"))
	b.group(group("default:g", "n", "10.2.2.5-10.2.2.7"))
	b.group(group("default:plain", "n", ""))
	first := b.endpoint(request("h1", "c1", "n", ""))
	for _, refusal := range []struct {
		g    *state.EndpointGroup
		kind Kind
		text string
	}{
		{group("default:g", "n", "10.2.2.5-10.2.2.8"), Conflict, "Cannot change IP pool"},
		{group("default:g", "m", "10.2.2.5-10.2.2.7"), Conflict, "Cannot change network association"},
		{group("default:h", "n", "10.2.2.7-10.2.2.9"), Conflict, "overlaps the pool"},
		{group("default:h", "n", "10.2.2.0-10.2.2.4"), Invalid, "must be a subset of network 10.2.2.0/24"},
		{group("default:h", "n", "10.2.3.1-10.2.3.4"), Invalid, "must be a subset"},
		{group("default:h", "n", "10.2.2.250-10.2.2.254"), Conflict, "10.2.2.254 is not available"},
		{group("default:h", "n", "10.2.2.1-10.2.2.3"), Conflict, "ip address 10.2.2.1 is not available"},
		{group("default:h", "none", ""), NotFound, "Network none not found"},
		{group("nobody:h", "n", ""), NotFound, "Tenant not found"},
		{group("default:m", "n", ""), Conflict, "conflicts with the endpointGroup name"},
		{&state.EndpointGroup{TenantName: "default", GroupName: "h", NetworkName: "n", Policies: []string{"p"}}, NotFound, "Policy not found"},
	} {
		_, err := b.PutEndpointGroup(t.Context(), refusal.g)
		b.refused(err, refusal.kind, refusal.text)
	}
	foreign, outside := request("h1", "x", "n", ""), request("h1", "x", "", "g")
	foreign.IPv4, outside.IPv4 = netip.MustParseAddr("10.2.2.6"), netip.MustParseAddr("10.2.2.9")
	_, _, err := b.CreateEndpoint(t.Context(), foreign)
	b.refused(err, Conflict, `belongs to the pool 10.2.2.5-10.2.2.7 of group "default:g"`)
	_, _, err = b.CreateEndpoint(t.Context(), outside)
	b.refused(err, Invalid, "is not in pool 10.2.2.5-10.2.2.7")
	for _, want := range []string{"10.2.2.5", "10.2.2.6", "10.2.2.7"} {
		if e := b.endpoint(request("h1", "p"+want, "", "g")); e.IPv4.String() != want || e.NetworkName != "n" || e.Identity == 0 {
			t.Errorf("%+v", e)
		}
	}
	_, _, err = b.CreateEndpoint(t.Context(), request("h1", "p4", "n", "g"))
	b.refused(err, Exhausted, "address exhaustion in pool 10.2.2.5-10.2.2.7")
	for want := 2; want <= 4; want++ {
		b.endpoint(request("h1", string(rune('a'+want)), "n", "plain"))
	}
	if e := b.endpoint(request("h1", "next", "n", "")); e.IPv4.String() != "10.2.2.8" {
		t.Errorf("%s is not the first address after the pool", e.IPv4)
	}
	_, err = b.DeleteEndpointGroup(t.Context(), "default:g")
	b.refused(err, InUse, "EPG g has active endpoints")
	_, err = b.DeleteNetwork(t.Context(), "default:n")
	b.refused(err, InUse, "has 2 endpoint groups")
	b.remove(first)
}

func TestEndpoint(t *testing.T) {
	b := newBed(t)
	n := net4("default:n", "10.1.2.0/24")
	n.Gateway, n.IPv6Subnet, n.IPv6Gateway = "10.1.2.1", "2001:db8::/64", "2001:db8::1"
	b.network(n)
	_, _, err := b.CreateEndpoint(t.Context(), request("h1", "c1", "n", ""))
	b.refused(err, NotFound, "has not registered")
	b.host("h1")
	e := b.endpoint(request("h1", "c1", "n", ""))
	if e.IPv4.String() != "10.1.2.2" || e.IPv6.String() != "2001:db8::2" || e.MAC != "02:02:0a:01:02:02" {
		t.Errorf("%+v", e)
	}
	again, revision, err := b.CreateEndpoint(t.Context(), request("h1", "c1", "n", ""))
	if err != nil || again.IPv4 != e.IPv4 {
		t.Errorf("%+v %v", again, err)
	}
	b.view(func(m *ledger.Model) {
		if want := m.RevisionOf(e.StoreKey()); revision != want {
			t.Errorf("revision %d, not the record's %d", revision, want)
		}
	})
	differ := request("h1", "c1", "n", "")
	differ.IPv4 = netip.MustParseAddr("10.1.2.9")
	for _, c := range []struct {
		r    *protocol.CreateEndpointRequest
		kind Kind
		text string
	}{
		{differ, Conflict, "exists with address"},
		{wanting("c2", "10.1.2.2"), Conflict, `used by endpoint "h1/c1/eth0"`},
		{wanting("c2", "10.1.2.1"), Conflict, "is the gateway"},
		{wanting("c2", "10.1.2.255"), Invalid, "allowed are 10.1.2.1-10.1.2.254"},
		{wanting("c2", "10.9.2.3"), Invalid, "is not in subnet 10.1.2.0/24"},
		{wanting("c2", "2001:db8::2"), Conflict, "used by"},
		{wanting("c2", "2001:db9::2"), Invalid, "is not in subnet"},
		{request("h1", "c2", "none", ""), NotFound, "network not found"},
		{request("h1", "c2", "", ""), Invalid, "neither"},
		{request("h1", "c2", "n", "none"), NotFound, "endpointGroup not found"},
		{request("h1", "c/2", "n", ""), Invalid, "containerID"},
	} {
		_, _, err := b.CreateEndpoint(t.Context(), c.r)
		b.refused(err, c.kind, c.text)
	}
	if got := b.endpoint(wanting("c3", "10.1.2.77")); got.IPv4.String() != "10.1.2.77" {
		t.Errorf("%+v", got)
	}
	mac := wanting("c4", "10.1.2.80")
	mac.MAC = "0A-00-00-00-00-01"
	if got := b.endpoint(mac); got.MAC != "0a:00:00:00:00:01" {
		t.Errorf("%+v", got)
	}
	mac.ID.ContainerID, mac.IPv4 = "c5", netip.Addr{}
	_, _, err = b.CreateEndpoint(t.Context(), mac)
	b.refused(err, Conflict, "MAC")
	b.ok(b.UpdateEndpoint(t.Context(), &protocol.ProviderEvent{Event: "start", ID: protocol.EndpointID(e.EndpointID), ContainerName: "web", Labels: map[string]string{"a": "b"}}))
	_, err = b.DeleteNetwork(t.Context(), "default:n")
	b.refused(err, InUse, "Network has active endpoints")
	b.remove(e)
	b.remove(e)
}

func wanting(container, address string) *protocol.CreateEndpointRequest {
	r := request("h1", container, "n", "")
	if a := netip.MustParseAddr(address); a.Is4() {
		r.IPv4 = a
	} else {
		r.IPv6 = a
	}
	return r
}

func TestAddressesRest(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.2.0/29"))
	b.host("h1")
	var all []*state.Endpoint
	for i := range 3 {
		all = append(all, b.endpoint(request("h1", string(rune('a'+i)), "n", "")))
	}
	b.remove(all[1])
	b.pass(time.Second)
	b.remove(all[0])
	for _, want := range []string{"10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.2"} { // the last: nothing else is free, longest released
		if e := b.endpoint(request("h1", "for"+want, "n", "")); e.IPv4.String() != want {
			t.Errorf("%s, not %s", e.IPv4, want)
		}
	}
	if e := b.endpoint(wanting("asks", "10.1.2.1")); e.IPv4.String() != "10.1.2.1" { // it rests, but is asked for
		t.Errorf("%s", e.IPv4)
	}
	_, _, err := b.CreateEndpoint(t.Context(), request("h1", "full", "n", ""))
	b.refused(err, Exhausted, "address exhaustion in subnet 10.1.2.0/29")
	b.remove(all[2])
	b.pass(DefaultAddressRest)
	b.sweep()
	b.view(func(m *ledger.Model) {
		if n := m.Count(ledger.Unowned()); n != 0 {
			t.Errorf("%d allocations rest", n)
		}
	})
	if e := b.endpoint(request("h1", "x", "n", "")); e.IPv4.String() != "10.1.2.3" {
		t.Errorf("%s", e.IPv4)
	}
}

func TestReservation(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.2.0/24"))
	b.host("h1")
	ask := &protocol.ReserveAddressRequest{Tenant: "default", Network: "n"}
	reserve := func() Reserved {
		t.Helper()
		r, err := b.ReserveAddress(t.Context(), "h1", ask)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := reserve(), reserve()
	if one.Addr.String() != "10.1.2.1" || two.Addr.String() != "10.1.2.2" || one.Bits != 24 || one.Token == two.Token {
		t.Errorf("%+v %+v", one, two)
	}
	_, _, err := b.CreateEndpoint(t.Context(), wanting("c", "10.1.2.1"))
	b.refused(err, Conflict, `reserved by host "h1"`)
	with := wanting("c", "10.1.2.1")
	with.Token = one.Token
	if e := b.endpoint(with); e.IPv4 != one.Addr {
		t.Errorf("%+v", e)
	}
	only := request("h1", "d", "n", "")
	only.Token = two.Token
	if e := b.endpoint(only); e.IPv4 != two.Addr {
		t.Errorf("%+v", e)
	}
	three := reserve()
	b.ok(b.ReleaseAddress(t.Context(), three.Token))
	b.ok(b.ReleaseAddress(t.Context(), three.Token))
	if again := reserve(); again.Addr != three.Addr {
		t.Errorf("%+v", again)
	}
	b.pass(reservationTime)
	b.sweep()
	if n := b.used(); n != 2 {
		t.Errorf("%d addresses are used after the reservation expired", n)
	}
}

func TestQuarantine(t *testing.T) {
	b := newBed(t)
	b.host("h1")
	b.host("h2")
	b.ack("h2", 0)
	n := net4("default:n", "10.1.0.0/24")
	n.Encap, n.PktTag = state.EncapVLAN, 112
	b.network(n)
	released := b.ok(b.DeleteNetwork(t.Context(), "default:n"))
	b.sweep()
	other := *n
	other.NetworkName, other.PktTag = "other", 0
	b.network(&other)
	b.view(func(m *ledger.Model) {
		if got := m.NetworkState("default:other"); got.ID != 2 || got.VLAN != 1 {
			t.Errorf("%+v reuses a number in quarantine", got)
		}
	})
	b.ok(b.DeleteNetwork(t.Context(), "default:other"))
	began := time.Now()
	_, err := b.CreateNetwork(t.Context(), n)
	b.refused(err, Conflict, "requested vlan not available: 112", "not yet acknowledged by h2")
	if waited := time.Since(began); waited < quarantineWait {
		t.Errorf("refused after %s", waited)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.CreateNetwork(t.Context(), n)
		done <- err
	}()
	b.ack("h2", released)
	if err := <-done; err != nil {
		t.Errorf("a number whose quarantine ended: %v", err)
	}
	b.ack("h2", allAcked)
	b.sweep()
	b.view(func(m *ledger.Model) {
		if n := m.Count(ledger.Unowned()); n != 0 {
			t.Errorf("%d numbers are in quarantine", n)
		}
	})
}

func TestHosts(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.2.0/24"))
	b.host("h1")
	var has []protocol.Attachment
	for i := range 8 {
		has = append(has, attached(b.endpoint(request("h1", string(rune('a'+i)), "n", ""))))
	}
	changed, foreign := has[7], has[0]
	changed.IPv4 = netip.MustParseAddr("10.1.2.99")
	foreign.ID.ContainerID = "unknown"
	r := b.host("h1", append(append([]protocol.Attachment{}, has[2:7]...), changed, foreign)...)
	if len(r.Lost) != 2 || len(r.Orphaned) != 2 || r.Held {
		t.Errorf("%+v", r)
	}
	b.pass(orphanTime - time.Second)
	b.endpoint(request("h1", "a", "n", "")) // it is wanted again
	b.sweep()
	if n := len(b.Orphans("")); n != 1 {
		t.Errorf("%d orphans", n)
	}
	b.pass(time.Second)
	b.sweep()
	if n := b.used(); n != 7 || len(b.Orphans("")) != 0 {
		t.Errorf("%d addresses are used", n)
	}
	if r := b.host("h1", has[3:5]...); !r.Held || len(r.Orphaned) != 5 {
		t.Errorf("%+v", r)
	}
	b.pass(time.Hour)
	b.sweep()
	if n := b.used(); n != 7 {
		t.Errorf("%d addresses are used, though the operator was not asked", n)
	}
	for _, orphan := range b.Orphans("h1") { // the operator's word
		b.ok(b.DeleteEndpoint(t.Context(), orphan.ID))
	}
	_, err := b.RegisterHost(t.Context(), &protocol.RegisterRequest{Host: "h1", MTU: 1500, Attachments: has[3:4],
		Removed: []protocol.EndpointID{has[4].ID, {Host: "h2", ContainerID: has[3].ID.ContainerID, IfName: "eth0"}}})
	if n := b.used(); n != 1 || err != nil {
		t.Errorf("%d addresses are used: %v", n, err)
	}
}

func TestSilentHost(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.0.0/16"))
	b.host("h1")
	b.host("h2")
	for i := range 100 {
		b.endpoint(request("h1", string(rune('A'+i)), "n", ""))
	}
	_, err := b.ReleaseHost(t.Context(), "h1")
	b.refused(err, InUse, "connected")
	b.setConnected("h1", false)
	b.sweep()
	b.pass(silenceTime)
	b.sweep()
	b.view(func(m *ledger.Model) {
		if h := m.Host("h1"); h.SilentSince.IsZero() || h.Dead || m.Used(state.AddressPool("default:n")) != 100 {
			t.Errorf("%+v", h)
		}
	})
	next := New(b.ledger, b.options, quiet()) // another leader knows since when
	next.SetAgents(b)
	b.pass(DefaultHostDeadAfter - 2*silenceTime - time.Second)
	if err := next.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	b.pass(silenceTime)
	if err := next.Sweep(t.Context()); err != nil || b.used() != 100 {
		t.Errorf("%v, %d addresses", err, b.used())
	}
	b.pass(time.Second)
	if err := next.Sweep(t.Context()); err != nil || b.used() != 0 {
		t.Errorf("%v, %d addresses", err, b.used())
	}
	_, _, err = b.CreateEndpoint(t.Context(), request("h1", "x", "n", ""))
	b.refused(err, Conflict, "declared dead")
	_, err = b.ReleaseHost(t.Context(), "none")
	b.refused(err, NotFound, "host not found")
	b.host("h1")
	b.endpoint(request("h1", "x", "n", ""))
}

func TestDockerNetwork(t *testing.T) {
	b := newBed(t)
	r := &protocol.CreateNetworkRequest{Host: "h1", DockerNetworkID: "id1", Network: "docker-id1", Subnet: "10.1.0.0/24"}
	for range 2 {
		if _, revision, err := b.CreateDockerNetwork(t.Context(), r); revision == 0 || err != nil {
			t.Fatal(err)
		}
	}
	second := *r
	second.Host, second.DockerNetworkID = "h2", "id2"
	if _, _, err := b.CreateDockerNetwork(t.Context(), &second); err != nil {
		t.Fatal(err)
	}
	b.ok(b.DeleteDockerNetwork(t.Context(), "h2", "id2")) // not the owner
	b.view(func(m *ledger.Model) {
		if s := m.NetworkState("default:docker-id1"); s == nil || *s.Docker != (state.DockerOwner{Host: "h1", NetworkID: "id1"}) {
			t.Errorf("%+v", s)
		}
	})
	b.ok(b.DeleteDockerNetwork(t.Context(), "h1", "id1"))
	b.view(func(m *ledger.Model) {
		if m.Network("default:docker-id1") != nil {
			t.Error("it is still there")
		}
	})
}

// TestStoreGone: without the store nothing is written and nothing forgotten, and it goes on by itself.
func TestStoreGone(t *testing.T) {
	b := newBed(t)
	store, ok := b.store.(*memory.Store)
	if !ok {
		t.Fatal("not in memory")
	}
	store.SetUnavailable(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.CreateTenant(ctx, &state.Tenant{TenantName: "blue"})
	b.refused(err, Unavailable, "creating tenant blue")
	store.SetUnavailable(false)
	b.tenant("blue")
}

// TestDeleteInfraNetwork: the hosts' own endpoints go with an infra network, containers keep it.
func TestDeleteInfraNetwork(t *testing.T) {
	b := newBed(t)
	infra := net4("default:contivh1", "123.4.0.0/16")
	infra.NwType = state.NetworkInfra
	b.network(infra)
	host := func(name string) *protocol.CreateEndpointRequest {
		r := request(name, name, "contivh1", "")
		r.ID.IfName = "contivh1"
		return r
	}
	const hosts = 50 // more than one transaction holds
	for i := range hosts {
		name := fmt.Sprint("h", i)
		b.host(name)
		b.endpoint(host(name))
	}
	container := b.endpoint(request("h1", "c", "contivh1", ""))
	_, err := b.DeleteNetwork(t.Context(), "default:contivh1")
	b.refused(err, InUse, "active endpoints", fmt.Sprint(hosts+1))
	b.remove(container)
	b.ok(b.DeleteNetwork(t.Context(), "default:contivh1"))
	b.view(func(m *ledger.Model) {
		if n := m.Count(ledger.EndpointsOfHost("h7")); n != 0 {
			t.Errorf("h7 has %d endpoints", n)
		}
	})
}
