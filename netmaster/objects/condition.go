package objects

import (
	"context"
	"slices"

	"github.com/contiv/contiv/netmaster/ledger"
)

// Condition is what must hold of one record when an operation is written. It is part of the transaction: nothing can
// come between the test and the change.
type Condition struct {
	StoreKey string
	// Check refuses the revision that the record is at, 0 if there is none, with an *Error. It must be a pure function.
	Check func(revision int64) error
}

type conditionsKey struct{}

// If makes the operations that are called with the context refuse, changing nothing, when a condition does not hold,
// also when they would find nothing to write. It adds to the conditions that the context has.
//
// They come with the context and not with each call because they belong to the request, whatever it asks for.
func If(ctx context.Context, conditions ...Condition) context.Context {
	if len(conditions) == 0 {
		return ctx
	}
	return context.WithValue(ctx, conditionsKey{}, append(conditionsOf(ctx), conditions...))
}

// unconditional takes the conditions from the context, for what follows the operation that they are about.
func unconditional(ctx context.Context) context.Context {
	return context.WithValue(ctx, conditionsKey{}, []Condition(nil))
}

// conditionsOf has no room left, so that it may be appended to.
func conditionsOf(ctx context.Context) []Condition {
	conditions, _ := ctx.Value(conditionsKey{}).([]Condition)
	return slices.Clip(conditions)
}

func checkConditions(ctx context.Context, tx *ledger.Tx) error {
	for _, c := range conditionsOf(ctx) {
		if err := c.Check(tx.Pin(c.StoreKey)); err != nil {
			return err
		}
	}
	return nil
}
