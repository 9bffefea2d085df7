package ledger

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/contiv/contiv/state"
)

// schema is the record at state.SchemaKey: a bare decimal number.
type schema struct {
	version int
	state.Extra
}

// StoreKey implements state.Record.
func (*schema) StoreKey() string { return state.SchemaKey }

// MarshalJSON implements json.Marshaler.
func (s *schema) MarshalJSON() ([]byte, error) { return json.Marshal(s.version) }

func decodeSchema(value []byte) (state.Record, error) {
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", state.SchemaKey, err)
	}
	return &schema{version: n}, nil
}
