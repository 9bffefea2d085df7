package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// Limits of one request.
const (
	maxBody        = 1 << 20
	defaultTimeout = 5 * time.Second
)

// NewServer gives the handler the limits of a public listener. The caller serves and shuts it down.
func NewServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	if streams, ok := handler.(interface{ EndStreams() }); ok {
		server.RegisterOnShutdown(streams.EndStreams)
	}
	return server
}

// Principal is who makes a request.
type Principal struct {
	Name string
}

// Anonymous is everybody, until there is a login.
var Anonymous = Principal{Name: "anonymous"}

type principalKey struct{}

// PrincipalOf is who makes the request of the context.
func PrincipalOf(ctx context.Context) Principal {
	if p, ok := ctx.Value(principalKey{}).(Principal); ok {
		return p
	}
	return Anonymous
}

func requestIDOf(ctx context.Context) string { return requestid.Of(ctx) }

// identify gives a request the id that its sender chose, or a new one, and says it in the answer.
func identify(w http.ResponseWriter, r *http.Request) context.Context {
	id := r.Header.Get(requestid.Header)
	if !requestid.Valid(id) {
		id = requestid.New()
		r.Header.Set(requestid.Header, id) // goes along when the request is passed on to the leader
	}
	w.Header().Set(requestid.Header, id)
	return requestid.With(r.Context(), id)
}

// protect wraps everything: it names the request and who makes it, limits its time, tells of it, and survives panics.
func (s *server) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := s.limit(identify(out, r), r)
		defer cancel()
		r = r.WithContext(context.WithValue(ctx, principalKey{}, Anonymous))
		w := &recorder{ResponseWriter: out}
		defer func() { s.tell(r, w.code(), w.took(r, began)) }()
		defer func() {
			switch cause := recover(); cause {
			case nil:
			case http.ErrAbortHandler:
				panic(cause) // ends the connection, by net/http's own convention
			default:
				s.logOf(r).WithField("stack", string(debug.Stack())).Errorf("panic: %v", cause)
				writeError(w, r, errInternal)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *server) logOf(r *http.Request) *logrus.Entry {
	return s.Log.WithFields(logrus.Fields{"request": requestIDOf(r.Context()), "method": r.Method, "path": r.URL.Path})
}

// answer makes the answer of a request: a value to encode as JSON, or text.
type answer func(r *http.Request) (any, error)

// text is an answer that is not JSON.
type text string

// methods are the answers of one path.
type methods struct {
	get, put, post, remove answer
	any                    answer // for every method
}

func (m methods) of(method string) (answer, bool) {
	found := m.any
	if found == nil {
		found = m.table()[method]
	}
	return found, found != nil
}

func (m methods) table() map[string]answer {
	return map[string]answer{
		http.MethodGet: m.get, http.MethodHead: m.get, http.MethodPut: m.put, http.MethodPost: m.post, http.MethodDelete: m.remove,
	}
}

// allowed lists the methods for the Allow header.
func (m methods) allowed() string {
	var names []string
	for name, found := range m.table() {
		if found != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// endpoint is the handler of one path. The OpenAPI document reads from the router which methods it has.
type endpoint struct {
	server *server
	methods
}

// handle serves one path.
func (s *server) handle(m methods) http.Handler { return endpoint{s, m} }

func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	make, ok := e.of(r.Method)
	if !ok {
		w.Header().Set("Allow", e.allowed())
		writeError(w, r, &statusError{http.StatusMethodNotAllowed,
			fmt.Sprintf("%s does not take %s; allowed are %s", r.URL.Path, r.Method, e.allowed())})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	e.server.respond(w, r, make)
}

func (s *server) respond(w http.ResponseWriter, r *http.Request, make answer) {
	result, err := make(r)
	if forward := (*forwardError)(nil); errors.As(err, &forward) {
		var otherwise func()
		if forward.otherwise != nil {
			otherwise = func() { s.respond(w, r, forward.otherwise) }
		}
		s.forwarder.forward(w, r, forward.leader, otherwise)
		return
	}
	if err != nil {
		if statusOf(err) == http.StatusInternalServerError {
			s.logOf(r).WithError(err).Error("request failed")
			err = errInternal
		}
		if simple := plain(r.Method, err); simple != err { //nolint:errorlint // whether it is the very same
			s.logOf(r).WithError(err).Info("request answered with 503")
			err = simple
		}
		writeError(w, r, err)
		return
	}
	if careful, ok := result.(warned); ok {
		setWarnings(w, careful.warnings)
		result = careful.result
	}
	if words, ok := result.(text); ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, words)
		return
	}
	if watching, ok := result.(*stream); ok {
		watching.serve(w, r)
		return
	}
	s.writeJSON(w, r, result)
}
