package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"time"
)

// serverTLS gives the configurations of the REST and the agents' listener, nil without certificates. Agents must show
// a certificate, because it names their host; clients of REST may.
func serverTLS(files Certificates) (rest, agents *tls.Config, err error) {
	if files == (Certificates{}) {
		return nil, nil, nil
	}
	own, pool, err := load("--tls-cert, --tls-key", "--tls-ca", files)
	if err != nil {
		return nil, nil, err
	}
	rest = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: own, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		NextProtos: []string{"h2", "http/1.1"},
	}
	agents = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	return rest, agents, nil
}

// forwardTransport carries requests to the leader.
func forwardTransport(files Certificates) (*http.Transport, error) {
	transport := &http.Transport{
		TLSHandshakeTimeout: 3 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 16,
	}
	if files == (Certificates{}) {
		return transport, nil
	}
	own, pool, err := load("--tls-cert, --tls-key", "--tls-ca", files)
	if err != nil {
		return nil, err
	}
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: own, RootCAs: pool}
	return transport, nil
}

// storeTLS is for a store with https URLs, else nil. Without an authority of its own it trusts the system's.
func storeTLS(files Certificates, endpoints []string) (*tls.Config, error) {
	needed := false
	for _, endpoint := range endpoints {
		needed = needed || strings.HasPrefix(endpoint, "https://")
	}
	if !needed {
		return nil, nil
	}
	own, pool, err := load("--store-cert, --store-key", "--store-ca", files)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: own, RootCAs: pool}, nil
}

// load reads the files that are named.
func load(certFlags, caFlag string, files Certificates) ([]tls.Certificate, *x509.CertPool, error) {
	var own []tls.Certificate
	if files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, nil, badConfig("%s: %v", certFlags, err)
		}
		own = append(own, pair)
	}
	if files.CA == "" {
		return own, nil, nil
	}
	data, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, nil, badConfig("%s: %v", caFlag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, nil, badConfig("%s: no certificate in %q; it must be a file in PEM form", caFlag, files.CA)
	}
	return own, pool, nil
}
