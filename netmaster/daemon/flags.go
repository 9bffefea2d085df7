package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/install/environment"
	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/aci"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/state"
)

// Exit statuses.
const (
	exitFatal     = 1
	exitBadConfig = 22
)

const envPrefix = "CONTIV_NETMASTER_"

// Main runs netmaster with the arguments until the context ends, and returns the exit status: 0 after a clean stop,
// 22 if the configuration cannot be used, 1 for any other failure.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).RunContext(ctx, args)
	var bad *ConfigError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "netmaster: %v\nnetmaster --help explains every setting.\n", err)
		return exitBadConfig
	}
	fmt.Fprintf(stderr, "netmaster: %v\n", err)
	return exitFatal
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:                  "netmaster",
		Usage:                 "the controller of a Contiv cluster: REST API, allocation, distribution to the hosts",
		CustomAppHelpTemplate: helpTemplate,
		HideVersion:           true,
		HideHelpCommand:       true,
		HideHelp:              true, // --help is an option of ours, so that it has a category
		Writer:                stdout,
		ErrWriter:             stderr,
		Flags:                 flags(),
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return badConfig("%v", err)
		},
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         func(c *cli.Context) error { return act(c, stdout, stderr) },
	}
}

// helpTemplate gives every option two lines: its names and environment name, and what it does.
const helpTemplate = `{{.Name}} - {{.Usage}}

usage: {{.Name}} [options]

Every option has a default that works on one machine. Each can also be set by the environment name behind it;
the command line wins.
{{range .VisibleFlagCategories}}
{{.Name}}
{{range .Flags}}{{$f := .}}  {{range $i, $n := .Names}}{{if $i}}, {{end}}{{if eq (len $n) 1}}-{{else}}--{{end}}{{$n}}{{end}}{{range .GetEnvVars}}  (${{.}}){{end}}
        {{.GetUsage}}{{if .GetDefaultText}}{{if and (ne .GetDefaultText "false") (ne .GetDefaultText "\"\"")}} [default: {{.GetDefaultText}}]{{end}}{{end}}
{{end}}{{end}}`

func act(c *cli.Context, stdout, stderr io.Writer) error {
	if c.Bool("help") {
		return cli.ShowAppHelp(c)
	}
	if c.Bool("version") {
		fmt.Fprintln(stdout, version.Get())
		return nil
	}
	cfg, warnings, err := configOf(c)
	if err != nil {
		return err
	}
	log, err := newLog(cfg.Log, stderr)
	if err != nil {
		return err
	}
	for _, warning := range append(warnings, environment.Unknown(envPrefix, flags(), os.Environ())...) {
		log.Warn(warning)
	}
	if cfg.Restore == "" {
		return Run(c.Context, cfg, log)
	}
	if err := embedded.Restore(c.Context, cfg.Restore, embedded.Config{Dir: cfg.DataDir, Log: log}); err != nil {
		return err //nolint:wrapcheck // says what was being done
	}
	fmt.Fprintf(stdout, "restored %s into %s; start netmaster to go on with it\n", cfg.Restore, cfg.DataDir)
	return nil
}

// Categories of --help.
const (
	catStore   = "1. Store:"
	catAddress = "2. Addresses:"
	catTLS     = "3. TLS:"
	catCluster = "4. Cluster (what a new one begins with):"
	catTimes   = "5. Times:"
	catLog     = "6. Logging:"
	catOld     = "7. Accepted for old scripts, without effect:"
	catOther   = "8. Other:"
)

func text(category, names, env, value, usage string) cli.Flag {
	name, aliases := split(names)
	return &cli.StringFlag{Name: name, Aliases: aliases, EnvVars: envNames(env), Value: value, Usage: usage, Category: category}
}

func toggle(category, names, env, usage string) cli.Flag {
	name, aliases := split(names)
	return &cli.BoolFlag{Name: name, Aliases: aliases, EnvVars: envNames(env), Usage: usage, Category: category}
}

