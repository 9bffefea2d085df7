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
	defer o.forget()
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

// forget drops what was seen of the hosts: under another leader they go their own ways.
func (o *Objects) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.orphans)
	clear(o.silent)
}

// Sweep does one round: rested addresses, expired reservations and acknowledged numbers become free; endpoints that
// were orphaned for 30 s, those of hosts that were silent for too long, and rules of deleted policies are removed.
func (o *Objects) Sweep(ctx context.Context) error {
	return errors.Join(o.sweepAllocations(ctx), o.sweepOrphans(ctx), o.sweepHosts(ctx), o.sweepPolicies(ctx))
}

func (o *Objects) sweepAllocations(ctx context.Context) error {
	now, quarantine := o.options.Now(), &quarantine{agents: o.knownAgents()}
	var over []state.Allocation
	o.ledger.ViewCached(func(m *ledger.Model) {
		hosts := livingHosts(m)
		m.EachAllocation(ledger.Unowned(), func(a *state.Allocation, revision int64) bool {
			used := func() bool { return hosts && !quarantine.isOver(revision) }
			if o.isOver(a, now, m.Network(a.Pool.NetworkKey()) != nil, used) {
				over = append(over, *a)
			}
			return true
		})
	})
	const most = 2 // records that one allocation makes the transaction depend on
	for len(over) > 0 {
		var done int
		_, err := o.commit(ctx, "freeing released numbers and addresses", func(tx *txn) error {
			for done = 0; done < len(over) && tx.Room() >= most; done++ {
				held := tx.Allocation(over[done])
				if held == nil {
					continue
				}
				network := held.Pool.IsAddresses() && tx.Network(held.Pool.NetworkKey()) != nil
				if o.isOver(held, tx.now, network, func() bool { return len(tx.silentSince(held)) > 0 }) {
					tx.Delete(held)
				}
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

// quarantine tells of many revisions whether every host has acknowledged them, with few questions: who acknowledged one
// acknowledged all before it.
type quarantine struct {
	agents Agents
	over   int64 // acknowledged by all
	open   int64 // not so; 0: none is known
}

func (q *quarantine) isOver(revision int64) bool {
	switch {
	case revision <= q.over:
		return true
	case q.open != 0 && revision >= q.open:
		return false
	case len(q.agents.Acknowledged(revision)) == 0:
		q.over = revision
		return true
	}
	q.open = revision
	return false
}

func livingHosts(m *ledger.Model) bool {
	for _, h := range m.Hosts() {
		if !h.Dead {
			return true
		}
	}
	return false
}

// isOver tells whether an allocation without owner can go: an address after a time, or with its network; a number when
// no host may still use it.
func (o *Objects) isOver(a *state.Allocation, now time.Time, network bool, used func() bool) bool {
	switch {
	case a.Reserved == nil && a.Released == nil:
		return false
	case a.Pool.IsAddresses() && !network:
		return true
	case a.Reserved != nil:
		return !now.Before(a.Reserved.Expires)
	case a.Pool.IsAddresses():
		return !now.Before(a.Released.At.Add(o.options.AddressRest))
	}
	return !used()
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
	var unfinished []string // declared dead by somebody who did not get to the end of it
	o.ledger.ViewCached(func(m *ledger.Model) {
		for _, h := range m.Hosts() {
			switch {
			case agents.Connected(h.Name):
			case !h.Dead:
				quiet = append(quiet, h)
			case m.Count(ledger.EndpointsOfHost(h.Name)) > 0:
				unfinished = append(unfinished, h.Name)
			}
		}
	})
	var errs []error
	for _, name := range unfinished {
		_, err := o.ReleaseHost(ctx, name)
		errs = append(errs, err)
	}
	for name, since := range o.noteSilence(quiet, now) {
		errs = append(errs, o.sweepHost(ctx, name, since, now))
	}
	return errors.Join(errs...)
}

// noteSilence remembers since when the hosts are silent and gives those that are so for a while, with the beginning of
// it. The while is this leader's own: after a pause of all netmasters the hosts must have the time to come back.
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
		if now.Sub(since) < silenceTime {
			continue
		}
		if !h.SilentSince.IsZero() {
			since = h.SilentSince
		}
		long[h.Name] = since
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
