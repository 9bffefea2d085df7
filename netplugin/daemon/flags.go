package daemon

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// Groups of flags, in the order in which --help lists them (by name).
const (
	groupHost    = "1. This host"
	groupCluster = "2. The cluster"
	groupSwitch  = "3. The switch"
	groupDocker  = "4. Docker (with --mode docker)"
	groupLog     = "5. Log"
	groupOld     = "6. Accepted for older command lines, without effect"
)

// Names of flags that the program looks at by name.
const (
	flagHost       = "host"
	flagCtrlIP     = "ctrl-ip"
	flagVTEP       = "vtep-ip"
	flagRunDir     = "run-dir"
	flagInspect    = "inspect-address"
	flagMaster     = "netmaster"
	flagMode       = "mode"
	flagCert       = "tls-cert"
	flagKey        = "tls-key"
	flagCA         = "tls-ca"
	flagVXLANPort  = "vxlan-port"
	flagUplinks    = "vlan-uplinks"
	flagDriver     = "driver"
	flagHostAccess = "host-access"
	flagDatapath   = "datapath-type"
	flagOVSRunDir  = "ovs-rundir"
	flagDockerHost = "docker-host"
	flagDockerDir  = "docker-plugin-dir"
	flagLogLevel   = "log-level"
	flagLogFormat  = "log-format"
	flagJSONLog    = "use-json-log"
	flagSyslog     = "use-syslog"
	flagSyslogURL  = "syslog-url"
	flagPprof      = "pprof"
	flagDNSServers = "dns-servers"
	flagDNSDomain  = "dns-domain"
	flagVersion    = "version"
)

const envPrefix = "CONTIV_NETPLUGIN_"

func text(group, name, env, value, usage string, aliases ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: aliases, EnvVars: []string{envPrefix + env}, Value: value, Category: group, Usage: usage}
}

func toggle(group, name, env, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, EnvVars: []string{envPrefix + env}, Category: group, Usage: usage}
}

