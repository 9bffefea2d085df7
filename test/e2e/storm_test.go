package e2e

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stormRate = 2000 // packets a second
	stormTime = 2 * time.Second
)

// storm has workload "noisy" ask for addresses that there are none of, or the name server for names, faster than anyone
// should.
func (c *cluster) storm(kind string) {
	c.t.Helper()
	fd := -1
	c.must(c.Inside("noisy", func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(htons(unix.ETH_P_ALL))); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index})
	}))
	defer unix.Close(fd) //nolint:errcheck // a test
	mac, own := c.linkOf("noisy")
	frame := arpFrame(mac, own)
	if kind == "dns" {
		frame = dnsFrame(mac, own)
	}
	const batch = 20
	tick := time.NewTicker(time.Second * batch / stormRate)
	defer tick.Stop()
	for sent := 0; sent < stormRate*int(stormTime/time.Second); {
		<-tick.C
		for range batch {
			sent++
			if err := unix.Send(fd, frame(sent), 0); err != nil && !errors.Is(err, unix.ENOBUFS) {
				c.t.Fatal(err)
			}
		}
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// linkOf answers MAC and IPv4 address of a workload.
func (c *cluster) linkOf(workload string) (net.HardwareAddr, net.IP) {
	c.t.Helper()
	all, err := c.List()
	c.must(err)
	for _, w := range all {
		if w.Name == workload {
			mac, err := net.ParseMAC(w.MAC)
			c.must(err)
			return mac, net.ParseIP(w.Addresses[0]).To4()
		}
	}
	c.t.Fatalf("no workload %s", workload)
	return nil, nil
}

// arpFrame makes requests for one address after another of 10.1.0.0/16.
func arpFrame(mac net.HardwareAddr, own net.IP) func(n int) []byte {
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac...)
	frame = append(frame, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(append(frame, mac...), own...)
	frame = append(frame, 0, 0, 0, 0, 0, 0, 10, 1, 0, 0)
	return func(n int) []byte {
		binary.BigEndian.PutUint16(frame[len(frame)-2:], uint16(n)) //nolint:gosec // wraps
		return frame
	}
}

// dnsFrame makes queries for A of "storm.", each from another port.
func dnsFrame(mac net.HardwareAddr, own net.IP) func(n int) []byte {
	query := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, 's', 't', 'o', 'r', 'm', 0, 0, 1, 0, 1}
	frame := append([]byte{2, 0, 0, 0, 0, 1}, mac...)
	frame = append(frame, 8, 0)
	size := 28 + len(query)
	ip := []byte{0x45, 0, 0, byte(size), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, own...), 169, 254, 254, 53)
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum)) //nolint:gosec // 16 bits
	frame = append(frame, ip...)
	port := len(frame)
	frame = append(frame, 0, 0, 0, 53, 0, byte(8+len(query)), 0, 0)
	frame = append(frame, query...)
	return func(n int) []byte {
		binary.BigEndian.PutUint16(frame[port:], uint16(20000+n%20000)) //nolint:gosec // a port
		return frame
	}
}
