package objdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// LeaderKey is the term record of netmaster's leadership; LeaderKey+"-beat" is what its holder renews every second.
const LeaderKey = "lock/netmaster/leader"

// Leader is the term record: who leads. It is written when somebody takes over and not touched until the next does.
type Leader struct {
	Holder     string    `json:"holder"`     // host name, for people
	Address    string    `json:"address"`    // host:port of REST
	RPCAddress string    `json:"rpcAddress"` // host:port for agents
	Version    string    `json:"version,omitempty"`
	Since      time.Time `json:"since"` // by the holder's clock, for people
	Session    string    `json:"session"`
}

// Status is a contender's view of the leadership.
type Status struct {
	// Leader is who holds the term record; nil if nobody does or it is not known. It may have died already.
	Leader *Leader
	// Leading: this contender leads. Fence is the compare that every write of a leader carries.
	Leading bool
	Fence   Compare
}

// ElectionConfig describes a contender.
type ElectionConfig struct {
	Key  string // of the term record; default LeaderKey
	Self Leader // Since and Session are filled in
	// MayLead is asked before each attempt to take over; an error keeps this contender from standing. May be nil.
	MayLead func(ctx context.Context) error
	// Alone says that no other contender can exist, as with a store that only this process has open: who is found to
	// lead is dead, and is not waited for.
	Alone bool
}

// Election is one contender for a leadership that is kept as two keys: the term record, whose revision fences the
// leader's writes, and a beat that the leader renews. Who saw no beat for TakeOverAfter of its own clock takes over by
// compare on both; after a clean stop everybody tries at once.
type Election struct {
	store Store
	cfg   ElectionConfig

	mu      sync.Mutex
	term    term
	leader  *Leader
	changed chan struct{}
	shown   Status
}

// NewElection makes a contender; it does nothing before Run.
func NewElection(store Store, cfg ElectionConfig) *Election {
	if cfg.Key == "" {
		cfg.Key = LeaderKey
	}
	cfg.Self.Session = uuid.NewString()
	return &Election{store: store, cfg: cfg, term: term{session: cfg.Self.Session, alone: cfg.Alone}, changed: make(chan struct{})}
}

// Status returns the view of now, and what is closed when it has changed.
func (e *Election) Status() (Status, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status(time.Now()), e.changed
}

func (e *Election) status(now time.Time) Status {
	s := Status{Leader: e.leader, Leading: e.term.leading(now)}
	if s.Leading {
		s.Fence = Unchanged(e.cfg.Key, e.term.record)
	}
	return s
}

// Fence returns the compare that a leader's write carries; false if this contender does not lead now.
func (e *Election) Fence() (Compare, bool) {
	s, _ := e.Status()
	return s.Fence, s.Leading
}

// Run stands for election until the context ends, then gives the leadership up if it has it, which takes half a
// second at most. It returns the context's error.
func (e *Election) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if after, ok := e.look(ctx); ok {
			e.session(ctx, after)
			continue
		}
		pause(ctx, retryAfter)
	}
	e.resign()
	return ctx.Err()
}

// session acts and listens until its watch ends.
func (e *Election) session(ctx context.Context, after int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := e.store.Watch(ctx, e.cfg.Key, after)
	for {
		timer := time.NewTimer(time.Until(e.act(ctx)))
		listening := e.listen(w, timer.C)
		timer.Stop()
		if !listening {
			return
		}
	}
}

// listen takes in the next change, or returns when it is time to act. False: the watch has ended.
func (e *Election) listen(w Watcher, act <-chan time.Time) bool {
	for {
		select {
		case batch, ok := <-w.Batches():
			if ok && len(batch.Events) == 0 {
				continue // others write
			}
			if ok {
				e.hear(batch)
			}
			return ok
		case <-act:
			return true
		}
	}
}

// act does what is due and returns when to act again at the latest.
func (e *Election) act(ctx context.Context) time.Time {
	now := time.Now()
	e.mu.Lock()
	due, wake := e.term.next(now)
	e.mu.Unlock()
	ok := true
	switch due {
	case actWait:
		e.publish()
		return wake
	case actLook:
		_, ok = e.look(ctx)
	case actRenew:
		ok = e.renew(ctx, now)
	case actTake:
		ok = e.take(ctx)
	}
	e.publish()
	if !ok {
		return time.Now().Add(retryAfter)
	}
	return time.Now()
}

func (e *Election) beatKey() string { return e.cfg.Key + "-beat" }

