package linear

import (
	"net/http"
	"testing"

	"github.com/anishathalye/porcupine"
)

// script is a history in the making: each line is an operation that ends before the next begins, unless told.
type script struct {
	ops []porcupine.Operation
	now int64
}

func (s *script) op(in input, out output) *script {
	in.partition = "t0"
	s.now += 2
	s.ops = append(s.ops, porcupine.Operation{Input: in, Output: out, Call: s.now, Return: s.now + 1})
	return s
}

func (s *script) put(at slot, value uint32, status int) *script {
	return s.op(input{verb: put, slot: at, value: value}, output{status: status})
}

func (s *script) remove(at slot, status int) *script {
	return s.op(input{verb: remove, slot: at}, output{status: status})
}

func (s *script) endpoint(at slot, address uint32) *script {
	return s.op(input{verb: put, slot: at}, output{status: http.StatusOK, address: address})
}

// get, inspect and gone look at the first network.
func (s *script) get(is seen) *script {
	return s.op(input{verb: get, slot: net0}, output{status: http.StatusOK, objects: map[slot]seen{net0: is}})
}

func (s *script) inspect(is seen) *script {
	return s.op(input{verb: inspect, slot: net0}, output{status: http.StatusOK, objects: map[slot]seen{net0: is}})
}

func (s *script) gone() *script {
	return s.op(input{verb: get, slot: net0}, output{status: http.StatusNotFound})
}

// lost makes the last operation one whose answer never came.
func (s *script) lost() *script {
	last := &s.ops[len(s.ops)-1]
	out := last.Output.(output)
	out.unknown = true
	last.Output, last.Return = out, 1<<62
	return s
}

// meeting makes the last two operations concurrent.
func (s *script) meeting() *script {
	last := len(s.ops) - 1
	s.ops[last].Call = s.ops[last-1].Call
	s.ops[last-1].Return = s.ops[last].Return
	return s
}

// TestChecker: the checker accepts what may happen and rejects what must not.
func TestChecker(t *testing.T) {
	const ok, missing, conflict = http.StatusOK, http.StatusNotFound, http.StatusConflict
	links := func(all ...slot) (mask uint64) {
		for _, s := range all {
			mask |= 1 << s
		}
		return mask
	}
	begin := func() *script { return new(script).put(tenantSlot, 1, ok).put(net0, 1, ok) }
	shown := seen{value: 1, links: links(tenantSlot)}
	for name, tc := range map[string]struct {
		history *script
		allowed bool
	}{
		"read of what was made":              {begin().get(shown), true},
		"acknowledged and lost":              {begin().gone(), false},
		"stale read":                         {begin().remove(net0, ok).get(shown), false},
		"read that meets a deletion":         {begin().remove(net0, ok).get(shown).meeting(), true},
		"link too many":                      {begin().get(seen{value: 1, links: links(tenantSlot, group0)}), false},
		"link too few":                       {begin().put(group0, 1, ok).get(shown), false},
		"link of a group":                    {begin().put(group0, 1, ok).get(seen{value: 1, links: links(tenantSlot, group0)}), true},
		"other value":                        {begin().get(seen{value: 2, links: links(tenantSlot)}), false},
		"change of what cannot change":       {begin().put(net0, 2, ok), false},
		"refused change":                     {begin().put(net0, 2, conflict).get(shown), true},
		"refusal that changed something":     {begin().put(net0, 2, conflict).get(seen{value: 2, links: links(tenantSlot)}), false},
		"refused without a reason":           {begin().put(net1, 1, conflict), false},
		"overlap":                            {begin().put(net1, 3, ok), false},
		"deletion of what is used":           {begin().remove(tenantSlot, ok), false},
		"deletion twice":                     {begin().remove(net0, ok).remove(net0, ok), false},
		"deletion of a policy takes rules":   {begin().put(policy0, 1, ok).put(rule01, 1, ok).remove(policy0, ok).put(policy0, 1, ok).put(rule01, 2, ok), true},
		"rule that outlives its policy":      {begin().put(policy0, 1, ok).put(rule01, 1, ok).remove(policy0, ok).put(policy0, 1, ok).put(rule01, 2, conflict), false},
		"no answer, done":                    {begin().remove(net0, 0).lost().gone(), true},
		"no answer, not done":                {begin().remove(net0, 0).lost().get(shown), true},
		"no answer, done late":               {begin().remove(net0, 0).lost().get(shown).gone(), true},
		"no answer, done and undone":         {begin().remove(net0, 0).lost().gone().get(shown), false},
		"two endpoints":                      {begin().endpoint(endpoint0, 1).endpoint(endpoint0+2, 2), true},
		"one address twice":                  {begin().endpoint(endpoint0, 1).endpoint(endpoint0+2, 1), false},
		"address of another network":         {begin().endpoint(endpoint0, 1<<8|1), false},
		"the same endpoint again":            {begin().endpoint(endpoint0, 1).endpoint(endpoint0, 1), true},
		"another address for the same":       {begin().endpoint(endpoint0, 1).endpoint(endpoint0, 2), false},
		"endpoint that nobody counts":        {begin().endpoint(endpoint0, 1).inspect(shown), false},
		"endpoint that is counted":           {begin().endpoint(endpoint0, 1).inspect(seen{1, links(tenantSlot), map[slot]uint32{endpoint0: endpointThere | 1}}), true},
		"endpoint on a network that is gone": {begin().remove(net0, ok).endpoint(endpoint0, 1), false},
		"address that came without answer": {begin().endpoint(endpoint0, 0).lost().inspect(seen{1, links(tenantSlot), map[slot]uint32{endpoint0: endpointThere | 7}}).
			inspect(seen{1, links(tenantSlot), map[slot]uint32{endpoint0: endpointThere | 8}}), false},
		"group of no network": {new(script).put(tenantSlot, 1, ok).put(group0, 1, missing), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := porcupine.CheckOperations(rules{}.model(), tc.history.ops); got != tc.allowed {
				t.Errorf("allowed %v, want %v", got, tc.allowed)
			}
		})
	}
}

// TestCheckerWithBrokenModel: a true history is rejected by a model in which nothing is ever in use.
func TestCheckerWithBrokenModel(t *testing.T) {
	history := new(script).put(tenantSlot, 1, http.StatusOK).put(net0, 1, http.StatusOK).remove(tenantSlot, http.StatusConflict).ops
	if !porcupine.CheckOperations(rules{}.model(), history) {
		t.Error("the model rejects a true history")
	}
	if porcupine.CheckOperations(rules{noInUse: true}.model(), history) {
		t.Error("a broken model is not noticed")
	}
}
