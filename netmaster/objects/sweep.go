package objects

import (
	"context"
	"errors"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Run frees what time and the hosts' acknowledgements free, about every second until the context ends: it belongs on
// the leader. Failures are repeated with the next round.
func (o *Objects) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := o.Sweep(ctx)
		if kind := KindOf(err); err != nil && ctx.Err() == nil && kind != NotLeader && kind != Unavailable {
			o.log.WithError(err).Error("freeing released numbers, addresses and endpoints")
		}
	}
}

// Sweep does one round: rested addresses, expired reservations and acknowledged numbers become free; endpoints that
// were orphaned for 30 s, and those of hosts that were silent for too long, are removed.
func (o *Objects) Sweep(ctx context.Context) error {
	return errors.Join(o.sweepAllocations(ctx), o.sweepOrphans(ctx), o.sweepHosts(ctx))
}

func (o *Objects) sweepAllocations(ctx context.Context) error {
	now, agents := o.options.Now(), o.knownAgents()
	var over []state.Allocation
	o.ledger.ViewCached(func(m *ledger.Model) {
		hosts := livingHosts(m)
		m.EachAllocation(ledger.Unowned(), func(a *state.Allocation, revision int64) bool {
			if o.isOver(a, now, hosts, func() []string { return agents.Acknowledged(revision) }) {
				over = append(over, *a)
			}
			return true
		})
	})
	for len(over) > 0 {
		var done int
		_, err := o.commit(ctx, "freeing released numbers and addresses", func(tx *txn) error {
			done = 0
			for done < len(over) && tx.Room() > 0 {
				held := tx.Allocation(over[done])
				if held != nil && o.isOver(held, tx.now, tx.hasHosts(), func() []string {
					return tx.agents.Acknowledged(tx.RevisionOf(held.StoreKey()))
				}) {
					tx.Delete(held)
				}
				done++
			}
			return nil
		})
		if err != nil {
			return err
		}
		over = over[done:]
	}
	return nil
}

func livingHosts(m *ledger.Model) bool {
	for _, h := range m.Hosts() {
		if !h.Dead {
			return true
		}
	}
	return false
}

// isOver tells whether an allocation without owner can go.
func (o *Objects) isOver(a *state.Allocation, now time.Time, hosts bool, silent func() []string) bool {
	switch {
	case a.Reserved != nil:
		return !now.Before(a.Reserved.Expires)
	case a.Released == nil:
		return false
	case a.Pool.IsAddresses():
		return !now.Before(a.Released.At.Add(o.options.AddressRest))
	}
	return !hosts || len(silent()) == 0
}

func (o *Objects) sweepOrphans(ctx context.Context) error {
	var over []Orphan
	for _, orphan := range o.Orphans("") {
		if !orphan.Held && o.options.Now().Sub(orphan.Since) >= orphanTime {
			over = append(over, orphan)
		}
	}
	if len(over) == 0 {
		return nil
	}
	return o.releaseOrphans(ctx, over)
}

// sweepHosts notes which hosts are silent, and releases those that were for too long. The note is in the store, so that
// the time goes on under another leader.
func (o *Objects) sweepHosts(ctx context.Context) error {
	now, agents := o.options.Now(), o.knownAgents()
	var quiet []*state.Host
	o.ledger.ViewCached(func(m *ledger.Model) {
		for _, h := range m.Hosts() {
			if !h.Dead && !agents.Connected(h.Name) {
				quiet = append(quiet, h)
			}
		}
	})
	var errs []error
	for name, since := range o.noteSilence(quiet, now) {
		errs = append(errs, o.sweepHost(ctx, name, since, now))
	}
	return errors.Join(errs...)
}

// noteSilence remembers since when the hosts are silent and gives those that are so for a while.
func (o *Objects) noteSilence(quiet []*state.Host, now time.Time) map[string]time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.silent
	o.silent = make(map[string]time.Time, len(quiet))
	long := make(map[string]time.Time)
	for _, h := range quiet {
		since, known := before[h.Name]
		if !known {
			since = now
		}
		o.silent[h.Name] = since
		if !h.SilentSince.IsZero() {
			since = h.SilentSince
		}
		if now.Sub(since) >= silenceTime {
			long[h.Name] = since
		}
	}
	return long
}

func (o *Objects) sweepHost(ctx context.Context, name string, since, now time.Time) error {
	if o.options.HostDeadAfter > 0 && now.Sub(since) >= o.options.HostDeadAfter {
		o.log.WithField("host", name).WithField("silentSince", since).Warn("host declared dead; its endpoints are released")
		_, err := o.ReleaseHost(ctx, name)
		return err
	}
	_, err := o.commit(ctx, "noting that host "+name+" is silent", func(tx *txn) error {
		old := tx.Host(name)
		if old == nil || old.Dead || !old.SilentSince.IsZero() || tx.agents.Connected(name) {
			return nil
		}
		next := *old
		next.SilentSince = since
		tx.Put(&next)
		return nil
	})
	return err
}
