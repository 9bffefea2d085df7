package daemon

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/install/environment"
)

// parse runs the flags alone, without the daemon behind them.
func parse(t *testing.T, args ...string) (cfg Config, warnings []string, err error) {
	t.Helper()
	app := newApp(&bytes.Buffer{}, &bytes.Buffer{})
	app.Action = func(c *cli.Context) error {
		cfg, warnings, err = configOf(c)
		return err
	}
	err = app.RunContext(context.Background(), append([]string{"netmaster"}, args...))
	return cfg, warnings, err
}

func TestDefaultsWorkOnOneMachine(t *testing.T) {
	cfg, warnings, err := parse(t)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if !strings.HasSuffix(cfg.Internal, ":9999") || strings.HasPrefix(cfg.Internal, "0.0.0.0") {
		t.Errorf("internal address %q", cfg.Internal)
	}
	cfg.Internal = ""
	want := Config{
		ForwardMode: "bridge", Infra: "default", ACIGateway: "http://localhost:5000", External: "0.0.0.0:9999", RPC: ":9001",
		DataDir: "/var/lib/contiv", RunDir: "/run/contiv", HostDeadAfter: 24 * time.Hour, AddressRest: time.Minute,
		Log: LogConfig{Level: "INFO"},
	}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestOldNamesAreAccepted(t *testing.T) {
	t.Setenv("CONTIV_NETMASTER_MODE", "Docker")
	t.Setenv("CONTIV_NETMASTER_NET_MODE", "vxlan")
	t.Setenv("CONTIV_NETMASTER_ETCD_ENDPOINTS", "http://10.0.0.9:2379")
	t.Setenv("CONTIV_NETMASTER_LOG_LEVEL", "")
	cfg, warnings, err := parse(t, "-plugin-name", "netplugin", "--forward-mode", "routing", "-listen-url", "127.0.0.1:9998",
		"--etcd-endpoints", "http://10.0.0.1:2379,http://10.0.0.2:2379", "--use-syslog")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 2 {
		t.Errorf("warnings %q, want one for netmode and one for name", warnings)
	}
	want := Config{
		Mode: "docker", ForwardMode: "routing", Infra: "default", ACIGateway: "http://localhost:5000", External: "127.0.0.1:9998", Internal: "127.0.0.1:9998",
		RPC: ":9001", Etcd: []string{"http://10.0.0.1:2379", "http://10.0.0.2:2379"},
		DataDir: "/var/lib/contiv", RunDir: "/run/contiv", HostDeadAfter: 24 * time.Hour, AddressRest: time.Minute,
		Log: LogConfig{Level: "INFO", Syslog: "udp://127.0.0.1:514"},
	}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	cfg, _, err = parse(t, "--cluster-store", "etcd://10.0.0.3:2379", "--etcd", "")
	if err != nil || len(cfg.Etcd) != 1 || cfg.Etcd[0] != "http://10.0.0.3:2379" {
		t.Errorf("old store URL gives %q, %v", cfg.Etcd, err)
	}
	cfg, _, err = parse(t, "--cluster-store", "consul://10.0.0.3:8500", "--etcd", "")
	if err != nil || len(cfg.Etcd) != 0 || len(cfg.Consul) != 1 || cfg.Consul[0] != "http://10.0.0.3:8500" {
		t.Errorf("old URL of Consul gives %q, %v", cfg.Consul, err)
	}
}

func TestBadConfigurationSaysWhatToDo(t *testing.T) {
	tests := []struct {
		args string
		says string
	}{
		{"--etcd http://a:1 --consul http://b:1", "name one store"},
		{"--etcd http://a:1 --cluster-store consul://b:1", "name one store"},
		{"--consul 10.0.0.1:8500", "must be a URL such as http://10.0.0.1:8500"},
		{"--etcd 10.0.0.1:2379", "must be a URL such as"},
		{"--etcd http://10.0.0.1", "must be a URL such as"},
		{"--mode nomad", "one of docker, kubernetes"},
		{"--netmode gre", "one of vlan, vxlan"},
		{"--fwdmode l2", "one of bridge, routing"},
		{"--infra aci-opflex", "one of default, aci"},
		{"--external-address 0.0.0.0", "must be ADDRESS:PORT"},
		{"--external-address 0.0.0.0:99999", "port from 1 to 65535"},
		{"--external-address 1:2:3", "must be ADDRESS:PORT"},
		{"--internal-address 0.0.0.0:9999", "other netmasters dial it"},
		{"--rpc-address 9001", "must be ADDRESS:PORT"},
		{"--tls-cert x", "give all three or none"},
		{"--store-key x", "give both or none"},
		{"--host-dead-after 5s", "at least 1m"},
		{"--host-dead-after -1h", "must not be negative"},
		{"--address-rest soon", "invalid value"},
		{"--log-level loud", "panic, fatal, error, warn, info, debug"},
		{"--log-format xml", "one of text, json"},
		{"--use-syslog --syslog-url 127.0.0.1", "must be a URL such as"},
		{"--syslog --syslog-url udp://127.0.0.1", "must be a URL such as"},
		{"--unheard-of", "not defined: -unheard-of"},
		{"stray", `unexpected argument "stray"`},
	}
	for _, test := range tests {
		var stderr bytes.Buffer
		status := Main(context.Background(), append([]string{"netmaster"}, strings.Fields(test.args)...), &bytes.Buffer{}, &stderr)
		if status != exitBadConfig || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("%s: exit status %d, said %q, want 22 and %q", test.args, status, stderr.String(), test.says)
		}
	}
}

func TestIPv6Addresses(t *testing.T) {
	cfg, _, err := parse(t, "--external-address", "[::]:9999", "--internal-address", "[fd00::1]:9999")
	if err != nil || cfg.Internal != "[fd00::1]:9999" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestHelpNamesEveryFlagInACategory(t *testing.T) {
	var stdout bytes.Buffer
	if status := Main(context.Background(), []string{"netmaster", "--help"}, &stdout, &bytes.Buffer{}); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	for _, flag := range flags() {
		if category := flag.(cli.CategorizableFlag).GetCategory(); category == "" || !strings.Contains(stdout.String(), "\n"+category+"\n") {
			t.Errorf("flag %s has no category in the help", flag.Names()[0])
		}
		if usage := flag.(cli.DocGenerationFlag).GetUsage(); usage == "" || !strings.Contains(stdout.String(), usage) {
			t.Errorf("flag %s is not explained", flag.Names()[0])
		}
		for _, name := range flag.Names() {
			if !strings.Contains(stdout.String(), "-"+name) {
				t.Errorf("name %s is missing", name)
			}
		}
	}
}

func TestUnknownEnvironmentIsTold(t *testing.T) {
	got := environment.Unknown(envPrefix, flags(), []string{"CONTIV_NETMASTER_MODE=docker", "CONTIV_NETMASTER_MOOD=x", "HOME=/"})
	if len(got) != 1 || !strings.Contains(got[0], "CONTIV_NETMASTER_MOOD") {
		t.Errorf("warnings %q", got)
	}
}
