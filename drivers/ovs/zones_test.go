package ovs

import (
	"maps"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

func TestZones(t *testing.T) {
	notes := map[string]string{}
	save := func(z *zones) {
		set, drop := z.unsaved()
		for _, key := range drop {
			delete(notes, key)
		}
		maps.Copy(notes, set)
	}
	network := func(id uint16) *protocol.Network { return &protocol.Network{ID: id} }
	expect := func(z *zones, key string, id, want uint16, fresh bool) {
		t.Helper()
		if number, isNew := z.take(key, network(id)); number != want || isNew != fresh {
			t.Errorf("%s: zone %d, new %v; want %d, %v", key, number, isNew, want, fresh)
		}
	}
	var z zones
	expect(&z, "t:a", 7, 1, true)
	expect(&z, "t:b", 8, 2, true)
	expect(&z, "t:a", 7, 1, false)
	expect(&z, "t:b", 9, 3, true) // another network of that name
	save(&z)

	notes["contiv-zone/t:bad"] = "x"
	notes["contiv-zone/t:beyond"] = "4096/1"
	notes["other"] = "1/1"
	var again zones
	again.load(notes)
	save(&again)
	expect(&again, "t:a", 7, 1, false)
	expect(&again, "t:b", 9, 3, false)
	again.release("t:a")
	again.release("t:a")
	expect(&again, "t:c", 1, 4, true) // what was freed rests as long as can be
	save(&again)
	if want := map[string]string{"contiv-zone/t:b": "3/9", "contiv-zone/t:c": "4/1", "other": "1/1"}; !maps.Equal(notes, want) {
		t.Errorf("notes %v, want %v", notes, want)
	}

	var full zones
	for id := range uint16(lastZone) {
		if number, _ := full.take(string(rune(id)+1000), network(id)); number == 0 {
			t.Fatal("ended early, at", id)
		}
	}
	expect(&full, "one more", 1, 0, false)
	full.release(string(rune(77) + 1000))
	expect(&full, "one more", 1, 78, true)
}
