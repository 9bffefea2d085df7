package linear

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what clients did and were answered. Its methods may be called at once.
type history struct {
	began time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() int64 { return int64(time.Since(h.began)) }

// add records an operation that began at a time and has just ended; an unknown one may be done at any time after that.
func (h *history) add(client int, in input, out output, called int64) {
	returned := h.now()
	if out.unknown {
		returned = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: called, Return: returned})
}

// answered counts the operations with a status; -1: those without an answer.
func (h *history) answered() map[int]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[int]int{}
	for _, op := range h.ops {
		out := op.Output.(output)
		if out.unknown {
			out.status = -1
		}
		n[out.status]++
	}
	return n
}

// checkTime is how long an order is looked for. It takes a second unless there is none.
const checkTime = 40 * time.Second

// check fails the test unless the history is linearizable.
func (h *history) check(t *testing.T, with rules) {
	t.Helper()
	model := with.model()
	for _, part := range model.Partition(h.ops) {
		began := time.Now()
		result, info := porcupine.CheckOperationsVerbose(model, part, checkTime)
		if took := time.Since(began); took > time.Second {
			t.Logf("%s: %d operations checked in %v", part[0].Input.(input).partition, len(part), took)
		}
		if result == porcupine.Ok {
			continue
		}
		t.Errorf("%s: no order of the %d operations found (%s)\n%s", part[0].Input.(input).partition, len(part), result, impasse(model, part, info))
		if dir := os.Getenv("CONTIV_LINEAR_DIR"); dir != "" {
			file := filepath.Join(dir, t.Name()+".html")
			t.Logf("drawn in %s: %v", file, porcupine.VisualizePath(model, info, file))
		}
	}
}

// impasse tells how far the longest order came, and what could not be next.
func impasse(model porcupine.Model, part []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	placed := map[string]int{}
	state := model.Init()
	for _, op := range longest {
		placed[fmt.Sprint(op.Call, op.ClientId)]++
		_, state = model.Step(state, op.Input, op.Output)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "after %d operations the state is %s\nlast were\n", len(longest), model.DescribeState(state))
	show := func(op porcupine.Operation) {
		fmt.Fprintf(&text, "  client %d %d-%d %s\n", op.ClientId, op.Call, op.Return, model.DescribeOperation(op.Input, op.Output))
	}
	for _, op := range longest[max(0, len(longest)-12):] {
		show(op)
	}
	fmt.Fprintln(&text, "none of these can follow")
	rest := slices.DeleteFunc(slices.Clone(part), func(op porcupine.Operation) bool { return placed[fmt.Sprint(op.Call, op.ClientId)] > 0 })
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, op := range rest[:min(len(rest), 14)] {
		show(op)
	}
	return text.String()
}
