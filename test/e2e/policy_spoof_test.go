package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/state"
)

// tap is a raw socket on an interface: it sends frames as they are, and keeps those that arrive.
type tap struct {
	fd     int
	mu     sync.Mutex
	frames [][]byte
	done   chan struct{}
}

// wiretap opens one in the namespace that inside leads to.
func (c *cluster) wiretap(inside func(func() error) error, link string) *tap {
	c.t.Helper()
	w := &tap{done: make(chan struct{})}
	c.must(inside(func() (err error) {
		const all = unix.ETH_P_ALL
		number, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.BigEndian.Uint16([]byte{0, all}))<<8&0xffff); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all << 8, Ifindex: number.Index})
	}))
	c.must(unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.capture()
	}()
	c.t.Cleanup(func() {
		close(w.done)
		<-stopped
		_ = unix.Close(w.fd)
	})
	return w
}

func (w *tap) capture() {
	buffer := make([]byte, 65536)
	for {
		select {
		case <-w.done:
			return
		default:
		}
		n, from, err := unix.Recvfrom(w.fd, buffer, 0)
		if err != nil {
			continue // a timeout, mostly
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		w.mu.Lock()
		w.frames = append(w.frames, bytes.Clone(buffer[:n]))
		w.mu.Unlock()
	}
}

// saw gives the frames that hold something.
func (w *tap) saw(what []byte) (out [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.frames {
		if bytes.Contains(f, what) {
			out = append(out, f)
		}
	}
	return out
}

func (w *tap) send(frame []byte) error { return unix.Send(w.fd, frame, 0) }

// card is what a frame says of a sender, or of whom it goes to.
type card struct {
	mac    net.HardwareAddr
	v4, v6 netip.Addr
}

func (w *town) card(name string) card {
	p := w.person(name)
	v4 := p.addrs[0].As4()
	return card{net.HardwareAddr{2, 2, v4[0], v4[1], v4[2], v4[3]}, p.addrs[0], p.addrs[1]}
}

// linkLocal is the address that a host makes of its MAC address.
func (c card) linkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: c.mac[0] ^ 2, 9: c.mac[1], 10: c.mac[2], 11: 0xff, 12: 0xfe, 13: c.mac[3], 14: c.mac[4], 15: c.mac[5]})
}

// forger writes frames with a mark in them.
type forger struct{ mark []byte }

func (f forger) frame(parts ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	parts = append(parts, gopacket.Payload(f.mark))
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err) // the layers are ours
	}
	return buffer.Bytes()
}

func ether(src, dst net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: kind}
}

// udp is a datagram between addresses of one family.
func (f forger) udp(srcMAC, dstMAC net.HardwareAddr, src, dst netip.Addr) []byte {
	udp := &layers.UDP{SrcPort: 5555, DstPort: 7777}
	if src.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(ip) // of a layer that it knows
		return f.frame(ether(srcMAC, dstMAC, layers.EthernetTypeIPv4), ip, udp)
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return f.frame(ether(srcMAC, dstMAC, layers.EthernetTypeIPv6), ip, udp)
}

func (f forger) arp(src, dst net.HardwareAddr, op uint16, sha net.HardwareAddr, spa, tpa netip.Addr) []byte {
	return f.frame(ether(src, dst, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: sha, SourceProtAddress: spa.AsSlice(), DstHwAddress: dst, DstProtAddress: tpa.AsSlice(),
	})
}

// nd is a message of neighbour discovery with one option, before which the mark stands as an option of another kind.
func (f forger) nd(src, dst net.HardwareAddr, from, to netip.Addr, kind uint8, target netip.Addr, option layers.ICMPv6Opt, mac net.HardwareAddr) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	options := layers.ICMPv6Options{{Type: option, Data: mac}, {Type: 14, Data: f.mark[:6]}}
	var body gopacket.SerializableLayer
	switch kind {
	case 134:
		body = &layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800, Options: options}
	case 135:
		body = &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice(), Options: options}
	default:
		body = &layers.ICMPv6NeighborAdvertisement{Flags: 0x60, TargetAddress: target.AsSlice(), Options: options}
	}
	buffer := gopacket.NewSerializeBuffer()
	parts := []gopacket.SerializableLayer{ether(src, dst, layers.EthernetTypeIPv6), ip, icmp, body}
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// forgery is a frame that must not arrive, or the one that must.
type forgery struct {
	name string
	make func(f forger) []byte
}

