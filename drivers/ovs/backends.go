package ovs

import (
	"maps"
	"net/netip"
	"strconv"
	"strings"

	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

// backends gives each provider of a service a number of this host, by which connections and counters remember it. The
// numbers are kept in OVSDB, so that they mean the same after a restart of the agent. A number is not given again: what
// was learned of its provider may outlive it. The zero value is ready. Not safe for concurrent use.
type backends struct {
	of    map[pipeline.Backend]uint32
	users map[pipeline.Backend]map[string]bool // services by key
	named map[uint32]pipeline.Backend          // who has a number
	last  uint32
	// What OVSDB does not have yet.
	notes map[string]string
	drop  []string
}

// Notes of the bridge: a provider's, followed by "TENANT/ADDRESS", has its number; the other the last that was given.
const (
	keyBackend     = "contiv-backend/"
	keyLastBackend = "contiv-last-backend"
)

func backendNote(b pipeline.Backend) string { return keyBackend + b.Tenant + "/" + b.Addr.String() }

// load takes what the notes of the bridge say; notes that make no sense are dropped.
func (x *backends) load(notes map[string]string) {
	if last, err := strconv.ParseUint(notes[keyLastBackend], 10, 32); err == nil {
		x.last = uint32(last)
	}
	for note, value := range notes {
		who, ours := strings.CutPrefix(note, keyBackend)
		if !ours {
			continue
		}
		tenant, address, _ := strings.Cut(who, "/")
		addr, err := netip.ParseAddr(address)
		number, err2 := strconv.ParseUint(value, 10, 32)
		if _, twice := x.named[uint32(number)]; err != nil || err2 != nil || number == 0 || twice { //nolint:gosec // 32 bits
			x.drop = append(x.drop, note)
			continue
		}
		x.put(pipeline.Backend{Tenant: tenant, Addr: addr}, uint32(number))
	}
}

func (x *backends) put(b pipeline.Backend, number uint32) {
	if x.of == nil {
		x.of, x.named = map[pipeline.Backend]uint32{}, map[uint32]pipeline.Backend{}
	}
	x.of[b], x.named[number] = number, b
	x.last = max(x.last, number)
}

// set gives numbers to the providers of a service, which is nil when it is gone, and frees those that no service has any
// more. It answers the changes, as the pipeline wants them.
func (x *backends) set(service string, old, now *protocol.Service, changes map[pipeline.Backend]uint32) {
	keep := map[pipeline.Backend]bool{}
	for _, b := range providersOf(now) {
		keep[b] = true
		if x.users == nil {
			x.users = map[pipeline.Backend]map[string]bool{}
		}
		if x.users[b] == nil {
			x.users[b] = map[string]bool{}
		}
		x.users[b][service] = true
		changes[b] = x.take(b)
	}
	for _, b := range providersOf(old) {
		if keep[b] {
			continue
		}
		if delete(x.users[b], service); len(x.users[b]) == 0 {
			x.release(b)
			changes[b] = 0
		}
	}
}

func (x *backends) take(b pipeline.Backend) uint32 {
	if number := x.of[b]; number != 0 {
		return number
	}
	for x.last++; x.last == 0 || x.named[x.last].Addr.IsValid(); x.last++ { // after 4 billion, from 1 again
	}
	x.put(b, x.last)
	x.note(backendNote(b), x.last)
	x.note(keyLastBackend, x.last)
	return x.last
}

func (x *backends) release(b pipeline.Backend) {
	delete(x.named, x.of[b])
	delete(x.of, b)
	delete(x.users, b)
	delete(x.notes, backendNote(b))
	x.drop = append(x.drop, backendNote(b))
}

// tidy frees numbers that no service has: those of services that went while there was no agent.
func (x *backends) tidy() {
	for b := range x.of {
		if len(x.users[b]) == 0 {
			x.release(b)
		}
	}
}

func (x *backends) note(key string, number uint32) {
	if x.notes == nil {
		x.notes = map[string]string{}
	}
	x.notes[key] = strconv.FormatUint(uint64(number), 10)
}

// unsaved answers what OVSDB must be told, once.
func (x *backends) unsaved() (set map[string]string, drop []string) {
	set, drop = x.notes, x.drop
	x.notes, x.drop = nil, nil
	return set, drop
}

func providersOf(s *protocol.Service) []pipeline.Backend {
	if s == nil {
		return nil
	}
	var out []pipeline.Backend
	for _, p := range s.Providers {
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() {
				out = append(out, pipeline.Backend{Tenant: s.Tenant, Addr: a})
			}
		}
	}
	return out
}

// names answers whose the numbers are.
func (x *backends) names() map[uint32]pipeline.Backend { return maps.Clone(x.named) }
