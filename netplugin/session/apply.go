package session

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// applyLoop hands what changed to the agent, all that came meanwhile at once, and acknowledges it.
func (s *Session) applyLoop(ctx context.Context) {
	pause := s.newBackoff()
	var retry <-chan time.Time
	for {
		select {
		case <-s.applyWake:
		case <-retry:
		case <-ctx.Done():
			return
		}
		update, due := s.take()
		if !due {
			continue
		}
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
		s.applied(update.Position, notRealised)
	}
}

func (s *Session) newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = s.config.Timing.Retry, s.config.Timing.MaxRetry
	return b
}

// take answers what is to be applied now, if anything.
func (s *Session) take() (drivers.Update, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.store.synced || !s.welcome {
		return drivers.Update{}, false
	}
	if len(s.store.changed) == 0 && s.store.taken && !s.ackDue && !s.unapplied {
		return drivers.Update{}, false
	}
	s.ackDue, s.unapplied = false, true
	return s.store.take(), true
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
