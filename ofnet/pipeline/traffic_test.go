package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

// container makes a namespace whose eth0 is port number of the bridge.
func (l *lab) container(t *testing.T, number int, mac string, addresses ...string) (namespace string) {
	t.Helper()
	namespace, host := fmt.Sprintf("%s-%d", l.NetNS, number), fmt.Sprint("v", number)
	l.Run("ip", "netns", "add", namespace)
	t.Cleanup(func() { l.Run("ip", "netns", "del", namespace) })
	l.Run("ip", "-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", l.NetNS)
	l.Run("ip", "-n", l.NetNS, "link", "set", host, "up")
	// The switch passes on what the sender left for a network card to sum up.
	l.Run("nsenter", "--net=/run/netns/"+namespace, "ethtool", "-K", "eth0", "tx", "off")
	l.Run("ip", "-n", namespace, "link", "set", "eth0", "address", mac, "mtu", "1450", "up")
	l.Vsctl("del-port", l.Bridge, fmt.Sprint("p", number), "--", "add-port", l.Bridge, host, "--", "set", "interface", host, fmt.Sprint("ofport_request=", number))
	for _, a := range addresses {
		l.Run("ip", "-n", namespace, "addr", "add", a, "dev", "eth0")
	}
	return namespace
}

func (l *lab) ping(namespace, to, wait string) error {
	_, err := l.Try("nsenter", "--net=/run/netns/"+namespace, "ping", "-c", "1", "-W", wait, to)
	return err
}

// TestTraffic sends real packets of real network stacks: duplicate detection, ARP and ND answered, neighbours reached.
func TestTraffic(t *testing.T) {
	l := newLab(t)
	a := l.container(t, 5, macA, "10.1.0.2/24", "fd00::2/64")
	b := l.container(t, 6, macB, "10.1.0.3/24", "fd00::3/64")
	spoofer := l.container(t, 8, macD, "10.1.0.2/24") // is 10.1.0.5 in truth
	for _, mode := range []string{protocol.ARPProxy, protocol.ARPFlood} {
		w := tracedWorld(mode)
		l.install(t, Compile(w.State))
		for _, ns := range []string{a, b} {
			l.Wait("duplicate detection", func() bool { return l.Run("ip", "-n", ns, "-6", "addr", "show", "dev", "eth0", "tentative") == "" })
			if failed := l.Run("ip", "-n", ns, "-6", "addr", "show", "dev", "eth0", "dadfailed"); failed != "" {
				t.Fatalf("%s: duplicate address found: %s", mode, failed)
			}
			l.Run("ip", "-n", ns, "neigh", "flush", "dev", "eth0")
		}
		for _, to := range []string{"10.1.0.3", "fd00::3"} {
			if err := l.ping(a, to, "5"); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
		if err := l.ping(spoofer, "10.1.0.3", "0.3"); err == nil {
			t.Errorf("%s: a stolen address works", mode)
		}
		if mode == protocol.ARPFlood {
			continue
		}
		for to, mac := range map[string]string{"10.1.0.4": macR, "fd00::4": macR} {
			_ = l.ping(a, to, "0.3") // nobody is there, but the switch knows where it would be
			if got := l.Run("ip", "-n", a, "neigh", "show", to, "dev", "eth0"); !strings.Contains(got, mac) || strings.Contains(got, "router") {
				t.Errorf("neighbour %s: %q, want %s", to, got, mac)
			}
		}
	}
}
