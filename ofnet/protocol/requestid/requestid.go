// Package requestid carries the id of a request through a process and between the daemons: from REST or CNI to the
// transaction that it led to, and on to every agent that is told of the outcome. All of it is for logs; nothing is
// decided by an id. Pure, but for the randomness of New.
package requestid

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"
)

// Header is the HTTP header that gives an id with a request and names it in the answer.
const Header = "X-Request-ID"

// MaxBytes is the longest id.
const MaxBytes = 128

// Valid reports whether a text may be an id: 1 to MaxBytes visible ASCII characters, so that it can stand in a header
// and in a line of a log as it is.
func Valid(id string) bool {
	if id == "" || len(id) > MaxBytes {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// New makes an id that nobody else makes.
func New() string { return uuid.NewString() }

type key struct{}

// With gives a context the id.
func With(ctx context.Context, id string) context.Context { return context.WithValue(ctx, key{}, id) }

// Of is the id of a context, empty if it has none.
func Of(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}

// Ensure gives the context a new id unless it has one.
func Ensure(ctx context.Context) context.Context {
	if Of(ctx) != "" {
		return ctx
	}
	return With(ctx, New())
}

// Meta is the "meta" member of a JSON-RPC call: what the call is not about, but who follows it wants to know.
type Meta struct {
	Request string `json:"request,omitempty"`
}

// FromMeta is the id in the "meta" member of a call, or a new one if there is none that is valid.
func FromMeta(raw *json.RawMessage) string {
	var meta Meta
	if raw != nil && json.Unmarshal(*raw, &meta) == nil && Valid(meta.Request) {
		return meta.Request
	}
	return New()
}
