package ovs

import (
	"strings"
	"testing"
	"time"
)

// TestFirstPacketAcrossHosts: the userspace datapath drops a packet to a tunnel peer whose link address it does not
// know; the driver makes it known before there is a packet, also to a switch that was restarted.
func TestFirstPacketAcrossHosts(t *testing.T) {
	t.Parallel()
	underlay := newUnderlay(t)
	h1, h2 := newHost(t, underlay, 1), newHost(t, underlay, 2)
	d1, d2 := newDriver(t, h1), newDriver(t, h2)
	w := newWorld(h1, h2)
	a, b := newContainer(t, h1, "blue", 1), newContainer(t, h2, "blue", 2)
	w.add(&a.port)
	w.add(&b.port)
	apply(t, d1, w.all())
	apply(t, d2, w.all())
	attach(t, d1, a)
	attach(t, d2, b)
	knows := func(h, peer *labHost) {
		t.Helper()
		waitFor(t, 5*time.Second, "host "+h.name+" to know the neighbour "+peer.vtep, func() bool {
			return strings.Contains(h.exec("ovs-appctl", "-t", h.dir+"/vsw.ctl", "tnl/neigh/show"), peer.vtep+" ")
		})
	}
	knows(h1, h2)
	knows(h2, h1)
	if ping(t, a.ns, b.ip(), "-c", "1") != 1 {
		t.Error("the first packet was lost")
	}

	h1.killSwitch()
	h1.startSwitch()
	h1.exec("ip", "addr", "replace", h1.vtep+"/24", "dev", "br-phy")
	h1.exec("ip", "link", "set", "br-phy", "up")
	knows(h1, h2)
	waitFor(t, 5*time.Second, "the flows to be back", func() bool { return d1.Status().Realised == d1.Status().Desired && d1.Status().Connected })
	waitFor(t, 5*time.Second, "the port of "+a.port.ID.String()+" to be open", func() bool {
		return strings.Contains(h1.ofctl("show"), "(vvport")
	})
	if ping(t, a.ns, b.ip(), "-c", "1") != 1 {
		t.Error("the first packet after the restart of the switch was lost")
	}
}

// TestNeighboursFollowTheHosts: an address that is no host's any more is asked for no longer.
func TestNeighboursFollowTheHosts(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", 1)
	d := newDriver(t, h)
	peers := []*labHost{{name: "h2", vtep: "172.31.9.2"}, {name: "h3", vtep: "172.31.9.3"}}
	w := newWorld(h, peers[0], peers[1])
	apply(t, d, w.all())
	asked := func() int {
		d.neighbours.mu.Lock()
		defer d.neighbours.mu.Unlock()
		return len(d.neighbours.peers)
	}
	if asked() != 2 {
		t.Errorf("%d peers, want 2 and not the host itself", asked())
	}
	w = newWorld(h, peers[1])
	w.revision = 7
	apply(t, d, w.all())
	if asked() != 1 {
		t.Errorf("%d peers after one went, want 1", asked())
	}
}
