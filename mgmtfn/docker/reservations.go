package docker

import (
	"net/netip"
	"sync"
	"time"
)

// reservationLife is how long netmaster keeps a reservation for an endpoint that is still to come.
const reservationLife = 60 * time.Second

// reservations are the addresses that the engine asked for and no endpoint uses yet. Within a tenant subnets do not
// overlap, so an address is known by its tenant. All methods may be called at once.
type reservations struct {
	mu     sync.Mutex
	tokens map[tenantAddr]reservation
}

type tenantAddr struct {
	tenant string
	addr   netip.Addr
}

type reservation struct {
	token string
	at    time.Time
}

func newReservations() *reservations { return &reservations{tokens: map[tenantAddr]reservation{}} }

// add remembers a reservation and forgets those that have ended by themselves.
func (r *reservations) add(tenant string, addr netip.Addr, token string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, old := range r.tokens {
		if now.Sub(old.at) > reservationLife {
			delete(r.tokens, key)
		}
	}
	r.tokens[tenantAddr{tenant, addr}] = reservation{token, now}
}

// token of a reservation, empty if there is none.
func (r *reservations) token(tenant string, addr netip.Addr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens[tenantAddr{tenant, addr}].token
}

// drop forgets a reservation, because an endpoint took it or because it was released.
func (r *reservations) drop(tenant string, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tokens, tenantAddr{tenant, addr})
}

// returnTime is how long after the engine came back its containers may still be starting.
const returnTime = 60 * time.Second

// returning remembers the addresses that endpoints had when the engine died. An engine that starts first removes the
// endpoints it finds and then starts the containers with a restart policy, asking for any address: it is given one of
// those. (Which container asks the engine does not say; a network's only container on a host gets its own back.)
// All methods may be called at once.
type returning struct {
	mu    sync.Mutex
	until time.Time // zero: the engine is not there
	addrs map[target][]netip.Addr
}

func newReturning() *returning { return &returning{addrs: map[target][]netip.Addr{}} }

// lost: the engine is gone.
func (r *returning) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Time{}
}

// back: the engine answers again. Calling it again changes nothing.
func (r *returning) back(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() {
		r.until = now.Add(returnTime)
	}
}

// recording: the engine is only just starting, or gone.
func (r *returning) recording() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until.IsZero()
}

// note an address whose endpoint is removed, if the engine is only just starting.
func (r *returning) note(object target, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() && addr.IsValid() {
		r.addrs[object] = append(r.addrs[object], addr)
	}
}

// take answers an address to try for an object, once.
func (r *returning) take(object target, v6 bool, now time.Time) (netip.Addr, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.until.IsZero() && now.After(r.until) {
		clear(r.addrs)
	}
	addrs := r.addrs[object]
	for i, addr := range addrs {
		if addr.Is6() == v6 {
			r.addrs[object] = append(addrs[:i:i], addrs[i+1:]...)
			return addr, true
		}
	}
	return netip.Addr{}, false
}
