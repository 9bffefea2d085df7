package switchdb

import (
	"context"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// settlePoll is how often Settle looks.
const settlePoll = 2 * time.Millisecond

// Settle returns when the switch has done what the database said before the call, as ovs-vsctl waits for it. It is needed
// between the removal of a port and the making of one with its name: the switch may otherwise see no change, and go on
// with the device of before.
func (db *DB) Settle(ctx context.Context) error {
	results, err := db.transact(ctx,
		ovsdb.Operation{Op: ovsdb.OperationMutate, Table: "Open_vSwitch", Where: anyRow(),
			Mutations: []ovsdb.Mutation{{Column: "next_cfg", Mutator: ovsdb.MutateOperationAdd, Value: 1}}},
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Where: anyRow(), Columns: []string{"next_cfg"}})
	if err != nil {
		return fmt.Errorf("asking the switch to tell when it is done: %w", err)
	}
	if len(results[1].Rows) == 0 {
		return nil // a database that no switch has ever used
	}
	want := intOf(results[1].Rows[0]["next_cfg"])
	look := time.NewTicker(settlePoll)
	defer look.Stop()
	for {
		results, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Where: anyRow(), Columns: []string{"cur_cfg"}})
		if err != nil {
			return fmt.Errorf("reading how far the switch is: %w", err)
		}
		if len(results[0].Rows) > 0 && intOf(results[0].Rows[0]["cur_cfg"]) >= want {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the switch to take a change (is ovs-vswitchd running?): %w", ctx.Err())
		}
	}
}
