package objects

import (
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// pooledGroup is the one of the groups that has a pool of addresses, nil if none has. Pools do not overlap, so that an
// endpoint cannot be in two of them.
func pooledGroup(groups []*state.EndpointGroup) (pooled *state.EndpointGroup, err error) {
	for _, group := range groups {
		switch {
		case group.IPPool == "":
		case pooled != nil:
			return nil, refuse(Invalid, "groups %q and %q have address pools of their own; an endpoint can be in one such group only",
				pooled.Key(), group.Key())
		default:
			pooled = group
		}
	}
	return pooled, nil
}

// identityOf is the number of a set of groups: 0 of none, that of the group if it is one, else that of the set, which
// gets one with its first endpoint.
func (tx *txn) identityOf(tenant string, groups []string) (int, error) {
	switch len(groups) {
	case 0:
		return 0, nil
	case 1:
		key := state.ModelKey(tenant, groups[0])
		decided := tx.GroupState(key)
		if decided == nil {
			return 0, refuse(Internal, "group %q has no numbers", key)
		}
		return decided.Identity, nil
	}
	if set := tx.GroupSet(state.GroupSetKey(tenant, groups)); set != nil {
		return set.Identity, nil
	}
	next := &state.GroupSet{TenantName: tenant, Groups: groups}
	var err error
	if next.Identity, err = tx.take(identities(), next.StoreKey()); err != nil {
		return 0, err
	}
	tx.Put(next)
	return next.Identity, nil
}

// leaveSet removes the set of several groups that an endpoint was in, if the endpoint was its last. Its identity goes
// into quarantine.
func (tx *txn) leaveSet(old *state.Endpoint) {
	if len(old.Groups) < 2 {
		return
	}
	key := state.GroupSetKey(old.TenantName, old.Groups)
	other := tx.Find(ledger.EndpointsOfGroupSet(key), func(r state.Record) bool { return !tx.gone[r.StoreKey()] })
	set := tx.GroupSet(key)
	if other != nil || set == nil {
		return
	}
	tx.giveBack(state.PoolIdentity, set.Identity, set.StoreKey())
	tx.Delete(set)
}
