package e2e

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// blast sends datagrams of 1 250 bytes at 2 Mbit/s until the test ends, and counts those that arrive.
func (w *trial) blast(from, to string) *atomic.Int64 {
	w.t.Helper()
	const port = 5001
	target := netip.AddrPortFrom(w.addrs[to], port)
	var server net.PacketConn
	w.must(w.Inside(to, func() (err error) { server, err = net.ListenPacket("udp", target.String()); return err }))
	w.t.Cleanup(func() { _ = server.Close() })
	var client net.Conn
	w.must(w.Inside(from, func() (err error) { client, err = net.Dial("udp", target.String()); return err }))
	w.t.Cleanup(func() { _ = client.Close() })
	arrived := new(atomic.Int64)
	go func() {
		buffer := make([]byte, 2000)
		for {
			if _, _, err := server.ReadFrom(buffer); err != nil {
				return // closed at the end
			}
			arrived.Add(1)
		}
	}()
	go talk(w.t.Context(), func() { _, _ = client.Write(make([]byte, 1250)) })
	return arrived
}

// rate is what arrives, in kbit/s of payload, over some time.
func rate(arrived *atomic.Int64, over time.Duration) int {
	before, began := arrived.Load(), time.Now()
	<-time.After(over)
	return int(float64(arrived.Load()-before) * 1250 * 8 / 1000 / time.Since(began).Seconds())
}

// underlayLink is the cable of a host.
const underlayLink = "eth0"

// TestGoldenBandwidth is part C3: a netprofile limits what its group's containers send, is changed while they run, and its
// DSCP is on the packets and on the tunnel's around them.
func TestGoldenBandwidth(t *testing.T) {
	inModes(t, func(w *trial) {
		w.sh("tenant create BandwidthTenant", "network create --tenant BandwidthTenant --subnet=50.1.1.0/24 --gateway=50.1.1.254 BandwidthTestNet",
			"group create -t BandwidthTenant BandwidthTestNet epgA",
			"netprofile create -t BandwidthTenant -b 500Kbps -d 6 -s 80 testProfile",
			"group create -t BandwidthTenant -n testProfile BandwidthTestNet epgB")
		for i, name := range []string{"server-a", "client-a", "server-b", "client-b"} {
			group := []string{"epgA", "epgB"}[i/2]
			w.settle(sandbox.Workload{Name: name, Host: 1 + i%2, Tenant: "BandwidthTenant", Group: group}, "50.1.1."+string(rune('1'+i)))
		}
		inner := w.wiretap(w.inside("server-b"), "eth0")
		outer := w.wiretap(func(f func() error) error { return w.InsideHost(1, f) }, underlayLink)
		free, limited := w.blast("client-a", "server-a"), w.blast("client-b", "server-b")
		// The burst of 80 kilobytes is used up first.
		w.eventually(10*time.Second, "the limit holds", func() bool { r := rate(limited, time.Second); return r > 400 && r < 560 })
		if r := rate(free, time.Second); r < 1500 {
			w.t.Errorf("C3.3: %d kbit/s of 2 000 arrive without a profile", r)
		}
		const dscp = 6 << 2
		marked := func(tap *tap, at int) bool {
			for _, frame := range tap.saw(make([]byte, 1250)) {
				if len(frame) > at && frame[at] == dscp {
					return true
				}
			}
			return false
		}
		if !marked(inner, 15) {
			w.t.Error("no DSCP on what arrives")
		}
		if !marked(outer, 15) || !marked(outer, 14+20+8+8+15) {
			w.t.Error("no DSCP on the tunnel's packets")
		}
		w.refused([]string{"testProfile"}, "netprofile", "rm", "-t", "BandwidthTenant", "testProfile")
		w.sh("netprofile create -t BandwidthTenant -b 16Mbps -d 6 -s 270 testProfile")
		w.eventually(5*time.Second, "the new limit", func() bool { return rate(limited, 500*time.Millisecond) > 1500 })
		w.sh("netprofile create -t BandwidthTenant -b 500Kbps -d 6 -s 80 testProfile")
		w.eventually(10*time.Second, "the old limit", func() bool { r := rate(limited, time.Second); return r > 400 && r < 560 })
		w.must(w.Restart(w.t.Context(), sandbox.Netplugin, 2))
		w.waitReady()
		w.eventually(10*time.Second, "the limit after a restart of the agent", func() bool { r := rate(limited, time.Second); return r > 400 && r < 560 })
	})
}
