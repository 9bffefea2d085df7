package objects

import (
	"context"
	"fmt"
	"strings"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Seed writes what every cluster has, as far as it is absent: the layout number, the global object and the tenant
// "default". It never changes what is there. A store with a newer layout is refused: this version must not lead then.
func (o *Objects) Seed(ctx context.Context, global *state.Global) (int64, error) {
	first := *global
	first.SetDefaults()
	if err := first.Validate(); err != nil {
		return 0, classify("seeding the global object", err)
	}
	return o.commit(ctx, "seeding the store", func(tx *txn) error {
		switch schema := tx.Schema(); {
		case schema > state.SchemaVersion:
			return refuse(Conflict, "the store has layout %d, this netmaster knows up to %d: a newer version must lead", schema, state.SchemaVersion)
		case schema < state.SchemaVersion:
			tx.PutSchema(state.SchemaVersion)
		}
		if tx.Global() == nil {
			tx.Put(&first)
		}
		if tx.Tenant(state.DefaultTenant) == nil {
			return tx.createTenant(&state.Tenant{TenantName: state.DefaultTenant})
		}
		return nil
	})
}

// PutGlobal changes the cluster-wide settings. Fields left out keep their value.
func (o *Objects) PutGlobal(ctx context.Context, global *state.Global) (int64, error) {
	return o.commit(ctx, "writing the global object", func(tx *txn) error {
		want := *global
		old := tx.Global()
		if old != nil {
			want.Inherit(old)
		}
		want.SetDefaults()
		if err := want.Validate(); err != nil {
			return err
		}
		if old == nil {
			tx.Put(&want)
			return nil
		}
		return tx.updateGlobal(old, &want)
	})
}

func (tx *txn) updateGlobal(old, want *state.Global) error {
	for _, f := range []struct{ name, old, want string }{
		{"forwarding mode", old.FwdMode, want.FwdMode},
		{"private subnet", old.PvtSubnet, want.PvtSubnet},
		{"fabric mode", old.NetworkInfraType, want.NetworkInfraType},
	} {
		if f.old != "" && f.old != f.want && tx.Any(ledger.NetworksOfTenant("")) != nil {
			return refuse(InUse, "unable to change the %s from %s to %s because %s exist; delete the networks first",
				f.name, f.old, f.want, tx.tagCounts())
		}
	}
	if err := tx.checkNoBgp(old, want); err != nil {
		return err
	}
	if err := tx.checkTagRange(vlanTags(), "vlans", want.Vlans); err != nil {
		return err
	}
	if err := tx.checkTagRange(vniTags(), "vxlans", want.Vxlans); err != nil {
		return err
	}
	next := *old
	next.ArpMode, next.FwdMode, next.NetworkInfraType = want.ArpMode, want.FwdMode, want.NetworkInfraType
	next.PvtSubnet, next.Vlans, next.Vxlans = want.PvtSubnet, want.Vlans, want.Vxlans
	if same, err := sameFields(old, &next); same || err != nil {
		return err
	}
	tx.Put(&next)
	return nil
}

func vlanTags() numbers { return numbers{state.PoolVLAN, 1, maxVLAN, "vlan", "vlans"} }
func vniTags() numbers  { return numbers{state.PoolVNI, 1, maxVNI, "vxlan", "vxlans"} }

// tagCounts is "1 vlans and 2 vxlans", a zero part left out.
func (tx *txn) tagCounts() string {
	var parts []string
	for _, tags := range []numbers{vlanTags(), vniTags()} {
		n := 0
		for _, run := range tx.Usage(tags.pool, alloc.Numbers(tags.first, tags.last)).Used {
			n += run.Last.Int() - run.First.Int() + 1
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, tags.whats))
		}
	}
	return strings.Join(parts, " and ")
}

// checkTagRange refuses a range that leaves out a tag in use.
func (tx *txn) checkTagRange(tags numbers, field, text string) error {
	in, err := state.ParseRange(text)
	if err != nil {
		return refuse(Invalid, "%s: %v", field, err)
	}
	below := tx.UsedIn(tags.pool, alloc.Numbers(tags.first, in.First-1))
	above := tx.UsedIn(tags.pool, alloc.Numbers(in.Last+1, tags.last))
	if below == nil && above == nil {
		return nil
	}
	used := tx.Usage(tags.pool, alloc.Numbers(tags.first, tags.last)).Used
	return refuse(InUse, "%s cannot be %s: that would exclude tags in use (%s); the range must cover them",
		field, text, alloc.FormatNumbers(used))
}
