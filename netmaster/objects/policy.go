package objects

import (
	"cmp"
	"context"
	"errors"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// errGoing says that rules of a deleted policy of the same name are still in the store.
var errGoing = errors.New("the rules of a deleted policy are still being removed")

// PutPolicy makes a policy without rules, or replaces the default of one. An existing policy keeps its default unless
// one is given, state.DenyNone for none: who repeats a creation as the original's clients do opens nothing. It returns the
// revision it was written in.
func (o *Objects) PutPolicy(ctx context.Context, policy *state.Policy) (int64, error) {
	want := *policy
	if err := want.Validate(); err != nil {
		return 0, classify("creating policy", err)
	}
	for {
		revision, err := o.commit(ctx, "creating policy "+want.Key(), func(tx *txn) error { return tx.createPolicy(&want) })
		if !errors.Is(err, errGoing) {
			return revision, err
		}
		if err := o.purge(ctx, want.Key()); err != nil {
			return 0, err
		}
	}
}

func (tx *txn) createPolicy(want *state.Policy) error {
	if old := tx.Policy(want.Key()); old != nil {
		next := *old
		next.DefaultDeny = cmp.Or(want.DefaultDeny, old.DefaultDeny)
		return tx.replace(old, asStored(next))
	}
	if tx.Tenant(want.TenantName) == nil {
		return refuse(NotFound, "Tenant not found: %q", want.TenantName)
	}
	if tx.GoingPolicy(want.Key()) != nil {
		return errGoing
	}
	tx.Put(asStored(*want))
	return nil
}

// asStored is a policy with no word for no default.
func asStored(p state.Policy) *state.Policy {
	if p.DefaultDeny == state.DenyNone {
		p.DefaultDeny = ""
	}
	return &p
}

// DeletePolicy removes a policy that no group has, with all its rules. The policy goes at once and takes the meaning of
// its rules with it; rules that do not fit one transaction leave the store afterwards, if need be with a later Sweep.
func (o *Objects) DeletePolicy(ctx context.Context, key string) (int64, error) {
	revision, err := o.commit(ctx, "deleting policy "+key, func(tx *txn) error { return tx.deletePolicy(key) })
	if err != nil {
		return 0, err
	}
	_ = o.purge(ctx, key) // Sweep repeats it
	return revision, nil
}

func (tx *txn) deletePolicy(key string) error {
	old := tx.Policy(key)
	if old == nil {
		return refuse(NotFound, "policy not found: %q", key)
	}
	if used, ok := tx.Any(ledger.GroupsWithPolicy(key)).(*state.EndpointGroup); ok {
		return refuse(InUse, "Policy is being used: %q by %d groups, %q among them; detach it first", key,
			max(1, tx.Count(ledger.GroupsWithPolicy(key))), used.Key())
	}
	tx.Delete(old)
	if !tx.removeRules(key) {
		tx.Put(&state.GoingPolicy{PolicyName: old.PolicyName, TenantName: old.TenantName})
	}
	return nil
}

// removeRules deletes the rules of a policy as far as they fit the transaction and nobody is writing them, and tells
// whether that was all. It does not wait for those who add rules: they could go on for ever.
func (tx *txn) removeRules(policy string) bool {
	const kept = 2 // for what the caller writes
	in := ledger.RulesOfPolicy(policy)
	settled := tx.List(in)
	for _, r := range settled {
		if tx.Room() <= kept {
			return false
		}
		tx.Delete(r)
	}
	return len(tx.Possible(in)) == len(settled)
}

// purge removes what is left of the rules of a deleted policy.
func (o *Objects) purge(ctx context.Context, key string) error {
	ctx = unconditional(ctx)
	for over := false; !over; {
		_, err := o.commit(ctx, "removing the rules of policy "+key, func(tx *txn) error {
			going := tx.GoingPolicy(key)
			over = going == nil
			if over {
				return nil
			}
			if over = tx.removeRules(key); over {
				tx.Delete(going)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepPolicies finishes what DeletePolicy began, perhaps under another leader.
func (o *Objects) sweepPolicies(ctx context.Context) error {
	var going []*state.GoingPolicy
	o.ledger.ViewCached(func(m *ledger.Model) { going = m.GoingPolicies() })
	for _, g := range going {
		if err := o.purge(ctx, g.Key()); err != nil {
			return err
		}
	}
	return nil
}

// CreateRule adds a rule to a policy; groups that have the policy have it at once. A rule cannot be changed: an
// identical one that exists already is a success, a different one is refused (Conflict).
func (o *Objects) CreateRule(ctx context.Context, rule *state.Rule) (int64, error) {
	want := *rule
	want.SetDefaults()
	if err := want.Validate(); err != nil {
		return 0, classify("creating rule", err)
	}
	return o.commit(ctx, "creating rule "+want.Key(), func(tx *txn) error { return tx.createRule(&want) })
}

func (tx *txn) createRule(want *state.Rule) error {
	if tx.Policy(want.PolicyKey()) == nil {
		return refuse(NotFound, "Policy not found: %q", want.PolicyKey())
	}
	if old := tx.Rule(want.Key()); old != nil {
		return unchanged("rule", want.Key(), old, want)
	}
	for _, peer := range []string{want.FromEndpointGroup, want.ToEndpointGroup} {
		if peer != "" && tx.Group(state.ModelKey(want.TenantName, peer)) == nil {
			return refuse(NotFound, "endpoint group not found: %q", state.ModelKey(want.TenantName, peer))
		}
	}
	for _, peer := range []struct{ side, name string }{{"from", want.FromNetwork}, {"to", want.ToNetwork}} {
		if peer.name != "" && tx.Network(state.ModelKey(want.TenantName, peer.name)) == nil {
			return refuse(NotFound, "%s Network not found: %q", peer.side, state.ModelKey(want.TenantName, peer.name))
		}
	}
	tx.Put(want)
	return nil
}

// DeleteRule removes a rule from its policy and from all groups that have it; also one that cannot be read, which shuts
// them.
func (o *Objects) DeleteRule(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting rule "+key, func(tx *txn) error {
		if tx.Discard(state.RulePrefix + key) {
			return nil
		}
		old := tx.Rule(key)
		if old == nil || tx.Policy(old.PolicyKey()) == nil {
			return refuse(NotFound, "rule not found: %q", key)
		}
		tx.Delete(old)
		return nil
	})
}
