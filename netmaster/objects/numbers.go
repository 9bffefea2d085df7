package objects

import (
	"fmt"
	"strings"

	"github.com/contiv/contiv/netmaster/alloc"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Limits of the numbers that packets and registers carry.
const (
	maxVRF      = 4095
	maxNetwork  = 65535
	maxGroup    = 65535
	maxIdentity = 65535
	maxVLAN     = 4094
	maxVNI      = 1<<24 - 1
)

// numbers is a pool of numbers and how people call it.
type numbers struct {
	pool        state.Pool
	first, last int
	what        string // "vlan"
	whats       string // "vlans"
}

func vrfs() numbers { return numbers{state.PoolVRF, 1, maxVRF, "tenant number", "tenant numbers"} }
func networkIDs() numbers {
	return numbers{state.PoolNetwork, 1, maxNetwork, "network id", "network ids"}
}
func groupIDs() numbers { return numbers{state.PoolGroup, 1, maxGroup, "group id", "group ids"} }
func identities() numbers {
	return numbers{state.PoolIdentity, 1, maxIdentity, "identity", "identities"}
}

// quarantineError: a number is free but for hosts that may still use it. It makes commit wait and try again.
type quarantineError struct {
	message string
	silent  []string
	kind    Kind
}

func (e *quarantineError) Error() string { return e.message }

func (e *quarantineError) refusal() error {
	const most = 5
	hosts := e.silent
	if len(hosts) > most {
		hosts = append(hosts[:most:most], fmt.Sprintf("and %d more", len(e.silent)-most))
	}
	return refuse(e.kind, "%s: it was released, but the removal is not yet acknowledged by %s; try again later, or choose another",
		e.message, strings.Join(hosts, ", "))
}

// take gives the lowest free number of the pool to the owner.
func (tx *txn) take(from numbers, owner string) (int, error) {
	in := alloc.Numbers(from.first, from.last)
	number := 0
	if v, ok := tx.LowestFree(from.pool, in); ok {
		number = v.Int()
	} else {
		message := fmt.Sprintf("no %s available: all of %d-%d are in use", from.whats, from.first, from.last)
		resting := tx.LongestResting(from.pool, in)
		if resting == nil {
			return 0, refuse(Exhausted, "%s", message)
		}
		if silent := tx.silentSince(resting); len(silent) > 0 {
			return 0, &quarantineError{fmt.Sprintf("%s, but for %d", message, resting.Number), silent, Exhausted}
		}
		number = resting.Number
	}
	tx.Put(&state.Allocation{Pool: from.pool, Number: number, Owner: owner})
	return number, nil
}

// takeWanted gives the owner the number it asks for.
func (tx *txn) takeWanted(from numbers, owner string, number int) error {
	want := state.Allocation{Pool: from.pool, Number: number, Owner: owner}
	message := fmt.Sprintf("requested %s not available: %d", from.what, number)
	held := tx.Allocation(want)
	switch {
	case held == nil:
	case held.Released != nil:
		if silent := tx.silentSince(held); len(silent) > 0 {
			return &quarantineError{message, silent, Conflict}
		}
	default:
		return refuse(Conflict, "%s is used by %s; ask for another one, or for none to get any free one", message, ownerName(held.Owner))
	}
	tx.Put(&want)
	return nil
}

// silentSince names the hosts that may still use a released number.
func (tx *txn) silentSince(a *state.Allocation) []string {
	if !tx.hasHosts() {
		return nil
	}
	return tx.agents.Acknowledged(tx.RevisionOf(a.StoreKey()))
}

// give back a number: it rests until every host has acknowledged that its owner is gone.
func (tx *txn) giveBack(pool state.Pool, number int, owner string) {
	held := tx.Allocation(state.Allocation{Pool: pool, Number: number})
	if held == nil || held.Owner != owner {
		return
	}
	if !tx.hasHosts() {
		tx.Delete(held)
		return
	}
	tx.Put(tx.released(held))
}

func (tx *txn) released(held *state.Allocation) *state.Allocation {
	next := *held
	next.Owner, next.Reserved = "", nil
	next.Released = &state.Release{At: tx.now, Owner: held.Owner}
	return &next
}

// hasHosts tells whether any host may hold what is about to go.
func (tx *txn) hasHosts() bool {
	return tx.Find(ledger.AllHosts(), func(r state.Record) bool {
		h, ok := r.(*state.Host)
		return ok && !h.Dead
	}) != nil
}

// ownerName says an owner's store key as a person would: `network "default:web"`.
func ownerName(key string) string {
	for _, known := range []struct{ prefix, word string }{
		{state.TenantStatePrefix, "tenant"}, {state.NetworkStatePrefix, "network"},
		{state.GroupStatePrefix, "group"}, {state.EndpointPrefix, "endpoint"}, {state.ServiceStatePrefix, "service"},
		{state.GroupSetPrefix, "endpoints of the groups"},
	} {
		if name, ok := strings.CutPrefix(key, known.prefix); ok {
			return fmt.Sprintf("%s %q", known.word, name)
		}
	}
	return fmt.Sprintf("%q", key)
}
