// Package metrics is what netmaster tells Prometheus. An edge package: requests, transactions and the store's revision
// are counted as they pass; everything else is read from the model and the agents' server when somebody asks.
//
// Labels have few values: names of collections, kinds, pools, methods, codes. The one exception is "host", of which there
// are as many as the cluster has hosts. docs/operations.md lists every metric; a test compares.
package metrics

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/objdb"
)

// prefix of all names but those of the runtime and the process.
const prefix = "contiv_netmaster_"

// Metrics of one netmaster, in a registry of its own. All methods may be called at once.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	commits  *prometheus.CounterVec
	commit   prometheus.Histogram
	revision atomic.Int64 // the newest that the store was heard to have
}

// New makes metrics of which everything is zero.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total", Help: "REST requests answered.",
		}, []string{"collection", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "request_seconds", Help: "Time from a REST request's first byte to the end of its answer; of a stream, to its beginning.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"collection", "method"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "commits_total", Help: "Transactions on the store, by what came of them.",
		}, []string{"outcome"}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "commit_seconds", Help: "Time that the store took for a transaction.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "info", Help: "Always 1; says the version.", ConstLabels: prometheus.Labels{"version": version.Get().Version},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.took, m.commits, m.commit, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range outcomes {
		m.commits.WithLabelValues(outcome)
	}
	return m
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

// Request counts a request; it is an api.Observer.
func (m *Metrics) Request(collection, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(collection, method, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(collection, method).Observe(took.Seconds())
}

// Follow shows from now on what the sources say. It is called once.
func (m *Metrics) Follow(from Sources) {
	m.registry.MustRegister(&collector{from: from, revision: &m.revision})
}

// Store counts the transactions that go through it, and notes the store's revision.
func (m *Metrics) Store(store objdb.Store) objdb.Store {
	return &meteredStore{Store: store, metrics: m}
}

type meteredStore struct {
	objdb.Store
	metrics *Metrics
}

// Outcomes of transactions.
const (
	outcomeDone     = "done"
	outcomeConflict = "conflict"
	outcomeTooLarge = "too large"
	outcomeUnknown  = "unknown" // the store did not answer
)

var outcomes = []string{outcomeDone, outcomeConflict, outcomeTooLarge, outcomeUnknown}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeDone
	case errors.Is(err, objdb.ErrConflict):
		return outcomeConflict
	case errors.Is(err, objdb.ErrTooLarge):
		return outcomeTooLarge
	}
	return outcomeUnknown
}

// Commit implements objdb.Store.
func (s *meteredStore) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	began := time.Now()
	revision, err := s.Store.Commit(ctx, txn)
	s.metrics.commit.Observe(time.Since(began).Seconds())
	s.metrics.commits.WithLabelValues(outcomeOf(err)).Inc()
	if err == nil {
		s.metrics.saw(revision)
	}
	return revision, err //nolint:wrapcheck // the store's own error
}

// Revision implements objdb.Store.
func (s *meteredStore) Revision(ctx context.Context) (int64, error) {
	revision, err := s.Store.Revision(ctx)
	if err == nil {
		s.metrics.saw(revision)
	}
	return revision, err //nolint:wrapcheck // the store's own error
}

func (m *Metrics) saw(revision int64) {
	for had := m.revision.Load(); revision > had && !m.revision.CompareAndSwap(had, revision); had = m.revision.Load() {
	}
}