func span(category, name, env string, value time.Duration, usage string) cli.Flag {
	return &cli.DurationFlag{Name: name, EnvVars: envNames(env), Value: value, Usage: usage, Category: category}
}

func split(names string) (string, []string) {
	all := strings.Split(names, ",")
	return all[0], all[1:]
}

func envNames(suffix string) []string {
	if suffix == "" {
		return nil
	}
	return []string{envPrefix + suffix}
}

func flags() []cli.Flag {
	return []cli.Flag{
		text(catStore, "data-dir", "DATA_DIR", "/var/lib/contiv", "directory of the embedded store, used when no other is named"),
		text(catStore, "etcd,etcd-endpoints", "ETCD_ENDPOINTS", "", "comma list of etcd URLs, such as http://10.0.0.1:2379"),
		text(catStore, "consul,consul-endpoints", "CONSUL_ENDPOINTS", "", "comma list of Consul URLs, such as http://10.0.0.1:8500; its token comes from CONSUL_HTTP_TOKEN"),
		text(catStore, "restore", "", "", "FILE from /debug/snapshot: make the embedded store in --data-dir of it, which must hold none, and end"),
		text(catStore, "store-cert", "STORE_CERT", "", "file with the certificate shown to the store (default: that of --tls-cert)"),
		text(catStore, "store-key", "STORE_KEY", "", "file with its key"),
		text(catStore, "store-ca", "STORE_CA", "", "file with the authorities that the store's certificate is checked against"),

		text(catAddress, "external-address,listen-url", "EXTERNAL_ADDRESS", "0.0.0.0:9999", "ADDRESS:PORT on which the REST API is served"),
		text(catAddress, "internal-address,control-url", "INTERNAL_ADDRESS", "", "ADDRESS:PORT by which other netmasters reach this one's REST API (default: this machine's address with the external port)"),
		text(catAddress, "rpc-address", "RPC_ADDRESS", ":9001", "ADDRESS:PORT on which agents are served"),

		text(catTLS, "tls-cert", "TLS_CERT", "", "file with this netmaster's certificate: REST becomes https, and agents need certificates"),
		text(catTLS, "tls-key", "TLS_KEY", "", "file with its key"),
		text(catTLS, "tls-ca", "TLS_CA", "", "file with the authorities that certificates of agents and other netmasters are checked against"),

		text(catCluster, "mode,plugin-mode,cluster-mode", "MODE", "", "orchestrator, docker or kubernetes, none if empty; shown by \"netctl global inspect\""),
		text(catCluster, "fwdmode,forward-mode,fwd-mode", "FORWARD_MODE", state.ForwardBridge, "bridge or routing: forwarding mode that a new cluster begins with; \"netctl global set\" changes it later"),
		text(catAddress, "aci-gateway", "ACI_GATEWAY", aci.DefaultURL, "URL of the ACI gateway, which is told of application profiles in fabric mode aci"),
		text(catCluster, "infra,infra-type", "INFRA", "default", "default or aci: infrastructure that a new cluster begins with"),

		span(catTimes, "host-dead-after", "HOST_DEAD_AFTER", objects.DefaultHostDeadAfter, "a host whose agent was silent for so long loses its endpoints; 0: never"),
		span(catTimes, "address-rest", "ADDRESS_REST", objects.DefaultAddressRest, "a freed address is not given to anybody else for so long while others are free; 0: at once"),

		text(catLog, "log-level", "LOG_LEVEL", "INFO", "panic, fatal, error, warn, info or debug"),
		text(catLog, "log-format", "LOG_FORMAT", "text", "text, or json: each line is an object"),
		toggle(catLog, "use-json-log,json-log", "USE_JSON_LOG", "the same as --log-format json"),
		toggle(catLog, "use-syslog,syslog", "USE_SYSLOG", "log to syslog too"),
		text(catLog, "syslog-url", "SYSLOG_URL", "udp://127.0.0.1:514", "URL of syslog: udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH"),

		text(catOld, "netmode,network-mode", "NET_MODE", "", "every cluster has both vlan and vxlan networks"),
		text(catOld, "name,plugin-name", "PLUGIN_NAME", "", "the agents name their docker plugins themselves"),
		text(catOld, "cluster-store", "", "", "older name of --etcd and --consul, with a URL such as etcd://10.0.0.1:2379 or consul://10.0.0.1:8500"),

		text(catOther, "run-dir", "RUN_DIR", "/run/contiv", "directory for netmaster.pid"),
		toggle(catOther, "pprof", "PPROF", "serve profiles of the process at /debug/pprof/ of the REST API"),
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this", Category: catOther},
		&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print which build this is", Category: catOther},
	}
}

