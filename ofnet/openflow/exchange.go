package openflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

// encoder appends a message with a transaction number.
type encoder func(buf []byte, xid uint32) ([]byte, error)

// writeChunk is how much is encoded before it goes to the socket, so that the switch works while we encode on.
const writeChunk = 64 << 10

// numbers takes a run of transaction numbers.
func (c *Conn) numbers(count int) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.xid > ^uint32(0)-uint32(count) {
		c.xid = 0
	}
	first := c.xid + 1
	c.xid += uint32(count)
	return first
}

// send writes a message that has no reply.
func (c *Conn) send(ctx context.Context, encode encoder) error {
	return c.sendAs(ctx, c.numbers(1), encode)
}

func (c *Conn) sendAs(ctx context.Context, xid uint32, encode encoder) error {
	return c.writeAll(ctx, 1, func(buf []byte, _ int) ([]byte, error) { return encode(buf, xid) })
}

// writeAll encodes and writes messages back to back. An encoding error leaves out that message and those after it;
// an error of writing ends the connection, because the switch may have half a message. For the same reason ctx is looked
// at between chunks only; within one, a switch that does not read is given as long as one that says nothing.
func (c *Conn) writeAll(ctx context.Context, count int, encode func(buf []byte, i int) ([]byte, error)) error {
	c.write.Lock()
	defer c.write.Unlock()
	buf := c.scratch[:0]
	var failed error
	for i := range count {
		next, err := encode(buf, i)
		if err != nil {
			failed = err
			break
		}
		if buf = next; len(buf) < writeChunk {
			continue
		}
		if err := c.flush(ctx, buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	if err := c.flush(ctx, buf); err != nil {
		return err
	}
	if c.scratch = buf; cap(buf) > 4*writeChunk {
		c.scratch = nil
	}
	return failed
}

func (c *Conn) flush(ctx context.Context, buf []byte) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(max(silences*c.echo, time.Second)))
	if _, err := c.conn.Write(buf); err != nil {
		c.fail(fmt.Errorf("writing to switch: %w", err))
		return c.Err()
	}
	return nil
}

// ask sends a request and waits for its reply.
func (c *Conn) ask(ctx context.Context, encode encoder) ([][]byte, error) {
	xid := c.numbers(1)
	call := c.expect(xid)
	defer c.forget(xid)
	if err := c.sendAs(ctx, xid, encode); err != nil {
		return nil, err
	}
	return c.await(ctx, call)
}

func (c *Conn) expect(xid uint32) *call {
	waiting := &call{reply: make(chan reply, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[xid] = waiting
	return waiting
}

func (c *Conn) forget(xid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, xid)
}

func (c *Conn) await(ctx context.Context, waiting *call) ([][]byte, error) {
	select {
	case r := <-waiting.reply:
		return r.parts, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for switch: %w", ctx.Err())
	case <-c.done:
		return nil, c.err
	}
}

// watch starts to collect errors about count numbers from first; the returned function ends it.
func (c *Conn) watch(first uint32, count int) (*watch, func()) {
	w := &watch{first: first, last: first + uint32(count) - 1}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches[w] = struct{}{}
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watches, w)
	}
}

// errors of a watch so far.
func (c *Conn) errors(w *watch) []watchedError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(w.errs)
}

// confirm sends messages that the switch answers only if it refuses them, and learns from a barrier that it did not.
func (c *Conn) confirm(ctx context.Context, messages ...encoder) error {
	first := c.numbers(len(messages))
	w, done := c.watch(first, len(messages))
	defer done()
	err := c.writeAll(ctx, len(messages), func(buf []byte, i int) ([]byte, error) { return messages[i](buf, first+uint32(i)) })
	if err != nil {
		return err
	}
	if err := c.Barrier(ctx); err != nil {
		return err
	}
	for _, e := range c.errors(w) {
		return e.err
	}
	return nil
}

// Barrier returns when the switch has done everything sent before.
func (c *Conn) Barrier(ctx context.Context) error {
	_, err := c.ask(ctx, barrier)
	return err
}

// SetMeter makes a meter or changes its rate.
func (c *Conn) SetMeter(ctx context.Context, m Meter) error {
	err := c.confirm(ctx, meterMod(of.OFPMC_ADD, m))
	if refused := (*SwitchError)(nil); errors.As(err, &refused) && refused.Type == of.ET_METER_MOD_FAILED && refused.Code == meterExists {
		err = c.confirm(ctx, meterMod(of.OFPMC_MODIFY, m))
	}
	if err != nil {
		return fmt.Errorf("setting meter %d: %w", m.ID, err)
	}
	return nil
}

// meterExists is the code of the error that tells that a meter is there already.
const meterExists = 1

// DeleteMeter removes a meter and, silently, the flows that use it. That there is none is no error.
func (c *Conn) DeleteMeter(ctx context.Context, id uint32) error {
	if err := c.confirm(ctx, meterMod(of.OFPMC_DELETE, Meter{ID: id})); err != nil {
		return fmt.Errorf("deleting meter %d: %w", id, err)
	}
	return nil
}

