// Package objects is what Contiv's objects mean: which tenants, networks, groups, endpoints and hosts may be made,
// changed and removed, and which numbers and addresses they get. Every operation is one ledger transaction, or a
// series of them that can be repeated; every refusal is an *Error that changes nothing.
//
// Operations run on the leader. They may be called at once from any number of goroutines, and answer when the local
// model contains what they did. Times come from an injected clock.
package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Defaults of Options and fixed times.
const (
	DefaultAddressRest   = 60 * time.Second
	DefaultHostDeadAfter = 24 * time.Hour

	reservationTime = 60 * time.Second // an address waits so long for its endpoint
	orphanTime      = 30 * time.Second // an endpoint that its host no longer has is kept so long
	quarantineWait  = 2 * time.Second  // a request waits so long for a number in quarantine
	quarantinePoll  = 50 * time.Millisecond
	silenceTime     = time.Minute // an agent away for less is not worth a record
	sweepEvery      = time.Second
)

// Options of New; the zero value of a field means what it says.
type Options struct {
	// AddressRest is how long a released address is not given to anybody else while others are free; 0: not at all.
	AddressRest time.Duration
	// HostDeadAfter is how long a host may be silent before its endpoints are released; 0: for ever.
	HostDeadAfter time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Agents tells what is known of the hosts' agents. Its methods must not block and may be called inside a transaction.
type Agents interface {
	// Acknowledged names the registered hosts, not dead, that have not acknowledged the store revision.
	Acknowledged(revision int64) (silent []string)
	// Connected tells whether a host's agent is registered with this netmaster now.
	Connected(host string) bool
}

// Objects does the operations on one store.
type Objects struct {
	ledger  *ledger.Ledger
	options Options
	log     *logrus.Entry

	mu      sync.Mutex
	agents  Agents
	orphans map[string]orphans   // by host
	silent  map[string]time.Time // hosts that are not connected, and since when
	latest  map[string]int64     // number of the newest registration that began, by host
	count   int64                // of registrations
}

// New makes the operations on a ledger. Until SetAgents is called, no agent counts as connected or as having
// acknowledged anything.
func New(l *ledger.Ledger, options Options, log *logrus.Entry) *Objects {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Objects{
		ledger: l, options: options, log: log, agents: noAgents{},
		orphans: make(map[string]orphans), silent: make(map[string]time.Time), latest: make(map[string]int64),
	}
}

// SetAgents says who knows the agents.
func (o *Objects) SetAgents(agents Agents) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.agents = agents
}

func (o *Objects) knownAgents() Agents {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.agents
}

// noAgents knows nothing, so that nothing is freed on its word.
type noAgents struct{}

func (noAgents) Acknowledged(int64) []string { return []string{"every host"} }

func (noAgents) Connected(string) bool { return false }

// txn is a plan's view of the ledger with what the plans of this package share.
type txn struct {
	*ledger.Tx
	agents Agents
	now    time.Time
	rest   time.Duration
	gone   map[string]bool // store keys of the endpoints that the plan has deleted
}

// commit runs a plan until it has been written, and waits for numbers in quarantine that it needs.
func (o *Objects) commit(ctx context.Context, doing string, plan func(*txn) error) (int64, error) {
	var deadline <-chan time.Time
	for {
		// As it will be read again: without the reading of the monotonic clock.
		now, agents := o.options.Now().UTC().Round(0), o.knownAgents()
		revision, err := o.ledger.Commit(ctx, func(tx *ledger.Tx) error {
			if err := checkConditions(ctx, tx); err != nil {
				return err
			}
			return plan(&txn{tx, agents, now, o.options.AddressRest, map[string]bool{}})
		})
		var waiting *quarantineError
		if !errors.As(err, &waiting) {
			return revision, classify(doing, err)
		}
		if deadline == nil {
			timer := time.NewTimer(quarantineWait)
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-time.After(quarantinePoll):
		case <-deadline:
			return 0, waiting.refusal()
		case <-ctx.Done():
			return 0, waiting.refusal()
		}
	}
}

// sameFields tells whether two records of one type say the same, unknown members aside.
func sameFields(a, b state.Record) (bool, error) {
	left, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("encoding %s: %w", a.StoreKey(), err)
	}
	right, err := json.Marshal(b)
	if err != nil {
		return false, fmt.Errorf("encoding %s: %w", b.StoreKey(), err)
	}
	return bytes.Equal(left, right), nil
}
