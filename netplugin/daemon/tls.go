package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

// readTLS loads the certificate that this host shows to netmaster and to inspect clients, and the authority that it
// asks theirs to be signed by.
func (conf *config) readTLS(c *cli.Context) error {
	cert, key, authority := c.String(flagCert), c.String(flagKey), c.String(flagCA)
	if cert == "" && key == "" && authority == "" {
		return nil
	}
	if cert == "" || key == "" || authority == "" {
		return fmt.Errorf("--%s, --%s and --%s belong together: give all three or none", flagCert, flagKey, flagCA)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("--%s, --%s: %w", flagCert, flagKey, err)
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return fmt.Errorf("--%s: %w", flagCA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--%s: %s holds no certificate", flagCA, authority)
	}
	conf.tls = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	return nil
}

// certificateNames are the names that netmaster takes from the host's certificate.
func certificateNames(conf *tls.Config) ([]string, error) {
	leaf, err := x509.ParseCertificate(conf.Certificates[0].Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagCert, err)
	}
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames, nil
	}
	if leaf.Subject.CommonName == "" {
		return nil, errors.New("--" + flagCert + ": the certificate has no name: it needs a DNS name or a common name")
	}
	return []string{leaf.Subject.CommonName}, nil
}
