package consultest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/contiv/contiv/objdb/internal/process"
)

// NewSecure is New for a server with https, with client certificates, and with a token without which nothing may be
// read or written. It returns what a client needs.
func NewSecure(tb testing.TB) (*Server, *tls.Config, string) {
	tb.Helper()
	s := &Server{dir: tb.TempDir()}
	ports := process.FreePorts(tb, 4)
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", ports[3])
	certFile, keyFile, secure := s.certify(tb)
	// The readiness of the server is told to anybody with a certificate: an empty answer will do.
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure}}

	token := uuid.NewString()
	config := basics(ports)
	config["ports"].(map[string]int)["http"] = -1        //nolint:forcetypeassert // see basics
	config["ports"].(map[string]int)["https"] = ports[3] //nolint:forcetypeassert // see basics
	config["tls"] = map[string]any{"https": map[string]any{
		"ca_file": certFile, "cert_file": certFile, "key_file": keyFile, "verify_incoming": true,
	}}
	config["acl"] = map[string]any{
		"enabled": true, "default_policy": "deny", "tokens": map[string]string{"initial_management": token},
	}
	s.configure(tb, config)
	s.begin(tb)
	return s, secure, token
}

// certify makes a certificate that is its own authority, for both sides.
func (s *Server) certify(tb testing.TB) (certFile, keyFile string, secure *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "consul"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	certFile, keyFile = filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		tb.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return certFile, keyFile, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: pool}
}
