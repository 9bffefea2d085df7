package mgmtfn

import "errors"

// The agent answers front ends with these classes of errors, beside *protocol.Error, which carries the class of what
// netmaster refused (protocol.CodeUnavailable also when netmaster cannot be reached).
var (
	// ErrNotAttached: the endpoint is not plugged in on this host.
	ErrNotAttached = errors.New("not attached on this host")
	// ErrDamaged: the endpoint is plugged in, but something of it is missing; detach and attach it again.
	ErrDamaged = errors.New("attachment is damaged")
)

// NotReady says why the agent cannot attach anything now.
type NotReady struct {
	Reason string // for people, with what to do
	// Impaired: what is attached already may not be forwarded either.
	Impaired bool
}

func (e *NotReady) Error() string { return e.Reason }
