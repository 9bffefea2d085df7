package docker

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/network"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// wanted are the docker networks that a host's engine should have, by name.
func wanted(catalog mgmtfn.Catalog) map[string]network.CreateOptions {
	want := map[string]network.CreateOptions{}
	for _, one := range catalog.Networks {
		if one.Type == protocol.NetworkInfra || one.DockerNetworkID != "" {
			continue
		}
		want[dockerName(one.Name, one.Tenant)] = describe(one, target{one.Tenant, one.Name, ""})
	}
	for _, group := range catalog.Groups {
		one, ok := findNetwork(catalog, group.Tenant, group.Network)
		if !ok || one.Type == protocol.NetworkInfra {
			continue
		}
		want[dockerName(group.Name, group.Tenant)] = describe(one, target{group.Tenant, group.Network, group.Name})
	}
	return want
}

// describe is the docker network of an object.
func describe(one protocol.Network, object target) network.CreateOptions {
	tag := strconv.Itoa(int(one.VLAN))
	if one.Encap == protocol.EncapVXLAN {
		tag = strconv.FormatUint(uint64(one.VNI), 10)
	}
	v6 := one.Subnet6.IsValid()
	ipam := &network.IPAM{
		Driver:  PluginName,
		Options: map[string]string{optTenant: object.Tenant, optNetwork: object.Network},
		Config:  []network.IPAMConfig{{Subnet: one.Subnet.Masked().String(), Gateway: addrText(one.Gateway)}},
	}
	if object.Group != "" {
		ipam.Options[optGroup] = object.Group
	}
	if v6 {
		ipam.Config = append(ipam.Config, network.IPAMConfig{Subnet: one.Subnet6.Masked().String(), Gateway: addrText(one.Gateway6)})
	}
	return network.CreateOptions{
		Driver:     PluginName,
		EnableIPv6: &v6,
		Attachable: true,
		IPAM:       ipam,
		Options:    map[string]string{optTenant: object.Tenant, optEncap: one.Encap, optPktTag: tag},
		Labels:     map[string]string{LabelManaged: "true"},
	}
}

// plan is what is to be done to an engine's networks.
type plan struct {
	remove   []network.Inspect // before anything is made
	create   map[string]network.CreateOptions
	problems map[string]string
}

// compare plans how to get from what an engine has to what it should have. Only networks with LabelManaged are
// removed, and, without a complete catalog, none.
func compare(have []network.Inspect, catalog mgmtfn.Catalog) plan {
	todo := plan{create: wanted(catalog), problems: map[string]string{}}
	for _, one := range have {
		want, isWanted := todo.create[one.Name]
		managed := isOurs(one.Driver) && one.Labels[LabelManaged] == "true"
		switch {
		case managed && isWanted && matches(one, want):
			delete(todo.create, one.Name)
		case managed && (isWanted || catalog.Complete):
			todo.remove = append(todo.remove, one)
		case !isWanted || managed:
		case isOurs(one.Driver):
			delete(todo.create, one.Name)
			if bound := bind(one, catalog, time.Time{}); bound.problem != nil || !bound.same(selectionOf(want.IPAM.Options).target()) {
				todo.problems[one.Name] = "a docker user has made a network of this name for " + bound.String()
			}
		default:
			delete(todo.create, one.Name)
			todo.problems[one.Name] = "a docker network of this name exists with driver " + one.Driver + ": rename or remove it"
		}
	}
	return todo
}

// matches tells whether a managed docker network is as it should be.
func matches(have network.Inspect, want network.CreateOptions) bool {
	if have.EnableIPv6 != *want.EnableIPv6 || have.IPAM.Driver != want.IPAM.Driver || len(have.IPAM.Config) != len(want.IPAM.Config) {
		return false
	}
	for i, config := range have.IPAM.Config {
		if config.Subnet != want.IPAM.Config[i].Subnet || config.Gateway != want.IPAM.Config[i].Gateway {
			return false
		}
	}
	return maps.Equal(have.Options, want.Options) && maps.Equal(have.IPAM.Options, want.IPAM.Options)
}

// bind reads from a docker network what it stands for.
func bind(one network.Inspect, catalog mgmtfn.Catalog, now time.Time) binding {
	options, pool := selectionOf(one.Options), selectionOf(one.IPAM.Options)
	bound := binding{bySubnet: !pool.names(), poolTenant: pool.tenant, internal: one.Internal, since: now, listed: true}
	for _, config := range one.IPAM.Config {
		if subnet, err := netip.ParsePrefix(config.Subnet); err == nil {
			bound.subnets = append(bound.subnets, subnet.Masked())
		}
	}
	object, err := options.merge(pool)
	if err != nil {
		bound.problem = err
		return bound
	}
	bound.target = object.target()
	switch {
	case object.tag != "" && object.network == "" && object.group == "":
		bound.target, _, bound.problem = find(catalog, object)
	case object.tag != "":
		bound.problem = sameByTag(catalog, object, bound.target)
	case !object.names():
		bound.Network = ownName(one.ID)
	case object.network == "":
		if group, ok := findGroup(catalog, bound.Tenant, bound.Group); ok {
			bound.Network = group.Network
		}
	}
	return bound
}

// leaked are the networks that a docker network of this host made and that it no longer has.
func leaked(catalog mgmtfn.Catalog, host string, have []network.Inspect) []string {
	var ids []string
	for _, one := range catalog.Networks {
		id := one.DockerNetworkID
		if id == "" || one.DockerHost != host || slices.ContainsFunc(have, func(n network.Inspect) bool { return n.ID == id }) {
			continue
		}
		ids = append(ids, id)
	}
	return ids
}
