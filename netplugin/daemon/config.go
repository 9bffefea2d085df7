package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/install/environment"
	"github.com/contiv/contiv/mgmtfn/cni"
	"github.com/contiv/contiv/netplugin/nameserver"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Modes.
const (
	modeNone       = "none"
	modeDocker     = "docker"
	modeKubernetes = "kubernetes"
	modeSwarm      = "swarm-mode" // of the original; docker does all that it did
)

// config is a command line that makes sense.
type config struct {
	host            string
	masters         []string
	controlIP       netip.Addr
	vtep, vtep6     netip.Addr
	vxlanPort       int
	uplinks         []string
	mtu             func() int // of the underlay, now
	mode            string
	datapathType    string
	ovsRunDir       string
	hostAccess      bool
	cniSocket       string
	dockerHost      string
	dockerPluginDir string
	inspectAddress  string
	pprof           bool
	dnsServers      nameserver.Servers
	dnsDomain       string
	tls             *tls.Config
	level           logrus.Level
	jsonLog         bool
	syslogURL       string // empty without
	warnings        []string
}

// configError is a command line that does not make sense.
type configError struct{ cause error }

func (e *configError) Error() string { return e.cause.Error() }
func (e *configError) Unwrap() error { return e.cause }

// newConfig reads the flags. What it finds out by itself (addresses, MTU) it asks the kernel for.
func newConfig(c *cli.Context) (*config, error) {
	conf := &config{
		masters:         splitList(c.String(flagMaster)),
		uplinks:         splitList(c.String(flagUplinks)),
		datapathType:    c.String(flagDatapath),
		ovsRunDir:       c.String(flagOVSRunDir),
		hostAccess:      c.Bool(flagHostAccess),
		cniSocket:       filepath.Join(c.String(flagRunDir), cni.SocketName),
		dockerHost:      c.String(flagDockerHost),
		dockerPluginDir: c.String(flagDockerDir),
		inspectAddress:  c.String(flagInspect),
		pprof:           c.Bool(flagPprof),
		jsonLog:         c.Bool(flagJSONLog),
	}
	for _, read := range []func(*cli.Context) error{
		conf.noArguments, conf.readLog, conf.readMode, conf.readMasters, conf.readSwitch, conf.readNames, conf.readTLS, conf.readHost, conf.readAddresses,
	} {
		if err := read(c); err != nil {
			return nil, &configError{err}
		}
	}
	conf.warnOutdated(c)
	return conf, nil
}

func (conf *config) noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("argument %q is not expected: netplugin takes flags only (--help)", c.Args().First())
	}
	return nil
}

func (conf *config) warn(format string, args ...any) {
	conf.warnings = append(conf.warnings, fmt.Sprintf(format, args...))
}

func (conf *config) warnOutdated(c *cli.Context) {
	conf.warnings = append(conf.warnings, environment.Unknown(envPrefix, flags(), os.Environ())...)
	for _, one := range outdated {
		if c.IsSet(one.name) {
			conf.warn("--%s has no effect: %s", one.name, one.instead)
		}
	}
}

func (conf *config) readLog(c *cli.Context) (err error) {
	level := strings.ToLower(c.String(flagLogLevel))
	if conf.level, err = logrus.ParseLevel(level); err != nil {
		return fmt.Errorf("--%s %q: give DEBUG, INFO, WARN or ERROR", flagLogLevel, c.String(flagLogLevel))
	}
	switch format := c.String(flagLogFormat); format {
	case "json":
		conf.jsonLog = true
	case "text", "":
	default:
		return fmt.Errorf("--%s %q: give text or json", flagLogFormat, format)
	}
	if c.Bool(flagSyslog) {
		conf.syslogURL = c.String(flagSyslogURL)
		if _, _, err := splitSyslogURL(conf.syslogURL); err != nil {
			return err
		}
	}
	return nil
}

func (conf *config) readMode(c *cli.Context) error {
	conf.mode = c.String(flagMode)
	switch conf.mode {
	case modeNone, modeDocker, modeKubernetes:
	case modeSwarm:
		conf.warn("--mode %s is the same as --mode %s now", modeSwarm, modeDocker)
		conf.mode = modeDocker
	default:
		return fmt.Errorf("--%s %q: give none, docker or kubernetes", flagMode, conf.mode)
	}
	return nil
}

func (conf *config) readMasters(*cli.Context) error {
	if len(conf.masters) == 0 {
		return fmt.Errorf("--%s: name at least one netmaster, as HOST or HOST:PORT", flagMaster)
	}
	for i, master := range conf.masters {
		full, err := withPort(master, protocol.Port)
		if err != nil {
			return fmt.Errorf("--%s %q: %w", flagMaster, master, err)
		}
		conf.masters[i] = full
	}
	return nil
}

