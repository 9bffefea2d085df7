package objects

import (
	"context"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// PutEndpointGroup makes a group, or replaces what may change of one: policies, default, net profile and contracts. It
// returns the revision it was written in.
func (o *Objects) PutEndpointGroup(ctx context.Context, group *state.EndpointGroup) (int64, error) {
	want := *group
	if err := want.Validate(); err != nil {
		return 0, classify("writing endpoint group", err)
	}
	if want.DefaultDeny == state.DenyNone {
		want.DefaultDeny = ""
	}
	if err := checkAttachedCount("endpoint group", want.Key(), len(want.Policies)+len(want.ExtContractsGrps)); err != nil {
		return 0, err
	}
	want.Policies, want.ExtContractsGrps = distinct(want.Policies), distinct(want.ExtContractsGrps)
	return o.commit(ctx, "writing endpoint group "+want.Key(), func(tx *txn) error {
		if old := tx.Group(want.Key()); old != nil {
			return tx.updateGroup(old, &want)
		}
		return tx.createGroup(&want)
	})
}

func (tx *txn) createGroup(want *state.EndpointGroup) error {
	if tx.Tenant(want.TenantName) == nil {
		return refuse(NotFound, "Tenant not found: %q", want.TenantName)
	}
	network := tx.Network(state.ModelKey(want.TenantName, want.NetworkName))
	if network == nil {
		return refuse(NotFound, "Network %s not found in tenant %q", want.NetworkName, want.TenantName)
	}
	if tx.Network(want.Key()) != nil {
		return refuse(Conflict, "network %q conflicts with the endpointGroup name: a network and a group of one tenant cannot share a name", want.Key())
	}
	if want.IPPool != "" {
		if err := tx.checkPool(network, want); err != nil {
			return err
		}
	}
	if err := tx.checkAttached(want); err != nil {
		return err
	}
	next := &state.GroupState{TenantName: want.TenantName, GroupName: want.GroupName}
	var err error
	if next.ID, err = tx.take(groupIDs(), next.StoreKey()); err != nil {
		return err
	}
	if next.Identity, err = tx.take(identities(), next.StoreKey()); err != nil {
		return err
	}
	if next.VLAN, err = tx.groupVLAN(network, next); err != nil {
		return err
	}
	tx.Put(want)
	tx.Put(next)
	return nil
}

// groupVLAN gives a group the VLAN by which ACI knows it, 0 in other fabric modes.
func (tx *txn) groupVLAN(network *state.Network, owner *state.GroupState) (int, error) {
	if global := tx.Global(); global == nil || global.NetworkInfraType != fabricACI {
		return 0, nil
	}
	if network.Encap != state.EncapVLAN {
		return 0, refuse(Conflict, "network %q has encap %q; in fabric mode %q the network of a group must be %q",
			network.Key(), network.Encap, fabricACI, state.EncapVLAN)
	}
	tags, err := tx.tagsFor(network)
	if err != nil {
		return 0, err
	}
	return tx.take(tags, owner.StoreKey())
}

// checkPool refuses a pool that is not wholly free and usable.
func (tx *txn) checkPool(network *state.Network, want *state.EndpointGroup) error {
	pool, err := state.ParsePool(want.IPPool)
	if err != nil {
		return refuse(Invalid, "ipPool: %v", err)
	}
	s, err := space4(network, nil)
	if err != nil {
		return err
	}
	if !s.allowed.Covers(pool) {
		return refuse(Invalid, "ipPool %s must be a subset of network %s; allowed are %s", pool, s.subnet.Prefix, s.allowed)
	}
	if pool.Contains(s.gateway) {
		return refuse(Conflict, "ipPool %s: ip address %s is not available: it is the gateway", pool, s.gateway)
	}
	other := tx.Find(ledger.PooledGroupsOfNetwork(network.Key()), func(r state.Record) bool {
		theirs, ok := poolOf(r)
		return ok && theirs.Overlaps(pool)
	})
	if g, ok := other.(*state.EndpointGroup); ok {
		return refuse(Conflict, "ipPool %s overlaps the pool %s of group %q; pools must not overlap", pool, g.IPPool, g.Key())
	}
	if used := tx.UsedIn(s.pool, alloc.Addresses(pool.First, pool.Last)); used != nil {
		return refuse(Conflict, "ipPool %s: ip address %s is not available: it is used by %s", pool, used.Addr, holderOf(used))
	}
	return nil
}

func holderOf(a *state.Allocation) string {
	if a.Reserved != nil {
		return "a reservation of host " + a.Reserved.Host
	}
	return ownerName(a.Owner)
}

// checkAttached refuses policies, a network profile and contracts that do not exist.
func (tx *txn) checkAttached(want *state.EndpointGroup) error {
	key := func(name string) string { return state.ModelKey(want.TenantName, name) }
	for _, name := range want.Policies {
		if tx.Policy(key(name)) == nil {
			return refuse(NotFound, "Policy not found: %q", key(name))
		}
	}
	if want.NetProfile != "" && tx.Netprofile(key(want.NetProfile)) == nil {
		return refuse(NotFound, "netprofile not found: %q", key(want.NetProfile))
	}
	for _, name := range want.ExtContractsGrps {
		if tx.ExtContractsGroup(key(name)) == nil {
			return refuse(NotFound, "External contracts group %s not found in tenant %q", name, want.TenantName)
		}
	}
	return nil
}

func (tx *txn) updateGroup(old, want *state.EndpointGroup) error {
	if old.NetworkName != want.NetworkName {
		return refuse(Conflict, "Cannot change network association of group %q after creation: it is %q", want.Key(), old.NetworkName)
	}
	if old.IPPool != want.IPPool {
		return refuse(Conflict, "Cannot change IP pool of group %q after creation: it is %q", want.Key(), old.IPPool)
	}
	if err := tx.checkAttached(want); err != nil {
		return err
	}
	next := *old
	next.Policies, next.NetProfile, next.ExtContractsGrps = want.Policies, want.NetProfile, want.ExtContractsGrps
	next.DefaultDeny = want.DefaultDeny
	return tx.replace(old, &next)
}

// DeleteEndpointGroup removes a group that has no endpoints. Its numbers go into quarantine.
func (o *Objects) DeleteEndpointGroup(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting endpoint group "+key, func(tx *txn) error { return tx.deleteGroup(key) })
}

func (tx *txn) deleteGroup(key string) error {
	old := tx.Group(key)
	if old == nil {
		return refuse(NotFound, "endpointGroup not found: %q", key)
	}
	if profile, ok := tx.Any(ledger.AppProfilesOfGroup(key)).(*state.AppProfile); ok {
		return refuse(InUse, "endpoint group %q cannot be deleted: it is associated to appProfile %q; take it out of there first", key, profile.Key())
	}
	if n := tx.Count(ledger.EndpointsOfGroup(key)); n > 0 {
		return refuse(InUse, "endpoint group %q cannot be deleted: EPG %s has active endpoints (%d); remove the containers first", key, old.GroupName, n)
	}
	tx.Delete(old)
	if decided := tx.GroupState(key); decided != nil {
		tx.giveBack(state.PoolGroup, decided.ID, decided.StoreKey())
		tx.giveBack(state.PoolIdentity, decided.Identity, decided.StoreKey())
		if decided.VLAN != 0 {
			tx.giveBack(state.PoolVLAN, decided.VLAN, decided.StoreKey())
		}
		tx.Delete(decided)
	}
	return nil
}
