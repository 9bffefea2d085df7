package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/state"
)

// reign follows the election: it begins and ends what only a leader does. It implements api.Cluster.
type reign struct {
	daemon        *daemon
	registrations []*objdb.Registration

	mu     sync.Mutex
	leader *objdb.Leader
	ready  bool // this netmaster leads and has done what comes first
}

func newReign(d *daemon) *reign {
	r := &reign{daemon: d}
	for name, address := range map[string]string{"netmaster": d.cfg.Internal, "netmaster.rpc": d.rpcAddress()} {
		host, port, err := net.SplitHostPort(address)
		number, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil {
			continue // both were checked
		}
		r.registrations = append(r.registrations, objdb.NewRegistration(d.store, objdb.Service{
			ServiceName: name, Role: "follower", Version: version.Get().Version, HostAddr: host, Port: number, Hostname: hostName(),
		}))
	}
	return r
}

// run follows the election until the context ends.
func (r *reign) run(ctx context.Context) error {
	var term *objdb.Compare // of the leadership whose work is under way
	end := func() {}
	defer func() { end() }()
	for {
		status, changed := r.daemon.election.Status()
		if term != nil && (!status.Leading || status.Fence != *term) {
			end()
			term, end = nil, func() {}
		}
		r.show(status)
		if status.Leading && term == nil {
			fence := status.Fence
			term, end = &fence, r.begin(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// show makes known who leads, unless that is this netmaster, which is not yet ready then.
func (r *reign) show(status objdb.Status) {
	r.mu.Lock()
	changed := sessionOf(r.leader) != sessionOf(status.Leader)
	r.leader = status.Leader
	r.mu.Unlock()
	if status.Leading {
		return
	}
	r.daemon.agents.SetLeader(false, r.rpcLeader())
	if changed && status.Leader != nil {
		r.daemon.log.WithField("leader", status.Leader.Address).Info("another netmaster leads")
	}
	if status.Leader != nil {
		r.daemon.front.begin()
	}
}

func sessionOf(leader *objdb.Leader) string {
	if leader == nil {
		return ""
	}
	return leader.Session
}

func (r *reign) rpcLeader() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader == nil {
		return ""
	}
	return r.leader.RPCAddress
}

// begin starts the leader's work and returns what ends it, which waits until it has ended.
func (r *reign) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { r.work(ctx) })
	return func() {
		cancel()
		work.Wait()
		r.setReady(false)
		r.daemon.agents.SetLeader(false, "")
		r.daemon.log.Info("this netmaster no longer leads")
	}
}

func (r *reign) work(ctx context.Context) {
	if !r.seed(ctx) {
		return
	}
	r.setReady(true)
	r.daemon.agents.SetLeader(true, r.daemon.rpcAddress())
	r.daemon.front.begin()
	r.daemon.log.Info("this netmaster leads")
	var work sync.WaitGroup
	work.Go(func() { r.daemon.fabric.Run(ctx) })
	r.daemon.objects.Run(ctx)
	work.Wait()
}

// seed writes what every cluster has and this one has not. It is repeated until it is done or the leadership ends. What is
// there and cannot be read is left for an operator to repair; everything that does not need it works meanwhile.
func (r *reign) seed(ctx context.Context) bool {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	for {
		_, err := r.daemon.objects.Seed(ctx, &state.Global{
			Name: state.GlobalName, FwdMode: r.daemon.cfg.ForwardMode, NetworkInfraType: r.daemon.cfg.Infra,
		})
		if err == nil {
			return true
		}
		if errors.Is(err, ledger.ErrUnreadable) {
			r.daemon.log.WithError(err).Error("leading all the same: repair or remove the record")
			return true
		}
		if ctx.Err() == nil && objects.KindOf(err) != objects.NotLeader {
			r.daemon.log.WithError(err).Error("preparing to lead")
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return false
		}
	}
}

func (r *reign) setReady(ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = ready
	role := "follower"
	if ready {
		role = "leader"
	}
	for _, registration := range r.registrations {
		registration.SetRole(role)
	}
}

// Leader implements api.Cluster. While this netmaster prepares to lead, nobody does.
func (r *reign) Leader() (address string, self bool) {
	_, leading := r.daemon.election.Fence()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case leading && r.ready:
		return r.daemon.cfg.Internal, true
	case leading || r.leader == nil || r.leader.Address == r.daemon.cfg.Internal:
		return "", false
	}
	return r.leader.Address, false
}

// LocalAddress implements api.Cluster.
func (r *reign) LocalAddress() string { return r.daemon.cfg.Internal }

// Masters implements api.Cluster.
func (r *reign) Masters() []string { return r.daemon.roster.restAddresses() }

// mayLead keeps a netmaster from leading a cluster whose records are of a newer version.
func (d *daemon) mayLead(ctx context.Context) error {
	kv, err := d.store.Get(ctx, state.SchemaKey)
	if errors.Is(err, objdb.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the schema number: %w", err)
	}
	found, err := strconv.Atoi(string(kv.Value))
	if err == nil && found <= state.SchemaVersion {
		return nil
	}
	err = fmt.Errorf("the store has records of schema %q, this netmaster knows up to %d: install a newer one", kv.Value, state.SchemaVersion)
	d.tooOld.Do(func() { d.log.Error(err) }) // it is asked several times a second
	return err
}
