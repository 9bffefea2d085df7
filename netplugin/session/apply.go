package session

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// applyLoop hands what changed to the agent, all that came meanwhile at once, and acknowledges it.
func (s *Session) applyLoop(ctx context.Context) {
	pause := s.newBackoff()
	var (
		retry    <-chan time.Time
		requests []string // behind what is being applied
	)
	for {
		select {
		case <-s.applyWake:
		case <-retry:
		case <-ctx.Done():
			return
		}
		update, more, due := s.take()
		if !due {
			continue
		}
		requests = append(requests, more...)
		requests = requests[max(0, len(requests)-maxRequests):]
		notRealised, err := s.config.Agent.Apply(ctx, update)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.applyFailed(err)
			retry = time.After(pause.NextBackOff())
			continue
		}
		retry = nil
		pause.Reset()
		if len(requests) > 0 {
			s.config.Log.WithFields(logrus.Fields{"requests": slices.Compact(requests), "revision": update.Position.Revision}).
				Info("realised changes")
			requests = nil
		}
		s.applied(update.Position, notRealised)
	}
}

func (s *Session) newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = s.config.Timing.Retry, s.config.Timing.MaxRetry
	return b
}

// take answers what is to be applied now, if anything, and the ids of the requests behind it.
func (s *Session) take() (update drivers.Update, requests []string, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.store.synced || !s.welcome {
		return drivers.Update{}, nil, false
	}
	if len(s.store.changed) == 0 && s.store.taken && !s.ackDue && !s.unapplied {
		return drivers.Update{}, nil, false
	}
	s.ackDue, s.unapplied = false, true
	requests, s.requests = s.requests, nil
	return s.store.take(), requests, true
}

func (s *Session) applyFailed(err error) {
	s.config.Log.WithError(err).Warn("the change is not realised yet; trying again")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyProblem = err.Error()
	s.announce()
}

// applied notes what is realised and tells netmaster.
func (s *Session) applied(position protocol.Position, notRealised []protocol.NotRealised) {
	s.mu.Lock()
	s.unapplied = false
	s.applyProblem = ""
	if position == s.store.position && len(s.store.changed) > 0 {
		// More came at the same position: it is realised with the next round, which is under way.
		s.mu.Unlock()
		return
	}
	s.realised = position
	s.notRealised = append(s.store.notUnderstood(), notRealised...)
	ack := protocol.Ack{Position: position, NotRealised: s.notRealised}
	l := s.link
	if !s.connected {
		l = nil
	}
	s.announce()
	s.mu.Unlock()
	if l != nil {
		s.notify(l, protocol.MethodAck, ack)
	}
}

// notify sends a notification. A failure breaks the connection, which its holder sees.
func (s *Session) notify(l *link, method string, params any) {
	line, err := wire.Notification(method, params)
	if err == nil {
		err = l.stream.WriteLine(line)
	}
	if err != nil {
		s.config.Log.WithError(err).WithField("netmaster", l.address).Debug("notifying")
	}
}

// wakeApply is called with mu held.
func (s *Session) wakeApply() {
	select {
	case s.applyWake <- struct{}{}:
	default:
	}
}
