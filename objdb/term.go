package objdb

import "time"

// Timing of an election. A leader stops to consider itself one before anybody else may take over.
const (
	RenewEvery    = time.Second
	LeadAtMost    = 3 * time.Second         // after the start of the last renewal that succeeded
	TakeOverAfter = 3500 * time.Millisecond // without a sign of the leader
	retryAfter    = 250 * time.Millisecond
)

// term is one contender's view of the leadership: a state machine without clock or store, driven by Election.
//
// Invariant: held means that the term record was ours at revision record when we last knew; only then does the record
// carry our session. A fenced write of a contender that is wrong about held fails.
type term struct {
	session string
	alone   bool // whoever else leads is dead

	held      bool
	record    int64     // revision of the term record; 0: there is none
	beat      int64     // revision of the beat key; 0: there is none
	renewedAt time.Time // held: start of the last renewal that succeeded

	known   bool      // record and beat were read at least once
	blind   bool      // the store did not answer since: silence says nothing about the leader
	aliveAt time.Time // not held: when the leader last gave a sign, or when we began to listen
}

// action is what a contender does next.
type action int

const (
	actWait action = iota
	actLook        // read both keys
	actTake        // take the leadership by compare on both keys as last seen
	actRenew
)

// seen takes in what both keys were at some moment up to now; session is that of the term record.
func (t *term) seen(now time.Time, record, beat int64, session string) {
	moved := record != t.record || beat != t.beat
	if !t.known || t.blind || moved {
		t.aliveAt = now
	}
	wasOurs := t.held && record == t.record
	t.known, t.blind, t.record, t.beat = true, false, record, beat
	switch {
	case wasOurs:
	case record != 0 && session == t.session:
		// An attempt whose answer got lost had succeeded. It leads only after a renewal.
		t.held, t.renewedAt = true, time.Time{}
	default:
		t.held = false
	}
}

// failed takes in that the store did not answer.
func (t *term) failed() { t.blind = true }

// took and renewed take in a success of what began at start.
func (t *term) took(start time.Time, revision int64) {
	t.known, t.held, t.record, t.beat, t.renewedAt = true, true, revision, revision, start
}

func (t *term) renewed(start time.Time, revision int64) {
	t.beat, t.renewedAt, t.blind = revision, start, false
}

// lost takes in that a compare failed: somebody changed the keys.
func (t *term) lost() { t.held, t.known = false, false }

// leading tells whether we may still consider ourselves the leader.
func (t *term) leading(now time.Time) bool { return t.held && now.Before(t.renewedAt.Add(LeadAtMost)) }

// next is what to do now, or actWait and until when nothing is to be done.
func (t *term) next(now time.Time) (action, time.Time) {
	switch {
	case t.held:
		if due := t.renewedAt.Add(RenewEvery); now.Before(due) {
			return actWait, due
		}
		return actRenew, now
	case !t.known || t.blind:
		return actLook, now
	case t.record == 0 || t.alone:
		return actTake, now
	}
	if due := t.aliveAt.Add(TakeOverAfter); now.Before(due) {
		return actWait, due
	}
	return actTake, now
}
