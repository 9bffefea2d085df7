package objects

import (
	"context"
	"errors"
	"fmt"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// Kind is the class of an Error.
type Kind int

// Kinds of errors.
const (
	Internal    Kind = iota // a defect of ours or of the stored records
	Invalid                 // the request can never succeed as it is
	NotFound                // something the request names does not exist
	Conflict                // something else has the name, the number or the address
	InUse                   // what should go or change is used
	Exhausted               // no number or address is left
	TooLarge                // over the limits of one transaction
	Unavailable             // the store cannot be reached or did not answer in time; try again
	NotLeader               // another netmaster leads
	Changed                 // a Condition does not hold: somebody else was faster
)

// Error is why an operation was refused or failed. Unless Kind is Unavailable nothing was changed.
type Error struct {
	Kind    Kind
	Message string // what is wrong and what is allowed, for a person
	cause   error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// KindOf classifies any error of this package, Internal for others.
func KindOf(err error) Kind {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own.Kind
	case errors.Is(err, state.ErrInvalid):
		return Invalid
	case errors.Is(err, ledger.ErrNotLeader):
		return NotLeader
	case errors.Is(err, ledger.ErrUnreadable):
		return Conflict
	case errors.Is(err, objdb.ErrTooLarge):
		return TooLarge
	case errors.Is(err, objdb.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Unavailable
	}
	return Internal
}

func refuse(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// classify makes an *Error of any error.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	kind := KindOf(err)
	if kind == Invalid {
		return &Error{Kind: kind, Message: err.Error(), cause: err}
	}
	return &Error{Kind: kind, Message: doing + ": " + err.Error(), cause: err}
}
