package switchdb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// BridgeSpec is what EnsureBridge makes.
type BridgeSpec struct {
	DatapathType string // "system" or "netdev"
	Protocols    []string
}

// WrongDatapathError says that the bridge exists with another datapath type, which is never changed under its ports.
type WrongDatapathError struct{ Bridge, Has, Want string }

func (e *WrongDatapathError) Error() string {
	return fmt.Sprintf("bridge %s exists with datapath type %s, wanted is %s: start with --datapath-type %s, or "+
		"remove the bridge (ovs-vsctl del-br %s) when nothing is attached to it", e.Bridge, e.Has, e.Want, e.Has, e.Bridge)
}

// BridgeInfo is the bridge as found.
type BridgeInfo struct {
	UUID         string
	DatapathType string
	OVSVersion   string
}

// Bridge reads the bridge's row. ErrNoBridge if there is none.
func (db *DB) Bridge(ctx context.Context) (BridgeInfo, error) {
	results, err := db.transact(ctx,
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Bridge", Where: whereName(db.bridge), Columns: []string{"_uuid", "datapath_type"}},
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Open_vSwitch", Columns: []string{"ovs_version"}})
	if err != nil {
		return BridgeInfo{}, fmt.Errorf("reading bridge %s: %w", db.bridge, err)
	}
	if len(results[0].Rows) == 0 {
		return BridgeInfo{}, fmt.Errorf("bridge %s: %w", db.bridge, ErrNoBridge)
	}
	row := results[0].Rows[0]
	info := BridgeInfo{UUID: uuidOf(row["_uuid"]), DatapathType: textOf(row["datapath_type"])}
	if info.DatapathType == "" {
		info.DatapathType = "system"
	}
	if len(results[1].Rows) > 0 {
		info.OVSVersion = textOf(results[1].Rows[0]["ovs_version"])
	}
	return info, nil
}

// CreateBridge makes the bridge with its internal port, fail mode secure. One transaction; fails if it exists.
func (db *DB) CreateBridge(ctx context.Context, spec BridgeSpec) error {
	bridge := ovsdb.Row{
		"name": db.bridge, "datapath_type": spec.DatapathType, "fail_mode": ovsdb.OvsSet{GoSet: []any{"secure"}},
		"protocols": ovsdb.OvsSet{GoSet: anys(spec.Protocols)},
		"ports":     ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "port"}}},
	}
	_, err := db.transact(ctx,
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Interface", UUIDName: "iface", Row: ovsdb.Row{"name": db.bridge, "type": "internal"}},
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Port", UUIDName: "port", Row: ovsdb.Row{"name": db.bridge, "interfaces": ovsdb.UUID{GoUUID: "iface"}}},
		ovsdb.Operation{Op: ovsdb.OperationInsert, Table: "Bridge", UUIDName: "bridge", Row: bridge},
		ovsdb.Operation{Op: ovsdb.OperationMutate, Table: "Open_vSwitch", Where: anyRow(), Mutations: []ovsdb.Mutation{
			{Column: "bridges", Mutator: ovsdb.MutateOperationInsert, Value: ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "bridge"}}}}}})
	if err != nil {
		return fmt.Errorf("creating bridge %s: %w", db.bridge, err)
	}
	return nil
}

// ConfigureBridge sets fail mode and protocols of the existing bridge; ports and flows stay.
func (db *DB) ConfigureBridge(ctx context.Context, spec BridgeSpec) error {
	_, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: "Bridge", Where: whereName(db.bridge), Row: ovsdb.Row{
		"fail_mode": ovsdb.OvsSet{GoSet: []any{"secure"}}, "protocols": ovsdb.OvsSet{GoSet: anys(spec.Protocols)}}})
	if err != nil {
		return fmt.Errorf("configuring bridge %s: %w", db.bridge, err)
	}
	return nil
}

// EnsureBridge makes the bridge or takes the existing one, whose datapath type must be the wanted.
// *WrongDatapathError otherwise.
func (db *DB) EnsureBridge(ctx context.Context, spec BridgeSpec) (BridgeInfo, error) {
	info, err := db.Bridge(ctx)
	switch {
	case err == nil && info.DatapathType != spec.DatapathType:
		return info, &WrongDatapathError{Bridge: db.bridge, Has: info.DatapathType, Want: spec.DatapathType}
	case err == nil:
		return info, db.ConfigureBridge(ctx, spec)
	case !isNoBridge(err):
		return info, err
	}
	if err := db.CreateBridge(ctx, spec); err != nil {
		return info, err
	}
	return db.Bridge(ctx)
}

// Notes are the external ids of the bridge.
func (db *DB) Notes(ctx context.Context) (map[string]string, error) {
	results, err := db.transact(ctx, ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "Bridge",
		Where: whereName(db.bridge), Columns: []string{"external_ids"}})
	if err != nil {
		return nil, fmt.Errorf("reading notes of bridge %s: %w", db.bridge, err)
	}
	if len(results[0].Rows) == 0 {
		return nil, fmt.Errorf("reading notes of bridge %s: %w", db.bridge, ErrNoBridge)
	}
	return mapOf(results[0].Rows[0]["external_ids"]), nil
}

// SetNotes sets and drops notes in one transaction. Others stay.
func (db *DB) SetNotes(ctx context.Context, set map[string]string, drop ...string) error {
	if _, err := db.transact(ctx, db.bridgeExists(), db.mutateBridge(noteMutations(set, drop)...)); err != nil {
		return fmt.Errorf("writing notes of bridge %s: %w", db.bridge, err)
	}
	return nil
}

// noteMutations first delete: inserting into a map never replaces a value.
func noteMutations(set map[string]string, drop []string) []ovsdb.Mutation {
	keys := slices.AppendSeq(slices.Clone(drop), maps.Keys(set))
	slices.Sort(keys)
	keys = slices.Compact(keys) // a set on the wire has nothing twice
	mutations := []ovsdb.Mutation{{Column: "external_ids", Mutator: ovsdb.MutateOperationDelete, Value: ovsdb.OvsSet{GoSet: anys(keys)}}}
	if len(set) > 0 {
		mutations = append(mutations, ovsdb.Mutation{Column: "external_ids", Mutator: ovsdb.MutateOperationInsert, Value: ovsMap(set)})
	}
	return mutations
}

func (db *DB) mutateBridge(mutations ...ovsdb.Mutation) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: "Bridge", Where: whereName(db.bridge), Mutations: mutations}
}

// bridgeExists makes its transaction fail when the bridge is gone: a mutation of no row would succeed.
func (db *DB) bridgeExists() ovsdb.Operation {
	now := 0
	return ovsdb.Operation{Op: ovsdb.OperationWait, Table: "Bridge", Timeout: &now, Where: whereName(db.bridge),
		Columns: []string{"name"}, Until: "==", Rows: []ovsdb.Row{{"name": db.bridge}}}
}
