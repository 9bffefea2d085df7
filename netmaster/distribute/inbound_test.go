package distribute

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/protocol"
)

// TestCertificateNamesTheHost: with TLS an agent is who its certificate says.
func TestCertificateNamesTheHost(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool,
		MinVersion: tls.VersionTLS13,
	}
	f := start(t, server)
	as := func(name string) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, name)}, MinVersion: tls.VersionTLS13}
	}
	c := f.dial(as("h1"))
	wantCode(t, c.call(protocol.MethodRegister, request("h2"), nil), protocol.CodeRefused, "certificate")
	f.must(c.call(protocol.MethodRegister, request("h1"), nil))

	stranger := newAuthority(t)
	config := as("h1")
	config.Certificates = []tls.Certificate{stranger.issue(t, "h1")}
	if err := f.dial(config).call(protocol.MethodRegister, request("h1"), nil); err == nil {
		t.Error("a certificate of a stranger was taken")
	}

	// A listener that does not ask for certificates registers nobody.
	open := server.Clone()
	open.ClientAuth = tls.NoClientCert
	g := start(t, open)
	wantCode(t, g.dial(as("h1")).call(protocol.MethodRegister, request("h1"), nil), protocol.CodeRefused, "certificate")
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	data, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := &authority{key: key, pool: x509.NewCertPool()}
	if ca.certificate, err = x509.ParseCertificate(data); err != nil {
		t.Fatal(err)
	}
	ca.pool.AddCert(ca.certificate)
	return ca
}

func (ca *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	data, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{data}, PrivateKey: key}
}

// FuzzInbound gives a session of a registered host arbitrary bytes: nothing but the end of the session may come of it.
func FuzzInbound(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"host.ping","params":{}}`,
		`{"jsonrpc":"2.0","method":"state.ack","params":{"position":{"store":"store-1","revision":1}}}`,
		`{"jsonrpc":"2.0","method":"state.statistics","params":{"endpoints":[{"id":{"host":"h1"}}]}}`,
		`{"jsonrpc":"2.0","id":2,"method":"endpoint.create","params":{"id":{"host":"h1","containerID":"c","ifName":"e"},"ipv4":"10.0.0.1"}}`,
		`{"jsonrpc":"2.0","id":3,"method":"endpoint.settle","params":{"id":{"host":"h1","containerID":"c","ifName":"e"},"wait":"1ms"}}`,
		`{"jsonrpc":"2.0","id":4,"result":{}}`, `[]`, `[{}]`, `null`, `{"id":1}`, `{"method":null}`, `{"method":"x","id":null}`, "\n\n", `{"id":{},"method":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	f.Fuzz(func(t *testing.T, data []byte) {
		server := NewServer(Config{Operations: &operations{}, Log: logrus.NewEntry(logger)})
		server.SetLeader(true, "")
		if err := server.Replace(at(1), []ScopedRecord{endpointOf("h1", "c", 1), hostOf("h1", 1)}); err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var serving sync.WaitGroup
		serving.Go(func() { server.serveConn(ctx, theirs) })
		serving.Go(func() { _, _ = io.Copy(io.Discard, ours) })
		line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("h1")})
		_, _ = ours.Write(append(line, '\n'))
		for !server.Connected("h1") && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Microsecond):
			}
		}
		_, _ = ours.Write(append(data, '\n'))
		_ = ours.Close()
		serving.Wait()
	})
}
