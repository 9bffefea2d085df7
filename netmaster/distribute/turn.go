package distribute

import (
	"context"
	"sync"
	"time"
)

// Snapshots are sent to few agents at once. Were they sent to all of a large cluster together, each would take so long
// that answers to pings, which come behind them, were late, and sessions were given up with nothing done.
const (
	turns = 16
	// registrations is how many are done at once.
	registrations = 16
	// turnTime is after how long an agent goes on beside the others: a slow one does not keep them waiting.
	turnTime = 2 * time.Second
)

// turn is the right of a session to send a snapshot.
type turn struct {
	server *Server
	giveUp func() // nil: it is not this session's
	timer  *time.Timer
}

// begin waits for the session's turn, false if the context ended before. It may be called again while it lasts.
func (t *turn) begin(ctx context.Context) bool {
	if t.giveUp != nil {
		return true
	}
	select {
	case t.server.turns <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	t.giveUp = sync.OnceFunc(func() { <-t.server.turns })
	t.timer = time.AfterFunc(turnTime, t.giveUp)
	return true
}

// end lets the next have its turn. It may be called without one.
func (t *turn) end() {
	if t.giveUp == nil {
		return
	}
	t.timer.Stop()
	t.giveUp()
	t.giveUp = nil
}
