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
	l := newLab(t, 1)
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
		l.fragments(t, w, a)
		for to, mac := range map[string]string{"10.1.0.4": macR, "fd00::4": macR} {
			_ = l.ping(a, to, "0.3") // nobody is there, but the switch knows where it would be
			if got := l.Run("ip", "-n", a, "neigh", "show", to, "dev", "eth0"); !strings.Contains(got, mac) || strings.Contains(got, "router") {
				t.Errorf("neighbour %s: %q, want %s", to, got, mac)
			}
		}
	}
}

// TestTwoHosts sends real packets through real tunnels, with the programs that two hosts make of the same records.
func TestTwoHosts(t *testing.T) {
	one, two := newLab(t, 1), newLab(t, 2)
	one.Run("ip", "link", "add", "cable", "netns", one.NetNS, "type", "veth", "peer", "name", "cable", "netns", two.NetNS)
	for _, l := range []*lab{one, two} {
		l.RunInside("ip", "link", "set", "cable", "up")
		l.Vsctl("add-port", "br-phy", "cable")
	}
	a := one.container(t, 5, macA, "10.1.0.2/24", "fd00::2/64")
	r := two.container(t, 6, macR, "10.1.0.4/24", "fd00::4/64")
	for _, mode := range []string{protocol.ARPProxy, protocol.ARPFlood, protocol.ForwardRouting} {
		w := tracedWorld(mode)
		one.install(t, Compile(w.State))
		w.Host, w.Ports = "h2", map[protocol.EndpointID]uint32{id("h2", "r"): 6}
		two.install(t, Compile(w.State))
		for ns, to := range map[string][]string{a: {"10.1.0.4", "fd00::4"}, r: {"10.1.0.2", "fd00::2"}} {
			one.Wait("duplicate detection", func() bool { return one.Run("ip", "-n", ns, "-6", "addr", "show", "dev", "eth0", "tentative") == "" })
			one.Run("ip", "-n", ns, "neigh", "flush", "dev", "eth0")
			for _, address := range to {
				// The first packets go while the switches find each other on the underlay.
				one.Wait(mode+" ping "+address, func() bool { return one.ping(ns, address, "0.3") == nil })
			}
		}
		if _, err := one.Try("nsenter", "--net=/run/netns/"+a, "ping", "-M", "do", "-s", "1422", "-c", "1", "-W", "5", "10.1.0.4"); err != nil {
			t.Errorf("%s: full-sized packet: %v", mode, err)
		}
		w.Host, w.Ports = "h1", map[protocol.EndpointID]uint32{id("h1", "a"): 5}
		delete(w.Endpoints, id("h2", "r"))
		one.install(t, Compile(w.State))
		// The switch looks at flows in use again a moment after the tables changed.
		one.Wait(mode+" end of answers to a peer that is not known", func() bool { return one.ping(r, "10.1.0.2", "0.3") != nil })
	}
}

// fragments: a packet in parts is denied like a whole one, though only its first part has what a rule asks for.
func (l *lab) fragments(t *testing.T, w *world, from string) {
	t.Helper()
	echo, echo6 := uint8(8), uint8(128)
	big := func(to string) error {
		_, err := l.Try("nsenter", "--net=/run/netns/"+from, "ping", "-s", "4000", "-c", "1", "-W", "2", to)
		return err
	}
	for _, to := range []string{"10.1.0.3", "fd00::3"} {
		if err := big(to); err != nil {
			t.Errorf("fragments to %s: %v", to, err)
		}
	}
	w.rule(protocol.Rule{ID: 2, Priority: 2, Action: "deny", Src: anyPeer, Dst: identities(7), Protocols: []uint8{1}, ICMPType: &echo})
	w.rule(protocol.Rule{ID: 3, Priority: 2, Action: "deny", Src: anyPeer, Dst: identities(7), Protocols: []uint8{58}, ICMPType: &echo6})
	l.becomes(t, w, "a deny to hold for fragments", func(to string) bool { return big(to) != nil })
	w.rule(protocol.Rule{ID: 2, Priority: 3, Action: "allow", Src: anyPeer, Dst: identities(7), Protocols: []uint8{1}, ICMPType: &echo})
	w.rule(protocol.Rule{ID: 3, Priority: 3, Action: "allow", Src: anyPeer, Dst: identities(7), Protocols: []uint8{58}, ICMPType: &echo6})
	w.rule(protocol.Rule{ID: 4, Priority: 1, Action: "deny", Src: anyPeer, Dst: identities(7)})
	l.becomes(t, w, "an allow to hold for fragments", func(to string) bool { return big(to) == nil })
}

// becomes installs the world, as the driver does, and waits until it is true of the neighbour's addresses.
func (l *lab) becomes(t *testing.T, w *world, what string, is func(to string) bool) {
	t.Helper()
	l.install(t, Compile(w.State))
	l.Appctl("revalidator/purge")
	for _, to := range []string{"10.1.0.3", "fd00::3"} {
		l.Wait(what+" to "+to, func() bool { return is(to) })
	}
}
