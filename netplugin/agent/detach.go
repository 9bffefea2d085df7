package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Detach unplugs an endpoint; one that is not there is no error. The datapath remembers what it removed, so it succeeds
// without netmaster, which is told as soon as it can be.
func (a *Agent) Detach(ctx context.Context, containerID, ifName string) error {
	id := a.id(containerID, ifName)
	unlock, err := a.endpoints.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	return a.release(ctx, id)
}

// undo takes back what an attach began; the caller holds the endpoint's lock. It goes on when the attach's time is
// over. What fails here is repeated by the reporter, or by netmaster, which releases endpoints that no host lists.
func (a *Agent) undo(ctx context.Context, id protocol.EndpointID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*a.timing.Tell)
	defer cancel()
	if err := a.release(ctx, id); err != nil {
		a.log.WithField("endpoint", id.String()).WithError(err).Warn("an attach that failed could not be undone")
	}
}

// release removes a port and tells netmaster, or has it told later. The caller holds the endpoint's lock. Both are done
// at once: a port whose endpoint netmaster released is forwarded for no longer, here or, after a crash in between, when
// the host registers. A removal that failed is for the caller to repeat, and is told again then.
func (a *Agent) release(ctx context.Context, id protocol.EndpointID) error {
	told := make(chan error, 1)
	go func() { told <- a.deleteEndpoint(ctx, id) }()
	err := a.dp.RemovePort(ctx, id)
	unknown := <-told
	if err != nil {
		return fmt.Errorf("detaching %s: %w", id, err)
	}
	if unknown == nil {
		unknown = a.forget(ctx, id)
	}
	if unknown != nil {
		a.log.WithField("endpoint", id.String()).WithError(unknown).Info("netmaster will be told of the removal later")
		a.wakeReporter()
	}
	return nil
}

// tellRemoved tells netmaster that an endpoint is gone and then forgets it. The caller holds the endpoint's lock.
func (a *Agent) tellRemoved(ctx context.Context, id protocol.EndpointID) error {
	if err := a.deleteEndpoint(ctx, id); err != nil {
		return err
	}
	return a.forget(ctx, id)
}

func (a *Agent) deleteEndpoint(ctx context.Context, id protocol.EndpointID) error {
	ctx, cancel := context.WithTimeout(ctx, a.timing.Tell)
	defer cancel()
	if err := a.session.DeleteEndpoint(ctx, id); err != nil {
		return fmt.Errorf("telling netmaster that endpoint %s is gone: %w", id, err)
	}
	return nil
}

func (a *Agent) forget(ctx context.Context, id protocol.EndpointID) error {
	if err := a.dp.Forget(ctx, id); err != nil {
		return fmt.Errorf("forgetting endpoint %s: %w", id, err)
	}
	return nil
}

func (a *Agent) wakeReporter() {
	select {
	case a.tell <- struct{}{}:
	default: // It is awake, or will be.
	}
}

// report tells netmaster of removals that it could not be told of at once, until ctx ends. Those from before the
// session began were told by registering.
func (a *Agent) report(ctx context.Context) {
	for {
		select {
		case <-a.tell:
		case <-ctx.Done():
			return
		}
		for !a.reportOnce(ctx) {
			changed := a.session.Changed()
			select {
			case <-changed:
			case <-time.After(a.timing.Retry):
			case <-ctx.Done():
				return
			}
		}
	}
}

// reportOnce answers whether there is nothing left to tell.
func (a *Agent) reportOnce(ctx context.Context) bool {
	removed, err := a.dp.Removed(ctx)
	if err != nil {
		a.log.WithError(err).Warn("cannot read what was removed from this host")
		return false
	}
	if !a.session.Connected() {
		return len(removed) == 0
	}
	done := true
	for _, id := range removed {
		if err := a.reportRemoved(ctx, id); err != nil {
			a.log.WithFields(logrus.Fields{"endpoint": id.String()}).WithError(err).Debug("removal not told yet")
			done = false
		}
	}
	return done
}

func (a *Agent) reportRemoved(ctx context.Context, id protocol.EndpointID) error {
	unlock, err := a.endpoints.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	// It may have been told, or attached again, while we waited for the lock.
	removed, err := a.dp.Removed(ctx)
	if err != nil {
		return fmt.Errorf("reading what was removed: %w", err)
	}
	if !slices.Contains(removed, id) {
		return nil
	}
	return a.tellRemoved(ctx, id)
}
