package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/contiv/contiv/ofnet/protocol"
)

// watch tells netmaster, now and then, what changes by itself: the counters of endpoints, and what of the desired state
// is not realised (somebody may take a port from the switch). It ends with ctx.
func (a *Agent) watch(ctx context.Context) {
	tick := time.NewTicker(a.timing.Watch)
	defer tick.Stop()
	var told []protocol.NotRealised
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !a.session.Connected() {
			continue
		}
		if now := a.dp.Status().NotRealised; !slices.Equal(now, told) {
			told = now
			a.session.Acknowledge()
		}
		a.count(ctx)
	}
}

func (a *Agent) count(ctx context.Context) {
	counted, err := a.Statistics(ctx)
	if err != nil {
		a.log.WithError(err).Debug("not all counters of the host are known")
	}
	a.session.Statistics(counted)
}

// Statistics are what the host counted until now: ports, rules, drops. With an error they lack what the error names.
func (a *Agent) Statistics(ctx context.Context) (protocol.Statistics, error) {
	counted, err := a.dp.Statistics(ctx)
	if err != nil {
		return counted, fmt.Errorf("reading the counters of host %s: %w", a.config.Host, err)
	}
	return counted, nil
}
