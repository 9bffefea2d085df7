package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

// authority signs the certificates of a test, as an operator's own would.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	a.cert = a.write("ca", template, template, a.key)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// file is the path of a certificate (.pem) or key (.key).
func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(a.next)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	a.next++
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue makes a certificate for a name that is called at the addresses, and returns the flags of a daemon that uses it.
func (a *authority) issue(name string, addresses ...string) []string {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	a.write(name, template, a.cert, a.newKey())
	return []string{"--tls-cert", a.file(name + ".pem"), "--tls-key", a.file(name + ".key"), "--tls-ca", a.file("ca.pem")}
}

// as is the configuration of a client that trusts this authority and, with a name, shows that certificate.
func (a *authority) as(name string) *tls.Config {
	a.t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(a.cert)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// secured is a cluster whose daemons were started again with certificates.
type secured struct {
	*cluster
	ca      *authority
	address string // of netmaster
	agents  map[int]*sandbox.Command
}

// secure restarts the daemons of a cluster with certificates, as an operator would on a living one.
func secure(c *cluster) *secured {
	c.t.Helper()
	u, err := url.Parse(c.URL())
	c.must(err)
	s := &secured{cluster: c, ca: newAuthority(c.t), address: u.Hostname(), agents: map[int]*sandbox.Command{}}
	for host := 1; host <= c.Hosts(); host++ {
		c.must(c.Stop(sandbox.Netplugin, host))
	}
	c.must(c.Stop(sandbox.Netmaster, 1))
	s.daemon(1, append([]string{
		"netmaster", "--external-address", "0.0.0.0:9999", "--internal-address", s.address + ":9999",
		"--rpc-address", s.address + ":9001", "--data-dir", s.Dir() + "/h1/netmaster", "--run-dir", s.Dir() + "/h1/run",
	}, s.ca.issue("netmaster", s.address)...)...)
	for host := 1; host <= c.Hosts(); host++ {
		s.startAgent(host)
	}
	for host := 1; host <= c.Hosts(); host++ {
		s.waitAgent(host)
	}
	return s
}

// startAgent starts the agent of a host with a certificate of its own, which tells it the host's name.
func (s *secured) startAgent(host int) {
	s.t.Helper()
	s.agents[host] = s.daemon(host, s.agentLine(host, s.ca.issue(s.HostName(host), "127.0.0.1")...)...)
}

func (s *secured) waitAgent(host int) {
	s.t.Helper()
	s.eventually(20*time.Second, fmt.Sprintf("host %d is ready over TLS", host), func() bool {
		_, err := s.inspect(host, s.HostName(host), "readyz")
		return err == nil
	})
}

// agentLine is the command line of a host's agent, without a name.
func (s *secured) agentLine(host int, more ...string) []string {
	dir := fmt.Sprintf("%s/h%d/", s.Dir(), host)
	return append([]string{
		"netplugin", "--netmaster", s.address + ":9001", "--vtep-ip", fmt.Sprintf("198.19.0.%d", host),
		"--datapath-type", "netdev", "--ovs-rundir", dir + "ovs", "--run-dir", dir + "run",
	}, more...)
}

// daemon runs a command in a host's namespace until the test ends.
func (s *secured) daemon(host int, args ...string) *sandbox.Command {
	s.t.Helper()
	output, err := os.Create(fmt.Sprintf("%s/log/tls-%s-h%d.log", s.Dir(), args[0], host))
	s.must(err)
	defer output.Close() //nolint:errcheck // the process has its own
	cmd, err := s.OnHost(context.Background(), host, args...)
	s.must(err)
	cmd.Stdout, cmd.Stderr = output, output
	s.must(cmd.Start())
	s.t.Cleanup(func() { end(cmd) })
	return cmd
}

// end kills a daemon. It may be called twice.
func end(cmd *sandbox.Command) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says "killed", or that it was waited for
}

