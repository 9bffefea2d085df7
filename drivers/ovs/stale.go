package ovs

import (
	"context"
	"strings"

	"github.com/contiv/contiv/ofnet/pipeline"
)

// The userspace datapath of Open vSwitch 3.1 now and then goes on to drop packets for the port of a service after the port
// got its first provider, or after the rule that denied them went, for as long as such packets come: what it decided for
// them before is not replaced, though ovs-vswitchd itself decides anew (ofproto/trace shows it). TestServices saw it in one
// of three runs, the matrix of policies in one of hundreds. Having all such decisions forgotten helps; the first packet of
// each flow is decided again then, and none is lost.

// servicesOpen tells whether ports of services begin or end to be served by these changes. Callers hold mu, before the
// changes are made.
func (d *Driver) servicesOpen(c *pipeline.Changes) bool {
	if d.cfg.DatapathType != DatapathNetdev {
		return false
	}
	for key, now := range c.Services {
		old, had := d.compiler.Services[key]
		if !had || now == nil || len(old.Providers) == 0 != (len(now.Providers) == 0) || len(old.Ports) != len(now.Ports) {
			return true
		}
		for i := range now.Ports {
			if old.Ports[i] != now.Ports[i] {
				return true
			}
		}
	}
	return false
}

// forgetDecisions has the datapath ask again what to do with the packets of each flow, if it drops any that rules or
// services were asked about. It costs traffic that comes just then a few packets now and then, after a restart of the agent
// in one of three, so it is not done for nothing.
func (d *Driver) forgetDecisions(ctx context.Context) {
	client, err := d.control.vswitchd(ctx)
	if err == nil {
		defer client.Close() //nolint:errcheck // a request and its answer
		var flows string
		if flows, err = client.Call(ctx, "dpctl/dump-flows"); err == nil && !dropsTracked(flows) {
			return
		}
		_, err = client.Call(ctx, "revalidator/purge")
	}
	if err != nil {
		d.log.WithError(err).Warn("what was dropped before a change may be dropped after it until nobody tries for ten seconds")
	}
}

// dropsTracked tells whether one of the datapath's flows, a line each, drops packets that came back from connection
// tracking: whose actions neither send nor go on.
func dropsTracked(flows string) bool {
	for line := range strings.Lines(flows) {
		match, actions, ok := strings.Cut(strings.TrimSpace(line), "actions:")
		if !ok || strings.Contains(match, "recirc_id(0)") {
			continue
		}
		if actions == "drop" || strings.HasPrefix(actions, "ct(commit") && !strings.Contains(actions, "),") {
			return true
		}
	}
	return false
}
