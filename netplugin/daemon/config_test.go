package daemon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write the golden files")

// parse reads a command line as the program does.
func parse(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	var conf *config
	app := &cli.App{
		Name: "netplugin", Flags: flags(), HideVersion: true, Writer: new(bytes.Buffer), ErrWriter: new(bytes.Buffer),
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return &configError{err} },
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) (err error) {
			conf, err = newConfig(c)
			return err
		},
	}
	err := app.Run(append([]string{"netplugin"}, args...))
	return conf, err
}

func TestDefaults(t *testing.T) {
	conf, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	if conf.host != name || conf.mode != modeNone || conf.datapathType != "system" || conf.vxlanPort != 4789 ||
		conf.cniSocket != "/run/contiv/contiv-cni.sock" || conf.inspectAddress != "127.0.0.1:9090" || conf.tls != nil {
		t.Errorf("defaults: %+v", conf)
	}
	if diff := cmp.Diff([]string{"127.0.0.1:9001"}, conf.masters); diff != "" {
		t.Error(diff)
	}
	if !conf.vtep.IsValid() && !conf.vtep6.IsValid() || conf.mtu() < 1280 || conf.mtu() > maxMTU {
		t.Errorf("VTEP %s, %s, MTU %d", conf.vtep, conf.vtep6, conf.mtu())
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("CONTIV_NETPLUGIN_MODE", "kubernetes")
	conf, err := parse(t, "-host-label", "h1", "-vtep-ip", "192.0.2.7,2001:db8::7", "--netmaster", "m1, m2:7,[2001:db8::1]:9,2001:db8::2",
		"--vlan-if", "eth1,eth2", "--fwdmode", "bridge", "-cluster-store", "etcd://x:2379", "--run-dir", "/tmp/r", "--log-level", "debug")
	if err != nil {
		t.Fatal(err)
	}
	if conf.host != "h1" || conf.mode != modeKubernetes || conf.cniSocket != "/tmp/r/contiv-cni.sock" ||
		conf.vtep != netip.MustParseAddr("192.0.2.7") || conf.vtep6 != netip.MustParseAddr("2001:db8::7") {
		t.Errorf("read: %+v", conf)
	}
	if diff := cmp.Diff([]string{"m1:9001", "m2:7", "[2001:db8::1]:9", "[2001:db8::2]:9001"}, conf.masters); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"eth1", "eth2"}, conf.uplinks); diff != "" {
		t.Error(diff)
	}
	warnings := strings.Join(conf.warnings, "\n")
	for _, want := range []string{"--fwdmode has no effect", "--cluster-store has no effect", "assuming an MTU of 1500"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning %q among:\n%s", want, warnings)
		}
	}
}

func TestWrongFlags(t *testing.T) {
	cert, key := certificate(t, "h1")
	for _, one := range []struct {
		args []string
		want string
	}{
		{[]string{"--nonsense"}, "nonsense"},
		{[]string{"argument"}, `"argument" is not expected`},
		{[]string{"--mode", "swarm"}, "none, docker or kubernetes"},
		{[]string{"--netmaster", ","}, "at least one netmaster"},
		{[]string{"--netmaster", "http://m:9001"}, "HOST or HOST:PORT"},
		{[]string{"--netmaster", "m:70000"}, "between 1 and 65535"},
		{[]string{"--vtep-ip", "x"}, "no IP address"},
		{[]string{"--vtep-ip", "0.0.0.0"}, "no IP address that packets can be sent to"},
		{[]string{"--vtep-ip", "192.0.2.1,192.0.2.2"}, "one address of each family"},
		{[]string{"--ctrl-ip", "x"}, "no IP address"},
		{[]string{"--vxlan-port", "0"}, "between 1 and 65535"},
		{[]string{"--datapath-type", "dpdk"}, "system or netdev"},
		{[]string{"--driver", "vpp"}, "only driver is ovs"},
		{[]string{"--host", "a/b"}, "letters, digits"},
		{[]string{"--inspect-address", "9090"}, "HOST:PORT"},
		{[]string{"--log-level", "loud"}, "DEBUG, INFO, WARN or ERROR"},
		{[]string{"--log-format", "xml"}, "text or json"},
		{[]string{"--use-syslog", "--syslog-url", "http://x"}, "udp://HOST:PORT"},
		{[]string{"--tls-cert", cert}, "belong together"},
		{[]string{"--tls-cert", cert, "--tls-key", cert, "--tls-ca", cert}, "--tls-key"},
		{[]string{"--tls-cert", cert, "--tls-key", key, "--tls-ca", key}, "holds no certificate"},
		{[]string{"--tls-cert", cert, "--tls-key", key, "--tls-ca", cert, "--host", "h2"}, "not a name of the certificate"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append([]string{"netplugin"}, one.args...), &out, &errs)
		if status != exitConfig || !strings.Contains(errs.String(), one.want) {
			t.Errorf("%q: status %d, %s", one.args, status, errs.String())
		}
	}
}

// TestCertificateName: with TLS the host's name is its certificate's.
func TestCertificateName(t *testing.T) {
	cert, key := certificate(t, "h1")
	conf, err := parse(t, "--tls-cert", cert, "--tls-key", key, "--tls-ca", cert)
	if err != nil || conf.host != "h1" {
		t.Errorf("host %q, %v", conf.host, err)
	}
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"netplugin", "--help"}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	const path = "testdata/help.golden"
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", path, diff)
	}
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private)
}
