package docker

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/vishvananda/netns"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// asMade is a docker network as the engine lists it after it was made from a description.
func asMade(name string, options network.CreateOptions) network.Inspect {
	return network.Inspect{
		ID: "id-" + name, Name: name, Driver: options.Driver, EnableIPv6: options.EnableIPv6 != nil && *options.EnableIPv6,
		IPAM: *options.IPAM, Options: options.Options, Labels: options.Labels,
	}
}

func TestCompare(t *testing.T) {
	cluster := newFakeCluster(netns.None())
	cluster.addNetwork("default", "net", "10.1.2.0/24", 1)
	cluster.addNetwork("default", "vlan", "10.2.0.0/24", 0, func(n *protocol.Network) { n.Encap, n.VLAN = protocol.EncapVLAN, 112 })
	cluster.addNetwork("default", "infra", "10.3.0.0/24", 3, func(n *protocol.Network) { n.Type = protocol.NetworkInfra })
	cluster.addNetwork("default", "users", "10.4.0.0/24", 4, func(n *protocol.Network) { n.DockerNetworkID, n.DockerHost = "abc", "h1" })
	cluster.addGroup("default", "net", "web")
	catalog := cluster.catalog
	should := wanted(catalog)
	if should["vlan"].Options[optPktTag] != "112" || should["net"].Options[optPktTag] != "1" {
		t.Error("pkt-tag:", should["vlan"].Options, should["net"].Options)
	}
	change := func(name string, change func(*network.Inspect)) network.Inspect {
		one := asMade(name, should[name])
		change(&one)
		return one
	}
	user := func(n *network.Inspect) { n.Labels = nil }
	for _, c := range []struct {
		name     string
		have     []network.Inspect
		partial  bool // the catalog is not complete
		create   string
		remove   string
		problems string
	}{
		{name: "nothing there", create: "net vlan web"},
		{name: "as it should be", have: []network.Inspect{asMade("net", should["net"]), asMade("web", should["web"]), asMade("vlan", should["vlan"])}},
		{name: "docker's own", have: []network.Inspect{{Name: "bridge", Driver: "bridge"}}, create: "net vlan web"},
		{
			name: "orphan", have: []network.Inspect{change("net", func(n *network.Inspect) { n.Name = "old" })},
			create: "net vlan web", remove: "old",
		},
		{
			name: "orphan, not all is known", have: []network.Inspect{change("net", func(n *network.Inspect) { n.Name = "old" })}, partial: true,
			create: "net vlan web",
		},
		{
			name: "user's, of no concern", have: []network.Inspect{change("net", func(n *network.Inspect) { n.Name = "old"; user(n) })},
			create: "net vlan web",
		},
		{name: "user's, the same", have: []network.Inspect{change("net", user)}, create: "vlan web"},
		{
			name: "user's, another", create: "vlan web", problems: "net",
			have: []network.Inspect{change("net", func(n *network.Inspect) { user(n); n.IPAM.Options = map[string]string{optNetwork: "vlan"} })},
		},
		{
			name: "other driver", have: []network.Inspect{{Name: "net", Driver: "bridge", Labels: map[string]string{LabelManaged: "true"}}},
			create: "vlan web", problems: "net",
		},
		{
			name: "made again with another tag", create: "net vlan web", remove: "net",
			have: []network.Inspect{change("net", func(n *network.Inspect) {
				n.Options = map[string]string{optTenant: "default", optEncap: "vxlan", optPktTag: "9"}
			})},
		},
		{
			name: "made again with another subnet", create: "net vlan web", remove: "web",
			have: []network.Inspect{change("web", func(n *network.Inspect) { n.IPAM.Config = []network.IPAMConfig{{Subnet: "10.9.0.0/24"}} })},
		},
		{
			name: "made again with a gateway", create: "net vlan web", remove: "net",
			have: []network.Inspect{change("net", func(n *network.Inspect) {
				n.IPAM.Config = []network.IPAMConfig{{Subnet: "10.1.2.0/24", Gateway: "10.1.2.1"}}
			})},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := catalog
			known.Complete = !c.partial
			todo := compare(c.have, known)
			var create, remove, problems []string
			for name := range todo.create {
				create = append(create, name)
			}
			for _, one := range todo.remove {
				remove = append(remove, one.Name)
			}
			for name := range todo.problems {
				problems = append(problems, name)
			}
			slices.Sort(create)
			for what, pair := range map[string][2]string{
				"create": {strings.Join(create, " "), c.create}, "remove": {strings.Join(remove, " "), c.remove}, "problems": {strings.Join(problems, " "), c.problems},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s: got %q, want %q", what, pair[0], pair[1])
				}
			}
		})
	}
	if ids := leaked(catalog, "h1", nil); !slices.Equal(ids, []string{"abc"}) {
		t.Error("leaked:", ids)
	}
	if ids := append(leaked(catalog, "h2", nil), leaked(catalog, "h1", []network.Inspect{{ID: "abc"}})...); ids != nil {
		t.Error("not leaked:", ids)
	}
}

