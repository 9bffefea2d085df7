package ovs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Zones of conntrack that networks can have; the pipeline adds what tells them from others.
const (
	firstZone = 1
	lastZone  = 0x0fff
)

// zones gives each network on this host a number by which conntrack knows it. The numbers are kept in OVSDB, so that the
// connections of a network are found again after a restart of the agent. The zero value is ready. Not safe for concurrent
// use.
type zones struct {
	of   map[string]zone // by key of the network
	used map[uint16]bool
	last uint16
	unsavedNotes
}

// zone is a network's number. The network is known by its id: another one may get its name later.
type zone struct{ number, network uint16 }

const keyZone = "contiv-zone/" // of the bridge, followed by the network's key: "ZONE/NETWORK-ID"

// load takes what the notes of the bridge say; notes that make no sense are dropped.
func (z *zones) load(notes map[string]string) {
	for note, value := range notes {
		key, ours := strings.CutPrefix(note, keyZone)
		if !ours {
			continue
		}
		var got zone
		if n, err := fmt.Sscanf(value, "%d/%d", &got.number, &got.network); n != 2 || err != nil ||
			got.number < firstZone || got.number > lastZone || z.used[got.number] {
			z.unnote(note)
			continue
		}
		z.put(key, got)
	}
}

func (z *zones) put(key string, got zone) {
	if z.of == nil {
		z.of, z.used = map[string]zone{}, map[uint16]bool{}
	}
	z.of[key], z.used[got.number] = got, true
	z.last = max(z.last, got.number)
}

// take answers the zone of a network, and whether it is newly given: then connections of who had it before must go. 0 when
// all are in use.
func (z *zones) take(key string, network *protocol.Network) (number uint16, fresh bool) {
	if had, ok := z.of[key]; ok {
		if had.network == network.ID {
			return had.number, false
		}
		z.release(key)
	}
	for range lastZone {
		if z.last++; z.last > lastZone || z.last < firstZone {
			z.last = firstZone
		}
		if z.used[z.last] {
			continue
		}
		z.put(key, zone{z.last, network.ID})
		z.note(keyZone+key, fmt.Sprintf("%d/%d", z.last, network.ID))
		return z.last, true
	}
	return 0, false
}

// release frees the zone of a network that is gone.
func (z *zones) release(key string) {
	had, ok := z.of[key]
	if !ok {
		return
	}
	delete(z.of, key)
	delete(z.used, had.number)
	z.unnote(keyZone + key)
}

// keep releases the zones of networks that are not among those; it is for the first complete state after a start.
func (z *zones) keep(there func(key string) bool) {
	for key := range z.of {
		if !there(key) {
			z.release(key)
		}
	}
}

// tenants knows whose the numbers of tenants are that networks on this host have: when a number comes to another tenant,
// or comes back, connections of who had it before must go. It is kept in OVSDB as zones are. The zero value is ready. Not
// safe for concurrent use.
type tenants struct {
	of       map[uint16]*tenant // by number
	networks map[string]uint16  // number by key of the network
	unsavedNotes
}

type tenant struct {
	name     string
	networks int
}

const keyTenant = "contiv-vrf/" // of the bridge, followed by the number: the tenant's name

// load takes what the notes of the bridge say; notes that make no sense are dropped.
func (t *tenants) load(notes map[string]string) {
	for note, name := range notes {
		text, ours := strings.CutPrefix(note, keyTenant)
		if !ours {
			continue
		}
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			t.unnote(note)
			continue
		}
		t.put(uint16(number), name)
	}
}

func (t *tenants) put(number uint16, name string) *tenant {
	if t.of == nil {
		t.of, t.networks = map[uint16]*tenant{}, map[string]uint16{}
	}
	t.of[number] = &tenant{name: name}
	return t.of[number]
}

// take notes that a network uses its tenant's number, and tells whether that is new on this host.
func (t *tenants) take(key string, network *protocol.Network) (fresh bool) {
	number, had := t.networks[key]
	if had && number == network.VRF && t.of[number].name == network.Tenant {
		return false
	}
	if had {
		t.release(key)
	}
	one := t.of[network.VRF]
	if one == nil || one.name != network.Tenant {
		inUse := 0
		if one != nil {
			inUse = one.networks
		}
		one, fresh = t.put(network.VRF, network.Tenant), true
		one.networks = inUse
		t.note(keyTenant+strconv.Itoa(int(network.VRF)), network.Tenant)
	}
	one.networks++
	t.networks[key] = network.VRF
	return fresh
}

// release notes that a network is gone. With its last network here a tenant's number is free for another.
func (t *tenants) release(key string) {
	number, had := t.networks[key]
	if !had {
		return
	}
	delete(t.networks, key)
	if t.of[number].networks--; t.of[number].networks == 0 {
		t.free(number)
	}
}

// keep frees the numbers that no network has; it is for the first complete state after a start.
func (t *tenants) keep() {
	for number, one := range t.of {
		if one.networks == 0 {
			t.free(number)
		}
	}
}

func (t *tenants) free(number uint16) {
	delete(t.of, number)
	t.unnote(keyTenant + strconv.Itoa(int(number)))
}

// unsavedNotes are notes that OVSDB does not have yet. The zero value is ready.
type unsavedNotes struct {
	set  map[string]string
	drop []string
}

func (n *unsavedNotes) note(key, value string) {
	if n.set == nil {
		n.set = map[string]string{}
	}
	n.set[key] = value
}

func (n *unsavedNotes) unnote(key string) {
	delete(n.set, key)
	n.drop = append(n.drop, key)
}

// unsaved answers what OVSDB must be told, once.
func (n *unsavedNotes) unsaved() (set map[string]string, drop []string) {
	set, drop = n.set, n.drop
	n.set, n.drop = nil, nil
	return set, drop
}