// forgeries are what me could send to you in the name of other, who is a third endpoint. To you means by the MAC address
// that frames for you have.
func forgeries(me, you, other card, to net.HardwareAddr) []forgery {
	nobody := netip.MustParseAddr("10.1.1.222")
	nobody6 := netip.MustParseAddr("fd00:0:0:1::222")
	everyone := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes := netip.MustParseAddr("ff02::1")
	all6 := net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	udp := func(srcMAC, dstMAC net.HardwareAddr, src, dst netip.Addr) func(forger) []byte {
		return func(f forger) []byte { return f.udp(srcMAC, dstMAC, src, dst) }
	}
	arp := func(src, dst net.HardwareAddr, op uint16, sha net.HardwareAddr, spa, tpa netip.Addr) func(forger) []byte {
		return func(f forger) []byte { return f.arp(src, dst, op, sha, spa, tpa) }
	}
	nd := func(src, dst net.HardwareAddr, from, to netip.Addr, kind uint8, target netip.Addr, option layers.ICMPv6Opt, mac net.HardwareAddr) func(forger) []byte {
		return func(f forger) []byte { return f.nd(src, dst, from, to, kind, target, option, mac) }
	}
	return []forgery{
		{"MAC of another", udp(other.mac, to, me.v4, you.v4)},
		{"MAC of nobody", udp(net.HardwareAddr{2, 2, 9, 9, 9, 9}, to, me.v4, you.v4)},
		{"multicast MAC", udp(everyone, to, me.v4, you.v4)},
		{"IP of another", udp(me.mac, to, other.v4, you.v4)},
		{"IP of nobody", udp(me.mac, to, nobody, you.v4)},
		{"IP of the target", udp(me.mac, to, you.v4, you.v4)},
		{"no IP", udp(me.mac, to, netip.IPv4Unspecified(), you.v4)},
		{"MAC and IP of another", udp(other.mac, to, other.v4, you.v4)},
		{"IPv6 of another", udp(me.mac, to, other.v6, you.v6)},
		{"IPv6 of nobody", udp(me.mac, to, nobody6, you.v6)},
		{"MAC and IPv6 of another", udp(other.mac, to, other.v6, you.v6)},
		{"link-local of another", udp(me.mac, to, other.linkLocal(), you.v6)},
		{"link-local of its own", udp(me.mac, to, me.linkLocal(), you.v6)},
		{"to a link-local address", udp(me.mac, you.mac, me.v6, you.linkLocal())},
		{"to everybody, by the IP of one", udp(me.mac, everyone, me.v4, you.v4)},
		{"to a multicast group, by the IP of one", udp(me.mac, net.HardwareAddr{1, 0, 0x5e, 1, 1, 3}, me.v4, you.v4)},
		{"to all nodes, by the IPv6 of one", udp(me.mac, all6, me.v6, you.v6)},
		{"VLAN tag", func(f forger) []byte {
			plain := f.udp(me.mac, to, me.v4, you.v4)
			return append(append(bytes.Clone(plain[:12]), 0x81, 0, 0, 1), plain[12:]...)
		}},
		{"ARP: I am the other", arp(me.mac, you.mac, 2, me.mac, other.v4, you.v4)},
		{"ARP to all: I am the other", arp(me.mac, everyone, 1, me.mac, other.v4, other.v4)},
		{"ARP: the other is elsewhere", arp(me.mac, you.mac, 2, other.mac, me.v4, you.v4)},
		{"ARP with the other's MAC", arp(other.mac, you.mac, 2, other.mac, other.v4, you.v4)},
		{"ARP request of nobody", arp(me.mac, everyone, 1, me.mac, nobody, you.v4)},
		{"ARP probe", arp(me.mac, everyone, 1, me.mac, netip.IPv4Unspecified(), you.v4)},
		{"ND: I am the other", nd(me.mac, you.mac, me.v6, you.v6, 136, other.v6, layers.ICMPv6OptTargetAddress, me.mac)},
		{"ND to all: I am the other", nd(me.mac, all6, me.v6, allNodes, 136, other.v6, layers.ICMPv6OptTargetAddress, me.mac)},
		{"ND: I am elsewhere", nd(me.mac, you.mac, me.v6, you.v6, 136, me.v6, layers.ICMPv6OptTargetAddress, other.mac)},
		{"ND from the other", nd(me.mac, you.mac, other.v6, you.v6, 136, other.v6, layers.ICMPv6OptTargetAddress, me.mac)},
		{"ND question of the other", nd(me.mac, you.mac, other.v6, you.v6, 135, you.v6, layers.ICMPv6OptSourceAddress, me.mac)},
		{"ND question with the other's MAC", nd(me.mac, you.mac, me.v6, you.v6, 135, you.v6, layers.ICMPv6OptSourceAddress, other.mac)},
		{"ND probe", nd(me.mac, all6, netip.IPv6Unspecified(), allNodes, 135, you.v6, layers.ICMPv6OptSourceAddress, me.mac)},
		{"I am a router", nd(me.mac, all6, me.linkLocal(), allNodes, 134, netip.Addr{}, layers.ICMPv6OptSourceAddress, me.mac)},
	}
}