// TestBindReadsBack: what a docker network stands for is written in the network itself.
func TestBindReadsBack(t *testing.T) {
	cluster := newFakeCluster(netns.None())
	cluster.addNetwork("blue", "net", "10.1.2.0/24", 1)
	cluster.addGroup("blue", "net", "web")
	for name, options := range wanted(cluster.catalog) {
		for _, catalog := range []mgmtfn.Catalog{cluster.catalog, {}} { // also before netmaster told anything
			bound := bind(asMade(name, options), catalog, time.Time{})
			if bound.problem != nil || bound.String() != name || bound.Network != "net" || bound.bySubnet {
				t.Errorf("%s: %+v", name, bound)
			}
		}
	}
	for _, c := range []struct {
		options, ipam map[string]string
		want          target
		problem       bool
	}{
		{nil, nil, target{"default", "docker-0123456789ab", ""}, false},
		{map[string]string{"tenant": "blue"}, nil, target{"blue", "docker-0123456789ab", ""}, false},
		{map[string]string{"network": "x"}, map[string]string{"tenant": "blue"}, target{"blue", "x", ""}, false},
		{nil, map[string]string{"group": "web", "tenant": "blue"}, target{"blue", "net", "web"}, false},
		{map[string]string{"contiv-tag": "web.blue"}, map[string]string{"contiv-tag": "web.blue"}, target{"blue", "net", "web"}, false},
		{map[string]string{"contiv-tag": "nope"}, nil, target{}, true},
		{map[string]string{"tenant": "blue"}, map[string]string{"tenant": "red"}, target{}, true},
		{map[string]string{"contiv-tag": "web.blue"}, map[string]string{"network": "net", "tenant": "blue"}, target{"blue", "net", ""}, true},
	} {
		one := network.Inspect{ID: "0123456789abcdef", Options: c.options, IPAM: network.IPAM{Options: c.ipam}}
		if bound := bind(one, cluster.catalog, time.Time{}); bound.target != c.want || bound.problem != nil != c.problem {
			t.Errorf("%v %v: %+v", c.options, c.ipam, bound)
		}
	}
}

func TestPoolsThatDockerAsksForAgainAndAgain(t *testing.T) {
	var asked pools
	id, now := poolID{target{"default", "net", ""}, netip.MustParsePrefix("10.0.0.0/8")}, time.Unix(1000, 0)
	var err error
	for range poolAskLimit + 1 {
		err = asked.asked(id, true, now)
	}
	if err == nil || !strings.Contains(err.Error(), "give --subnet 10.0.0.0/8") {
		t.Error(err)
	}
	if err := asked.asked(id, true, now.Add(poolAskWindow)); err != nil {
		t.Error("a later request is refused:", err)
	}
}

func TestReturningAddresses(t *testing.T) {
	r := newReturning()
	object, now := target{"default", "net", ""}, time.Unix(1000, 0)
	one, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	r.note(object, six, now)
	r.note(object, one, now)
	r.note(object, netip.Addr{}, now)
	r.back(now)
	r.note(object, netip.MustParseAddr("10.0.0.9"), now) // the engine works normally again
	if addr, ok := r.take(target{"blue", "net", ""}, false, now); ok {
		t.Error("another tenant's:", addr)
	}
	if addr, ok := r.take(object, false, now); !ok || addr != one {
		t.Error(addr, ok)
	}
	if addr, ok := r.take(object, false, now); ok {
		t.Error("given twice:", addr)
	}
	if addr, ok := r.take(object, true, now.Add(returnTime+1)); ok {
		t.Error("after the time:", addr)
	}

	// An engine that is stopped in good order.
	now = now.Add(time.Hour)
	r.note(object, netip.MustParseAddr("10.0.0.8"), now.Add(-stopTime-1))
	r.note(object, one, now.Add(-1))
	r.lost(now)
	r.lost(now)
	if addr, ok := r.take(object, false, now); !ok || addr != one {
		t.Error(addr, ok)
	}
	if addr, ok := r.take(object, false, now); ok {
		t.Error("removed long before:", addr)
	}
}
