package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// testSwitch is a datapath in memory. It outlives the agents of a test, as a switch does, and writes down what is done
// to it in order.
type testSwitch struct {
	mu      sync.Mutex
	ports   map[protocol.EndpointID]drivers.Attachment
	removed map[protocol.EndpointID]bool
	desired map[drivers.Ref]protocol.Body
	status  drivers.Status
	done    []string
	// fail, if set, makes an operation fail. It is called without the lock and may block.
	fail func(ctx context.Context, operation string) error
}

func newTestSwitch() *testSwitch {
	return &testSwitch{
		ports:   map[protocol.EndpointID]drivers.Attachment{},
		removed: map[protocol.EndpointID]bool{},
		desired: map[drivers.Ref]protocol.Body{},
		status:  drivers.Status{Connected: true},
	}
}

func (s *testSwitch) begin(ctx context.Context, operation string) error {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(ctx, operation)
}

// failOn makes one operation fail until the answered function is called.
func (s *testSwitch) failOn(operation string) (heal func()) {
	set := func(fail func(context.Context, string) error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fail = fail
	}
	set(func(_ context.Context, wanted string) error {
		if wanted == operation {
			return errors.New("injected failure")
		}
		return nil
	})
	return func() { set(nil) }
}

func (s *testSwitch) setConnected(connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Connected = connected
}

func (s *testSwitch) PreparePort(ctx context.Context, want drivers.Port) (drivers.Attachment, error) {
	if err := s.begin(ctx, "prepare"); err != nil {
		return drivers.Attachment{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, "prepare "+want.ID.ContainerID)
	made := drivers.Attachment{Port: want, HostLink: "h" + want.ID.ContainerID, ContainerLink: want.ID.IfName}
	s.ports[want.ID] = made
	delete(s.removed, want.ID)
	return made, nil
}

func (s *testSwitch) RemovePort(ctx context.Context, id protocol.EndpointID) error {
	if err := s.begin(ctx, "remove"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, "remove "+id.ContainerID)
	if _, ok := s.ports[id]; ok {
		delete(s.ports, id)
		s.removed[id] = true
	}
	return nil
}

func (s *testSwitch) Attachments(ctx context.Context) ([]drivers.Attachment, error) {
	if err := s.begin(ctx, "list"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := slices.Collect(maps.Values(s.ports))
	slices.SortFunc(ports, func(a, b drivers.Attachment) int { return compare(a.ID, b.ID) })
	return ports, nil
}

func (s *testSwitch) Removed(context.Context) ([]protocol.EndpointID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.removed), compare), nil
}

func compare(a, b protocol.EndpointID) int {
	if a.String() < b.String() {
		return -1
	}
	return 1
}

func (s *testSwitch) Forget(_ context.Context, ids ...protocol.EndpointID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.removed, id)
	}
	return nil
}

func (s *testSwitch) Apply(ctx context.Context, update drivers.Update) ([]protocol.NotRealised, error) {
	if err := s.begin(ctx, "apply"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, "apply")
	if update.Replace {
		s.desired = map[drivers.Ref]protocol.Body{}
	}
	maps.Copy(s.desired, update.Set)
	for _, ref := range update.Gone {
		delete(s.desired, ref)
	}
	s.status.Desired, s.status.Realised = update.Position, update.Position
	return s.status.NotRealised, nil
}

func (s *testSwitch) Status() drivers.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *testSwitch) Statistics(context.Context) (protocol.Statistics, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []protocol.EndpointCounters
	for id := range s.ports {
		list = append(list, protocol.EndpointCounters{ID: id, RxPackets: 7})
	}
	return protocol.Statistics{Endpoints: list, Drops: []protocol.DropCounter{{Reason: "spoof", Packets: 3}}}, nil
}

func (s *testSwitch) Close() error { return nil }

// count is how many ports and memories of removed ones there are.
func (s *testSwitch) count() (ports, removed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ports), len(s.removed)
}

// history is what was done so far.
func (s *testSwitch) history() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.done)
}
