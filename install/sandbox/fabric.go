package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
)

// Bridges of the fabric namespace. A partition has one of each per side; side 0 is where everybody is otherwise.
func managementBridge(side int) string { return fmt.Sprintf("mgmt%d", side) }
func underlayBridge(side int) string   { return fmt.Sprintf("under%d", side) }

// Ports of the bridges.
func managementPort(host int) string { return fmt.Sprintf("mgmt-h%d", host) }
func underlayPort(host int) string   { return fmt.Sprintf("under-h%d", host) }

const (
	hostManagementLink = "mgmt0"
	hostUnderlayLink   = "eth0"
	physicalBridge     = "br-phy"
)

// buildFabric makes the namespace of the bridges and the root namespace's way into the management network.
func (s *Sandbox) buildFabric() error {
	if err := addNetNS(s.fabricNetNS()); err != nil {
		return err
	}
	err := inNetNS(s.fabricNetNS(), func() error {
		return errors.Join(addBridge(managementBridge(0)), addBridge(underlayBridge(0)))
	})
	if err != nil {
		return err
	}
	root, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("opening the root network namespace: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	err = inNetNS(s.fabricNetNS(), func() error {
		return addVeth("root", managementBridge(0), s.rootLink(), fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	})
	if err != nil {
		return err
	}
	return addAddr(s.rootLink(), s.rootAddr())
}

// plugHost makes a host's namespace with its management and underlay links.
func (s *Sandbox) plugHost(host int) error {
	netns := s.hostNetNS(host)
	if err := addNetNS(netns); err != nil {
		return err
	}
	err := inNetNS(s.fabricNetNS(), func() error {
		return errors.Join(
			addVeth(managementPort(host), managementBridge(0), hostManagementLink, netnsPath(netns)),
			addVeth(underlayPort(host), underlayBridge(0), hostUnderlayLink, netnsPath(netns)))
	})
	if err != nil {
		return err
	}
	return inNetNS(netns, func() error {
		return errors.Join(addAddr(hostManagementLink, s.managementAddr(host)), setUp(hostUnderlayLink))
	})
}

// Link sets a host's underlay link up or down, as if its cable was pulled.
func (s *Sandbox) Link(host int, up bool) error {
	if err := s.checkHost(host); err != nil {
		return err
	}
	return inNetNS(s.fabricNetNS(), func() error {
		if up {
			return setUp(underlayPort(host))
		}
		return setDown(underlayPort(host))
	})
}

// Partition cuts management and underlay between the given sides; a host that is in none of them stays with the
// first, and so does the root namespace. Heal joins them again.
func (s *Sandbox) Partition(sides ...[]int) error {
	sideOf := make(map[int]int)
	for side, hosts := range sides {
		for _, host := range hosts {
			if err := s.checkHost(host); err != nil {
				return err
			}
			if other, twice := sideOf[host]; twice && other != side {
				return fmt.Errorf("host %d is named on two sides of the partition", host)
			}
			sideOf[host] = side
		}
	}
	return inNetNS(s.fabricNetNS(), func() error {
		for host := 1; host <= s.config().Hosts; host++ {
			side := sideOf[host]
			err := errors.Join(addBridge(managementBridge(side)), addBridge(underlayBridge(side)),
				moveToBridge(managementPort(host), managementBridge(side)),
				moveToBridge(underlayPort(host), underlayBridge(side)))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Heal ends every partition.
func (s *Sandbox) Heal() error {
	if err := s.Partition(); err != nil {
		return err
	}
	return inNetNS(s.fabricNetNS(), func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return fmt.Errorf("listing the bridges of the fabric: %w", err)
		}
		keep := []string{managementBridge(0), underlayBridge(0)}
		for _, link := range links {
			if link.Type() == "bridge" && !slices.Contains(keep, link.Attrs().Name) {
				if err := netlink.LinkDel(link); err != nil {
					return fmt.Errorf("removing bridge %s: %w", link.Attrs().Name, err)
				}
			}
		}
		return nil
	})
}
