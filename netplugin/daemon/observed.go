package daemon

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/netplugin/metrics"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// observed is the agent as its front ends see it: what they ask for is measured, and has an id that the logs of agent and
// netmaster share.
type observed struct {
	*agent.Agent
	metrics *metrics.Metrics
}

// Attach is that of the agent.
func (o *observed) Attach(ctx context.Context, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	began := time.Now()
	made, err := o.Agent.Attach(requestid.Ensure(ctx), want)
	o.metrics.Attached(began, err)
	return made, err //nolint:wrapcheck // the agent's own words
}

// Detach is that of the agent.
func (o *observed) Detach(ctx context.Context, containerID, ifName string) error {
	began := time.Now()
	err := o.Agent.Detach(requestid.Ensure(ctx), containerID, ifName)
	o.metrics.Detached(began, err)
	return err //nolint:wrapcheck // the agent's own words
}

// withOperations adds to the REST server what tells how the process is.
func withOperations(rest, metrics http.Handler, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.Handle("GET /metrics", metrics)
	if profiles { // beside the time limit of the others: a profile takes its time
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}
