package netctl

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/contiv/contiv/netmaster/client"
)

func (p *program) loginCommand() *cli.Command {
	return &cli.Command{
		Name:  "login",
		Usage: "log in at the authenticating proxy that --netmaster names",
		Description: "Asks for a user name and a password, or reads them as two lines if the input is no terminal. The token of the\n" +
			"login is kept in ~/.netctl/config.json and sent with every command, over https only. To log out, remove that file.",
		Action: p.login,
	}
}

func (p *program) login(c *cli.Context) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	api, err := p.connect(c, anonymous)
	if err != nil {
		return err
	}
	defer api.Close()
	if !api.Secure() {
		return fmt.Errorf("login: %w; give an https URL with --netmaster or NETMASTER", client.ErrLoginNeedsTLS)
	}
	name, password, err := p.credentials(c.Context)
	if err != nil {
		return &failure{exitLocal, fmt.Errorf("login: %w", err)}
	}
	ctx, cancel := context.WithTimeout(c.Context, commandTimeout)
	defer cancel()
	token, err := api.Login(ctx, name, password)
	switch status := client.StatusOf(err); {
	case status == http.StatusUnauthorized:
		return errors.New("Login failed: Bad username or password.")
	case status != 0:
		return fmt.Errorf("Login failed: status %d: %w", status, err)
	case err != nil:
		return &failure{exitLocal, fmt.Errorf("login: %w", err)}
	}
	if err := writeToken(token); err != nil {
		return &failure{exitLocal, err}
	}
	return p.printf("Login succeeded.\n")
}

// credentials asks for a name and a password.
func (p *program) credentials(ctx context.Context) (name, password string, err error) {
	terminal, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		lines := bufio.NewReader(p.stdin)
		if name, err = readLine(lines); err != nil {
			return "", "", fmt.Errorf("reading the user name: %w", err)
		}
		if password, err = readLine(lines); err != nil {
			return "", "", fmt.Errorf("reading the password: %w", err)
		}
		return name, password, nil
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", "", fmt.Errorf("asking at the terminal: %w", err)
	}
	type answer struct {
		name, password string
		err            error
	}
	answered := make(chan answer, 1)
	// Whoever waits at a terminal cannot be interrupted: when ctx ends, this stays behind until the process is gone.
	go func() {
		var a answer
		a.name, a.password, a.err = p.ask(terminal, fd)
		answered <- a
	}()
	select {
	case a := <-answered:
		return a.name, a.password, a.err
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		return "", "", ctx.Err()
	}
}

// ask asks at a terminal, fd; the password is not shown.
func (p *program) ask(terminal io.Reader, fd int) (name, password string, err error) {
	if err := p.printf("Username: "); err != nil {
		return "", "", err
	}
	if name, err = readLine(bufio.NewReader(terminal)); err != nil {
		return "", "", fmt.Errorf("reading the user name: %w", err)
	}
	if err := p.printf("Password: "); err != nil {
		return "", "", err
	}
	secret, err := term.ReadPassword(fd)
	if err != nil {
		return "", "", fmt.Errorf("reading the password: %w", err)
	}
	return name, string(secret), p.printf("\n")
}

// readLine reads a line without its end. The last one needs none.
func readLine(from *bufio.Reader) (string, error) {
	line, err := from.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// writeToken keeps a token where readToken finds it, for this user alone. A login before is replaced at once.
func writeToken(token string) error {
	name := tokenFile()
	if name == "" {
		return errors.New("keeping the login token: there is no home directory; set HOME")
	}
	data, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return fmt.Errorf("keeping the login token: %w", err)
	}
	folder := filepath.Dir(name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("keeping the login token: %w", err)
	}
	// One that was there may be open to others.
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder
		return fmt.Errorf("keeping the login token: %w", err)
	}
	next, err := os.CreateTemp(folder, ".config-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("keeping the login token: %w", err)
	}
	defer func() { _ = os.Remove(next.Name()) }() // unless it has its name already
	_, err = next.Write(append(data, '\n'))
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("keeping the login token: %w", err)
	}
	return nil
}
