// Package ovs implements drivers.Datapath on Open vSwitch.
//
// Three parts work together: switchdb (OVSDB: the bridge, its ports and everything remembered), the veth pairs
// (link.go, netns.go) and writer (OpenFlow: keeps the flow tables as the pipeline wants them). The driver itself holds
// the desired state and the ports of this host, and has the pipeline compile both to flows.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
)

// Defaults of Config.
const (
	DefaultRunDir    = "/var/run/openvswitch"
	DefaultBridge    = "contivVxlanBridge"
	DefaultVXLANPort = 4789
)

// Datapath types of Config.
const (
	DatapathSystem = "system"
	DatapathNetdev = "netdev"
)

// TunnelPort is the name of the one port that leads to all other hosts, and tunnelNumber the OpenFlow number it asks for.
const (
	TunnelPort   = "vxif0"
	tunnelNumber = 1
)

// Config of a driver. Zero values mean the defaults.
type Config struct {
	Host         string // name of this host in the cluster, as in endpoint ids; must not be empty
	RunDir       string // where Open vSwitch keeps its sockets
	Bridge       string
	DatapathType string // DatapathSystem or DatapathNetdev
	VXLANPort    int
	// ControlSocket of ovs-vswitchd; empty: found in RunDir by the pid file.
	ControlSocket string
	// NetNS is the path of the network namespace that the switch lives in; empty for that of this process.
	NetNS string
	// NoHostAccess: containers do not get out through this host, also in forward mode routing; what an earlier run made for
	// it is removed.
	NoHostAccess bool
	Log          *logrus.Entry // nil: nothing is logged
}

func (c Config) withDefaults() Config {
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if c.DatapathType == "" {
		c.DatapathType = DatapathSystem
	}
	if c.VXLANPort == 0 {
		c.VXLANPort = DefaultVXLANPort
	}
	if c.Log == nil {
		silent := logrus.New()
		silent.SetLevel(logrus.PanicLevel)
		c.Log = logrus.NewEntry(silent)
	}
	return c
}

func (c Config) check() error {
	if c.Host == "" {
		return errors.New("no host name was given")
	}
	if c.DatapathType != DatapathSystem && c.DatapathType != DatapathNetdev {
		return fmt.Errorf("datapath type %q: want %s or %s", c.DatapathType, DatapathSystem, DatapathNetdev)
	}
	if c.Bridge == "" || len(c.Bridge) > 64 || strings.ContainsAny(c.Bridge, "/ \t\n") {
		return fmt.Errorf("bridge name %q: want a word without slash", c.Bridge)
	}
	if c.VXLANPort < 1 || c.VXLANPort > 65535 {
		return fmt.Errorf("VXLAN port %d: want 1..65535", c.VXLANPort)
	}
	return nil
}

// errNoKernelDatapath is what New says on a machine whose kernel lacks the datapath.
var errNoKernelDatapath = errors.New("the kernel has no Open vSwitch datapath and module openvswitch cannot be loaded; " +
	"use --datapath-type netdev for the userspace datapath")

// checkKernelDatapath looks for the datapath's generic netlink family, after trying to load the module.
func checkKernelDatapath(ctx context.Context) error {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err == nil {
		return nil
	}
	_ = exec.CommandContext(ctx, "modprobe", "openvswitch").Run() // once per start; the outcome is looked at below
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return errNoKernelDatapath
	}
	return nil
}
