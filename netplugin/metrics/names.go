package metrics

import "github.com/prometheus/client_golang/prometheus"

// Names is what is asked how many DNS queries there were, by outcome; *nameserver.Server is one.
type Names interface {
	Counts() map[string]uint64
}

// FollowNames shows from now on what became of DNS queries, of which these are all outcomes. It is called once.
func (m *Metrics) FollowNames(names Names, outcomes []string) {
	m.registry.MustRegister(&namesCollector{names, outcomes})
}

type namesCollector struct {
	names    Names
	outcomes []string
}

var queriesDesc = prometheus.NewDesc(prefix+"dns_queries_total", "DNS queries of containers of the host.", []string{"outcome"}, nil)

// Describe implements prometheus.Collector.
func (c *namesCollector) Describe(out chan<- *prometheus.Desc) { out <- queriesDesc }

// Collect implements prometheus.Collector.
func (c *namesCollector) Collect(out chan<- prometheus.Metric) {
	counts := c.names.Counts()
	for _, outcome := range c.outcomes {
		out <- prometheus.MustNewConstMetric(queriesDesc, prometheus.CounterValue, float64(counts[outcome]), outcome)
	}
}
