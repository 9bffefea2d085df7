package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/state"
)

// Sources are what is asked when the metrics are. None of it does I/O.
type Sources struct {
	// Model runs a function on the model as it is now.
	Model func(func(*ledger.Model))
	// Agents tell how far each host is; nil while another netmaster leads.
	Agents func() []distribute.HostStatus
	// Traffic is what was sent to agents since the start.
	Traffic func() distribute.Traffic
	// Orphans are the endpoints that their hosts no longer have.
	Orphans func(host string) []objects.Orphan
	// Leads tells whether this netmaster does.
	Leads func() bool
}

// collector implements prometheus.Collector on the sources.
type collector struct {
	from     Sources
	revision *atomic.Int64
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

var (
	leaderDesc    = desc("leader", "1 while this netmaster leads, else 0.")
	revisionDesc  = desc("store_revision", "The newest revision that the store was heard to have.")
	lagDesc       = desc("store_lag_revisions", "How many revisions the model is behind the store.")
	objectsDesc   = desc("objects", "Records of the store, by kind.", "kind")
	skippedDesc   = desc("skipped_records", "Records of the store that cannot be read and are left out.")
	doubtfulDesc  = desc("doubtful_records", "Records of the store that hold a value that is not valid here, and are used all the same.")
	usedDesc      = desc("pool_used", "Numbers of a pool in use; of pool \"address\" the addresses of all networks together.", "pool")
	sizeDesc      = desc("pool_size", "Numbers that a pool has.", "pool")
	restingDesc   = desc("resting", "Released numbers and addresses that are not given to anybody else yet.", "pool")
	orphansDesc   = desc("orphans", "Endpoints that their host no longer has; held: an operator has to release them.", "held")
	connectedDesc = desc("agents_connected", "Agents that are registered with this netmaster.")
	hostsDesc     = desc("hosts", "Hosts there is a record of, but for those that were given up.")
	agentLagDesc  = desc("agent_lag_revisions", "How many revisions a host is behind what it shall be like.", "host")
	missingDesc   = desc("not_realised_records", "Records that hosts said they cannot realise, all hosts together.")
	messagesDesc  = desc("distribution_messages_total", "Messages sent to agents without being asked: snapshots and changes.")
	bytesDesc     = desc("distribution_bytes_total", "Bytes of those messages.")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		leaderDesc, revisionDesc, lagDesc, objectsDesc, skippedDesc, doubtfulDesc, usedDesc, sizeDesc, restingDesc, orphansDesc,
		connectedDesc, hostsDesc, agentLagDesc, missingDesc, messagesDesc, bytesDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	c.from.Model(func(m *ledger.Model) { c.model(m, gauge) })
	leads := 0
	if c.from.Leads() {
		leads = 1
		c.agents(gauge)
	}
	gauge(leaderDesc, leads)
	sent := c.from.Traffic()
	out <- prometheus.MustNewConstMetric(messagesDesc, prometheus.CounterValue, float64(sent.Messages))
	out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(sent.Bytes))
}

type gauge = func(d *prometheus.Desc, value int, labels ...string)

func (c *collector) model(m *ledger.Model, gauge gauge) {
	known := max(c.revision.Load(), m.Revision())
	gauge(revisionDesc, int(known))
	gauge(lagDesc, int(known-m.Revision()))
	problems := map[bool]int{}
	for _, problem := range m.Problems() {
		problems[problem.Kept]++
	}
	gauge(skippedDesc, problems[false])
	gauge(doubtfulDesc, problems[true])
	alive := 0
	for _, host := range m.Hosts() {
		if !host.Dead {
			alive++
		}
	}
	gauge(hostsDesc, alive)
	for kind, in := range map[string]ledger.Index{
		"tenant": ledger.AllTenants(), "network": ledger.NetworksOfTenant(""), "group": ledger.GroupsOfTenant(""),
		"policy": ledger.PoliciesOfTenant(""), "rule": ledger.AllRules(), "netprofile": ledger.NetprofilesOfTenant(""),
		"service": ledger.ServicesOfTenant(""), "bgp": ledger.AllBgps(), "appProfile": ledger.AppProfilesOfTenant(""),
		"extContractsGroup": ledger.ContractsOfTenant(""), "endpoint": ledger.AllEndpoints(), "host": ledger.AllHosts(),
	} {
		gauge(objectsDesc, m.Count(in), kind)
	}
	numbers(m, gauge)
	used, resting := 0, 0
	for _, n := range m.Networks("") {
		used += m.Used(state.AddressPool(n.Key()))
	}
	m.EachAllocation(ledger.Unowned(), func(a *state.Allocation, _ int64) bool {
		if a.Released != nil && a.Pool.IsAddresses() {
			resting++
		}
		return true
	})
	gauge(usedDesc, used, "address")
	gauge(restingDesc, resting, "address")
}

// numbers tells of the pools of numbers.
func numbers(m *ledger.Model, gauge gauge) {
	sizes := map[state.Pool]int{
		state.PoolVRF: 1<<12 - 1, state.PoolNetwork: 1<<16 - 1, state.PoolGroup: 1<<16 - 1, state.PoolIdentity: 1<<16 - 1,
		state.PoolService: 1<<16 - 1, state.PoolVLAN: 0, state.PoolVNI: 0,
	}
	if g := m.Global(); g != nil {
		for pool, text := range map[state.Pool]string{state.PoolVLAN: g.Vlans, state.PoolVNI: g.Vxlans} {
			if r, err := state.ParseRange(text); err == nil {
				sizes[pool] = r.Last - r.First + 1
			}
		}
	}
	for pool, size := range sizes {
		gauge(sizeDesc, size, string(pool))
		gauge(usedDesc, m.Used(pool), string(pool))
		resting := 0
		for _, run := range m.Resting(pool, alloc.Numbers(0, 1<<24)) {
			resting += run.Last.Int() - run.First.Int() + 1
		}
		gauge(restingDesc, resting, string(pool))
	}
}

// agents tells what only the leader knows.
func (c *collector) agents(gauge gauge) {
	connected, missing := 0, 0
	for _, host := range c.from.Agents() {
		if host.Connected {
			connected++
		}
		missing += len(host.NotRealised)
		gauge(agentLagDesc, int(max(0, host.Desired-host.Acknowledged)), host.Host)
	}
	gauge(connectedDesc, connected)
	gauge(missingDesc, missing)
	held := map[bool]int{}
	for _, orphan := range c.from.Orphans("") {
		held[orphan.Held]++
	}
	gauge(orphansDesc, held[false], "no")
	gauge(orphansDesc, held[true], "yes")
}
