package objdb

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// world is a store of two keys and contenders whose calls take time, fail, or succeed without the caller learning it.
type world struct {
	rng      *rand.Rand
	now      time.Time
	revision int64
	record   int64
	beat     int64
	session  string
	down     bool
	members  []*member
}

type member struct {
	term
	offset time.Duration // of its clock from the world's
	frozen bool
	busy   time.Time // its last call is answered then
	answer func()
}

func (m *member) clock(w *world) time.Time { return w.now.Add(m.offset) }

// call begins what the state machine wants: the store acts at once or never, the answer comes later or never.
func (w *world) call(m *member, what action) {
	start := m.clock(w)
	m.busy = w.now.Add(time.Duration(w.rng.IntN(300)) * time.Millisecond)
	record, beat, session := w.record, w.beat, w.session // as read by a look, and compared by a write
	m.answer = func() { m.failed() }
	if w.down {
		return
	}
	fate := w.rng.IntN(20) // 0: never arrived, 1: answer got lost
	if fate == 0 {
		return
	}
	answer := func() { m.lost() }
	switch {
	case what == actLook:
		answer = func() { m.seen(m.clock(w), record, beat, session) }
	case what == actTake && m.record == record && m.beat == beat:
		w.revision++
		w.record, w.beat, w.session = w.revision, w.revision, m.term.session
		revision := w.revision
		answer = func() { m.took(start, revision) }
	case what == actRenew && m.record == record:
		w.revision++
		w.beat = w.revision
		revision := w.revision
		answer = func() { m.renewed(start, revision) }
	}
	if fate > 1 {
		m.answer = answer
	}
}

func (w *world) step(m *member) {
	if m.frozen {
		return
	}
	if m.answer != nil {
		if w.now.Before(m.busy) {
			return
		}
		m.answer()
		m.answer = nil
		return
	}
	if !w.down && w.rng.IntN(3) == 0 { // the watch tells what there is
		m.seen(m.clock(w), w.record, w.beat, w.session)
	}
	if what, _ := m.next(m.clock(w)); what != actWait {
		w.call(m, what)
	}
}

// check is the promise: of all that believe they lead, at most one does, and its fence holds for nobody else.
func (w *world) check() error {
	leaders := 0
	for _, m := range w.members {
		if m.leading(m.clock(w)) {
			leaders++
		}
		if m.held && m.record == w.record && w.session != m.term.session {
			return fmt.Errorf("%s holds a fence that is %s's", m.term.session, w.session)
		}
	}
	if leaders > 1 {
		return fmt.Errorf("%d leaders", leaders)
	}
	return nil
}

func TestTermNeverHasTwoLeaders(t *testing.T) {
	for seed := range uint64(200) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0)} //nolint:gosec // a simulation
		for i := range 3 {
			m := &member{offset: time.Duration(w.rng.IntN(1000)) * time.Hour}
			m.term.session = fmt.Sprint("member-", i)
			w.members = append(w.members, m)
		}
		for range 3000 {
			w.now = w.now.Add(time.Duration(w.rng.IntN(40)) * time.Millisecond)
			switch w.rng.IntN(400) {
			case 0:
				m := w.members[w.rng.IntN(3)]
				m.frozen = !m.frozen
			case 1:
				w.down = !w.down
			}
			w.step(w.members[w.rng.IntN(3)])
			if err := w.check(); err != nil {
				t.Fatalf("seed %d at %v: %v", seed, w.now, err)
			}
		}
		w.mustElect(t, seed)
	}
}

// mustElect checks that with a healthy store somebody leads soon, when one of the others is dead for good.
func (w *world) mustElect(t *testing.T, seed uint64) {
	t.Helper()
	w.down = false
	for _, m := range w.members[1:] {
		m.frozen = false
	}
	w.members[0].frozen = true
	for end := w.now.Add(15 * time.Second); w.now.Before(end); w.now = w.now.Add(5 * time.Millisecond) {
		for _, m := range w.members[1:] {
			w.step(m)
			if m.leading(m.clock(w)) {
				return
			}
		}
	}
	t.Fatalf("seed %d: nobody leads 15 s after the last fault", seed)
}

func TestTermTiming(t *testing.T) {
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	tests := []struct {
		name  string
		setup func(m *term)
		now   float64
		want  action
		leads bool
	}{
		{"knows nothing yet", func(*term) {}, 0, actLook, false},
		{"nobody leads", func(m *term) { m.seen(at(0), 0, 0, "") }, 0, actTake, false},
		{"another leads", func(m *term) { m.seen(at(0), 5, 5, "other") }, 3.4, actWait, false},
		{"another is silent", func(m *term) { m.seen(at(0), 5, 5, "other") }, 3.5, actTake, false},
		{"another renewed", func(m *term) { m.seen(at(0), 5, 5, "other"); m.seen(at(2), 5, 6, "other") }, 5, actWait, false},
		{"same news twice is no renewal", func(m *term) { m.seen(at(0), 5, 5, "other"); m.seen(at(2), 5, 5, "other") }, 3.5, actTake, false},
		{"the store was away", func(m *term) { m.seen(at(0), 5, 5, "other"); m.failed(); m.seen(at(3), 5, 5, "other") }, 4, actWait, false},
		{"the store is away", func(m *term) { m.seen(at(0), 5, 5, "other"); m.failed() }, 9, actLook, false},
		{"fresh leader", func(m *term) { m.took(at(0), 7) }, 0.9, actWait, true},
		{"leader renews", func(m *term) { m.took(at(0), 7) }, 1, actRenew, true},
		{"leader could not renew", func(m *term) { m.took(at(0), 7); m.failed() }, 3, actRenew, false},
		{"leader renewed late", func(m *term) { m.took(at(0), 7); m.renewed(at(4), 9) }, 4.5, actWait, true},
		{"somebody took over", func(m *term) { m.took(at(0), 7); m.seen(at(1), 8, 8, "other") }, 1, actWait, false},
		{"term was deleted", func(m *term) { m.took(at(0), 7); m.seen(at(1), 0, 0, "") }, 1, actTake, false},
		{"nobody else can be alive", func(m *term) { m.alone = true; m.seen(at(0), 5, 5, "dead") }, 0, actTake, false},
		{"attempt had succeeded", func(m *term) { m.failed(); m.seen(at(1), 7, 7, "me") }, 1, actRenew, false},
	}
	for _, test := range tests {
		m := &term{session: "me"}
		test.setup(m)
		if got, _ := m.next(at(test.now)); got != test.want || m.leading(at(test.now)) != test.leads {
			t.Errorf("%s: action %v, leading %v, want %v, %v", test.name, got, m.leading(at(test.now)), test.want, test.leads)
		}
	}
}
