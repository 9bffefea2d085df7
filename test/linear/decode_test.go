package linear

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"sync"
)

var known sync.Map // partition -> meanings

func meaningsIn(partition string) meanings {
	if m, ok := known.Load(partition); ok {
		return m.(meanings)
	}
	m, _ := known.LoadOrStore(partition, meaningsOf(partition))
	return m.(meanings)
}

// listed finds which slot of a partition an object of a list is in, if it is of this partition.
func listed(collection, partition string, object []byte) (s slot, is seen, mine bool) {
	var key struct{ Key string }
	if json.Unmarshal(object, &key) != nil {
		return 0, seen{}, false
	}
	for s := range slot(slots) {
		if c, _ := s.collection(); c == collection && s.key(partition) == key.Key {
			is, err := decodeObject(s, partition, object)
			if err != nil {
				is = seen{links: unknownLink}
			}
			return s, is, true
		}
	}
	return 0, seen{}, false
}

// decode reads the answer to a get or an inspection.
func decode(in input, body []byte) (seen, error) {
	if in.verb != inspect {
		return decodeObject(in.slot, in.partition, body)
	}
	var both struct {
		Config json.RawMessage
		Oper   struct {
			Endpoints                                                                                                    []endpointOper
			NumEndpoints                                                                                                 int
			TotalNetworks, TotalEPGs, TotalNetprofiles, TotalAppProfiles, TotalServicelbs, TotalPolicies, TotalEndpoints int
		}
	}
	if err := json.Unmarshal(body, &both); err != nil {
		return seen{}, err
	}
	is, err := decodeObject(in.slot, in.partition, both.Config)
	if err != nil {
		return is, err
	}
	is.endpoints = map[slot]uint32{}
	for _, e := range both.Oper.Endpoints {
		s, v, err := e.decode(in.partition)
		if err != nil {
			return is, err
		}
		is.endpoints[s] = v
	}
	oper, n := both.Oper, len(is.endpoints)
	if n != len(oper.Endpoints) || n != oper.NumEndpoints+oper.TotalEndpoints {
		return is, fmt.Errorf("%d endpoints, counted %d and %d", n, oper.NumEndpoints, oper.TotalEndpoints)
	}
	if in.slot != tenantSlot {
		return is, nil
	}
	for _, c := range []struct {
		first, last slot
		n           int
	}{
		{net0, net1, oper.TotalNetworks}, {group0, group1, oper.TotalEPGs}, {profile0, profile0, oper.TotalNetprofiles},
		{app0, app0, oper.TotalAppProfiles}, {service0, service0, oper.TotalServicelbs}, {policy0, policy1, oper.TotalPolicies},
	} {
		if have := bits.OnesCount64(is.links & (1<<(c.last+1) - 1<<c.first)); have != c.n {
			return is, fmt.Errorf("%d linked, %d counted, of %s", have, c.n, c.first.key("T"))
		}
	}
	return is, nil
}

// unknownLink marks links to what should not be there, or an object that is none of ours.
const unknownLink = 1 << 63

type link struct{ Type, Key string }

func decodeObject(s slot, partition string, object []byte) (seen, error) {
	var all map[string]any
	if err := json.Unmarshal(object, &all); err != nil {
		return seen{}, err
	}
	var linked struct {
		Sets  map[string]map[string]link `json:"link-sets"`
		Links map[string]link            `json:"links"`
	}
	if err := json.Unmarshal(object, &linked); err != nil {
		return seen{}, err
	}
	for _, other := range []string{"key", "link-sets", "links", "resourceVersion"} {
		delete(all, other)
	}
	value, ok := meaningsIn(partition)[s][canonical(all)]
	if !ok {
		return seen{}, fmt.Errorf("%s is none of the objects that anybody made", canonical(all))
	}
	is := seen{value: value}
	for _, set := range linked.Sets {
		for key, l := range set {
			if l.Key != key {
				return seen{}, fmt.Errorf("link of %q is to %q", key, l.Key)
			}
			is.links |= maskOf(partition, l)
		}
	}
	for _, l := range linked.Links {
		if l != (link{}) {
			is.links |= maskOf(partition, l)
		}
	}
	return is, nil
}

func maskOf(partition string, l link) uint64 {
	for s := range endpoint0 {
		if _, kind := s.collection(); kind == l.Type && s.key(partition) == l.Key {
			return 1 << s
		}
	}
	return unknownLink
}
