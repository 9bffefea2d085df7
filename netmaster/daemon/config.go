package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/state"
)

// Config is everything that can be set. Validate fills in what depends on other members.
type Config struct {
	// Mode is the orchestrator, shown as clusterMode; empty for none.
	Mode string
	// ForwardMode and Infra seed the global object when there is none; they never change it.
	ForwardMode, Infra string
	// ACIGateway is the URL of the helper that talks to the ACI fabric; it is called in fabric mode aci only.
	ACIGateway string

	// External is where REST is served, Internal where other netmasters reach it, RPC where agents do: host:port.
	External, Internal, RPC string

	// Etcd or Consul are the URLs of an external store; neither: an embedded one in DataDir.
	Etcd, Consul []string
	DataDir      string
	RunDir       string // holds the process id

	TLS      Certificates // of REST and of the agents' listener
	StoreTLS Certificates // towards a store with https URLs; default TLS

	HostDeadAfter time.Duration // 0: never
	AddressRest   time.Duration // 0: not at all

	Log LogConfig
	// Restore is a snapshot to make the embedded store of, after which the process ends; empty: none.
	Restore string
	// Pprof serves profiles of the process below /debug/pprof/.
	Pprof bool
}

// Certificates are files in PEM form.
type Certificates struct{ Cert, Key, CA string }

// LogConfig says what is logged where. Syslog is a URL such as udp://127.0.0.1:514, empty for none; the standard
// error is always logged to.
type LogConfig struct {
	Level  string
	JSON   bool
	Syslog string
}

// ConfigError is a setting that cannot be used. Its text says which and what to do.
type ConfigError struct{ message string }

// Error implements error.
func (e *ConfigError) Error() string { return e.message }

func badConfig(format string, args ...any) error {
	return &ConfigError{message: fmt.Sprintf(format, args...)}
}

// Validate checks the settings, completes addresses and URLs, and returns a *ConfigError for the first that cannot be
// used.
func (c *Config) Validate() error {
	return errors.Join(c.firstProblem())
}

func (c *Config) firstProblem() error {
	checks := []func() error{c.checkModes, c.checkAddresses, c.checkStore, c.checkTLS, c.checkTimes, c.checkLog}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkModes() error {
	c.Mode, c.ForwardMode, c.Infra = strings.ToLower(c.Mode), strings.ToLower(c.ForwardMode), strings.ToLower(c.Infra)
	for _, f := range []struct {
		flag, value string
		allowed     []string
	}{
		{"--mode", c.Mode, []string{"", "docker", "kubernetes", "swarm-mode", "test"}},
		{"--fwdmode", c.ForwardMode, []string{state.ForwardBridge, state.ForwardRouting}},
		{"--infra", c.Infra, []string{"default", "aci"}},
	} {
		if !slices.Contains(f.allowed, f.value) {
			return badConfig("%s is %q; it must be one of %s", f.flag, f.value, strings.Join(named(f.allowed), ", "))
		}
	}
	if u, err := url.Parse(c.ACIGateway); c.ACIGateway != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return badConfig("--aci-gateway is %q; it must be of the form http://HOST:PORT", c.ACIGateway)
	}
	return nil
}

func named(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
}

func (c *Config) checkAddresses() error {
	host, port, err := splitAddress("--external-address", c.External)
	if err != nil {
		return err
	}
	if c.Internal == "" {
		if isAny(host) {
			host = ownAddress()
		}
		c.Internal = net.JoinHostPort(host, port)
	}
	own, _, err := splitAddress("--internal-address", c.Internal)
	if err != nil {
		return err
	}
	if isAny(own) {
		return badConfig("--internal-address is %q; other netmasters dial it, so name an address of this machine, such as %s",
			c.Internal, ownAddress())
	}
	_, _, err = splitAddress("--rpc-address", c.RPC)
	return err
}

// splitAddress takes host:port apart; the host may be empty.
func splitAddress(flag, address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	number, portErr := strconv.Atoi(port)
	if err != nil || portErr != nil || number < 0 || number > 65535 {
		return "", "", badConfig("%s is %q; it must be ADDRESS:PORT with a port from 1 to 65535, such as 0.0.0.0:9999 or [::]:9999",
			flag, address)
	}
	return host, port, nil
}

