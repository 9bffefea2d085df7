package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/objects"
)

// statusError is an error that this package itself found in a request.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(kind, key string) error {
	return &statusError{http.StatusNotFound, fmt.Sprintf("%s not found: %q", kind, key)}
}

// errInternal stands for errors whose words are for the log only.
var errInternal = &statusError{http.StatusInternalServerError, "internal error"}

// statusOf gives the HTTP status of an error; what nobody foresaw is our own mistake.
func statusOf(err error) int {
	if e := (*statusError)(nil); errors.As(err, &e) {
		return e.status
	}
	switch objects.KindOf(err) {
	case objects.Invalid, objects.TooLarge:
		return http.StatusBadRequest
	case objects.NotFound:
		return http.StatusNotFound
	case objects.Conflict, objects.InUse, objects.Exhausted:
		return http.StatusConflict
	case objects.Changed:
		return http.StatusPreconditionFailed
	case objects.Unavailable, objects.NotLeader:
		return http.StatusServiceUnavailable
	case objects.Internal:
	}
	return http.StatusInternalServerError
}

// writeError answers with the error as plain text or, to clients that ask for JSON, as a problem.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, message := statusOf(err), bounded(err.Error())
	id := requestIDOf(r.Context())
	switch status {
	case http.StatusInternalServerError:
		message += "; netmaster's log has the details under request " + id
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !wantsJSON(r) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintln(w, message)
		return
	}
	w.Header().Set("Content-Type", client.ProblemType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: message, Instance: "urn:uuid:" + id,
	})
}

// wantsJSON reports whether the client names a JSON type; "*/*" does not.
func wantsJSON(r *http.Request) bool {
	for accept := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		switch kind, _, _ := mime.ParseMediaType(accept); kind {
		case "application/json", client.ProblemType:
			return true
		}
	}
	return false
}

// bounded keeps what is repeated of a request out of its refusal if it is a book.
func bounded(message string) string {
	const most = 4000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "..."
}
