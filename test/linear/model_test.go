package linear

import (
	"fmt"
	"math/bits"
	"net/http"
	"net/netip"
	"strings"

	"github.com/anishathalye/porcupine"
)

// world is the state of one partition: what is in each slot, 0 for nothing.
type world [slots]uint32

// verb is what a request does.
type verb string

const (
	put     verb = "put"
	remove  verb = "delete"
	get     verb = "get"
	inspect verb = "inspect"
	list    verb = "list"
	label   verb = "label" // of an endpoint: its container has started
)

func (v verb) writes() bool { return v == put || v == remove || v == label }

// input is a request, projected to one partition. A list is of all slots of the type of its slot.
type input struct {
	verb      verb
	partition string
	slot      slot
	value     uint32
}

// seen is an object as an answer shows it.
type seen struct {
	value     uint32
	links     uint64 // slots that it is linked with
	endpoints map[slot]uint32
}

// output is an answer. Unknown: it never came, or said that nobody knows.
type output struct {
	status  int
	unknown bool
	address uint32 // of an endpoint that was made
	objects map[slot]seen
}

// rules are what may be switched off, to see that the checker sees it.
type rules struct{ noInUse bool }

// apply is what a request that writes is answered, and the world after it.
func (r rules) apply(w world, in input) (int, world) {
	status := http.StatusOK
	switch in.verb {
	case put:
		status, in.value = w.accepts(in.slot, in.value)
	case remove:
		status = w.releases(in.slot)
		if status == http.StatusConflict && r.noInUse {
			status = http.StatusOK
		}
		in.value = 0
	case label:
		if w[in.slot] == 0 {
			return http.StatusNotFound, w
		}
		in.value = w[in.slot] | endpointLabels
	}
	if status != http.StatusOK {
		return status, w
	}
	w[in.slot] = in.value
	if in.verb == remove && (in.slot == policy0 || in.slot == policy1) {
		first := rule00 + (in.slot-policy0)*2
		w[first], w[first+1] = 0, 0
	}
	return status, w
}

// accepts is the answer to a put, and what is stored then.
func (w *world) accepts(s slot, v uint32) (int, uint32) {
	const ok, missing, conflict = http.StatusOK, http.StatusNotFound, http.StatusConflict
	old := w[s]
	need := func(all ...slot) int {
		for _, n := range all {
			if w[n] == 0 {
				return missing
			}
		}
		return ok
	}
	same := func(otherwise int) (int, uint32) {
		switch old {
		case 0:
			return otherwise, v
		case v:
			return ok, v
		}
		return conflict, old
	}
	switch {
	case s == tenantSlot:
		return same(ok)
	case s == net0 || s == net1:
		other := w[net0+net1-s]
		if overlaps := other != 0 && (v == 3 || other == 3); overlaps && w[tenantSlot] != 0 {
			return same(conflict)
		}
		return same(need(tenantSlot))
	case s == group0 || s == group1:
		if old != 0 && old&groupNet1 != v&groupNet1 {
			return conflict, old
		}
		return need(append(w.used(s, v), tenantSlot)...), v
	case s >= rule00 && s <= rule11:
		peers := map[uint32][]slot{3: {group0}, 4: {net1}}[v]
		if w[s.policy()] == 0 {
			return missing, old
		}
		return same(need(peers...))
	case s == contracts0:
		return same(need(tenantSlot))
	case s.isEndpoint():
		return w.acceptsEndpoint(s, v)
	case s == bgp0 || s == aciGw0:
		return ok, v
	case s == global0:
		if v&globalOnlyARP != 0 {
			v = v&globalFlood | old&^globalFlood
		}
		return ok, v
	}
	return need(append(w.used(s, v), tenantSlot)...), v
}

// used are the slots that an object names.
func (w *world) used(s slot, v uint32) (all []slot) {
	add := func(bit uint32, s slot) {
		if v&bit != 0 {
			all = append(all, s)
		}
	}
	switch s {
	case group0, group1:
		all = append(all, net0+slot(v&groupNet1>>1))
		add(groupPolicy0, policy0)
		add(groupPolicy1, policy1)
		add(groupProfile, profile0)
		add(groupContracts, contracts0)
	case service0:
		all = append(all, net0+slot(v&serviceNet1>>1))
	case app0:
		add(appGroup0, group0)
		add(appGroup1, group1)
	case tenantSlot, net0, net1, policy0, policy1, rule00, rule01, rule10, rule11, profile0, contracts0, bgp0, aciGw0, global0:
	}
	return all
}

