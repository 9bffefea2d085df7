package ledger

import (
	"github.com/contiv/contiv/state"
)

// Change is one step of the model.
type Change struct {
	// Revision that the model is at after the change.
	Revision int64
	// Initial marks the first call of a subscriber: everything in the model is new to it, Records is empty.
	Initial bool
	// Records are those that changed, each once, with its newest form. It may be empty: then only the revision moved.
	Records []Delta
	// Requests are the ids (package requestid) of the requests of this process that led to the change, each once.
	Requests []string
}

// Delta is the change of one record. Old is nil if it is new, New is nil if it went.
type Delta struct {
	Key      string
	Revision int64 // in which New was written, or Old deleted (or later, after an interruption)
	Old, New state.Record
	// Unread: before or after the change, or both, the store holds a record that cannot be read. Old or New is nil then.
	Unread bool
}

// Subscribe calls notify with the model as it is, then after every change, in order, each time with the model exactly
// at the change's revision. Calls come one at a time and hold up the ledger: notify must be quick, and must not call
// the ledger. After cancel has returned, notify is not called any more.
func (l *Ledger) Subscribe(notify func(*Model, Change)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextID++
	id := l.nextID
	l.subscribers[id] = notify
	notify(l.model, Change{Revision: l.model.revision, Initial: true})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subscribers, id)
	}
}

func (l *Ledger) publish(change Change) {
	for _, notify := range l.subscribers {
		notify(l.model, change)
	}
}
