package ovs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// hasIPv6 tells whether the kernel does.
func (n *namespace) hasIPv6() bool {
	return n.do(func() error { _, err := os.Stat("/proc/sys/net/ipv6"); return err }) == nil
}

// forward has the kernel forward packets, and names what it turned on. It is never turned off again: others may have come
// to need it.
func (n *namespace) forward(six bool) (changed []string, err error) {
	err = n.do(func() error {
		on, err := turnOn("/proc/sys/net/ipv4/ip_forward")
		if on {
			changed = append(changed, "net.ipv4.ip_forward")
		}
		if err != nil || !six {
			return err
		}
		const all = "/proc/sys/net/ipv6/conf/all/forwarding"
		if now, err := readNumber(all); err != nil || now != 0 {
			return ignoreMissing(err)
		}
		if err := keepAutoconfiguration(); err != nil {
			return err
		}
		if on, err = turnOn(all); on {
			changed = append(changed, "net.ipv6.conf.all.forwarding")
		}
		return err
	})
	return changed, err
}

// keepAutoconfiguration has interfaces that heed router advertisements go on when the kernel forwards, which ends it
// otherwise: the host would lose its IPv6 default route.
func keepAutoconfiguration() error {
	const dir = "/proc/sys/net/ipv6/conf"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing interfaces with IPv6: %w", err)
	}
	for _, entry := range entries {
		file := dir + "/" + entry.Name() + "/accept_ra"
		if now, err := readNumber(file); err != nil || now != 1 {
			continue // an interface may go at any time
		}
		if err := os.WriteFile(file, []byte("2"), 0); ignoreMissing(err) != nil {
			return fmt.Errorf("setting %s to 2: %w", file, err)
		}
	}
	return nil
}

func turnOn(file string) (changed bool, err error) {
	if now, err := readNumber(file); err != nil || now != 0 {
		return false, err
	}
	if err := os.WriteFile(file, []byte("1"), 0); err != nil {
		return false, fmt.Errorf("setting %s to 1: %w", file, err)
	}
	return true, nil
}

func readNumber(file string) (int, error) {
	data, err := os.ReadFile(file) //nolint:gosec // of /proc/sys
	if err != nil {
		return 0, fmt.Errorf("reading a kernel setting: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", file, err)
	}
	return n, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
