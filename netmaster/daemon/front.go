package daemon

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb/embedded"
)

// readyTime is how long the store may take to answer before this netmaster counts as not ready.
const readyTime = time.Second

// snapshotTime is how long a client may take to fetch a snapshot.
const snapshotTime = 10 * time.Minute

// front answers REST from the first moment on: what tells how the process is by itself, everything else by the API as
// soon as that stands. It implements http.Handler.
type front struct {
	daemon                 *daemon
	alive, ready, notReady http.Handler

	waiting atomic.Pointer[string] // what for
	api     atomic.Pointer[http.Handler]
	begun   chan struct{} // closed when a leader was known for the first time
	once    sync.Once
	since   time.Time
}

func newFront(d *daemon) *front {
	f := &front{daemon: d, begun: make(chan struct{}), since: time.Now()}
	f.waitsFor("netmaster is starting")
	f.alive = api.Health(func(context.Context) error { return nil })
	f.ready = api.Health(f.check)
	f.notReady = api.Refuse(http.StatusServiceUnavailable, func() string { return *f.waiting.Load() })
	return f
}

// waitsFor notes, for people, why the API does not stand yet.
func (f *front) waitsFor(what string) { f.waiting.Store(&what) }

// serve lets the API answer.
func (f *front) serve(handler http.Handler) { f.api.Store(&handler) }

// begin says that a leader is known, or was.
func (f *front) begin() { f.once.Do(func() { close(f.begun) }) }

// check tells why this netmaster would not serve a request as it should.
func (f *front) check(ctx context.Context) error {
	if f.api.Load() == nil {
		return errors.New(*f.waiting.Load())
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	// The store answers, and the model has all that it has.
	if err := f.daemon.ledger.View(ctx, func(*ledger.Model) {}); err != nil {
		return err
	}
	if leader, self := f.daemon.reign.Leader(); leader == "" && !self {
		return errors.New("no netmaster is known to lead")
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
	case path == "/healthz":
		f.alive.ServeHTTP(w, r)
		return
	case path == "/readyz":
		f.ready.ServeHTTP(w, r)
		return
	case path == "/metrics":
		f.daemon.metrics.Handler().ServeHTTP(w, r)
		return
	}
	if path == "/debug/snapshot" && r.Method == http.MethodGet && f.api.Load() != nil {
		certified(http.HandlerFunc(f.snapshot)).ServeHTTP(w, r)
		return
	}
	if f.daemon.cfg.Pprof && (path == "/debug/pprof" || strings.HasPrefix(path, "/debug/pprof/")) {
		certified(profiles()).ServeHTTP(w, r)
		return
	}
	f.await(r.Context())
	if handler := f.api.Load(); handler != nil {
		(*handler).ServeHTTP(w, r)
		return
	}
	f.notReady.ServeHTTP(w, r)
}

// await holds requests up for a moment after the start, so that a netmaster that was only restarted refuses none.
func (f *front) await(ctx context.Context) {
	left := time.Until(f.since.Add(leaderPatience))
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-f.begun:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// certified lets only clients with a certificate through, if the listener has TLS.
func certified(next http.Handler) http.Handler {
	refuse := api.Refuse(http.StatusForbidden, func() string {
		return "this is only for clients that show a certificate of the cluster's authority"
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.VerifiedChains) == 0 {
			refuse.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// profiles is what --pprof serves.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// snapshot answers with the whole embedded store. Its end is marked by a checksum, so that one that broke off is not
// restored by mistake.
func (f *front) snapshot(w http.ResponseWriter, r *http.Request) {
	store, ok := f.daemon.store.(*embedded.Store)
	if !ok {
		api.Refuse(http.StatusNotImplemented, func() string {
			return "the store is not in netmaster: back it up with its own tools (docs/backup.md)"
		}).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="contiv-snapshot.db"`)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(snapshotTime)) // else the server's own counts
	if err := store.Snapshot(r.Context(), w); err != nil {
		f.daemon.log.WithError(err).Warn("a snapshot was not taken to its end")
		panic(http.ErrAbortHandler) // so that the client sees that it broke off
	}
}