func flags() []cli.Flag {
	all := []cli.Flag{
		text(groupHost, flagHost, "HOST", "", "`NAME` of this host in the cluster (default: with TLS the name in the certificate, else the kernel's host name)", "host-label"),
		text(groupHost, flagVTEP, "VTEP_IP", "", "`ADDRESS` other hosts send VXLAN packets to, or one of each family with a comma (default: the one this host reaches netmaster from)"),
		text(groupHost, flagCtrlIP, "CONTROL_IP", "", "`ADDRESS` to call netmaster from (default: the kernel chooses)"),
		text(groupHost, flagRunDir, "RUN_DIR", "/run/contiv", "`DIRECTORY` for the socket of the CNI plugin"),
		text(groupHost, flagInspect, "INSPECT_ADDRESS", "127.0.0.1:9090", "`HOST:PORT` to answer GET /inspect/driver, /metrics, /healthz and /readyz on; empty: nowhere"),
		toggle(groupHost, flagPprof, "PPROF", "serve profiles of the process at /debug/pprof/ of the inspect address"),

		text(groupCluster, flagMaster, "NETMASTER", "127.0.0.1:9001", "`HOST[:PORT][,...]` of one or more netmasters"),
		text(groupCluster, flagMode, "MODE", modeNone, "`ORCHESTRATOR`: none, docker (creates docker networks and serves docker's plugins) or kubernetes; CNI is served in all", "plugin-mode", "cluster-mode"),
		text(groupCluster, flagCert, "TLS_CERT", "", "`FILE` with this host's certificate; also turns TLS on towards netmaster and on the inspect address"),
		text(groupCluster, flagKey, "TLS_KEY", "", "`FILE` with the certificate's key"),
		text(groupCluster, flagCA, "TLS_CA", "", "`FILE` with the authority that signs netmaster's certificate and those of inspect clients"),

		text(groupHost, flagDNSServers, "DNS_SERVERS", dnsOfHost, "`LIST` of resolvers (ADDRESS[:PORT],...) for names that the cluster does not have; host: those of /etc/resolv.conf; none: no others"),
		text(groupHost, flagDNSDomain, "DNS_DOMAIN", "contiv", "`DOMAIN` that names of the cluster may have at their end, behind the tenant's"),

		text(groupSwitch, flagDatapath, "DATAPATH_TYPE", "system", "`TYPE` of Open vSwitch datapath: system (kernel) or netdev (userspace)"),
		text(groupSwitch, flagOVSRunDir, "OVS_RUNDIR", "/var/run/openvswitch", "`DIRECTORY` of Open vSwitch's sockets"),
		text(groupSwitch, flagVXLANPort, "VXLAN_PORT", "4789", "UDP `PORT` of VXLAN"),
		text(groupSwitch, flagUplinks, "VLAN_UPLINKS", "", "`INTERFACE[,...]` that lead to the VLAN fabric (only reported for now: VLAN networks come later)", "vlan-if"),
		text(groupSwitch, flagDriver, "DRIVER", "ovs", "`NAME` of the datapath driver: ovs"),
		&cli.BoolFlag{Name: flagHostAccess, EnvVars: []string{envPrefix + "HOST_ACCESS"}, Value: true, Category: groupSwitch,
			Usage: "in forward mode routing containers get out through this host, by contivh0; --host-access=false removes what makes it so"},

		text(groupDocker, flagDockerHost, "DOCKER_HOST", "unix:///var/run/docker.sock", "`URL` of the Docker Engine's API"),
		text(groupDocker, flagDockerDir, "DOCKER_PLUGIN_DIR", "/run/docker/plugins", "`DIRECTORY` the engine looks for plugin sockets in"),

		text(groupLog, flagLogLevel, "LOG_LEVEL", "INFO", "`LEVEL`: DEBUG, INFO, WARN or ERROR"),
		text(groupLog, flagLogFormat, "LOG_FORMAT", "text", "`FORMAT`: text, or json with an object on each line"),
		toggle(groupLog, flagJSONLog, "USE_JSON_LOG", "the same as --log-format json", "json-log"),
		toggle(groupLog, flagSyslog, "USE_SYSLOG", "log to syslog too", "syslog"),
		text(groupLog, flagSyslogURL, "SYSLOG_URL", "udp://127.0.0.1:514", "`URL` of the syslog daemon: udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH"),

		&cli.BoolFlag{Name: flagVersion, Usage: "print the version and end"},
	}
	for _, one := range outdated {
		all = append(all, text(groupOld, one.name, one.env, "", one.instead, one.aliases...))
	}
	return all
}

// outdated flags are accepted and answered with a warning that says what to do instead.
var outdated = []struct {
	name, env string
	aliases   []string
	instead   string
}{
	{"netmode", "NET_MODE", []string{"network-mode"}, "each network has its own encapsulation"},
	{"fwdmode", "FORWARD_MODE", []string{"forward-mode", "fwd-mode"}, "netmaster tells the forwarding mode"},
	{"etcd-endpoints", "ETCD_ENDPOINTS", []string{"etcd"}, "hosts do not use the store; give --netmaster"},
	{"consul-endpoints", "CONSUL_ENDPOINTS", []string{"consul"}, "hosts do not use the store; give --netmaster"},
	{"cluster-store", "CLUSTER_STORE", nil, "hosts do not use the store; give --netmaster"},
}

const helpTemplate = `netplugin is the agent of Contiv on every host: it attaches containers to networks and programs Open vSwitch.

Usage: netplugin [flags]

Everything has a default that works on one machine. Each flag can be given as an environment variable too.
{{range .VisibleFlagCategories}}{{if .Name}}
{{.Name}}
{{range .Flags}}  {{.}}
{{end}}{{end}}{{end}}
netplugin ends with status 22 when its command line is wrong, and at once on SIGTERM: what is attached stays
attached, and is forwarded without it.
`

func splitList(list string) []string {
	var parts []string
	for _, part := range strings.Split(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
