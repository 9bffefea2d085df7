package agent

import (
	"context"
	"time"

	"github.com/contiv/contiv/ofnet/protocol"
)

// count tells netmaster the counters of the endpoints, now and then, until ctx ends.
func (a *Agent) count(ctx context.Context) {
	tick := time.NewTicker(a.timing.Count)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !a.session.Connected() {
			continue
		}
		counted, err := a.dp.Statistics(ctx)
		if err != nil {
			a.log.WithError(err).Debug("counters of the endpoints are not known")
			continue
		}
		a.session.Statistics(protocol.Statistics{Endpoints: counted})
	}
}
