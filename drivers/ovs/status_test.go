package ovs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestStatusIsTrue: as soon as the status says that all is realised, the switch has it, also one that was just restarted.
func TestStatusIsTrue(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h, &labHost{name: "h2", vtep: "172.31.9.2"})
	for n := range 300 { // so many that it takes a while
		p := testPort("h2", n+1, "")
		w.add(&p)
	}
	apply(t, d, w.all())
	for range 3 {
		h.killSwitch()
		h.startSwitch()
		waitFor(t, 20*time.Second, "all to be realised", func() bool { return d.Status().Realised == w.position() })
		// The loss may not have been noticed yet: what the status said is true if the switch has the flows or the status
		// takes it back.
		sum := h.ofctl("dump-aggregate")
		if s := d.Status(); s.Realised == w.position() && !strings.Contains(sum, fmt.Sprintf("flow_count=%d\n", s.Details["flows"])) {
			t.Errorf("%s, status %+v", sum, s)
		}
	}
}
