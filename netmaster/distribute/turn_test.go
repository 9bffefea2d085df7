package distribute

import (
	"context"
	"testing"
	"time"
)

// TestTurns: as many as there are turns go at once, the next when one ends, and a slow one does not keep them waiting.
func TestTurns(t *testing.T) {
	server := NewServer(Config{})
	begun := make([]turn, turns)
	for i := range begun {
		begun[i].server = server
		for range 2 { // the second time it is had already
			if !begun[i].begin(t.Context()) {
				t.Fatal("a free turn is not given")
			}
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if late := (turn{server: server}); late.begin(over) {
		t.Error("one turn more than there are was given")
	}
	begun[0].end()
	begun[0].end()
	next := turn{server: server}
	if !next.begin(t.Context()) {
		t.Error("a turn that ended is not given again")
	}
	// Nobody ends theirs: the time does.
	limit, cancel := context.WithTimeout(t.Context(), 5*turnTime)
	defer cancel()
	slow := turn{server: server}
	begin := time.Now()
	if !slow.begin(limit) {
		t.Error("slow ones keep the others waiting")
	}
	t.Logf("waited %v for the turn of a slow one", time.Since(begin))
	for _, one := range append(begun, next, slow) {
		one.end()
	}
}
