package daemon

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/docker"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/ofnet/protocol"
)

// inspector is what the REST server needs of the agent.
type inspector interface {
	Status(ctx context.Context) agent.Status
	Ready(ctx context.Context) error
	Attachments(ctx context.Context) ([]mgmtfn.Attachment, error)
	Detach(ctx context.Context, containerID, ifName string) error
	Statistics(ctx context.Context) (protocol.Statistics, error)
	Services() map[string]*protocol.Service
}

// requestTimeout bounds one request of the REST server.
const requestTimeout = 20 * time.Second

// inspection is what GET /inspect/driver answers.
type inspection struct {
	agent.Status
	Docker *docker.Status `json:"docker,omitempty"` // with --mode docker
}

// restHandler answers the agent's debug requests. engine is nil unless there is one.
func restHandler(host inspector, engine *docker.Plugin) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /inspect/driver", func(w http.ResponseWriter, r *http.Request) {
		answer := inspection{Status: host.Status(r.Context())}
		if engine != nil {
			seen := engine.Status()
			answer.Docker = &seen
		}
		writeJSON(w, http.StatusOK, answer)
	})
	mux.HandleFunc("GET /inspect/counters", func(w http.ResponseWriter, r *http.Request) {
		tellCounters(w, r, host)
	})
	// A BGP speaker comes later; netmaster and clients of the original expect its form.
	mux.HandleFunc("GET "+protocol.PathInspectBgp, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, protocol.BgpInspection{Peers: []protocol.BgpPeer{}, Dsts: []string{}})
	})
	mux.HandleFunc("GET /svcstats", func(w http.ResponseWriter, r *http.Request) { tellServices(w, r, host) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, version.Get())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { tellHealth(w, r, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { tellHealth(w, r, host.Ready(r.Context())) })
	mux.HandleFunc("DELETE /debug/reclaimEndpoint/{id...}", func(w http.ResponseWriter, r *http.Request) {
		reclaim(w, r, host)
	})
	return http.TimeoutHandler(mux, requestTimeout, "netplugin took too long to answer")
}

// counted is what GET /inspect/counters answers. Problem says what of it is missing or old, and why.
type counted struct {
	protocol.Statistics
	Problem string `json:"problem,omitempty"`
}

func tellCounters(w http.ResponseWriter, r *http.Request, host inspector) {
	statistics, err := host.Statistics(r.Context())
	answer := counted{Statistics: statistics}
	if err != nil {
		answer.Problem = err.Error()
	}
	writeJSON(w, http.StatusOK, answer)
}

type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// tellHealth answers in the form that netmaster has too: "ok", or 503 and the reason in words; JSON to who asks for it.
func tellHealth(w http.ResponseWriter, r *http.Request, problem error) {
	status, answer, words := http.StatusOK, health{Status: "ok"}, "ok"
	if problem != nil {
		status, answer = http.StatusServiceUnavailable, health{Status: "not ready", Reason: problem.Error()}
		words = "not ready: " + problem.Error()
	}
	if strings.Contains(r.Header.Get("Accept"), "json") {
		writeJSON(w, status, answer)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, words)
}

// reclaim detaches what an id names: "host/container/interface", "container/interface", a container (all of its
// interfaces), or the original's "network.tenant-container".
func reclaim(w http.ResponseWriter, r *http.Request, host inspector) {
	id := r.PathValue("id")
	all, err := host.Attachments(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var failures []error
	found := false
	for _, one := range all {
		switch id {
		case one.ID.String(), one.ID.ContainerID + "/" + one.ID.IfName, one.ID.ContainerID,
			one.Network + "." + one.Tenant + "-" + one.ID.ContainerID:
			found = true
			failures = append(failures, host.Detach(r.Context(), one.ID.ContainerID, one.ID.IfName))
		}
	}
	switch err := errors.Join(failures...); {
	case !found:
		http.Error(w, fmt.Sprintf("endpoint %q is not attached on this host; GET /inspect/driver lists those that are", id), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(body) // The caller went away: nothing to tell it.
}

// listenREST opens the inspect address.
func listenREST(address string, secure *tls.Config) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening the inspect address: %w (another netplugin? give --%s)", err, flagInspect)
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	return listener, nil
}

// serveREST answers on the listener, which it closes, until ctx ends.
func serveREST(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bound, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if server.Shutdown(bound) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(listener)
	if unhook() { // Serve failed by itself.
		return fmt.Errorf("serving the inspect address: %w", err)
	}
	<-stopped
	return nil
}

// restURL is what netmaster is told of the inspect address, empty for none.
func restURL(address string, secure bool) string {
	switch {
	case address == "":
		return ""
	case secure:
		return "https://" + address
	}
	return "http://" + address
}

// exposed tells whether an address can be reached from outside this host.
func exposed(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || strings.EqualFold(host, "localhost") {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}
