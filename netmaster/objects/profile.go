package objects

import (
	"context"
	"slices"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// PutNetprofile makes a network profile, or replaces bandwidth, burst and DSCP of one, for all groups that have it.
func (o *Objects) PutNetprofile(ctx context.Context, profile *state.Netprofile) (int64, error) {
	want := *profile
	if err := want.Validate(); err != nil {
		return 0, classify("writing netprofile", err)
	}
	return o.commit(ctx, "writing netprofile "+want.Key(), func(tx *txn) error {
		old := tx.Netprofile(want.Key())
		if old == nil {
			return tx.putNew(want.TenantName, &want)
		}
		next := *old
		next.Bandwidth, next.Burst, next.DSCP = want.Bandwidth, want.Burst, want.DSCP
		return tx.replace(old, &next)
	})
}

// putNew writes a new object of a tenant that must exist.
func (tx *txn) putNew(tenant string, want state.Record) error {
	if tx.Tenant(tenant) == nil {
		return refuse(NotFound, "Tenant not found: %q", tenant)
	}
	tx.Put(want)
	return nil
}

// replace writes the next form of a record if it differs.
func (tx *txn) replace(old, next state.Record) error {
	if same, err := sameFields(old, next); same || err != nil {
		return err
	}
	tx.Put(next)
	return nil
}

// DeleteNetprofile removes a network profile that no group has.
func (o *Objects) DeleteNetprofile(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting netprofile "+key, func(tx *txn) error {
		old := tx.Netprofile(key)
		if old == nil {
			return refuse(NotFound, "netprofile not found: %q", key)
		}
		if used, ok := tx.Any(ledger.GroupsWithNetprofile(key)).(*state.EndpointGroup); ok {
			return refuse(InUse, "NetProfile is being used: %q by group %q; detach it first", key, used.Key())
		}
		tx.Delete(old)
		return nil
	})
}

// maxAttached is how many objects one object may refer to: a change reads them all in one transaction.
const maxAttached = 48

func checkAttachedCount(what, key string, n int) error {
	if n > maxAttached {
		return refuse(TooLarge, "%s %q refers to %d objects; at most %d fit one transaction", what, key, n, maxAttached)
	}
	return nil
}

// distinct leaves out repeated names; the first of each stays where it is.
func distinct(names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// PutAppProfile makes an application profile, or replaces the groups of one. A group can be in one profile only.
func (o *Objects) PutAppProfile(ctx context.Context, profile *state.AppProfile) (int64, error) {
	want := *profile
	if err := want.Validate(); err != nil {
		return 0, classify("writing app profile", err)
	}
	if err := checkAttachedCount("app profile", want.Key(), len(want.EndpointGroups)); err != nil {
		return 0, err
	}
	want.EndpointGroups = distinct(want.EndpointGroups)
	return o.commit(ctx, "writing app profile "+want.Key(), func(tx *txn) error { return tx.putAppProfile(&want) })
}

func (tx *txn) putAppProfile(want *state.AppProfile) error {
	if tx.Tenant(want.TenantName) == nil {
		return refuse(NotFound, "Tenant not found: %q", want.TenantName)
	}
	for _, name := range want.EndpointGroups {
		key := state.ModelKey(want.TenantName, name)
		if tx.Group(key) == nil {
			return refuse(NotFound, "endpointGroup not found: %q", key)
		}
		other, ok := tx.Find(ledger.AppProfilesOfGroup(key), func(r state.Record) bool { return r.StoreKey() != want.StoreKey() }).(*state.AppProfile)
		if ok {
			return refuse(Conflict, "group %q is in app profile %q; a group can be in one only", key, other.Key())
		}
	}
	old := tx.AppProfile(want.Key())
	if old == nil {
		tx.Put(want)
		return nil
	}
	next := *old
	next.EndpointGroups = want.EndpointGroups
	return tx.replace(old, &next)
}

// DeleteAppProfile removes an application profile; its groups stay.
func (o *Objects) DeleteAppProfile(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting app profile "+key, func(tx *txn) error {
		old := tx.AppProfile(key)
		if old == nil {
			return refuse(NotFound, "appProfile not found: %q", key)
		}
		tx.Delete(old)
		return nil
	})
}

// CreateExtContractsGroup makes a group of external contracts. It cannot be changed: an identical one that exists
// already is a success, a different one is refused (Conflict).
func (o *Objects) CreateExtContractsGroup(ctx context.Context, contracts *state.ExtContractsGroup) (int64, error) {
	want := *contracts
	if err := want.Validate(); err != nil {
		return 0, classify("creating external contracts group", err)
	}
	return o.commit(ctx, "creating external contracts group "+want.Key(), func(tx *txn) error {
		if old := tx.ExtContractsGroup(want.Key()); old != nil {
			return unchanged("external contracts group", want.Key(), old, &want)
		}
		return tx.putNew(want.TenantName, &want)
	})
}

// DeleteExtContractsGroup removes a group of external contracts that no endpoint group has.
func (o *Objects) DeleteExtContractsGroup(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting external contracts group "+key, func(tx *txn) error {
		old := tx.ExtContractsGroup(key)
		if old == nil {
			return refuse(NotFound, "extContractsGroup not found: %q", key)
		}
		if used, ok := tx.Any(ledger.GroupsWithContracts(key)).(*state.EndpointGroup); ok {
			return refuse(InUse, "External contracts group is being used: %q by group %q; detach it first", key, used.Key())
		}
		tx.Delete(old)
		return nil
	})
}
