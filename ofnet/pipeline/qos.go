package pipeline

import of "github.com/contiv/contiv/ofnet/openflow"

// profile is what the netprofiles of an endpoint's groups say together.
type profile struct {
	rate, burst uint32 // kbit/s and kbit; 0: no limit
	dscp        uint8  // 0: left as it is
}

// profile of an endpoint: the smallest rate, and the first DSCP by name of the group.
func (v *view) profile(tenant string, groups []string) (p profile) {
	for _, name := range groups {
		g := v.Groups[tenant+":"+name]
		if g.RateKbps != 0 && (p.rate == 0 || g.RateKbps < p.rate) {
			p.rate, p.burst = g.RateKbps, g.BurstKbit
		}
		if p.dscp == 0 && g.DSCP < 64 {
			p.dscp = g.DSCP
		}
	}
	if p.rate != 0 && p.burst == 0 {
		// A tenth of a second; less than a few full windows of TCP would starve it.
		p.burst = max(p.rate/10, 512)
	}
	return p
}

// rateMeter is the number of the meter for what the endpoint on a port sends. Numbers of ports are below 1<<16.
func rateMeter(port uint32) uint32 { return port }

// mark is what an endpoint's profile adds to its flows: the meter of its first flow, and DSCP on what it sends.
func (u *unit) mark(e *endpoint) (meter uint32) {
	if e.profile.dscp != 0 {
		for _, version := range []of.Term{isIP4, isIP6} {
			u.add(e.cookie, tableQoS, 100, of.NewMatch(version, of.InPort(e.port)), of.Do(of.SetDSCP(e.profile.dscp)), tablePreNAT)
		}
	}
	if e.profile.rate == 0 {
		return 0
	}
	meter = rateMeter(e.port)
	u.meters = append(u.meters, of.Meter{ID: meter, Rate: e.profile.rate, Burst: e.profile.burst})
	return meter
}
