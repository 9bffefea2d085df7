package protocol

import (
	"encoding/json"
	"fmt"
	"time"
)

// Error codes of JSON-RPC answers, beside those of the JSON-RPC 2.0 specification.
const (
	CodeNotLeader   = 1 // ErrorData.Leader tells who is, if known
	CodeInvalid     = 2 // the request can never succeed as it is
	CodeNotFound    = 3 // tenant, network or group does not exist
	CodeConflict    = 4 // something else has the address or the name, or a repeated request differs
	CodeExhausted   = 5 // no address or number is left
	CodeUnavailable = 6 // the store cannot be reached; try again
	CodeRefused     = 7 // not this host's business, wrong certificate, wrong version, second agent of one name
)

// ErrorData is the data member of an error answer.
type ErrorData struct {
	Leader string `json:"leader,omitempty"` // host:port of the leader's agent listener
}

// Error is an error answer. Both sides use it, whatever JSON-RPC library carries it.
type Error struct {
	Code    int
	Message string
	Leader  string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an error answer.
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Duration is a time.Duration that travels as text such as "100ms".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration must be text such as \"100ms\": %w", err)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: %w", text, err)
	}
	*d = Duration(parsed)
	return nil
}