// inspect asks a host's agent with curl, as an operator at that host would.
func (s *secured) inspect(host int, certificate, path string) (string, error) {
	s.t.Helper()
	args := []string{"curl", "-sSf", "--max-time", "5", "--cacert", s.ca.file("ca.pem")}
	if certificate != "" {
		args = append(args, "--cert", s.ca.file(certificate+".pem"), "--key", s.ca.file(certificate+".key"))
	}
	cmd, err := s.OnHost(s.t.Context(), host, append(args, "https://127.0.0.1:9090/"+path)...)
	s.must(err)
	return cmd.CombinedOutput()
}

// secureNetctl runs netctl over https in the given environment.
func (s *secured) secureNetctl(environment []string, args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "netctl"), args...)
	cmd.Env = append(os.Environ(), append([]string{"NETMASTER=https://" + s.address + ":9999"}, environment...)...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// TestTLS: a living cluster goes over to certificates without losing a packet; then it takes each host's name from its
// certificate, works, and lets in nobody else.
func TestTLS(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, b, addr := pair(c)
	var s *secured
	c.goesOn("going over to TLS", c.probing(c.inside(a), c.inside(b), addr, func() { s = secure(c) }))
	trusting := []string{"SSL_CERT_FILE=" + s.ca.file("ca.pem")}
	if output, err := s.secureNetctl(trusting, "net", "create", "--subnet=10.1.3.0/24", "new"); err != nil {
		t.Fatalf("netctl over https: %v: %s", err, output)
	}
	s.run(sandbox.Workload{Name: "one", Host: 1, Network: "new"})
	s.run(sandbox.Workload{Name: "two", Host: 2, Network: "new"})
	s.reaches("one", "10.1.3.2")

	t.Run("REST", func(t *testing.T) { s.checkREST(t, trusting) })
	t.Run("inspect", func(t *testing.T) {
		if output, err := s.inspect(1, "", "readyz"); err == nil {
			t.Errorf("the agent answered without a certificate: %s", output)
		}
		if output, err := s.inspect(1, s.HostName(2), "inspect/driver"); err != nil || !strings.Contains(output, `"host1"`) {
			t.Errorf("the agent's name is not that of its certificate: %v %s", err, output)
		}
	})
	t.Run("agents", s.checkAgents)
	t.Run("other host", s.checkOtherHost)

	s.startAgent(1)
	s.waitAgent(1)
	s.eventually(10*time.Second, "host 1's own agent is in its place again", func() bool {
		_, err := s.exec("one", "ping", "-c", "1", "-W", "1", "10.1.3.2")
		return err == nil
	})
}

// checkREST: REST is https only; a certificate need not be shown (there is no login yet), but one of another
// authority is refused.
func (s *secured) checkREST(t *testing.T, trusting []string) {
	t.Helper()
	if output, err := s.secureNetctl(nil, "net", "ls"); err == nil || !strings.Contains(output, "certificate") {
		t.Errorf("netctl trusts an unknown authority: %v %s", err, output)
	}
	if output, err := s.secureNetctl([]string{"INSECURE=true"}, "net", "ls"); err != nil {
		t.Errorf("netctl --insecure: %v: %s", err, output)
	}
	if output, err := s.secureNetctl(trusting, "--netmaster", s.URL(), "net", "ls"); err == nil {
		t.Errorf("netmaster answers plain http: %s", output)
	}
	stranger := newAuthority(t)
	stranger.issue("operator")
	s.ca.issue("operator")
	forged := s.ca.as("")
	forged.Certificates = stranger.as("operator").Certificates
	for who, test := range map[string]struct {
		config *tls.Config
		served bool
	}{
		"an operator's certificate":            {s.ca.as("operator"), true},
		"no certificate":                       {s.ca.as(""), true},
		"a certificate of another authority":   {forged, false},
		"a client that trusts somebody else's": {stranger.as(""), false},
	} {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: test.config, DisableKeepAlives: true}}
		response, err := client.Get("https://" + s.address + ":9999/api/v1/networks/")
		if err == nil {
			_ = response.Body.Close()
		}
		if served := err == nil && response.StatusCode == http.StatusOK; served != test.served {
			t.Errorf("%s: served %v, want %v (%v)", who, served, test.served, err)
		}
	}
}