func (w *world) acceptsEndpoint(s slot, v uint32) (int, uint32) {
	if old := w[s]; old != 0 {
		if old&endpointGroups != v&endpointGroups {
			return http.StatusConflict, old
		}
		return http.StatusOK, old
	}
	g := group0 - 1 + slot(v&endpointGroups/endpointGroup1)
	switch {
	case w[tenantSlot] == 0, g >= group0 && w[g] == 0:
		return http.StatusNotFound, 0
	case g >= group0 && slot(w[g]&groupNet1>>1) != s.network():
		return http.StatusBadRequest, 0
	case w[net0+s.network()] == 0:
		return http.StatusNotFound, 0
	}
	return http.StatusOK, endpointThere | v&endpointGroups
}

// releases is the answer to a deletion.
func (w *world) releases(s slot) int {
	if w[s] == 0 {
		return http.StatusNotFound
	}
	inUse := false
	for other := range bgp0 {
		v := w[other]
		if v == 0 || other == s {
			continue
		}
		switch {
		case s == tenantSlot:
			inUse = true
		case s.isEndpoint(), s >= bgp0:
		case other.isEndpoint():
			inUse = inUse || s == net0+other.network() || v&endpointGroups != 0 && s == group0-1+slot(v&endpointGroups/endpointGroup1)
		default:
			for _, used := range w.used(other, v) {
				inUse = inUse || used == s
			}
		}
	}
	if inUse || s == global0 {
		return http.StatusConflict
	}
	return http.StatusOK
}

// links are the slots that an object is shown to be linked with.
func (w *world) links(s slot) (mask uint64) {
	add := func(other slot) { mask |= 1 << other }
	for _, other := range w.used(s, w[s]) {
		add(other)
	}
	for other := range endpoint0 {
		if w[other] == 0 {
			continue
		}
		for _, used := range w.used(other, w[other]) {
			if used == s {
				add(other)
			}
		}
		isRule := other >= rule00 && other <= rule11
		switch {
		case s == tenantSlot && other != tenantSlot && other != contracts0 && !isRule,
			isRule && other.policy() == s, isRule && s == group0 && w[other] == 3:
			add(other)
		}
	}
	switch isRule := s >= rule00 && s <= rule11; {
	case isRule:
		add(s.policy())
		if w[s] == 3 && w[group0] != 0 {
			add(group0)
		}
	case s == contracts0, s == tenantSlot, s >= endpoint0:
	default:
		add(tenantSlot)
	}
	return mask
}

// endpointsOf are the endpoints that the inspection of an object shows.
func (w *world) endpointsOf(s slot) map[slot]uint32 {
	out := map[slot]uint32{}
	for e := endpoint0; e < bgp0; e++ {
		g := slot(w[e] & endpointGroups / endpointGroup1) // 0: none
		switch {
		case w[e] == 0:
		case s == tenantSlot, s == net0+e.network(), g != 0 && s == group0-1+g,
			g != 0 && s == policy0 && w[group0-1+g]&groupPolicy0 != 0, g != 0 && s == policy1 && w[group0-1+g]&groupPolicy1 != 0:
			out[e] = w[e]
		}
	}
	return out
}

// sees tells whether an answer shows an object as it is. It fills in addresses that were not known yet.
func (w *world) sees(in input, s slot, is seen) bool {
	if s.isEndpoint() {
		return w.seesEndpoint(s, is.value)
	}
	if is.value != w[s] || is.links != w.links(s) {
		return false
	}
	if in.verb != inspect {
		return true
	}
	want := w.endpointsOf(s)
	if len(want) != len(is.endpoints) {
		return false
	}
	for e, v := range is.endpoints {
		if want[e] == 0 || !w.seesEndpoint(e, v) {
			return false
		}
	}
	return true
}

func (w *world) seesEndpoint(s slot, v uint32) bool {
	if w[s] != 0 && w[s]&endpointAddr == 0 {
		w[s] |= v & endpointAddr
	}
	return w[s] == v
}

