package docker

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// catalogWait is how long a handler waits for a network that netmaster may just be telling us of.
const catalogWait = 2 * time.Second

// find completes a selection that names an object and finds its network. It fails if there is none.
func find(catalog mgmtfn.Catalog, want selection) (target, protocol.Network, error) {
	if want.tag != "" {
		if want.network != "" || want.group != "" {
			return target{}, protocol.Network{}, fmt.Errorf("give either %s or %s and %s", optTag, optNetwork, optGroup)
		}
		tagged, err := findTag(catalog, want)
		if err != nil {
			return target{}, protocol.Network{}, err
		}
		want = tagged
	}
	object := want.target()
	if object.Group != "" {
		group, ok := findGroup(catalog, object.Tenant, object.Group)
		if !ok {
			return target{}, protocol.Network{}, fmt.Errorf("tenant %s has no group %s", object.Tenant, object.Group)
		}
		if object.Network != "" && object.Network != group.Network {
			return target{}, protocol.Network{}, fmt.Errorf("group %s of tenant %s is on network %s, not %s", object.Group, object.Tenant, group.Network, object.Network)
		}
		object.Network = group.Network
	}
	network, ok := findNetwork(catalog, object.Tenant, object.Network)
	if !ok {
		return target{}, protocol.Network{}, fmt.Errorf("tenant %s has no network %s", object.Tenant, object.Network)
	}
	if network.Type == protocol.NetworkInfra {
		return target{}, protocol.Network{}, fmt.Errorf("network %s of tenant %s is an infrastructure network: containers do not go there", network.Name, network.Tenant)
	}
	return object, network, nil
}

// findTag looks for a group's tag first, then for a network's.
func findTag(catalog mgmtfn.Catalog, want selection) (selection, error) {
	fits := func(tenant string) bool { return want.tenant == "" || want.tenant == tenant }
	for _, group := range catalog.Groups {
		if group.Tag == want.tag && fits(group.Tenant) {
			return selection{tenant: group.Tenant, network: group.Network, group: group.Name}, nil
		}
	}
	for _, network := range catalog.Networks {
		if network.Tag == want.tag && fits(network.Tenant) {
			return selection{tenant: network.Tenant, network: network.Name}, nil
		}
	}
	return selection{}, fmt.Errorf("no group or network has the tag %s", want.tag)
}

// sameByTag: a tag means the object that was named otherwise too.
func sameByTag(catalog mgmtfn.Catalog, options selection, named target) error {
	tagged, _, err := find(catalog, selection{tenant: options.tenant, tag: options.tag})
	if err == nil && !tagged.same(named) {
		err = fmt.Errorf("%s=%s is %s, not %s", optTag, options.tag, tagged, named)
	}
	return err
}

func findNetwork(catalog mgmtfn.Catalog, tenant, name string) (protocol.Network, bool) {
	for _, network := range catalog.Networks {
		if network.Tenant == tenant && network.Name == name {
			return network, true
		}
	}
	return protocol.Network{}, false
}

func findGroup(catalog mgmtfn.Catalog, tenant, name string) (protocol.Group, bool) {
	for _, group := range catalog.Groups {
		if group.Tenant == tenant && group.Name == name {
			return group, true
		}
	}
	return protocol.Group{}, false
}

// await is find, with some patience for what is just being made.
func await(ctx context.Context, source Cataloger, want selection, patience time.Duration) (target, protocol.Network, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		catalog, changed := source.Catalog()
		object, network, err := find(catalog, want)
		if err == nil {
			return object, network, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if !catalog.Complete {
				err = fmt.Errorf("%w, as far as is known: netmaster has not told everything yet", err)
			}
			return target{}, protocol.Network{}, err
		}
	}
}

// subnetOf is a network's subnet of one family, not valid if it has none, and its gateway, likewise.
func subnetOf(network protocol.Network, v6 bool) (netip.Prefix, netip.Addr) {
	if v6 {
		return network.Subnet6, network.Gateway6
	}
	return network.Subnet, network.Gateway
}