// configOf makes a checked configuration of the flags, and warnings about those that mean nothing any more.
func configOf(c *cli.Context) (Config, []string, error) {
	if c.Args().Present() {
		return Config{}, nil, badConfig("unexpected argument %q; settings begin with --", c.Args().First())
	}
	var warnings []string
	etcd, consul := list(c.String("etcd")), list(c.String("consul"))
	if old := c.String("cluster-store"); strings.HasPrefix(old, "consul://") {
		warnings = append(warnings, "--cluster-store is an old name: use --consul")
		consul = append(consul, list(old)...)
	} else if old != "" {
		warnings = append(warnings, "--cluster-store is an old name: use --etcd")
		etcd = append(etcd, list(old)...)
	}
	if mode := c.String("netmode"); mode != "" {
		if mode != state.EncapVLAN && mode != state.EncapVXLAN {
			return Config{}, nil, badConfig("--netmode is %q; it must be one of vlan, vxlan, and has no effect", mode)
		}
		warnings = append(warnings, "--netmode has no effect any more: both vlan and vxlan networks can be created")
	}
	if c.String("name") != "" {
		warnings = append(warnings, "--name has no effect any more: the agents name their docker plugins")
	}
	if strings.EqualFold(c.String("mode"), "swarm-mode") {
		warnings = append(warnings, "--mode swarm-mode is taken like docker: swarm mode of the engine is not supported")
	}
	format := given(c, "log-format", "text")
	if format != "text" && format != "json" {
		return Config{}, nil, badConfig("--log-format is %q; it must be one of text, json", format)
	}
	cfg := Config{
		Mode: c.String("mode"), ForwardMode: given(c, "fwdmode", state.ForwardBridge), Infra: given(c, "infra", "default"),
		External: given(c, "external-address", "0.0.0.0:9999"), Internal: c.String("internal-address"),
		RPC: given(c, "rpc-address", ":9001"), Etcd: etcd, Consul: consul,
		DataDir: given(c, "data-dir", "/var/lib/contiv"), RunDir: given(c, "run-dir", "/run/contiv"),
		TLS:           Certificates{Cert: c.String("tls-cert"), Key: c.String("tls-key"), CA: c.String("tls-ca")},
		StoreTLS:      Certificates{Cert: c.String("store-cert"), Key: c.String("store-key"), CA: c.String("store-ca")},
		HostDeadAfter: c.Duration("host-dead-after"), AddressRest: c.Duration("address-rest"),
		Log:   LogConfig{Level: given(c, "log-level", "INFO"), JSON: c.Bool("use-json-log") || format == "json"},
		Pprof: c.Bool("pprof"), Restore: c.String("restore"), ACIGateway: given(c, "aci-gateway", aci.DefaultURL),
	}
	if c.Bool("use-syslog") {
		cfg.Log.Syslog = given(c, "syslog-url", "udp://127.0.0.1:514")
	}
	return cfg, warnings, cfg.Validate()
}

// given is a text flag, or its default when a script or environment sets it to nothing.
func given(c *cli.Context, name, fallback string) string {
	if value := c.String(name); value != "" {
		return value
	}
	return fallback
}

func list(text string) []string {
	var out []string
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