// TestForgedFrames sends what only a liar or an attacker would, from a real workload by raw socket: nothing of it arrives
// at anybody, on the same host or another, nor through a tag at the other tenant's. It is counted as spoofed, and true
// frames do arrive.
func TestForgedFrames(t *testing.T) {
	for _, mode := range forwardModes {
		t.Run(mode, func(t *testing.T) {
			w := newTown(t, mode)
			taps := map[string]*tap{}
			for _, p := range w.people {
				taps[p.name] = w.wiretap(w.inside(p.name), "eth0")
			}
			me, n := w.card("a1"), 0
			for _, to := range []string{"b1", "b3"} {
				you, other := w.card(to), w.card("a2")
				mac := you.mac
				if mode == state.ForwardRouting {
					mac = net.HardwareAddr{0, 0, 0x11, 0x11, 0x11, 0x11}
				}
				list := forgeries(me, you, other, mac)
				list = append(list, forgery{"the truth", func(f forger) []byte { return f.udp(me.mac, mac, me.v4, you.v4) }},
					forgery{"the truth, IPv6", func(f forger) []byte { return f.udp(me.mac, mac, me.v6, you.v6) }})
				marks := make([][]byte, len(list))
				for i, f := range list {
					n++
					marks[i] = fmt.Appendf(nil, "mk%04d--forged", n)
					for range 3 {
						w.must(taps["a1"].send(f.make(forger{marks[i]})))
					}
				}
				truth := marks[len(list)-2:]
				w.eventually(5*time.Second, "the truth arrives at "+to, func() bool {
					return len(taps[to].saw(truth[0])) == 3 && len(taps[to].saw(truth[1])) == 3
				})
				for i, f := range list[:len(list)-2] {
					for name, at := range taps {
						if seen := at.saw(marks[i][:6]); name != "a1" && len(seen) > 0 {
							t.Errorf("%s to %s arrived at %s: %x", f.name, to, name, seen[0])
						}
					}
				}
				for name, at := range taps {
					if seen := at.saw(truth[0]); name != to && name != "a1" && len(seen) > 0 {
						t.Errorf("what is for %s arrived at %s", to, name)
					}
				}
			}
			w.matches("after the forgeries")
		})
	}
}