// withPort completes HOST, HOST:PORT, an IPv6 address, or one in brackets with or without a port.
func withPort(master string, port int) (string, error) {
	if addr, err := netip.ParseAddr(strings.Trim(master, "[]")); err == nil {
		return net.JoinHostPort(addr.String(), strconv.Itoa(port)), nil
	}
	host, given, err := net.SplitHostPort(master)
	if err != nil {
		host, given = master, strconv.Itoa(port)
	}
	if number, err := strconv.Atoi(given); err != nil || number < 1 || number > 65535 {
		return "", fmt.Errorf("port %q is not between 1 and 65535", given)
	}
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, ":/ ")) {
		return "", errors.New("give HOST or HOST:PORT")
	}
	return net.JoinHostPort(host, given), nil
}

func (conf *config) readSwitch(c *cli.Context) (err error) {
	if driver := c.String(flagDriver); driver != "ovs" {
		return fmt.Errorf("--%s %q: the only driver is ovs", flagDriver, driver)
	}
	if conf.datapathType != "system" && conf.datapathType != "netdev" {
		return fmt.Errorf("--%s %q: give system or netdev", flagDatapath, conf.datapathType)
	}
	conf.vxlanPort, err = strconv.Atoi(c.String(flagVXLANPort))
	if err != nil || conf.vxlanPort < 1 || conf.vxlanPort > 65535 {
		return fmt.Errorf("--%s %q: give a number between 1 and 65535", flagVXLANPort, c.String(flagVXLANPort))
	}
	if conf.inspectAddress != "" {
		if _, _, err := net.SplitHostPort(conf.inspectAddress); err != nil {
			return fmt.Errorf("--%s %q: give HOST:PORT", flagInspect, conf.inspectAddress)
		}
	}
	return nil
}

// hostName is what may stand in keys and in certificates.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

func (conf *config) readHost(c *cli.Context) (err error) {
	conf.host = c.String(flagHost)
	if conf.tls != nil {
		names, err := certificateNames(conf.tls)
		if err != nil {
			return err
		}
		if conf.host == "" {
			conf.host = names[0]
		}
		if !slices.Contains(names, conf.host) {
			return fmt.Errorf("--%s %q is not a name of the certificate (%s): netmaster would refuse it",
				flagHost, conf.host, strings.Join(names, ", "))
		}
	}
	if conf.host == "" {
		if conf.host, err = os.Hostname(); err != nil {
			return fmt.Errorf("reading the host's name: %w; give --%s", err, flagHost)
		}
	}
	if !hostName.MatchString(conf.host) {
		return fmt.Errorf("--%s %q: a host's name has letters, digits, dots, dashes and underscores", flagHost, conf.host)
	}
	return nil
}

func (conf *config) readAddresses(c *cli.Context) (err error) {
	if given := c.String(flagCtrlIP); given != "" {
		if conf.controlIP, err = netip.ParseAddr(given); err != nil {
			return fmt.Errorf("--%s %q is no IP address", flagCtrlIP, given)
		}
	}
	given := splitList(c.String(flagVTEP))
	for _, text := range given {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
			return fmt.Errorf("--%s %q is no IP address that packets can be sent to", flagVTEP, text)
		}
		if err := conf.setVTEP(addr.Unmap()); err != nil {
			return err
		}
	}
	if len(given) == 0 {
		addr, err := ownAddress(conf.masters[0])
		if err != nil {
			return err
		}
		if addr.IsLoopback() {
			conf.warn("this host has no address but %s: no other host can reach its containers; give --%s", addr, flagVTEP)
		}
		if err := conf.setVTEP(addr); err != nil {
			return err
		}
	}
	main := conf.vtep
	if !main.IsValid() {
		main = conf.vtep6
	}
	mtu, found := mtuOf(main)
	if !found {
		conf.warn("no interface of this host has the address --%s %s yet: assuming an MTU of %d", flagVTEP, main, mtu)
	}
	conf.mtu = func() int { mtu, _ := mtuOf(main); return mtu }
	return nil
}

func (conf *config) setVTEP(addr netip.Addr) error {
	slot := &conf.vtep
	if addr.Is6() {
		slot = &conf.vtep6
	}
	if slot.IsValid() {
		return fmt.Errorf("--%s: give one address of each family at most", flagVTEP)
	}
	*slot = addr
	return nil
}