// PacketOut has the switch do actions to a frame as if it had come in through a port. An error the switch may have with
// it is only logged.
func (c *Conn) PacketOut(ctx context.Context, inPort uint32, actions Actions, frame []byte) error {
	return c.send(ctx, packetOut(inPort, actions, frame))
}

// FlowStats reads the heads of the statistics of all flows whose cookie has these bits under mask; mask 0 takes all.
func (c *Conn) FlowStats(ctx context.Context, cookie, mask uint64) ([]FlowStat, error) {
	return c.QueryFlows(ctx, FlowQuery{Table: AllTables, Cookie: cookie, Mask: mask})
}

// Aggregate counts the flows whose cookie has these bits under mask, and their packets; mask 0 takes all.
func (c *Conn) Aggregate(ctx context.Context, cookie, mask uint64) (Aggregate, error) {
	parts, err := c.ask(ctx, multipart(partAggregate, flowStatsBody(AllTables, cookie, mask)))
	if err != nil {
		return Aggregate{}, fmt.Errorf("counting flows: %w", err)
	}
	return decodeAggregate(parts)
}

// GroupIDs lists the groups there are, in no order.
func (c *Conn) GroupIDs(ctx context.Context) ([]uint32, error) {
	parts, err := c.ask(ctx, multipart(partGroupDesc, nil))
	if err != nil {
		return nil, fmt.Errorf("listing groups: %w", err)
	}
	return decodeGroupIDs(parts)
}

// PortStats reads the counters of all ports.
func (c *Conn) PortStats(ctx context.Context) ([]PortStat, error) {
	parts, err := c.ask(ctx, multipart(partPort, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}))
	if err != nil {
		return nil, fmt.Errorf("reading port statistics: %w", err)
	}
	return decodePortStats(parts)
}

// ModError is a change that the switch refused, and with it the whole bundle.
type ModError struct {
	Mod Mod
	Err error
}

// Error tells the change and the switch's reason.
func (e *ModError) Error() string { return e.Mod.String() + ": " + e.Err.Error() }

// Unwrap is the *SwitchError or the encoding error.
func (e *ModError) Unwrap() error { return e.Err }

// discardTime is how long a failed bundle's removal may take; the switch drops it by itself some time later.
const discardTime = time.Second

// Commit makes changes in order and all at once: packets see none or all of them, and after an error none is made. A
// refused change is told as *ModError. Changes of many megabytes stall the switch; callers split them.
func (c *Conn) Commit(ctx context.Context, mods []Mod) error {
	if len(mods) == 0 {
		return nil
	}
	select {
	case <-c.bundle:
		defer func() { c.bundle <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for another bundle: %w", ctx.Err())
	case <-c.done:
		return c.err
	}
	id := c.bundleID.Add(1)
	first := c.numbers(len(mods))
	w, done := c.watch(first, len(mods))
	defer done()
	err := c.fill(ctx, id, first, mods)
	if culprit := c.refused(w, mods); culprit != nil {
		err = culprit
	}
	if err != nil {
		c.discard(id)
		return err
	}
	_, err = c.ask(ctx, bundleControl(id, of.OFPBCT_COMMIT_REQUEST))
	if culprit := c.refused(w, mods); culprit != nil {
		return culprit
	}
	if err != nil {
		return fmt.Errorf("committing %d changes: %w", len(mods), err)
	}
	return nil
}

// fill opens a bundle, adds the changes and closes it, all in one go; the answer to the last comes behind all errors.
func (c *Conn) fill(ctx context.Context, id, first uint32, mods []Mod) error {
	open, shut := c.numbers(1), c.numbers(1)
	opened, closed := c.expect(open), c.expect(shut)
	defer c.forget(open)
	defer c.forget(shut)
	err := c.writeAll(ctx, len(mods)+2, func(buf []byte, i int) ([]byte, error) {
		switch i {
		case 0:
			return bundleControl(id, of.OFPBCT_OPEN_REQUEST)(buf, open)
		case len(mods) + 1:
			return bundleControl(id, of.OFPBCT_CLOSE_REQUEST)(buf, shut)
		}
		next, err := appendBundled(buf, first+uint32(i-1), id, &mods[i-1])
		if err != nil {
			return nil, &ModError{mods[i-1], err}
		}
		return next, nil
	})
	if err != nil {
		return err
	}
	if _, err := c.await(ctx, opened); err != nil {
		return fmt.Errorf("opening a bundle: %w", err)
	}
	if _, err := c.await(ctx, closed); err != nil {
		return fmt.Errorf("closing a bundle: %w", err)
	}
	return nil
}

// refused is the first change the switch refused.
func (c *Conn) refused(w *watch, mods []Mod) error {
	for _, e := range c.errors(w) {
		return &ModError{mods[e.xid-w.first], e.err}
	}
	return nil
}

func (c *Conn) discard(id uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), discardTime)
	defer cancel()
	if _, err := c.ask(ctx, bundleControl(id, of.OFPBCT_DISCARD_REQUEST)); err != nil {
		c.log.WithError(err).Debug("discarding a bundle")
	}
}
