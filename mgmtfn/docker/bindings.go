package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// binding is what a docker network stands for.
type binding struct {
	target
	// bySubnet: its address pool is named by the subnet only; poolTenant: --ipam-opt tenant, if given.
	bySubnet   bool
	poolTenant string
	subnets    []netip.Prefix
	internal   bool // no way out
	// problem: why nothing can be attached to it.
	problem error
	// since is when the driver learned of it, listed whether the engine has shown it.
	since  time.Time
	listed bool
}

// bindings maps docker network ids to what they stand for. All methods may be called at once.
type bindings struct {
	wake func() // asks the reconciler for a fresh list

	mu      sync.Mutex
	byID    map[string]binding
	changed chan struct{} // closed at the next change
}

func newBindings(wake func()) *bindings {
	return &bindings{wake: wake, byID: map[string]binding{}, changed: make(chan struct{})}
}

// set is for a docker network that is being made.
func (b *bindings) set(id string, bound binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byID[id] = bound
	b.signal()
}

// drop forgets a docker network.
func (b *bindings) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byID, id)
	b.signal()
}

// get answers at once.
func (b *bindings) get(id string) (binding, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bound, ok := b.byID[id]
	return bound, ok
}

// list takes over what the engine has. Networks that are not in it, but so new that the engine may be making them,
// stay.
func (b *bindings) list(listed map[string]binding, newerThan time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, bound := range b.byID {
		if _, ok := listed[id]; !ok && !bound.listed && bound.since.After(newerThan) {
			listed[id] = bound
		}
	}
	b.byID = listed
	b.signal()
}

func (b *bindings) signal() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// await answers what a docker network stands for, waiting until the deadline for the reconciler to see it.
func (b *bindings) await(ctx context.Context, id string) (binding, error) {
	for asked := false; ; asked = true {
		b.mu.Lock()
		bound, ok := b.byID[id]
		changed := b.changed
		b.mu.Unlock()
		if ok {
			return bound, bound.problem
		}
		if !asked {
			b.wake()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return binding{}, fmt.Errorf("docker network %s is not known, and the engine did not tell of it in time", short(id))
		}
	}
}

// bySubnet finds the one object behind the docker networks whose pool is named by this subnet.
func (b *bindings) bySubnet(pool poolID) (target, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []target
	for _, bound := range b.byID {
		if !bound.bySubnet || bound.poolTenant != pool.Tenant || !slices.Contains(bound.subnets, pool.Subnet) || slices.Contains(found, bound.target) {
			continue
		}
		found = append(found, bound.target)
	}
	switch len(found) {
	case 0:
		return target{}, fmt.Errorf("no docker network of this host has the address pool %s", pool)
	case 1:
		return found[0], nil
	}
	return target{}, fmt.Errorf("%s is the subnet of several docker networks: make them with --ipam-opt tenant=TENANT or --ipam-opt network=NETWORK", pool.Subnet)
}

// count is the number of docker networks that are ours.
func (b *bindings) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byID)
}

// short is the form of a docker id that docker shows to people.
func short(id string) string { return id[:min(12, len(id))] }
