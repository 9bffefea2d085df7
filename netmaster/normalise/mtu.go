package normalise

import (
	"fmt"
	"slices"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Underlay MTU without any host, and what encapsulation in VXLAN takes of it over IPv4 and IPv6.
const (
	defaultMTU   = 1500
	overheadIPv4 = 50
	overheadIPv6 = 70
)

type mtuPair struct{ vlan, vxlan int }

// carried are the largest packets of containers that the host's underlay carries; false for a host that does not count.
func carried(h *state.Host) (mtuPair, bool) {
	if h.Dead || h.MTU <= overheadIPv6 {
		return mtuPair{}, false
	}
	overhead := overheadIPv4
	if !h.VTEP.IsValid() && h.VTEP6.IsValid() {
		overhead = overheadIPv6
	}
	return mtuPair{h.MTU, h.MTU - overhead}, true
}

// mtus are the largest MTUs that every living host can carry, and the newest revision of the hosts that set them.
func mtus(m *ledger.Model) (mtuPair, int64) {
	least := mtuPair{defaultMTU, defaultMTU - overheadIPv4}
	var byVLAN, byVXLAN *state.Host
	for _, h := range m.Hosts() {
		can, counts := carried(h)
		if !counts {
			continue
		}
		if byVLAN == nil || can.vlan < least.vlan {
			byVLAN, least.vlan = h, can.vlan
		}
		if byVXLAN == nil || can.vxlan < least.vxlan {
			byVXLAN, least.vxlan = h, can.vxlan
		}
	}
	var revision int64
	for _, h := range []*state.Host{byVLAN, byVXLAN} {
		if h != nil {
			revision = max(revision, m.RevisionOf(h.StoreKey()))
		}
	}
	return least, revision
}

// LateMTUs tells, in words, of each host whose underlay carries less than that of every host before it, while there are
// interfaces from before: those are made for more, and keep it until they are made anew.
func LateMTUs(m *ledger.Model) (warnings []string) {
	hosts := m.Hosts()
	slices.SortStableFunc(hosts, func(a, b *state.Host) int { return a.MTUSince.Compare(b.MTUSince) })
	var oldest time.Time // of all endpoints, looked for when it is needed
	least := 0
	for _, h := range hosts {
		can, counts := carried(h)
		if !counts || least != 0 && can.vxlan >= least {
			continue
		}
		before := least
		least = can.vxlan
		if before == 0 {
			continue
		}
		if oldest.IsZero() {
			oldest = oldestEndpoint(m)
		}
		if !oldest.IsZero() && oldest.Before(h.MTUSince) {
			warnings = append(warnings, fmt.Sprintf("host %q has an underlay MTU of %d: containers made before %s may send packets "+
				"of up to %d bytes, which it cannot carry (%d at most); raise its MTU, or make those containers anew",
				h.Name, h.MTU, h.MTUSince.UTC().Format(time.RFC3339), before, can.vxlan))
		}
	}
	return warnings
}

func oldestEndpoint(m *ledger.Model) (oldest time.Time) {
	for _, e := range m.Endpoints() {
		if oldest.IsZero() || e.Created.Before(oldest) {
			oldest = e.Created
		}
	}
	return oldest
}