// look reads both keys and returns the revision they were read at.
func (e *Election) look(ctx context.Context) (int64, bool) {
	ctx, cancel := context.WithTimeout(ctx, RenewEvery)
	defer cancel()
	kvs, revision, err := e.store.List(ctx, e.cfg.Key)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.term.failed()
		return 0, false
	}
	var beat int64
	var leader *Leader
	var record int64
	for _, kv := range kvs {
		switch kv.Key {
		case e.cfg.Key:
			record, leader = kv.Revision, decodeLeader(kv.Value)
		case e.beatKey():
			beat = kv.Revision
		}
	}
	e.leader = leader
	e.term.seen(now, record, beat, sessionOf(leader))
	return revision, true
}

// hear takes in changes of both keys.
func (e *Election) hear(batch Batch) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	record, beat, news := e.term.record, e.term.beat, false
	for _, event := range batch.Events {
		revision := event.Revision
		if event.Deleted {
			revision = 0
		}
		switch {
		case event.Key == e.cfg.Key && event.Revision > e.term.record:
			record, news = revision, true
			e.leader = decodeLeader(event.Value)
		case event.Key == e.beatKey() && event.Revision > e.term.beat:
			beat, news = revision, true
		}
	}
	if news {
		e.term.seen(now, record, beat, sessionOf(e.leader))
	}
}

// take tries to become the leader by compare on both keys as last seen. Before it takes the place of a silent leader
// it looks once more: the watch may have fallen silent instead.
func (e *Election) take(ctx context.Context) bool {
	if !e.mayLead(ctx) {
		return false
	}
	if _, ok := e.look(ctx); !ok {
		return false
	}
	start := time.Now()
	e.mu.Lock()
	if due, _ := e.term.next(start); due != actTake {
		e.mu.Unlock()
		return true
	}
	self := e.cfg.Self
	self.Since = start.UTC()
	conditions := []Compare{{Key: e.cfg.Key, Revision: e.term.record}, {Key: e.beatKey(), Revision: e.term.beat}}
	e.mu.Unlock()

	value, err := json.Marshal(self)
	if err != nil {
		return false
	}
	revision, err := e.write(ctx, start.Add(RenewEvery), Txn{
		If: conditions, Then: []Op{Put(e.cfg.Key, value), Put(e.beatKey(), []byte(self.Session))},
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.leader = &self
		e.term.took(start, revision)
	case errors.Is(err, ErrConflict):
		e.term.lost()
	default:
		e.term.failed()
	}
	return err == nil || errors.Is(err, ErrConflict)
}

func (e *Election) mayLead(ctx context.Context) bool {
	if e.cfg.MayLead == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, RenewEvery)
	defer cancel()
	return e.cfg.MayLead(ctx) == nil
}

// renew writes the beat, fenced by the term record.
func (e *Election) renew(ctx context.Context, start time.Time) bool {
	e.mu.Lock()
	fence := Unchanged(e.cfg.Key, e.term.record)
	deadline := start.Add(RenewEvery)
	if end := e.term.renewedAt.Add(LeadAtMost); start.Before(end) && end.Before(deadline) {
		deadline = end // so that the end of leading is told in time
	}
	e.mu.Unlock()
	revision, err := e.write(ctx, deadline, Txn{
		If: []Compare{fence}, Then: []Op{Put(e.beatKey(), []byte(e.cfg.Self.Session))},
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.term.renewed(start, revision)
	case errors.Is(err, ErrConflict):
		e.term.lost()
	default:
		return false
	}
	return true
}

func (e *Election) write(ctx context.Context, deadline time.Time, txn Txn) (int64, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	revision, err := e.store.Commit(ctx, txn)
	if err != nil {
		return 0, fmt.Errorf("writing %q: %w", e.cfg.Key, err)
	}
	return revision, nil
}

// resign deletes both keys if the term is ours, so that others need not wait.
func (e *Election) resign() {
	e.mu.Lock()
	held, fence := e.term.held, Unchanged(e.cfg.Key, e.term.record)
	e.term.lost()
	e.leader = nil
	e.mu.Unlock()
	e.publish()
	if held {
		// If this fails, the others take over by time.
		_, _ = e.write(context.Background(), time.Now().Add(RenewEvery/2), Txn{
			If: []Compare{fence}, Then: []Op{Delete(e.cfg.Key), Delete(e.beatKey())},
		})
	}
}

// publish wakes those who wait for a change of the status.
func (e *Election) publish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status(time.Now())
	if s.Leading == e.shown.Leading && s.Fence == e.shown.Fence && sessionOf(s.Leader) == sessionOf(e.shown.Leader) {
		return
	}
	e.shown = s
	close(e.changed)
	e.changed = make(chan struct{})
}

// decodeLeader answers nil for a record that is gone or that this version cannot read.
func decodeLeader(value []byte) *Leader {
	var leader Leader
	if value == nil || json.Unmarshal(value, &leader) != nil {
		return nil
	}
	return &leader
}

func sessionOf(leader *Leader) string {
	if leader == nil {
		return ""
	}
	return leader.Session
}
