package switchdb

import (
	"errors"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

var interfaceColumns = []string{"name", "type", "ofport", "ofport_request", "error", "options", "external_ids"}

func whereName(name string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "name", Function: ovsdb.ConditionEqual, Value: name}}
}

// anyRow holds for every row: libovsdb leaves an empty condition out of mutations, which the server refuses.
func anyRow() []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "_uuid", Function: ovsdb.ConditionNotEqual, Value: ovsdb.UUID{GoUUID: "00000000-0000-0000-0000-000000000000"}}}
}

func isNoBridge(err error) bool { return errors.Is(err, ErrNoBridge) }

func portOf(row ovsdb.Row) Port {
	return Port{
		Name: textOf(row["name"]), Type: textOf(row["type"]), Number: intOf(row["ofport"]), Request: intOf(row["ofport_request"]),
		Error: textOf(row["error"]), Options: mapOf(row["options"]), ExternalIDs: mapOf(row["external_ids"]),
	}
}

// The wire form of an optional column is the value itself or an empty set.

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case ovsdb.OvsSet:
		if len(v.GoSet) == 1 {
			return textOf(v.GoSet[0])
		}
	}
	return ""
}

func intOf(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case int:
		return v
	case ovsdb.OvsSet:
		if len(v.GoSet) == 1 {
			return intOf(v.GoSet[0])
		}
	}
	return 0
}

func uuidOf(v any) string {
	if id, ok := v.(ovsdb.UUID); ok {
		return id.GoUUID
	}
	return ""
}

func uuidsOf(v any) []string {
	switch v := v.(type) {
	case ovsdb.UUID:
		return []string{v.GoUUID}
	case ovsdb.OvsSet:
		var ids []string
		for _, m := range v.GoSet {
			ids = append(ids, uuidOf(m))
		}
		return ids
	}
	return nil
}

func mapOf(v any) map[string]string {
	m, ok := v.(ovsdb.OvsMap)
	if !ok {
		return map[string]string{}
	}
	out := make(map[string]string, len(m.GoMap))
	for k, val := range m.GoMap {
		out[textOf(k)] = textOf(val)
	}
	return out
}

func ovsMap(m map[string]string) ovsdb.OvsMap {
	out := ovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range m {
		out.GoMap[k] = v
	}
	return out
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}
