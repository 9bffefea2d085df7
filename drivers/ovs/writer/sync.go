package writer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/contiv/contiv/ofnet/openflow"
)

// writeTimeout bounds one exchange with the switch; then the connection is given up.
const writeTimeout = 30 * time.Second

func compareOwners(a, b Owner) int {
	return cmp.Or(cmp.Compare(a.Cookie, b.Cookie), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Meter, b.Meter))
}

// run connects and serves until the context ends. It dials often, which costs next to nothing on a unix socket: after a
// restart of the switch each millisecond without flows is an outage.
func (w *Writer) run(ctx context.Context) {
	pause := &backoff.ExponentialBackOff{InitialInterval: 5 * time.Millisecond, Multiplier: 1.1, RandomizationFactor: 0.1, MaxInterval: 25 * time.Millisecond}
	pause.Reset()
	for ctx.Err() == nil {
		conn, err := openflow.Dial(ctx, w.cfg.Socket, openflow.Options{Log: w.cfg.Log})
		if err == nil {
			pause.Reset()
			err = w.serve(ctx, conn)
			_ = conn.Close()
			w.cfg.Log.WithError(err).Debug("connection to the switch ended")
		}
		w.report(false, fmt.Errorf("no connection to the switch: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// errUnsure is the problem of a connection that is new.
var errUnsure = errors.New("looking what the switch has")

// serve writes through one connection until it ends.
func (w *Writer) serve(ctx context.Context, conn *openflow.Conn) error {
	if w.cfg.Connected != nil {
		w.cfg.Connected(ctx, conn)
	}
	w.report(true, errUnsure)
	verify := time.NewTicker(w.cfg.Verify)
	defer verify.Stop()
	check := true
	for {
		err := w.sync(ctx, conn, check)
		if err != nil {
			if conn.Err() != nil || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			w.report(true, err)
		}
		check = false
		retry := time.NewTimer(w.untilRetry(err))
		select {
		case <-ctx.Done():
			retry.Stop()
			return ctx.Err()
		case <-conn.Done():
			retry.Stop()
			return conn.Err()
		case <-w.kick:
		case <-retry.C:
		case <-verify.C:
			check = true
		}
		retry.Stop()
	}
}

// untilRetry is when something that failed is due again.
func (w *Writer) untilRetry(err error) time.Duration {
	if err != nil {
		return w.cfg.RetryFirst
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next := time.Hour
	for _, h := range w.held {
		next = min(next, time.Until(h.until))
	}
	return max(next, 0)
}

// sync brings the switch up to the program. With check it first looks whether the switch still has what it had.
func (w *Writer) sync(ctx context.Context, conn *openflow.Conn, check bool) error {
	w.mu.Lock()
	ready, whole := w.ready, w.complete
	w.mu.Unlock()
	if !ready {
		w.report(true, nil)
		return nil
	}
	if whole && check {
		var err error
		if whole, err = w.agrees(ctx, conn); err != nil {
			return err
		}
	}
	if !whole {
		return w.startRound(ctx, conn)
	}
	return w.flush(ctx, conn)
}

// agrees compares what the switch has with what it acknowledged: by number, because a switch that was restarted has none.
func (w *Writer) agrees(ctx context.Context, conn *openflow.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	w.mu.Lock()
	round := uint64(w.round) << RoundShift
	w.mu.Unlock()
	sum, err := conn.Aggregate(ctx, round, RoundBits)
	if err != nil {
		return false, err
	}
	groups, err := conn.GroupIDs(ctx)
	if err != nil {
		return false, err
	}
	meters, err := conn.MeterStats(ctx)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	least, most := w.program.expected()
	ok := least <= int(sum.Flows) && int(sum.Flows) <= most && w.program.groupsAgree(groups) && w.program.metersAgree(meters)
	if !ok {
		w.cfg.Log.WithField("flows", sum.Flows).WithField("want", least).Warn("the switch lost flows, installing all again")
	}
	return ok, nil
}

// startRound installs everything under a new round and then deletes what is of others.
func (w *Writer) startRound(ctx context.Context, conn *openflow.Conn) error {
	round, err := w.newRound(ctx, conn)
	if err != nil {
		return fmt.Errorf("beginning a round of flows: %w", err)
	}
	w.mu.Lock()
	w.program.again()
	w.round, w.complete, w.certain = round, false, false
	w.mu.Unlock()
	if err := w.write(ctx, conn); err != nil {
		return err
	}
	if err := w.sweep(ctx, conn); err != nil {
		return fmt.Errorf("deleting flows of earlier rounds: %w", err)
	}
	w.finish()
	return nil
}

// newRound takes rounds until one has no flow in the switch: the memory of the last may have been lost.
func (w *Writer) newRound(ctx context.Context, conn *openflow.Conn) (uint16, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for {
		round, err := w.cfg.NewRound(ctx)
		if err != nil {
			return 0, err
		}
		there, err := conn.Aggregate(ctx, uint64(round)<<RoundShift, RoundBits)
		if err != nil || there.Flows == 0 {
			return round, err
		}
	}
}

// flush sends what changed.
func (w *Writer) flush(ctx context.Context, conn *openflow.Conn) error {
	if err := w.write(ctx, conn); err != nil {
		return err
	}
	w.finish()
	return nil
}

// finish tells those who wait that all written until now is in the switch.
func (w *Writer) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.complete, w.certain, w.problem = true, true, nil
	w.done = w.written
	w.advance()
}

// sweep deletes flows of other rounds, and groups and meters that the program does not have.
func (w *Writer) sweep(ctx context.Context, conn *openflow.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	ids, err := conn.GroupIDs(ctx)
	if err != nil {
		return err
	}
	meters, err := conn.MeterStats(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	mods := otherRounds(w.round)
	for _, id := range ids {
		if w.program.groups[id] == nil {
			mods = append(mods, openflow.DeleteGroup(id))
		}
	}
	var old []uint32
	for _, m := range meters {
		if w.program.meters[m.ID] == nil {
			old = append(old, m.ID)
		}
	}
	w.mu.Unlock()
	if err := conn.Commit(ctx, mods); err != nil {
		return err
	}
	for _, id := range old { // after the flows, which would go with them
		if err := conn.DeleteMeter(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// write sends all pending changes but those of owners that are held back.
func (w *Writer) write(ctx context.Context, conn *openflow.Conn) error {
	now := time.Now()
	w.mu.Lock()
	w.written = w.program.seq
	held := func(o Owner) bool { h := w.held[o]; return h != nil && now.Before(h.until) }
	w.mu.Unlock()
	if err := w.flushZones(ctx, conn, held); err != nil {
		return err
	}
	w.mu.Lock()
	meters, oldMeters := w.program.pendingMeters(false, held), w.program.pendingMeters(true, held)
	units := w.program.units(w.round, held)
	w.mu.Unlock()
	if err := w.writeMeters(ctx, meters, conn); err != nil {
		return err
	}
	for _, chunk := range chunks(units, w.cfg.MaxBundle) {
		if err := w.commit(ctx, conn, chunk); err != nil {
			return err
		}
	}
	return w.writeMeters(ctx, oldMeters, conn)
}

// flushZones has the switch forget the connections of zones that serve another from now on. What used them before is
// deleted first. A switch that cannot flush gets no flows: they would trust what it remembers of somebody else.
func (w *Writer) flushZones(ctx context.Context, conn *openflow.Conn, held func(Owner) bool) error {
	w.mu.Lock()
	flushes := maps.Clone(w.program.flushes)
	var old []*unit
	if len(flushes) > 0 {
		old = removals(w.program.units(w.round, held))
	}
	w.mu.Unlock()
	for _, chunk := range chunks(old, w.cfg.MaxBundle) {
		if err := w.commit(ctx, conn, chunk); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := conn.FlushZone(ctx, slices.Sorted(maps.Keys(flushes))...); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.program.flushes, func(zone uint16, seq uint64) bool { return flushes[zone] == seq })
	return nil
}

func (w *Writer) writeMeters(ctx context.Context, meters []*item[openflow.Meter], conn *openflow.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for _, m := range meters {
		w.mu.Lock()
		meter, gone, seq := m.want, m.gone, m.seq
		w.mu.Unlock()
		err := error(nil)
		if gone {
			err = conn.DeleteMeter(ctx, meter.ID)
		} else {
			err = conn.SetMeter(ctx, meter)
		}
		if refused := (*openflow.SwitchError)(nil); errors.As(err, &refused) {
			w.refuse(Owner{Meter: meter.ID}, err)
			continue
		}
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.program.ackMeter(m, seq)
		delete(w.held, Owner{Meter: meter.ID})
		w.mu.Unlock()
	}
	return nil
}

// manyRefused is how many changes of one bundle are left out one by one before the bundle is cut in halves, so that the
// time stays bounded when the switch takes hardly any.
const manyRefused = 8

// commit sends units as one bundle. If the switch refuses a change, its unit is held back and the rest sent; if it does
// not say which, halves are tried.
func (w *Writer) commit(ctx context.Context, conn *openflow.Conn, units []*unit) error {
	for refused := 0; len(units) > 0; refused++ {
		err := w.send(ctx, conn, units)
		if err == nil {
			w.acknowledge(units)
			return nil
		}
		if conn.Err() != nil || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		culprit := find(units, err)
		if len(units) == 1 {
			culprit = 0
		}
		if culprit >= 0 {
			w.refuse(units[culprit].owner, err)
			units = append(units[:culprit:culprit], units[culprit+1:]...)
		}
		if culprit < 0 || refused == manyRefused && len(units) > 1 {
			if err := w.commit(ctx, conn, units[:len(units)/2]); err != nil {
				return err
			}
			units, refused = units[len(units)/2:], 0
		}
	}
	return nil
}

func (w *Writer) send(ctx context.Context, conn *openflow.Conn, units []*unit) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var mods []openflow.Mod
	for _, u := range units {
		mods = append(mods, u.mods...)
	}
	return conn.Commit(ctx, mods)
}

func (w *Writer) acknowledge(units []*unit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range units {
		for _, ack := range u.acks {
			ack()
		}
		delete(w.held, u.owner)
	}
}

// find answers the unit of the change that an error names, -1 if it names none.
func find(units []*unit, err error) int {
	var refused *openflow.ModError
	if !errors.As(err, &refused) {
		return -1
	}
	for i, u := range units {
		for j := range u.mods {
			if reflect.DeepEqual(u.mods[j], refused.Mod) {
				return i
			}
		}
	}
	return -1
}

// refuse holds an owner back for a while, each time longer.
func (w *Writer) refuse(owner Owner, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.held[owner]
	if h == nil {
		h = &hold{}
		w.held[owner] = h
		w.cfg.Log.WithError(err).Error("the switch refuses a part of the program")
	}
	h.reason = err.Error()
	h.wait = min(max(2*h.wait, w.cfg.RetryFirst), w.cfg.RetryMax)
	h.until = time.Now().Add(h.wait)
}
