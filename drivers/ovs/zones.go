package ovs

import (
	"fmt"
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
	// What OVSDB does not have yet.
	notes map[string]string
	drop  []string
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
			z.drop = append(z.drop, note)
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
	delete(z.notes, keyZone+key)
	z.drop = append(z.drop, keyZone+key)
}

func (z *zones) note(key, value string) {
	if z.notes == nil {
		z.notes = map[string]string{}
	}
	z.notes[key] = value
}

// unsaved answers what OVSDB must be told, once.
func (z *zones) unsaved() (set map[string]string, drop []string) {
	set, drop = z.notes, z.drop
	z.notes, z.drop = nil, nil
	return set, drop
}
