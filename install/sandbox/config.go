// Package sandbox runs a whole Contiv cluster on one machine without a VM, Docker or Kubernetes: each "host" is a
// network namespace with its own Open vSwitch, netplugin and underlay link, netmaster N lives on host N, and
// workloads are namespaces attached through the real CNI binary. It is the tutorial, the demo and the fixture of the
// end-to-end tests; the command contiv-sandbox is a thin layer over it.
//
//	root namespace --- management bridge --- host 1..n (mgmt0)     REST, agents, store
//	                   underlay bridge   --- host 1..n (br-phy)    VXLAN
//
// Both bridges live in a namespace of their own. Everything a sandbox made is named after it and found again by name
// or by namespace, so that Down leaves nothing behind, also after a crash. Needs root, iproute-free (netlink), and
// the openvswitch-switch package.
package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// ErrNotRunning: there is no such sandbox.
var ErrNotRunning = errors.New("no sandbox is running")

// NotYetError reports a choice that later versions will offer.
type NotYetError struct{ What string }

func (e *NotYetError) Error() string { return e.What + ": not available yet" }

// Stores and forwarding modes of a Config.
const (
	StoreEmbedded = "embedded"
	StoreEtcd     = "etcd"
	StoreConsul   = "consul"
)

// Config says what Up builds. The zero value of a field means its default.
type Config struct {
	Name        string `json:"name"`        // default "contiv"; sandboxes of different names live side by side
	Hosts       int    `json:"hosts"`       // default 3, at most 50
	Netmasters  int    `json:"netmasters"`  // default 1
	FwdMode     string `json:"fwdMode"`     // default bridge
	Store       string `json:"store"`       // default embedded
	Fabric      string `json:"fabric"`      // default vxlan
	Docker      bool   `json:"docker"`      // one Docker Engine per host
	LiveRestore bool   `json:"liveRestore"` // start the engines with live-restore
	// BinDir holds netmaster, netplugin and contivk8s; default: the directory of this program.
	BinDir string `json:"binDir"`
	// NetmasterArgs and NetpluginArgs are added to the daemons' command lines.
	NetmasterArgs []string `json:"netmasterArgs,omitempty"`
	NetpluginArgs []string `json:"netpluginArgs,omitempty"`
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		c.Name = DefaultName()
	}
	if c.Hosts == 0 {
		c.Hosts = 3
	}
	if c.Netmasters == 0 {
		c.Netmasters = 1
	}
	setDefault(&c.FwdMode, "bridge")
	setDefault(&c.Store, StoreEmbedded)
	setDefault(&c.Fabric, "vxlan")
	if c.BinDir == "" {
		self, err := os.Executable()
		if err != nil {
			return c, fmt.Errorf("finding the directory of this program: %w", err)
		}
		c.BinDir = filepath.Dir(self)
	}
	return c, c.check()
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func (c Config) check() error {
	switch {
	case !validName.MatchString(c.Name):
		return fmt.Errorf("sandbox name %q: use up to 20 lower-case letters, digits and dashes", c.Name)
	case c.Hosts < 1 || c.Hosts > 50:
		return fmt.Errorf("%d hosts: from 1 to 50 are possible", c.Hosts)
	case c.Netmasters < 1 || c.Netmasters > c.Hosts:
		return fmt.Errorf("%d netmasters: from 1 to the number of hosts (%d) are possible", c.Netmasters, c.Hosts)
	case c.FwdMode != "bridge" && c.FwdMode != "routing":
		return fmt.Errorf("forward mode %q: use bridge or routing", c.FwdMode)
	case c.Store != StoreEmbedded && c.Store != StoreEtcd && c.Store != StoreConsul:
		return fmt.Errorf("store %q: use embedded, etcd or consul", c.Store)
	case c.Fabric != "vxlan" && c.Fabric != "vlan" && c.Fabric != "bgp":
		return fmt.Errorf("fabric %q: use vxlan, vlan or bgp", c.Fabric)
	case c.Netmasters > 1 && c.Store == StoreEmbedded:
		return errors.New("several netmasters need a store that they share: add --store etcd or consul")
	case c.LiveRestore && !c.Docker:
		return errors.New("live-restore is a choice for Docker Engines: add --docker")
	}
	return errors.Join(c.notYet(), c.missingBinary())
}

// notYet refuses what later versions will offer.
func (c Config) notYet() error {
	if c.Fabric != "vxlan" {
		return &NotYetError{"fabric " + c.Fabric}
	}
	return nil
}

func (c Config) missingBinary() error {
	for _, binary := range []string{"netmaster", "netplugin", "contivk8s"} {
		if _, err := os.Stat(filepath.Join(c.BinDir, binary)); err != nil {
			return fmt.Errorf("the sandbox needs %s: build it with \"make build\": %w", binary, err)
		}
	}
	return nil
}

// DefaultName is $CONTIV_SANDBOX, else "contiv".
func DefaultName() string {
	if name := os.Getenv("CONTIV_SANDBOX"); name != "" {
		return name
	}
	return "contiv"
}

// baseDir holds one directory per sandbox.
func baseDir() string {
	if dir := os.Getenv("CONTIV_SANDBOX_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/contiv-sandbox"
}

// layout gives every name, path and address of a sandbox; all are functions of its name and index.
type layout struct {
	name  string
	index int // 0..254, distinguishes management subnets in the root namespace
}

func (l layout) dir() string               { return filepath.Join(baseDir(), l.name) }
func (l layout) recordFile() string        { return filepath.Join(l.dir(), "sandbox.json") }
func (l layout) logFile(who string) string { return filepath.Join(l.dir(), "log", who+".log") }
func (l layout) fabricNetNS() string       { return l.name + "-fabric" }
func (l layout) hostNetNS(host int) string { return fmt.Sprintf("%s-h%d", l.name, host) }
func (l layout) workloadNetNS(name string) string {
	return l.name + "-w-" + name
}
func (l layout) hostDir(host int, sub ...string) string {
	return filepath.Join(append([]string{l.dir(), fmt.Sprintf("h%d", host)}, sub...)...)
}

// rootLink is the management link's end in the root namespace.
func (l layout) rootLink() string { return fmt.Sprintf("ctvsbx%d", l.index) }

func (l layout) management(last int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(l.index), byte(last)}), 24)
}
func (l layout) rootAddr() netip.Prefix               { return l.management(1) }
func (l layout) managementAddr(host int) netip.Prefix { return l.management(100 + host) }

// vtepAddr is the same in every sandbox: it is never seen outside its namespaces.
func (l layout) vtepAddr(host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, 0, byte(host)}), 16)
}

func (l layout) netmasterURL(n int) string {
	return fmt.Sprintf("http://%s:9999", l.managementAddr(n).Addr())
}

func (l layout) hostName(host int) string { return fmt.Sprintf("host%d", host) }
