package objects

import (
	"context"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// fabricACI is the fabric mode in which ACI does the routing.
const fabricACI = "aci"

// PutBgp makes the BGP speaker of a host, or replaces it. The host need not exist yet.
func (o *Objects) PutBgp(ctx context.Context, bgp *state.Bgp) (int64, error) {
	want := *bgp
	if err := want.Validate(); err != nil {
		return 0, classify("writing Bgp", err)
	}
	return o.commit(ctx, "writing Bgp "+want.Key(), func(tx *txn) error {
		if global := tx.Global(); global != nil && global.NetworkInfraType == fabricACI {
			return refuse(Conflict, "Bgp %q: in fabric mode %q the fabric routes; there is no BGP", want.Key(), fabricACI)
		}
		old := tx.Bgp(want.Key())
		if old == nil {
			tx.Put(&want)
			return nil
		}
		next := *old
		next.AS, next.Neighbor, next.NeighborAS, next.RouterIP = want.AS, want.Neighbor, want.NeighborAS, want.RouterIP
		return tx.replace(old, &next)
	})
}

// DeleteBgp removes the BGP speaker of a host.
func (o *Objects) DeleteBgp(ctx context.Context, host string) (int64, error) {
	return o.commit(ctx, "deleting Bgp "+host, func(tx *txn) error {
		old := tx.Bgp(host)
		if old == nil {
			return refuse(NotFound, "Bgp not found: %q", host)
		}
		tx.Delete(old)
		return nil
	})
}

// checkNoBgp refuses a change of the global object that BGP speakers would not survive.
func (tx *txn) checkNoBgp(old, want *state.Global) error {
	leaves := old.FwdMode == state.ForwardRouting && want.FwdMode != state.ForwardRouting
	if !leaves && (want.NetworkInfraType != fabricACI || old.NetworkInfraType == fabricACI) {
		return nil
	}
	if n := tx.Count(ledger.AllBgps()); n > 0 {
		return refuse(InUse, "there are %d Bgp configs that need forwarding mode %q and no ACI; delete Bgp configs first",
			n, state.ForwardRouting)
	}
	return nil
}

// PutAciGw makes the settings for ACI, or replaces them all.
func (o *Objects) PutAciGw(ctx context.Context, settings *state.AciGw) (int64, error) {
	want := *settings
	want.SetDefaults()
	if err := want.Validate(); err != nil {
		return 0, classify("writing aciGw", err)
	}
	return o.commit(ctx, "writing aciGw", func(tx *txn) error {
		old := tx.AciGw()
		if old == nil {
			tx.Put(&want)
			return nil
		}
		next := *old
		next.EnforcePolicies, next.IncludeCommonTenant = want.EnforcePolicies, want.IncludeCommonTenant
		next.NodeBindings, next.PathBindings, next.PhysicalDomain = want.NodeBindings, want.PathBindings, want.PhysicalDomain
		return tx.replace(old, &next)
	})
}

// DeleteAciGw removes the settings for ACI, which application profiles need.
func (o *Objects) DeleteAciGw(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting aciGw", func(tx *txn) error {
		old := tx.AciGw()
		if old == nil || key != state.AciGwName {
			return refuse(NotFound, "aciGw not found: %q", key)
		}
		if tx.Any(ledger.AppProfilesOfTenant("")) != nil {
			return refuse(InUse, "aciGw cannot be deleted: %d app profiles still exist; delete them first",
				max(1, tx.Count(ledger.AppProfilesOfTenant(""))))
		}
		tx.Delete(old)
		return nil
	})
}