// step is one operation of the sequential model.
func (r rules) step(w world, in input, out output) (bool, world) {
	if in.verb.writes() {
		status, next := r.apply(w, in)
		switch {
		case out.unknown:
			return true, next // what was not done at all, is done when nobody looks any more
		case out.status == http.StatusOK && status == http.StatusNotFound && in.slot.isEndpoint() && in.verb != put:
			return true, w // two of these at once: both found it, one came first
		case out.status == http.StatusConflict && status == http.StatusOK && in.slot == aciGw0 && in.verb == remove:
			return true, w // app profiles of any tenant need it
		case out.status != status:
			return false, w
		case status == http.StatusOK && in.slot.isEndpoint() && in.verb == put:
			return next.addresses(in.slot, out.address), next
		}
		return true, next
	}
	if out.status == http.StatusNotFound {
		return in.verb != list && w[in.slot] == 0, w
	}
	if in.verb == list {
		wanted, _ := in.slot.collection()
		for s := range slot(slots) {
			if collection, _ := s.collection(); collection != wanted {
				continue
			}
			is, shown := out.objects[s]
			if shown != (w[s] != 0) || shown && !w.sees(in, s, is) {
				return false, w
			}
		}
		return true, w
	}
	return w[in.slot] != 0 && w.sees(in, in.slot, out.objects[in.slot]), w
}

// addresses gives an endpoint the address that it was answered to have, if it can have it.
func (w *world) addresses(s slot, address uint32) bool {
	if old := w[s] & endpointAddr; old != 0 {
		return old == address
	}
	n := net0 + s.network()
	full := netip.AddrFrom4([4]byte{10, 0, byte(address >> 8), byte(address)})
	if !netip.MustParsePrefix(subnet(n, w[n])).Contains(full) || w[n] == 2 && address&0xff == 1 { // the gateway
		return false
	}
	for e := endpoint0; e < bgp0; e++ {
		if e.network() == s.network() && w[e]&endpointAddr == address {
			return false
		}
	}
	w[s] |= address
	return true
}

// model is that of all partitions.
func (r rules) model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (out [][]porcupine.Operation) {
			index := map[string]int{}
			for _, op := range history {
				partition := op.Input.(input).partition
				if _, ok := index[partition]; !ok {
					index[partition] = len(out)
					out = append(out, nil)
				}
				out[index[partition]] = append(out[index[partition]], op)
			}
			return out
		},
		Init: func() any { return world{global0: 1} },
		Step: func(state, in, out any) (bool, any) { return r.step(state.(world), in.(input), out.(output)) },
		DescribeOperation: func(in, out any) string {
			return describe(in.(input), out.(output))
		},
		DescribeState: func(state any) string {
			var text strings.Builder
			for s, v := range state.(world) {
				if v != 0 {
					fmt.Fprintf(&text, "%s %s; ", slot(s).key("T"), described(slot(s), v))
				}
			}
			return text.String()
		},
	}
}

func describe(in input, out output) string {
	collection, _ := in.slot.collection()
	text := fmt.Sprintf("%s %s %s", in.verb, collection, in.slot.key(in.partition))
	if in.verb == put {
		text += " " + described(in.slot, in.value|endpointBit(in.slot))
	}
	if out.unknown {
		return text + ": no answer"
	}
	text += fmt.Sprintf(": %d", out.status)
	if out.address != 0 {
		text += fmt.Sprintf(" 10.0.%d.%d", out.address>>8, out.address&0xff)
	}
	for s, is := range out.objects {
		text += fmt.Sprintf(" [%s is %s, links %s, endpoints %v]", s.key("T"), described(s, is.value), linkNames(is.links), is.endpoints)
	}
	return text
}

func endpointBit(s slot) uint32 {
	if s.isEndpoint() {
		return endpointThere
	}
	return 0
}

func linkNames(mask uint64) string {
	var names []string
	for ; mask != 0; mask &= mask - 1 {
		if s := bits.TrailingZeros64(mask); s < slots {
			names = append(names, slot(s).key("T"))
		} else {
			names = append(names, "something unknown")
		}
	}
	return strings.Join(names, " ")
}
