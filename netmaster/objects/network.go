package objects

import (
	"context"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// CreateNetwork makes a network with its numbers and returns the revision it was written in. Fields left out get their
// defaults. An identical one that exists already is a success, a different one is refused (Conflict).
func (o *Objects) CreateNetwork(ctx context.Context, network *state.Network) (int64, error) {
	want := *network
	want.SetDefaults()
	if err := want.Validate(); err != nil {
		return 0, classify("creating network", err)
	}
	return o.commit(ctx, "creating network "+want.Key(), func(tx *txn) error { return tx.createNetwork(&want, nil) })
}

// createNetwork does so for a user, or for the docker network that owns it.
func (tx *txn) createNetwork(want *state.Network, owner *state.DockerOwner) error {
	if old := tx.Network(want.Key()); old != nil {
		return unchanged("network", want.Key(), old, want)
	}
	tag, err := tx.tagsFor(want)
	if err != nil {
		return err
	}
	if tx.Tenant(want.TenantName) == nil {
		return refuse(NotFound, "Tenant not found: %q", want.TenantName)
	}
	if err := tx.checkOverlap(want); err != nil {
		return err
	}
	if tx.Group(want.Key()) != nil {
		return refuse(Conflict, "endpoint group %q conflicts with the network name: a network and a group of one tenant cannot share a name", want.Key())
	}
	return tx.putNetwork(want, tag, owner)
}

// tagsFor gives the pool of tags for the network's encapsulation, as the global object allows them.
func (tx *txn) tagsFor(want *state.Network) (numbers, error) {
	const notReady = "Global configuration is not ready: "
	global := tx.Global()
	if global == nil {
		return numbers{}, refuse(Conflict, notReady+"the global object is missing")
	}
	if global.FwdMode == "" {
		return numbers{}, refuse(Conflict, notReady+"its fwdMode is not set")
	}
	if want.Encap == state.EncapVLAN {
		in, err := state.ParseRange(global.Vlans)
		if err != nil {
			return numbers{}, refuse(Conflict, notReady+"its vlans are not set: %v", err)
		}
		return numbers{state.PoolVLAN, in.First, min(in.Last, maxVLAN), "vlan", "vlans"}, nil
	}
	in, err := state.ParseRange(global.Vxlans)
	if err != nil {
		return numbers{}, refuse(Conflict, notReady+"its vxlans are not set: %v", err)
	}
	return numbers{state.PoolVNI, in.First, min(in.Last, maxVNI), "vxlan", "vxlans"}, nil
}

func (tx *txn) checkOverlap(want *state.Network) error {
	if want.IPv6Subnet != "" {
		subnet, err := state.ParseSubnet6(want.IPv6Subnet)
		if err != nil {
			return refuse(Invalid, "ipv6Subnet: %v", err)
		}
		if other := tx.Overlapping(want.TenantName, alloc.Addresses(subnet.First, subnet.Last)); other != nil {
			return refuse(Conflict, "network `%s` conflicts with subnetv6 %s: it has %s; networks of a tenant must not overlap",
				other.NetworkName, want.IPv6Subnet, other.IPv6Subnet)
		}
	}
	subnet, err := state.ParseSubnet(want.Subnet)
	if err != nil {
		return refuse(Invalid, "subnet: %v", err)
	}
	if other := tx.Overlapping(want.TenantName, alloc.Addresses(subnet.First, subnet.Last)); other != nil {
		return refuse(Conflict, "network `%s` conflicts with subnet %s: it has %s; networks of a tenant must not overlap",
			other.NetworkName, want.Subnet, other.Subnet)
	}
	return nil
}

func (tx *txn) putNetwork(want *state.Network, tags numbers, owner *state.DockerOwner) error {
	next := &state.NetworkState{TenantName: want.TenantName, NetworkName: want.NetworkName, Docker: owner}
	tag, err := tx.takeTag(want, tags, next.StoreKey())
	if err != nil {
		return err
	}
	if next.ID, err = tx.take(networkIDs(), next.StoreKey()); err != nil {
		return err
	}
	if want.Encap == state.EncapVLAN {
		next.VLAN = tag
	} else {
		next.VNI = tag
	}
	tx.Put(want)
	tx.Put(next)
	return nil
}

func (tx *txn) takeTag(want *state.Network, tags numbers, owner string) (int, error) {
	if want.PktTag == 0 {
		return tx.take(tags, owner)
	}
	if want.PktTag < tags.first || want.PktTag > tags.last {
		if want.Encap == state.EncapVXLAN && want.PktTag < tags.first {
			return 0, refuse(Invalid, "requested vxlan is out of range: %d; the global object allows %d-%d", want.PktTag, tags.first, tags.last)
		}
		return 0, refuse(Invalid, "requested %s not available: %d; the global object allows %d-%d", tags.what, want.PktTag, tags.first, tags.last)
	}
	return want.PktTag, tx.takeWanted(tags, owner, want.PktTag)
}

// DeleteNetwork removes a network that has no groups and no endpoints. Its numbers go into quarantine. The hosts'
// endpoints in an infra network go before it, in transactions of their own: there may be many. A host that makes its
// endpoint again in between is removed once more; agents take their time to do so.
func (o *Objects) DeleteNetwork(ctx context.Context, key string) (int64, error) {
	for again := 0; ; again++ {
		found, err := o.releaseHosts(ctx, key)
		if err != nil {
			return 0, err
		}
		revision, err := o.commit(ctx, "deleting network "+key, func(tx *txn) error { return tx.deleteNetwork(key) })
		if err == nil || !found || again == 2 {
			return revision, err
		}
	}
}

// releaseHosts deletes the endpoints that hosts are themselves in an infra network, and tells whether there were any. It
// leaves them where the network cannot be deleted.
func (o *Objects) releaseHosts(ctx context.Context, key string) (found bool, err error) {
	var ids []state.EndpointID
	o.ledger.ViewCached(func(m *ledger.Model) {
		if n := m.Network(key); n == nil || n.NwType != state.NetworkInfra {
			return
		}
		for _, e := range m.EndpointsOf(ledger.EndpointsOfNetwork(key)) {
			if !isHost(e) {
				ids = nil
				return
			}
			ids = append(ids, e.EndpointID)
		}
	})
	return len(ids) > 0, o.deleteEndpoints(ctx, ids, func(tx *txn) bool {
		n := tx.Network(key)
		return n != nil && n.NwType == state.NetworkInfra &&
			tx.Count(ledger.GroupsOfNetwork(key))+tx.Count(ledger.ServicesOfNetwork(key)) == 0
	})
}

// isHost tells the endpoint that a host itself is: its container is named like the host, its interface like the network.
func isHost(e *state.Endpoint) bool { return e.ContainerID == e.Host && e.IfName == e.NetworkName }

func (tx *txn) deleteNetwork(key string) error {
	old := tx.Network(key)
	if old == nil {
		return refuse(NotFound, "network not found: %q", key)
	}
	if n := tx.Count(ledger.GroupsOfNetwork(key)); n > 0 {
		return refuse(InUse, "network %q cannot be deleted: it has %d endpoint groups; delete them first", key, n)
	}
	if n := tx.Count(ledger.ServicesOfNetwork(key)); n > 0 {
		return refuse(InUse, "network %q cannot be deleted: it has %d services; delete them first", key, n)
	}
	if n := tx.Count(ledger.EndpointsOfNetwork(key)); n > 0 {
		return refuse(InUse, "network %q cannot be deleted: Network has active endpoints (%d); remove the containers first", key, n)
	}
	tx.Delete(old)
	decided := tx.NetworkState(key)
	if decided == nil {
		return nil
	}
	owner := decided.StoreKey()
	tx.giveBack(state.PoolNetwork, decided.ID, owner)
	if decided.VLAN != 0 {
		tx.giveBack(state.PoolVLAN, decided.VLAN, owner)
	}
	if decided.VNI != 0 {
		tx.giveBack(state.PoolVNI, decided.VNI, owner)
	}
	tx.Delete(decided)
	return nil
}
