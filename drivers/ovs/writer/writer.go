// Package writer keeps the flow tables of one bridge as a program says: it holds what the switch should have and what
// the switch acknowledged, sends differences as bundles, and installs all of it again, without a gap for packets, when
// the agent or the switch was restarted.
//
// # Rounds
//
// Each flow carries a round in its cookie. After a start of the agent nothing is touched until Start. Then
// everything is added under a round that no flow has yet: adding a flow that is there already only renews its cookie
// and actions, so that traffic goes on. When all is added, flows of any other round are deleted, with groups and meters
// that are not of the program. The same is done when the switch lost flows, and when a round was not finished.
//
// # Refusals
//
// A bundle fails as a whole. The owner of the change that the switch refused is left out (its flows stay as they were;
// at the end of a round they go), the rest is sent again, and the owner is tried again later.
package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/openflow"
)

// ErrClosed is what Wait answers after Close.
var ErrClosed = errors.New("writer is closed")

// Config of a writer.
type Config struct {
	Socket string // of the bridge's OpenFlow management
	// NewRound answers a round in 1..LastRound that no flow in the switch has, and has it remembered before it returns.
	NewRound func(ctx context.Context) (uint16, error)
	// Connected, if not nil, is called after each connect, before anything is written, and must return soon.
	Connected func(ctx context.Context, conn *openflow.Conn)
	Log       *logrus.Entry
	// MaxBundle is how many changes a bundle may hold; 0 for 4000. An owner with more goes alone.
	MaxBundle int
	// Verify is how often the number of flows is compared with the program; 0 for 30 s.
	Verify time.Duration
	// RetryFirst and RetryMax are the pauses before an owner that was refused is tried again; 0 for 1 s and 60 s.
	RetryFirst, RetryMax time.Duration
}

// Refusal is an owner that the switch does not take.
type Refusal struct {
	Owner  Owner
	Reason string
}

// State of a writer.
type State struct {
	Connected bool
	// Certain: since the connection was made, the switch was found, or made, to have what Done says. A switch that was
	// restarted has nothing.
	Certain bool
	// Problem says in words why the switch lags, empty if it does not.
	Problem string
	// Done is the last update that the switch has, except for what Refused names.
	Done                  uint64
	Round                 uint16
	Flows, Groups, Meters int // of the program
	Pending               int // flows of it that the switch has not confirmed
	Refused               []Refusal
}

// Writer writes to one bridge. Safe for concurrent use; no method but Wait and Close blocks.
type Writer struct {
	cfg   Config
	kick  chan struct{} // holds a value when there may be work
	life  context.Context
	end   context.CancelFunc
	owned sync.WaitGroup

	mu        sync.Mutex
	program   *program
	ready     bool          // Start was called
	round     uint16        // 0: nothing written in this life
	complete  bool          // the round was written and others deleted
	done      uint64        // the switch has all up to this
	written   uint64        // what the write under way, or the last, goes up to
	progress  chan struct{} // closed and renewed when done or problem changes
	connected bool
	certain   bool // see State
	problem   error
	held      map[Owner]*hold
}

// hold is an owner that was refused.
type hold struct {
	reason string
	wait   time.Duration
	until  time.Time
}

// New makes a writer, which does nothing before Connect.
func New(cfg Config) *Writer {
	if cfg.MaxBundle == 0 {
		cfg.MaxBundle = 4000
	}
	if cfg.Verify == 0 {
		cfg.Verify = 30 * time.Second
	}
	if cfg.RetryFirst == 0 {
		cfg.RetryFirst = time.Second
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = time.Minute
	}
	if cfg.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		cfg.Log = logrus.NewEntry(quiet)
	}
	life, end := context.WithCancel(context.Background())
	return &Writer{
		cfg: cfg, kick: make(chan struct{}, 1), life: life, end: end, program: newProgram(),
		progress: make(chan struct{}), problem: errors.New("not connected yet"), held: map[Owner]*hold{},
	}
}

// Connect has the writer connect, by itself, and again whenever the connection ends. To be called once; Close must be
// called after it.
func (w *Writer) Connect() {
	w.owned.Add(1)
	go func() {
		defer w.owned.Done()
		w.run(w.life)
	}()
}

// Close stops writing and disconnects. The switch goes on as it is.
func (w *Writer) Close() {
	w.end()
	w.owned.Wait()
}

// Update changes the program and answers the number to Wait for.
func (w *Writer) Update(u Update) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed(w.program.update(&u))
}

// Start begins the writing: the program is whole now. It answers the number to Wait for. Again it does nothing.
func (w *Writer) Start() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = true
	return w.changed(nil)
}

// changed wakes the writing; owners that changed are tried at once even if they were refused before.
func (w *Writer) changed(touched []Owner) uint64 {
	for _, o := range touched {
		delete(w.held, o)
	}
	w.wake()
	return w.program.seq
}

func (w *Writer) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Wait returns when the switch has everything up to an update's number, except for what State().Refused names, or
// when the context ends; then the error tells what the matter is.
func (w *Writer) Wait(ctx context.Context, seq uint64) error {
	for {
		w.mu.Lock()
		done, progress, problem := w.done, w.progress, w.problem
		w.mu.Unlock()
		if done >= seq {
			return nil
		}
		select {
		case <-progress:
		case <-w.life.Done():
			return ErrClosed
		case <-ctx.Done():
			if problem != nil {
				return fmt.Errorf("waiting for the switch: %w (%w)", problem, ctx.Err())
			}
			return fmt.Errorf("waiting for the switch: %w", ctx.Err())
		}
	}
}

// State is a glance at the writer.
func (w *Writer) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := State{
		Connected: w.connected, Certain: w.certain, Done: w.done, Round: w.round, Flows: len(w.program.flows),
		Groups: len(w.program.groups), Meters: len(w.program.meters), Pending: len(w.program.dirtyFlows),
	}
	if w.problem != nil {
		s.Problem = w.problem.Error()
	}
	for owner, h := range w.held {
		s.Refused = append(s.Refused, Refusal{owner, h.reason})
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int { return compareOwners(a.Owner, b.Owner) })
	return s
}

// report notes how the writing stands and wakes those who wait.
func (w *Writer) report(connected bool, problem error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connected, w.problem = connected, problem
	w.certain = w.certain && connected
	w.advance()
}

func (w *Writer) advance() {
	close(w.progress)
	w.progress = make(chan struct{})
}
