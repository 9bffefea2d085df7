// Package metrics is what netplugin tells Prometheus. An edge package: calls, attachments and changes of the switch are
// measured as they pass; everything else is read from the agent when somebody asks.
//
// Labels have few values: methods, phases, operations. docs/operations.md lists every metric; a test compares.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/ofnet/protocol"
)

// prefix of all names but those of the runtime and the process.
const prefix = "contiv_netplugin_"

// Phases of attaching, values of a label.
const (
	phaseAll       = "all"       // from the request to packets passing
	phaseNetmaster = "netmaster" // asking netmaster for the endpoint
	phasePort      = "port"      // making the link and plugging it in
	phaseSettle    = "settle"    // waiting for the hosts it can talk to
)

// Operations whose failures are counted, values of a label.
const (
	operationAttach = "attach"
	operationDetach = "detach"
	operationApply  = "apply"
	operationCall   = "call" // of netmaster
)

// Metrics of one agent, in a registry of its own. All methods may be called at once.
type Metrics struct {
	registry *prometheus.Registry
	attach   *prometheus.HistogramVec
	detach   prometheus.Histogram
	apply    prometheus.Histogram
	calls    *prometheus.HistogramVec
	errors   *prometheus.CounterVec
}

// New makes metrics of which everything is zero.
func New() *Metrics {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 14)
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		attach: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "attach_seconds", Help: "Time to attach an interface, and of its phases; failures included.", Buckets: buckets,
		}, []string{"phase"}),
		detach: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "detach_seconds", Help: "Time to detach an interface; failures included.", Buckets: buckets,
		}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "apply_seconds", Help: "Time from a change of the desired state to the switch's confirmation of its bundles.", Buckets: buckets,
		}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "call_seconds", Help: "Time of calls to netmaster; failures included.", Buckets: buckets,
		}, []string{"method"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "errors_total", Help: "Operations that failed.",
		}, []string{"operation"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "info", Help: "Always 1; says the version.", ConstLabels: prometheus.Labels{"version": version.Get().Version},
	})
	info.Set(1)
	m.registry.MustRegister(m.attach, m.detach, m.apply, m.calls, m.errors, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, phase := range []string{phaseAll, phaseNetmaster, phasePort, phaseSettle} {
		m.attach.WithLabelValues(phase)
	}
	for _, operation := range []string{operationAttach, operationDetach, operationApply, operationCall} {
		m.errors.WithLabelValues(operation)
	}
	return m
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

func (m *Metrics) count(operation string, err error) {
	if err != nil {
		m.errors.WithLabelValues(operation).Inc()
	}
}

// Call counts a call to netmaster (session.Config.Observe).
func (m *Metrics) Call(method string, took time.Duration, err error) {
	m.calls.WithLabelValues(method).Observe(took.Seconds())
	m.count(operationCall, err)
	switch method {
	case protocol.MethodCreateEndpoint:
		m.attach.WithLabelValues(phaseNetmaster).Observe(took.Seconds())
	case protocol.MethodSettleEndpoint:
		m.attach.WithLabelValues(phaseSettle).Observe(took.Seconds())
	}
}

// Attached counts a whole attachment that began at a time and ended now.
func (m *Metrics) Attached(began time.Time, err error) {
	m.attach.WithLabelValues(phaseAll).Observe(time.Since(began).Seconds())
	m.count(operationAttach, err)
}

// Detached counts a whole detachment that began at a time and ended now.
func (m *Metrics) Detached(began time.Time, err error) {
	m.detach.Observe(time.Since(began).Seconds())
	m.count(operationDetach, err)
}

// Datapath measures what goes through it.
func (m *Metrics) Datapath(dp drivers.Datapath) drivers.Datapath { return &meteredDatapath{dp, m} }

type meteredDatapath struct {
	drivers.Datapath
	metrics *Metrics
}

// PreparePort implements drivers.Datapath.
func (d *meteredDatapath) PreparePort(ctx context.Context, want drivers.Port) (drivers.Attachment, error) {
	began := time.Now()
	made, err := d.Datapath.PreparePort(ctx, want)
	d.metrics.attach.WithLabelValues(phasePort).Observe(time.Since(began).Seconds())
	return made, err //nolint:wrapcheck // the datapath's own error
}

// Apply implements drivers.Datapath.
func (d *meteredDatapath) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	began := time.Now()
	missing, err := d.Datapath.Apply(ctx, update)
	d.metrics.apply.Observe(time.Since(began).Seconds())
	d.metrics.count(operationApply, err)
	return missing, err //nolint:wrapcheck // the datapath's own error
}
