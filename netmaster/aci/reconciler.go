package aci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Model is what is read of the store; *ledger.Ledger is one.
type Model interface {
	ViewCached(read func(*ledger.Model))
	Subscribe(notify func(*ledger.Model, ledger.Change)) (cancel func())
}

// Notes are kept in the store of what the gateway may know; *objects.Objects keeps them. Both calls are idempotent.
type Notes interface {
	NoteGatewayProfile(ctx context.Context, tenant, name string) error
	ForgetGatewayProfile(ctx context.Context, tenant, name string) error
}

// Gateway is told of profiles; Client is one. Both calls are idempotent.
type Gateway interface {
	Create(ctx context.Context, spec *Spec) error
	Delete(ctx context.Context, tenant, profile string) error
}

// States of a Status.
const (
	InStep  = "in step" // the gateway confirmed what the store says
	Pending = "pending" // it is going to be told
	Failed  = "failed"  // it could not be told; tried again unless the profile is at fault
)

// Status is how far the gateway is with one application profile.
type Status struct {
	Profile string // model key
	State   string
	Problem string // why it failed
}

// Reconciler makes the gateway know what the store says, while Run runs. Status may be called at any time.
type Reconciler struct {
	Model   Model
	Notes   Notes
	Gateway Gateway
	Log     *logrus.Entry
	// Retry is the first wait after a failure, which grows to a minute; 0: a second.
	Retry time.Duration

	mu     sync.Mutex
	status map[string]Status
}

// goal is what the gateway shall know at a moment.
type goal struct {
	active bool             // fabric mode aci
	specs  map[string]*Spec // by model key of the profile; nil: it cannot be told
	wrong  map[string]error // why
	noted  []*state.GatewayProfile
}

// Run follows the store until the context ends. Only a leader runs it. What an earlier leader told the gateway is told
// again: the gateway may have lost it.
func (r *Reconciler) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	cancel := r.Model.Subscribe(func(_ *ledger.Model, change ledger.Change) {
		if change.Initial || slices.ContainsFunc(change.Records, matters) {
			select {
			case changed <- struct{}{}:
			default: // there is one waiting
			}
		}
	})
	defer cancel()
	defer r.setStatus(nil)
	confirmed := map[string]string{} // what the gateway said yes to, by profile
	pause := r.pauses()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
		again = nil
		if err := r.pass(ctx, confirmed); err != nil && ctx.Err() == nil {
			r.Log.WithError(err).Warn("the ACI gateway does not know what the store says")
			again = time.After(pause.NextBackOff())
			continue
		}
		pause.Reset()
	}
}

func (r *Reconciler) pauses() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second, time.Minute
	if r.Retry != 0 {
		pause.InitialInterval = r.Retry
	}
	pause.Reset()
	return pause
}

// matters tells whether a change may be one of what the gateway knows: endpoints come and go without it.
func matters(change ledger.Delta) bool { return strings.HasPrefix(change.Key, "obj/modeldb/") }

// pass does what is to be done now. An error is one that may pass.
func (r *Reconciler) pass(ctx context.Context, confirmed map[string]string) error {
	want := r.goal()
	if !want.active {
		r.setStatus(nil)
		clear(confirmed)
		return nil
	}
	status := make(map[string]Status, len(want.specs))
	for key := range want.specs {
		status[key] = Status{Profile: key, State: Pending}
	}
	for key, err := range want.wrong {
		status[key] = Status{key, Failed, err.Error()}
	}
	r.setStatus(maps.Clone(status)) // the gateway may take its time
	var failures []error
	note := func(key string, err error) {
		status[key] = Status{Profile: key, State: InStep}
		if err != nil {
			status[key] = Status{key, Failed, err.Error()}
			failures = append(failures, fmt.Errorf("app profile %q: %w", key, err))
		}
	}
	noted := make(map[string]bool, len(want.noted))
	for _, old := range want.noted {
		noted[old.Key()] = true
		if _, stays := want.specs[old.Key()]; stays || want.wrong[old.Key()] != nil {
			continue
		}
		delete(confirmed, old.Key())
		err := r.remove(ctx, old)
		if note(old.Key(), err); err == nil {
			delete(status, old.Key())
		}
	}
	for key, spec := range want.specs {
		note(key, r.tell(ctx, key, spec, noted[key], confirmed))
	}
	r.setStatus(status)
	return errors.Join(failures...)
}

// goal reads what the gateway shall know.
func (r *Reconciler) goal() goal {
	out := goal{specs: map[string]*Spec{}, wrong: map[string]error{}}
	r.Model.ViewCached(func(m *ledger.Model) {
		global := m.Global()
		if out.active = global != nil && global.NetworkInfraType == Fabric; !out.active {
			return
		}
		for _, profile := range m.AppProfiles("") {
			if spec, err := SpecOf(m, profile); err != nil {
				out.wrong[profile.Key()] = err
			} else {
				out.specs[profile.Key()] = spec
			}
		}
		for _, old := range m.GatewayProfiles() {
			clone := *old
			out.noted = append(out.noted, &clone)
		}
	})
	return out
}

// tell makes the gateway know a profile, unless it confirmed the same before.
func (r *Reconciler) tell(ctx context.Context, key string, spec *Spec, noted bool, confirmed map[string]string) error {
	form, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	if confirmed[key] == string(form) {
		return nil
	}
	if !noted {
		if err := r.Notes.NoteGatewayProfile(ctx, spec.Tenant, spec.AppProfile); err != nil {
			return err
		}
	}
	delete(confirmed, key) // a failure may have changed something
	if err := r.Gateway.Create(ctx, spec); err != nil {
		return err
	}
	confirmed[key] = string(form)
	return nil
}

func (r *Reconciler) remove(ctx context.Context, old *state.GatewayProfile) error {
	if err := r.Gateway.Delete(ctx, old.TenantName, old.AppProfileName); err != nil {
		return err
	}
	return r.Notes.ForgetGatewayProfile(ctx, old.TenantName, old.AppProfileName)
}

func (r *Reconciler) setStatus(status map[string]Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// Status tells how far the gateway is, sorted by profile; it is empty where no Run runs, and in other fabric modes.
func (r *Reconciler) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.status))
	for _, one := range r.status {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Profile, b.Profile) })
	return out
}
