// Package state holds every record that Contiv keeps in the cluster store: its Go type, its JSON form, its key and
// its validation. Two kinds:
//
//   - intent, what a user asked for, under obj/modeldb/<type>/<key>, field by field as the REST API shows it
//     (links, counters and allocated numbers are derived and never stored);
//   - runtime, what netmaster decided or was told: numbers, endpoints, hosts, allocations, under state/ and alloc/.
//
// A record is read with Decode and written with Encode, which keep JSON fields that this version does not know, so
// that an older netmaster does not lose what a newer one wrote. The package is pure: no I/O, no clock.
package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// SchemaVersion is the layout of the records below. It is stored under SchemaKey; a netmaster that finds a larger
// number there does not lead.
const SchemaVersion = 1

// SchemaKey holds SchemaVersion as a decimal number.
const SchemaKey = "meta/schema"

// Record is implemented by a pointer to each stored type.
type Record interface {
	// StoreKey is the record's key in the store, derived from its naming fields.
	StoreKey() string
	extra() *Extra
}

// Extra carries the JSON members of a stored record that this version does not know. Embedded in every record.
type Extra struct {
	unknown map[string]json.RawMessage
}

func (e *Extra) extra() *Extra { return e }

// Encode gives the stored form of a record: its own fields in declaration order, then the unknown ones by name.
func Encode(r Record) ([]byte, error) {
	own, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", r.StoreKey(), err)
	}
	unknown := r.extra().unknown
	if len(unknown) == 0 {
		return own, nil
	}
	rest, err := json.Marshal(unknown)
	if err != nil {
		return nil, fmt.Errorf("encoding unknown fields of %s: %w", r.StoreKey(), err)
	}
	if bytes.Equal(own, []byte("{}")) {
		return rest, nil
	}
	out := append(own[:len(own)-1:len(own)-1], ',')
	return append(out, rest[1:]...), nil
}

// Decode reads a stored record into r, a pointer to its type, and remembers members it does not know.
func Decode(data []byte, r Record) error {
	// Nearly always there are none, and one reading does.
	known := json.NewDecoder(bytes.NewReader(data))
	known.DisallowUnknownFields()
	if err := known.Decode(r); err == nil && onlySpace(data[known.InputOffset():]) {
		r.extra().unknown = nil
		return nil
	}
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("decoding %T: %w", r, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("decoding %T: %w", r, err)
	}
	for _, name := range knownFields(reflect.TypeOf(r).Elem()) {
		delete(all, name)
	}
	if len(all) == 0 {
		all = nil
	}
	r.extra().unknown = all
	return nil
}

func onlySpace(data []byte) bool { return len(bytes.TrimSpace(data)) == 0 }

var fieldsOf sync.Map // reflect.Type -> []string

func knownFields(t reflect.Type) []string {
	if names, ok := fieldsOf.Load(t); ok {
		return names.([]string)
	}
	var names []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" && field.Anonymous:
			names = append(names, knownFields(field.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	fieldsOf.Store(t, names)
	return names
}