// checkAgents: an agent that names itself otherwise than its certificate does not start; one without a certificate, or
// with one of another authority, is not let in.
func (s *secured) checkAgents(t *testing.T) {
	cmd, err := s.OnHost(t.Context(), 1, s.agentLine(1, append(s.ca.issue("host1"), "--host", "host2", "--inspect-address", "")...)...)
	s.must(err)
	if output, err := cmd.CombinedOutput(); err == nil || !strings.Contains(output, "host1") || cmd.ProcessState.ExitCode() != 22 {
		t.Errorf("an agent with another name than its certificate: %v %s", err, output)
	}
	stranger := newAuthority(t)
	stranger.issue("host1")
	forged := s.ca.as("")
	forged.Certificates = stranger.as("host1").Certificates
	for who, config := range map[string]*tls.Config{"without a certificate": s.ca.as(""), "with another authority's certificate": forged} {
		if err := s.register(config, "host1", nil); err == nil {
			t.Errorf("an agent %s is let in", who)
		}
	}
	if err := s.register(nil, "host1", nil); err == nil {
		t.Error("an agent that speaks no TLS is let in")
	}
}

// checkOtherHost: what host 1's certificate opens is host 1's only.
func (s *secured) checkOtherHost(t *testing.T) {
	var refused *protocol.Error
	if err := s.register(s.ca.as("host1"), "host2", nil); !errors.As(err, &refused) || refused.Code != protocol.CodeRefused {
		t.Errorf("host 1 registers as host 2: %v", err)
	}
	end(s.agents[1])
	s.eventually(15*time.Second, "host 1 may register anew", func() bool {
		return s.register(s.ca.as("host1"), "host1", nil) == nil
	})
	status, err := s.Status()
	s.must(err)
	victim := protocol.EndpointID{Host: "host2", ContainerID: status.Name + "-two", IfName: "eth0"} // as the sandbox names it
	err = s.register(s.ca.as("host1"), "host1", func(ctx context.Context, conn *jsonrpc2.Conn) {
		for method, request := range map[string]any{
			protocol.MethodCreateEndpoint: protocol.CreateEndpointRequest{
				ID:     protocol.EndpointID{Host: "host2", ContainerID: "planted", IfName: "eth0"},
				Tenant: "default", Network: "new",
			},
			protocol.MethodDeleteEndpoint: protocol.DeleteEndpointRequest{ID: victim},
		} {
			if err := wire.DecodeError(conn.Call(ctx, method, request, nil)); !errors.As(err, &refused) {
				t.Errorf("host 1 does %s for host 2: %v", method, err)
			} else {
				t.Logf("%s: %v", method, err)
			}
		}
	})
	s.must(err)
	output, err := s.secureNetctl([]string{"INSECURE=1"}, "net", "inspect", "new")
	if err != nil || !strings.Contains(output, "10.1.3.2") || strings.Contains(output, "planted") {
		t.Errorf("host 2's endpoints are not as they were: %v %s", err, output)
	}
}

// register connects to netmaster as an agent would, registers a host, calls then, and leaves.
func (s *secured) register(config *tls.Config, host string, then func(context.Context, *jsonrpc2.Conn)) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := net.Dial("tcp", s.address+":9001")
	if err != nil {
		return err
	}
	if config != nil {
		config.ServerName = s.address
		conn = tls.Client(conn, config)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	peer := jsonrpc2.NewConn(ctx, wire.NewStream(conn, wire.Options{Notify: func(string, json.RawMessage) error { return nil }}), nil,
		jsonrpc2.SetLogger(quiet))
	defer peer.Close() //nolint:errcheck // the test is over with it
	request := protocol.RegisterRequest{Host: host, Version: protocol.Version, Instance: fmt.Sprint(os.Getpid()), MTU: 1500, Attachments: []protocol.Attachment{}}
	if err := wire.DecodeError(peer.Call(ctx, protocol.MethodRegister, request, nil)); err != nil {
		return err
	}
	if then != nil {
		then(ctx, peer)
	}
	return nil
}