// isAny tells whether a listener on this host takes connections for every address of the machine.
func isAny(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (c *Config) checkStore() error {
	if len(c.Etcd) > 0 && len(c.Consul) > 0 {
		return badConfig("--etcd and --consul are both set; name one store")
	}
	if err := checkEndpoints("etcd", "2379", c.Etcd); err != nil {
		return err
	}
	if err := checkEndpoints("consul", "8500", c.Consul); err != nil {
		return err
	}
	if c.Restore != "" && c.external() {
		return badConfig("--restore is for the embedded store; restore etcd with \"etcdctl snapshot restore\", Consul with \"consul snapshot restore\"")
	}
	if !c.external() && c.DataDir == "" {
		return badConfig("--data-dir is empty; name a directory for the embedded store, or an external store with --etcd or --consul")
	}
	var err error
	if c.DataDir != "" {
		c.DataDir, err = filepath.Abs(c.DataDir)
	}
	return err
}

func (c *Config) checkTLS() error {
	if c.TLS != (Certificates{}) && (c.TLS.Cert == "" || c.TLS.Key == "" || c.TLS.CA == "") {
		return badConfig("--tls-cert, --tls-key and --tls-ca belong together: give all three or none")
	}
	if (c.StoreTLS.Cert == "") != (c.StoreTLS.Key == "") {
		return badConfig("--store-cert and --store-key belong together: give both or none")
	}
	if c.StoreTLS == (Certificates{}) {
		c.StoreTLS = c.TLS
	}
	return nil
}

func (c *Config) checkTimes() error {
	if c.HostDeadAfter < 0 || c.AddressRest < 0 {
		return badConfig("--host-dead-after and --address-rest must not be negative; 0 turns them off")
	}
	if c.HostDeadAfter > 0 && c.HostDeadAfter < time.Minute {
		return badConfig("--host-dead-after is %v; it must be at least 1m, or 0 for never: a host that restarts would lose its endpoints",
			c.HostDeadAfter)
	}
	return nil
}

func (c *Config) checkLog() error {
	if _, err := logrus.ParseLevel(c.Log.Level); err != nil {
		return badConfig("--log-level is %q; it must be one of panic, fatal, error, warn, info, debug", c.Log.Level)
	}
	if c.Log.Syslog == "" {
		return nil
	}
	_, _, err := splitSyslogURL(c.Log.Syslog)
	return err
}

// ownAddress is the IPv4 address by which others most likely reach this machine: that of the host name if it is local
// and not loopback, else the first that is not loopback, else loopback.
func ownAddress() string {
	local := make(map[string]bool)
	first := "127.0.0.1"
	addrs, _ := net.InterfaceAddrs() // none: loopback it is
	for _, addr := range addrs {
		prefix, ok := addr.(*net.IPNet)
		if !ok || prefix.IP.To4() == nil || prefix.IP.IsLoopback() || prefix.IP.IsLinkLocalUnicast() {
			continue
		}
		if len(local) == 0 {
			first = prefix.IP.String()
		}
		local[prefix.IP.String()] = true
	}
	for _, named := range hostAddresses() {
		if local[named] {
			return named
		}
	}
	return first
}

// external tells whether the store is somebody else's process, which other netmasters may share.
func (c *Config) external() bool { return len(c.Etcd)+len(c.Consul) > 0 }

// checkEndpoints brings the URLs of a store into their usual form. An old one has the store's name in place of http.
func checkEndpoints(store, port string, endpoints []string) error {
	for i, endpoint := range endpoints {
		if rest, ok := strings.CutPrefix(endpoint, store+"://"); ok {
			endpoint = "http://" + rest
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" {
			return badConfig("--%s has %q; each store must be a URL such as http://10.0.0.1:%s, several separated by commas",
				store, endpoint, port)
		}
		endpoints[i] = strings.TrimRight(endpoint, "/")
	}
	return nil
}
