package daemon

import (
	"errors"
	"net"
	"net/netip"
)

// ownAddress is the address that this host reaches a netmaster from, or, when that is itself, the one it reaches
// anything from. Nothing is sent: the kernel is asked for a route.
func ownAddress(master string) (netip.Addr, error) {
	var loopback netip.Addr
	// The last two are documentation addresses: any route to them is the default route.
	for _, target := range []string{master, "192.0.2.1:9", "[2001:db8::1]:9"} {
		addr, err := sourceTo(target)
		if err != nil {
			continue
		}
		if !addr.IsLoopback() {
			return addr, nil
		}
		loopback = addr
	}
	if loopback.IsValid() {
		return loopback, nil
	}
	return netip.Addr{}, errors.New("this host has no route to netmaster and no default route: give --vtep-ip")
}

func sourceTo(target string) (netip.Addr, error) {
	conn, err := net.Dial("udp", target)
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}

// ethernetMTU is assumed where nothing is known.
const ethernetMTU = 1500

// maxMTU is the largest that is told to netmaster; the loopback's 65536 says nothing about a fabric.
const maxMTU = 9216

// mtuOf is the MTU of the interface that has an address.
func mtuOf(addr netip.Addr) (mtu int, found bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ethernetMTU, false
	}
	for _, one := range interfaces {
		addrs, err := one.Addrs()
		if err != nil {
			continue
		}
		for _, has := range addrs {
			if prefix, err := netip.ParsePrefix(has.String()); err == nil && prefix.Addr().Unmap() == addr {
				return min(one.MTU, maxMTU), true
			}
		}
	}
	return ethernetMTU, false
}
