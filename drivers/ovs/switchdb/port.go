package switchdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Ports are the ports of the bridge, its internal one left out.
func (db *DB) Ports(ctx context.Context) ([]Port, error) {
	results, err := db.transact(ctx,
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Bridge", Where: whereName(db.bridge), Columns: []string{"ports"}},
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Port", Columns: []string{"_uuid", "interfaces"}},
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Interface", Columns: append([]string{"_uuid"}, interfaceColumns...)})
	if err != nil {
		return nil, fmt.Errorf("reading ports of bridge %s: %w", db.bridge, err)
	}
	if len(results[0].Rows) == 0 {
		return nil, fmt.Errorf("reading ports of bridge %s: %w", db.bridge, ErrNoBridge)
	}
	mine := map[string]bool{}
	for _, id := range uuidsOf(results[0].Rows[0]["ports"]) {
		mine[id] = true
	}
	interfaces := map[string]bool{}
	for _, row := range results[1].Rows {
		if !mine[uuidOf(row["_uuid"])] {
			continue
		}
		for _, id := range uuidsOf(row["interfaces"]) {
			interfaces[id] = true
		}
	}
	var ports []Port
	for _, row := range results[2].Rows {
		if port := portOf(row); interfaces[uuidOf(row["_uuid"])] && port.Name != db.bridge {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// Port reads one interface by name; nil if there is none in the whole switch.
func (db *DB) Port(ctx context.Context, name string) (*Port, error) {
	results, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Interface",
		Where: whereName(name), Columns: interfaceColumns})
	if err != nil {
		return nil, fmt.Errorf("reading port %s: %w", name, err)
	}
	if len(results[0].Rows) == 0 {
		return nil, nil
	}
	port := portOf(results[0].Rows[0])
	return &port, nil
}

// AddPort plugs a port into the bridge, sets and drops notes in the same transaction, and waits until the switch has
// opened the device. It answers the OpenFlow number. On error the port may be in the database; RemovePort takes it away.
// ErrExists if the switch has a port of that name.
func (db *DB) AddPort(ctx context.Context, port Port, notes map[string]string, dropNotes ...string) (int, error) {
	updates, stop := db.watch(port.Name)
	defer stop()
	if err := db.insertPort(ctx, port, notes, dropNotes); err != nil {
		return 0, fmt.Errorf("adding port %s to bridge %s: %w", port.Name, db.bridge, err)
	}
	for {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for the switch to open port %s (is ovs-vswitchd running?): %w", port.Name, ctx.Err())
		case now := <-updates:
			if now.Number > 0 {
				return now.Number, nil
			}
			if now.Number < 0 {
				return 0, fmt.Errorf("the switch cannot open port %s: %s", port.Name, now.Error)
			}
		}
	}
}

func (db *DB) insertPort(ctx context.Context, port Port, notes map[string]string, dropNotes []string) error {
	row := ovsdb.Row{"name": port.Name, "type": port.Type, "options": ovsMap(port.Options), "external_ids": ovsMap(port.ExternalIDs)}
	if port.Request > 0 {
		row["ofport_request"] = port.Request
	}
	mutations := []ovsdb.Mutation{{Column: "ports", Mutator: ovsdb.MutateOperationInsert, Value: ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "port"}}}}}
	if len(notes)+len(dropNotes) > 0 {
		mutations = append(mutations, noteMutations(notes, dropNotes)...)
	}
	_, err := db.transact(ctx, db.bridgeExists(),
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Interface", UUIDName: "iface", Row: row},
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Port", UUIDName: "port", Row: ovsdb.Row{"name": port.Name, "interfaces": ovsdb.UUID{GoUUID: "iface"}}},
		db.mutateBridge(mutations...))
	var conflict *ovsdb.ConstraintViolation
	if errors.As(err, &conflict) {
		return fmt.Errorf("%w (%w)", ErrExists, err)
	}
	return err
}

// RemovePort takes a port from the bridge, if it is there, and sets notes, in one transaction. It tells whether it was.
// Without the port nothing is written.
func (db *DB) RemovePort(ctx context.Context, name string, notes map[string]string) (bool, error) {
	results, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Port", Where: whereName(name), Columns: []string{"_uuid"}})
	if err != nil {
		return false, fmt.Errorf("finding port %s: %w", name, err)
	}
	if len(results[0].Rows) == 0 {
		return false, nil
	}
	mutations := []ovsdb.Mutation{{Column: "ports", Mutator: ovsdb.MutateOperationDelete,
		Value: ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: uuidOf(results[0].Rows[0]["_uuid"])}}}}}
	if len(notes) > 0 {
		mutations = append(mutations, noteMutations(notes, nil)...)
	}
	if _, err := db.transact(ctx, db.bridgeExists(), db.mutateBridge(mutations...)); err != nil {
		return false, fmt.Errorf("removing port %s from bridge %s: %w", name, db.bridge, err)
	}
	return true, nil
}

// SetExternalIDs replaces the external ids of a port's interface.
func (db *DB) SetExternalIDs(ctx context.Context, name string, ids map[string]string) error {
	return db.updateInterface(ctx, name, ovsdb.Row{"external_ids": ovsMap(ids)})
}

// SetOptions replaces the options of a port's interface.
func (db *DB) SetOptions(ctx context.Context, name string, options map[string]string) error {
	return db.updateInterface(ctx, name, ovsdb.Row{"options": ovsMap(options)})
}

func (db *DB) updateInterface(ctx context.Context, name string, row ovsdb.Row) error {
	results, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: "Interface", Where: whereName(name), Row: row})
	if err != nil {
		return fmt.Errorf("updating port %s: %w", name, err)
	}
	if results[0].Count == 0 {
		return fmt.Errorf("updating port %s: %w", name, ErrNoPort)
	}
	return nil
}
