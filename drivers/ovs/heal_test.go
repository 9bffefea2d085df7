package ovs

import (
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/protocol"
)

// TestPortTakenAway: somebody removes the port of an endpoint from the switch behind the driver's back.
func TestPortTakenAway(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	w.add(&a.port)
	w.add(&b.port)
	apply(t, d, w.all())
	att, _ := attach(t, d, a), attach(t, d, b)
	mustPing(t, a, b)
	number := h.vsctl("get", "Interface", att.HostLink, "ofport")
	ids := h.vsctl("get", "Interface", att.HostLink, "external_ids")

	h.vsctl("del-port", att.HostLink)
	mustPing(t, a, b)
	if now := h.vsctl("get", "Interface", att.HostLink, "ofport"); now != number {
		t.Errorf("port number was %s, is %s", number, now)
	}
	if now := h.vsctl("get", "Interface", att.HostLink, "external_ids"); now != ids {
		t.Errorf("external ids were %s, are %s", ids, now)
	}
	checkMemory(t, d, 2, []protocol.EndpointID{})

	// Without its link it cannot be put back: then it has no flows, and that is told.
	run(t, "ip", "-n", a.ns, "link", "del", "eth0")
	h.vsctl("del-port", att.HostLink)
	waitFor(t, 5*time.Second, "the endpoint to be told as not realised", func() bool {
		for _, one := range d.Status().NotRealised {
			if one.Key == a.port.ID.String() && strings.Contains(one.Reason, "no port") {
				return true
			}
		}
		return false
	})
	waitFor(t, 5*time.Second, "its flows to go", func() bool { return !strings.Contains(h.ofctl("dump-flows"), "in_port="+number+" ") })

	// It can be removed, and attached anew.
	if err := d.RemovePort(t.Context(), a.port.ID); err != nil {
		t.Fatal(err)
	}
	checkMemory(t, d, 1, []protocol.EndpointID{a.port.ID})
	attach(t, d, a)
	mustPing(t, a, b)
}

// TestPortTakenAwayUnseen: the same while the driver does not hear of it.
func TestPortTakenAwayUnseen(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	w.add(&a.port)
	w.add(&b.port)
	apply(t, d, w.all())
	att, _ := attach(t, d, a), attach(t, d, b)
	mustPing(t, a, b)
	d.db.Close() // deaf from here on
	h.vsctl("del-port", att.HostLink)
	var err error
	if d.db, err = switchdb.Dial(t.Context(), h.dir+"/db.sock", DefaultBridge, d.portSeen); err != nil {
		t.Fatal(err)
	}
	h.killSwitch()
	h.startSwitch()
	mustPing(t, a, b)
}

// TestStatistics: the counters are the container's, not the host end's.
func TestStatistics(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	w := newWorld(h)
	a, b := newContainer(t, h, "blue", 1), newContainer(t, h, "blue", 2)
	w.add(&a.port)
	w.add(&b.port)
	apply(t, d, w.all())
	attach(t, d, a)
	attach(t, d, b)
	mustPing(t, a, b)
	run(t, "ip", "netns", "exec", a.ns, "ping", "-q", "-c", "1", "-s", "1000", b.ip())
	run(t, "ip", "netns", "exec", a.ns, "bash", "-c", "for i in {1..50}; do echo -n x > /dev/udp/"+b.ip()+"/9; done || true")
	var from, to protocol.EndpointCounters
	defer func() {
		if t.Failed() {
			t.Logf("sender %+v, receiver %+v", from, to)
		}
	}()
	waitFor(t, 10*time.Second, "the counters to show what was sent", func() bool {
		counted, err := d.Statistics(t.Context())
		if err != nil || len(counted.Endpoints) != 2 || counted.Endpoints[0].ID != a.port.ID || counted.Endpoints[1].ID != b.port.ID {
			t.Fatalf("%+v, %v", counted, err)
		}
		from, to = counted.Endpoints[0], counted.Endpoints[1]
		return from.TxPackets >= 50 && to.RxPackets >= 50 && from.TxBytes >= 1000 && to.RxBytes >= 1000 && from.RxBytes >= 1000
	})
}
