package distribute

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestChangesNameTheirRequests: an agent is told which requests led to what it is sent, and of no others.
func TestChangesNameTheirRequests(t *testing.T) {
	f := start(t, nil)
	one, other := f.registered("h1"), f.registered("h2")
	f.must(f.Publish(at(2), []ScopedRecord{endpointOf("h1", "c", 2)}, "of-h1"))
	f.must(f.Publish(at(3), []ScopedRecord{scoped(protocol.KindGlobal, "g", 3, 1)}, "of-all"))
	f.must(f.Publish(at(4), nil, "of-nobody"))
	f.must(f.Publish(at(5), []ScopedRecord{scoped(protocol.KindGlobal, "g", 5, 1)}))
	for _, c := range []struct {
		*client
		want []string
	}{{one, []string{"of-h1", "of-all"}}, {other, []string{"of-all"}}} {
		f.eventually("revision 5", func() bool { return c.at() == 5 })
		c.mu.Lock()
		if diff := cmp.Diff(c.want, c.requests); diff != "" {
			t.Error(diff)
		}
		c.mu.Unlock()
	}
}

// TestRequestsAreBounded: of very many requests behind one message the latest are kept.
func TestRequestsAreBounded(t *testing.T) {
	p := pending{attached: true}
	const last = 3 * maxRequests
	for i := range last + 1 {
		p.touch(index.Ref{Kind: protocol.KindHost, Key: fmt.Sprint(i)}, []string{fmt.Sprint(i)})
	}
	if len(p.requests) != maxRequests || p.requests[maxRequests-1] != fmt.Sprint(last) {
		t.Errorf("%d ids are kept, the last is %q", len(p.requests), p.requests[len(p.requests)-1])
	}
}
