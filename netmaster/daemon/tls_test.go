package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(t, "ca", template, template, a.key, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t *testing.T, name string, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue makes a certificate and returns its files.
func (a *authority) issue(t *testing.T, name string) Certificates {
	t.Helper()
	a.sign(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, newKey(t), a.key)
	file := func(name string) string { return filepath.Join(a.dir, name) }
	return Certificates{Cert: file(name + ".pem"), Key: file(name + ".key"), CA: file("ca.pem")}
}

func TestTLSOnBothListeners(t *testing.T) {
	a := newAuthority(t)
	cfg := testConfig(t)
	cfg.TLS = a.issue(t, "netmaster")
	r := start(t, cfg)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	trusting := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	r.http.Transport = &http.Transport{TLSClientConfig: trusting, DisableKeepAlives: true}
	r.createTenant("over-tls")

	plain := &running{t: t, url: "http" + r.url[len("https"):], http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	if status, _ := plain.call(http.MethodGet, "/version", ""); status == http.StatusOK {
		t.Error("plain HTTP was answered")
	}
	if err := dialAgent(t, r, trusting); err == nil {
		t.Error("an agent without a certificate was accepted")
	}
	host := a.issue(t, "host1")
	pair, err := tls.LoadX509KeyPair(host.Cert, host.Key)
	if err != nil {
		t.Fatal(err)
	}
	known := trusting.Clone()
	known.Certificates = []tls.Certificate{pair}
	if err := dialAgent(t, r, known); err != nil {
		t.Errorf("an agent with a certificate was refused: %v", err)
	}
}

// dialAgent connects as an agent would and tells whether the connection stays open.
func dialAgent(t *testing.T, r *running, config *tls.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", r.d.listeners.rpc.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	// Nothing is sent before the agent speaks: an open connection gives a timeout, a refused one an alert.
	_, err = conn.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // tls errors of a connection are not wrapped
		return nil
	}
	return err
}

func TestUnusableCertificatesAreBadConfiguration(t *testing.T) {
	a := newAuthority(t)
	good := a.issue(t, "netmaster")
	for name, files := range map[string]Certificates{
		"no such file":    {Cert: "/nonexistent", Key: good.Key, CA: good.CA},
		"key of no cert":  {Cert: good.Key, Key: good.Key, CA: good.CA},
		"ca without cert": {Cert: good.Cert, Key: good.Key, CA: good.Key},
	} {
		_, _, err := serverTLS(files)
		if bad := (*ConfigError)(nil); !errors.As(err, &bad) {
			t.Errorf("%s: %v is no ConfigError", name, err)
		}
	}
}
