package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Observer is told of every request when it has been answered: the collection, "plugin", "debug", "watch" or "other" (a
// short list, never what a client wrote), the method, the status and the time it took; of a stream, the time until it
// began. It must be quick.
type Observer func(collection, method string, status int, took time.Duration)

// recorder notes the status of an answer on its way, and when it began.
type recorder struct {
	http.ResponseWriter
	status int
	began  time.Time
}

func (r *recorder) begin(status int) {
	if r.status == 0 {
		r.status, r.began = status, time.Now()
	}
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 { // before those comes another one
		r.begin(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(data []byte) (int, error) {
	r.begin(http.StatusOK)
	return r.ResponseWriter.Write(data) //nolint:wrapcheck // the answer's own error
}

// Flush implements http.Flusher, for answers that go on.
func (r *recorder) Flush() {
	if flusher, ok := r.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// code is the status that was answered.
func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK // nothing was written, for which net/http writes this
	}
	return r.status
}

// took is how long the request took that began so; of a stream, which may go on for days, until its answer began.
func (r *recorder) took(of *http.Request, began time.Time) time.Duration {
	if isStream(of) && !r.began.IsZero() {
		return r.began.Sub(began)
	}
	return time.Since(began)
}

// tell counts a request, and logs it if it may have changed something.
func (s *server) tell(r *http.Request, status int, took time.Duration) {
	if s.Observe != nil {
		s.Observe(s.collectionOf(r.URL.Path), knownMethod(r.Method), status, took)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return
	}
	s.logOf(r).WithFields(logrus.Fields{
		"status": status, "took": took.Round(time.Microsecond).String(), "principal": PrincipalOf(r.Context()).Name,
	}).Info("request")
}

// collectionOf is what a path belongs to. The answers are few, whatever clients ask for.
func (s *server) collectionOf(path string) string {
	path = strings.TrimPrefix(path, "/")
	if rest, ok := strings.CutPrefix(path, "api/v1/"); ok {
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "inspect/"), "/")
		if name == "endpoints" || name == "watch" || slices.ContainsFunc(s.collections, func(c collection) bool { return c.name == name }) {
			return name
		}
		return "other"
	}
	switch first, _, _ := strings.Cut(path, "/"); first {
	case "plugin", "debug", "version", "info", "services", "service":
		return first
	}
	return "other"
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "other"
}
