package api

import (
	"errors"
	"net/http"

	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
)

// plain says of an error that is answered with 503 what is away and what to do; what it was made of is for the log.
// Other errors, and those that are plain already, stay as they are.
func plain(method string, err error) error {
	if own := (*statusError)(nil); errors.As(err, &own) || statusOf(err) != http.StatusServiceUnavailable {
		return err
	}
	message := "store unavailable: netmaster's store does not answer; try again when it does"
	switch {
	case objects.KindOf(err) == objects.NotLeader:
		message = "another netmaster has taken the lead just now; nothing was changed: try again"
	case errors.Is(err, objdb.ErrFull):
		message = "store unavailable: its disk quota is used up; free some (\"etcdctl alarm list\" tells of it), then try again"
	case method != http.MethodGet && method != http.MethodHead:
		message = "store unavailable: netmaster's store did not answer; the change may have been made or not, so look before you repeat it"
	}
	return &statusError{http.StatusServiceUnavailable, message}
}
