package objects

import (
	"context"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// CreateTenant makes a tenant and returns the revision it was written in. An identical one that exists already is a
// success, a different one is refused (Conflict).
func (o *Objects) CreateTenant(ctx context.Context, tenant *state.Tenant) (int64, error) {
	want := *tenant
	if err := want.Validate(); err != nil {
		return 0, classify("creating tenant", err)
	}
	return o.commit(ctx, "creating tenant "+want.TenantName, func(tx *txn) error { return tx.createTenant(&want) })
}

func (tx *txn) createTenant(want *state.Tenant) error {
	if old := tx.Tenant(want.TenantName); old != nil {
		return unchanged("tenant", want.TenantName, old, want)
	}
	next := &state.TenantState{TenantName: want.TenantName}
	number, err := tx.take(vrfs(), next.StoreKey())
	if err != nil {
		return err
	}
	next.VRF = number
	tx.Put(want)
	tx.Put(next)
	return nil
}

// unchanged accepts a second creation of an immutable object if it says the same.
func unchanged(what, key string, old, want state.Record) error {
	same, err := sameFields(old, want)
	if err != nil {
		return err
	}
	if !same {
		return refuse(Conflict, "%s %q exists and its parameters cannot change after creation; delete it first, or repeat it as it is", what, key)
	}
	return nil
}

// DeleteTenant removes a tenant that has nothing left in it.
func (o *Objects) DeleteTenant(ctx context.Context, name string) (int64, error) {
	return o.commit(ctx, "deleting tenant "+name, func(tx *txn) error { return tx.deleteTenant(name) })
}

func (tx *txn) deleteTenant(name string) error {
	old := tx.Tenant(name)
	if old == nil {
		return refuse(NotFound, "tenant not found: %q", name)
	}
	if name == state.DefaultTenant {
		return refuse(InUse, "tenant %q cannot be deleted: every cluster has it", name)
	}
	for _, part := range []struct {
		in   ledger.Index
		what string
	}{
		{ledger.AppProfilesOfTenant(name), "app profiles"},
		{ledger.GroupsOfTenant(name), "endpoint groups"},
		{ledger.PoliciesOfTenant(name), "policies"},
		{ledger.NetprofilesOfTenant(name), "netprofiles"},
		{ledger.ServicesOfTenant(name), "services"},
		{ledger.ContractsOfTenant(name), "external contracts groups"},
		{ledger.NetworksOfTenant(name), "networks"},
		{ledger.EndpointsOfTenant(name), "endpoints"},
	} {
		if n := tx.Count(part.in); n > 0 {
			return refuse(InUse, "tenant %q cannot be deleted: it has %d %s; delete them first", name, n, part.what)
		}
	}
	tx.Delete(old)
	if decided := tx.TenantState(name); decided != nil {
		tx.giveBack(state.PoolVRF, decided.VRF, decided.StoreKey())
		tx.Delete(decided)
	}
	return nil
}
