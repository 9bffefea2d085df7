package netctl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
)

const (
	// defaultURL is asked when nothing is said, fallbackURL when the host of that has no address either.
	defaultURL  = "http://netmaster:9999"
	defaultHost = "netmaster"
	fallbackURL = "http://127.0.0.1:9999"
)

type identity bool

const (
	withToken identity = true
	anonymous identity = false
)

// connect makes a client from the global flags and, unless anonymous, the token of an earlier login.
func (p *program) connect(c *cli.Context, as identity) (*client.Client, error) {
	opts := client.Options{OnWarning: func(text string) { p.logger().Warning(text) }}
	if as == withToken {
		var err error
		if opts.Token, err = readToken(); err != nil {
			return nil, &failure{exitLocal, err}
		}
	}
	var err error
	if opts.TLS, err = tlsOf(c); err != nil {
		return nil, &failure{exitLocal, err}
	}
	address := c.String("netmaster")
	if !c.IsSet("netmaster") && !p.resolves(c.Context, defaultHost) {
		address = fallbackURL
	}
	api, err := client.New(address, opts)
	switch {
	case errors.Is(err, client.ErrTokenNeedsTLS):
		return nil, fmt.Errorf("%w; use an https URL, or forget the login by removing %s", err, tokenFile())
	case err != nil:
		return nil, &failure{exitUsage, err}
	}
	return api, nil
}

// tlsOf is how a server is trusted and what is shown to it.
func tlsOf(c *cli.Context) (*tls.Config, error) {
	secure := &tls.Config{InsecureSkipVerify: c.Bool("insecure"), MinVersion: tls.VersionTLS12} //nolint:gosec // only when told
	if name := c.String("tls-ca"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--tls-ca: %s holds no certificate in PEM form", name)
		}
	}
	cert, key := c.String("tls-cert"), c.String("tls-key")
	if (cert == "") != (key == "") {
		return nil, errors.New("--tls-cert and --tls-key belong together: give both or none")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		secure.Certificates = append(secure.Certificates, pair)
	}
	return secure, nil
}

// tokenFile is where a login leaves its answer.
func tokenFile() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".netctl", "config.json")
}

// readToken returns the token of an earlier login, "" if there was none.
func readToken() (string, error) {
	name := tokenFile()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the login token: %w", err)
	}
	var stored struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return "", fmt.Errorf("reading the login token in %s: %w", name, err)
	}
	return stored.Token, nil
}
