package netctl

import (
	"crypto/tls"
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
	if c.Bool("insecure") {
		opts.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
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
