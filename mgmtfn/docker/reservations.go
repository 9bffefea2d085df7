package docker

import (
	"net/netip"
	"slices"
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

// returnTime is how long after the engine came back its containers may still be starting; stopTime how long before its
// end an engine that is stopped in good order stops its containers.
const (
	returnTime = 60 * time.Second
	stopTime   = 30 * time.Second
)

// returning remembers the addresses of containers with a restart policy when their engine ends. An engine that starts
// first removes the endpoints it finds and then starts those containers, asking for any address: it is given one of
// those. (Which container asks the engine does not say: a network's only such container on a host gets its own back,
// several may change places.) All methods may be called at once.
type returning struct {
	mu    sync.Mutex
	until time.Time // zero: the engine is not there
	// recent are of endpoints removed while the engine is there, which may be about to end.
	recent []returnAddr
	addrs  map[target][]netip.Addr
}

type returnAddr struct {
	object target
	addr   netip.Addr
	at     time.Time
}

func newReturning() *returning { return &returning{addrs: map[target][]netip.Addr{}} }

// lost: the engine is gone. Calling it again changes nothing.
func (r *returning) lost(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() {
		return
	}
	if now.After(r.until) {
		clear(r.addrs)
	}
	r.until = time.Time{}
	for _, one := range r.recent {
		if now.Sub(one.at) <= stopTime {
			r.addrs[one.object] = append(r.addrs[one.object], one.addr)
		}
	}
	r.recent = nil
}

// back: the engine answers again. Calling it again changes nothing.
func (r *returning) back(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() {
		r.until = now.Add(returnTime)
	}
}

// note an address whose endpoint is removed.
func (r *returning) note(object target, addr netip.Addr, now time.Time) {
	if !addr.IsValid() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() {
		r.addrs[object] = append(r.addrs[object], addr)
		return
	}
	r.recent = slices.DeleteFunc(r.recent, func(old returnAddr) bool { return now.Sub(old.at) > stopTime })
	r.recent = append(r.recent, returnAddr{object, addr, now})
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
			r.addrs[object] = slices.Delete(addrs, i, i+1)
			return addr, true
		}
	}
	return netip.Addr{}, false
}
