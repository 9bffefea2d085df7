// Package fake is a Datapath in memory, for tests of the agent and for scale runs: no links, no switch. It remembers
// ports and desired state and realises everything at once, unless told to be slow or to fail.
package fake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// ErrClosed is the error of every call after Close.
var ErrClosed = errors.New("datapath is closed")

// Memory is what a switch remembers over restarts of the agent. Several datapaths, one after the other, may use one.
// The zero value is ready. Safe for concurrent use.
type Memory struct {
	mu          sync.Mutex
	attachments map[protocol.EndpointID]drivers.Attachment
	removed     map[protocol.EndpointID]bool
}

// Options make a fake misbehave. The zero value does not.
type Options struct {
	// Memory of an earlier datapath; nil for a fresh one.
	Memory *Memory
	// Before, if not nil, is called with the name of a method before it does anything ("PreparePort", "RemovePort",
	// "Apply", ...). It may block, within the context, and its error becomes the method's. An error for Apply leaves
	// the new state desired and not realised.
	Before func(ctx context.Context, method string) error
	// Refuse, if not nil, answers why an object cannot be realised, or "".
	Refuse func(ref drivers.Ref, body protocol.Body) string
}

// Datapath is the fake.
type Datapath struct {
	opts   Options
	memory *Memory

	mu      sync.Mutex
	closed  bool
	desired map[drivers.Ref]protocol.Body
	status  drivers.Status
	applies int
}

var _ drivers.Datapath = (*Datapath)(nil)

// New makes a fake.
func New(opts Options) *Datapath {
	if opts.Memory == nil {
		opts.Memory = &Memory{}
	}
	opts.Memory.mu.Lock()
	defer opts.Memory.mu.Unlock()
	if opts.Memory.attachments == nil {
		opts.Memory.attachments = map[protocol.EndpointID]drivers.Attachment{}
		opts.Memory.removed = map[protocol.EndpointID]bool{}
	}
	return &Datapath{opts: opts, memory: opts.Memory, desired: map[drivers.Ref]protocol.Body{}, status: drivers.Status{Connected: true}}
}

func (d *Datapath) before(ctx context.Context, method string) error {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if d.opts.Before == nil {
		return nil
	}
	return d.opts.Before(ctx, method)
}

// PreparePort implements drivers.Datapath. The links it names do not exist.
func (d *Datapath) PreparePort(ctx context.Context, want drivers.Port) (drivers.Attachment, error) {
	if err := d.before(ctx, "PreparePort"); err != nil {
		return drivers.Attachment{}, fmt.Errorf("making the port of endpoint %s: %w", want.ID, err)
	}
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	att := drivers.Attachment{Port: want, HostLink: "fake-" + want.ID.String(), ContainerLink: want.ID.IfName}
	if want.NetNS == "" {
		att.ContainerLink = "peer-" + want.ID.String()
	}
	d.memory.attachments[want.ID] = att
	delete(d.memory.removed, want.ID)
	return att, nil
}

// RemovePort implements drivers.Datapath.
func (d *Datapath) RemovePort(ctx context.Context, id protocol.EndpointID) error {
	if err := d.before(ctx, "RemovePort"); err != nil {
		return fmt.Errorf("removing the port of endpoint %s: %w", id, err)
	}
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	if _, ok := d.memory.attachments[id]; ok {
		delete(d.memory.attachments, id)
		d.memory.removed[id] = true
	}
	return nil
}

// Attachments implements drivers.Datapath.
func (d *Datapath) Attachments(ctx context.Context) ([]drivers.Attachment, error) {
	if err := d.before(ctx, "Attachments"); err != nil {
		return nil, err
	}
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.memory.attachments), func(a, b drivers.Attachment) int {
		return strings.Compare(a.ID.String(), b.ID.String())
	}), nil
}

// Removed implements drivers.Datapath.
func (d *Datapath) Removed(ctx context.Context) ([]protocol.EndpointID, error) {
	if err := d.before(ctx, "Removed"); err != nil {
		return nil, err
	}
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	return slices.SortedFunc(maps.Keys(d.memory.removed), func(a, b protocol.EndpointID) int {
		return strings.Compare(a.String(), b.String())
	}), nil
}

// Forget implements drivers.Datapath.
func (d *Datapath) Forget(ctx context.Context, ids ...protocol.EndpointID) error {
	if err := d.before(ctx, "Forget"); err != nil {
		return err
	}
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	for _, id := range ids {
		delete(d.memory.removed, id)
	}
	return nil
}

// Apply implements drivers.Datapath.
func (d *Datapath) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	d.mu.Lock()
	if update.Replace {
		clear(d.desired)
	}
	maps.Copy(d.desired, update.Set)
	for _, ref := range update.Gone {
		delete(d.desired, ref)
	}
	d.status.Desired = update.Position
	d.applies++
	d.mu.Unlock()

	err := d.before(ctx, "Apply")
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.status.Problem = err.Error()
		return nil, fmt.Errorf("applying: %w", err)
	}
	d.status.Problem, d.status.NotRealised = "", d.refused()
	d.status.Realised = d.status.Desired
	return slices.Clone(d.status.NotRealised), nil
}

func (d *Datapath) refused() []protocol.NotRealised {
	if d.opts.Refuse == nil {
		return nil
	}
	var list []protocol.NotRealised
	for ref, body := range d.desired {
		if reason := d.opts.Refuse(ref, body); reason != "" {
			list = append(list, protocol.NotRealised{Kind: ref.Kind, Key: ref.Key, Reason: reason})
		}
	}
	slices.SortFunc(list, func(a, b protocol.NotRealised) int {
		return strings.Compare(string(a.Kind)+"/"+a.Key, string(b.Kind)+"/"+b.Key)
	})
	return list
}

// Statistics implements drivers.Datapath: nothing passes.
func (d *Datapath) Statistics(ctx context.Context) (protocol.Statistics, error) {
	if err := d.before(ctx, "Statistics"); err != nil {
		return protocol.Statistics{}, err
	}
	attachments, err := d.Attachments(ctx)
	if err != nil {
		return protocol.Statistics{}, err
	}
	list := make([]protocol.EndpointCounters, len(attachments))
	for i := range attachments {
		list[i].ID = attachments[i].ID
	}
	return protocol.Statistics{Endpoints: list}, nil
}

// Status implements drivers.Datapath.
func (d *Datapath) Status() drivers.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.NotRealised = slices.Clone(s.NotRealised)
	s.Details = map[string]any{"driver": "fake", "objects": len(d.desired)}
	return s
}

// Close implements drivers.Datapath.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

// Desired is a copy of the desired state, for tests.
func (d *Datapath) Desired() map[drivers.Ref]protocol.Body {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.desired)
}

// Applies counts the calls of Apply, for tests.
func (d *Datapath) Applies() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applies
}
