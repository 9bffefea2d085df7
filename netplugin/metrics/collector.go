package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Host is what is asked when the metrics are; *agent.Agent is one.
type Host interface {
	Status(ctx context.Context) agent.Status
	Statistics(ctx context.Context) (protocol.Statistics, error)
}

// statusTime bounds the look at the host.
const statusTime = 2 * time.Second

// Follow shows from now on how the host stands. It is called once.
func (m *Metrics) Follow(host Host) { m.registry.MustRegister(&collector{host}) }

// collector implements prometheus.Collector on the host.
type collector struct{ host Host }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	connectedDesc = desc("connected", "1 while the agent is registered with a netmaster, else 0.")
	sessionsDesc  = desc("registrations_total", "How often a netmaster took the agent's registration: 1, and one more for each reconnect.")
	switchDesc    = desc("switch_connected", "1 while the switch answers, else 0.")
	desiredDesc   = desc("desired_revision", "Revision of what netmaster said that the host shall be like.")
	realisedDesc  = desc("realised_revision", "Revision of what the host is like.")
	recordsDesc   = desc("records", "Records that the host holds.")
	missingDesc   = desc("not_realised_records", "Records that are not realised; /inspect/driver names them.")
	endpointsDesc = desc("endpoints", "Endpoints attached on the host.")
	removedDesc   = desc("removed_endpoints", "Endpoints removed on the host that netmaster was not told of yet.")
	flowsDesc     = desc("flows", "Flows that the switch shall have.")
	groupsDesc    = desc("groups", "OpenFlow groups that the switch shall have.")
	metersDesc    = desc("meters", "Meters that the switch shall have.")
	pendingDesc   = desc("pending_changes", "Flows, groups and meters that the switch has not confirmed yet.")

	droppedDesc      = desc("dropped_packets_total", "Packets dropped, by reason.", "reason")
	droppedBytesDesc = desc("dropped_bytes_total", "Bytes of packets dropped, by reason.", "reason")
	decidedDesc      = desc("rule_packets_total", "Packets that rules decided, of all rules; /inspect/counters tells them apart.")
)

// details are the figures that a driver may tell (drivers.Status.Details); one it does not tell is 0.
var details = map[string]*prometheus.Desc{
	"flows": flowsDesc, "groups": groupsDesc, "meters": metersDesc, "pending": pendingDesc,
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connectedDesc, sessionsDesc, switchDesc, desiredDesc, realisedDesc, recordsDesc, missingDesc, endpointsDesc, removedDesc,
		flowsDesc, groupsDesc, metersDesc, pendingDesc, droppedDesc, droppedBytesDesc, decidedDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	status := c.host.Status(ctx)
	gauge := func(d *prometheus.Desc, value int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value))
	}
	gauge(connectedDesc, one(status.Session.Connected))
	out <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.CounterValue, float64(status.Session.Registrations))
	gauge(switchDesc, one(status.Datapath.Connected))
	gauge(desiredDesc, int(status.Session.Desired.Revision))
	gauge(realisedDesc, int(status.Session.Realised.Revision))
	gauge(recordsDesc, status.Session.Records)
	gauge(missingDesc, notRealised(status))
	gauge(endpointsDesc, len(status.Attachments))
	gauge(removedDesc, len(status.Removed))
	for name, d := range details {
		value, _ := status.Datapath.Details[name].(int)
		gauge(d, value)
	}
	c.counters(ctx, out)
}

// counters tells what the switch counted; while it does not answer, what it told last. The sum over rules falls when a rule
// goes, which is as a reset of the counter.
func (c *collector) counters(ctx context.Context, out chan<- prometheus.Metric) {
	counted, _ := c.host.Statistics(ctx) // the error is told by switch_connected
	total := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	for _, drop := range counted.Drops {
		total(droppedDesc, drop.Packets, drop.Reason)
		total(droppedBytesDesc, drop.Bytes, drop.Reason)
	}
	decided := uint64(0)
	for _, rule := range counted.Rules {
		decided += rule.Packets
	}
	total(decidedDesc, decided)
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// notRealised counts the records that the agent does not understand and those that the switch has not, each once.
func notRealised(status agent.Status) int {
	refs := make(map[drivers.Ref]bool)
	for _, list := range [][]drivers.Ref{refsOf(status.Session.NotRealised), refsOf(status.Datapath.NotRealised)} {
		for _, ref := range list {
			refs[ref] = true
		}
	}
	return len(refs)
}

func refsOf(list []protocol.NotRealised) []drivers.Ref {
	out := make([]drivers.Ref, 0, len(list))
	for _, one := range list {
		out = append(out, drivers.Ref{Kind: one.Kind, Key: one.Key})
	}
	return out
}
