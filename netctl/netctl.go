// Package netctl is the command line of Contiv: it turns words into calls of netmaster/client and answers into tables
// or JSON. Its flags, columns and messages are those of the original's netctl, because scripts read them.
//
// Exit status: 0 success; 1 wrong usage; 2 "version" could not ask the server; 3 the server refused or could not be
// reached; 4 a local file could not be read.
package netctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/client"
)

// Exit statuses.
const (
	exitUsage   = 1
	exitVersion = 2
	exitServer  = 3
	exitLocal   = 4
)

// commandTimeout bounds one command.
const commandTimeout = 20 * time.Second

// program is one run of netctl.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// resolves reports whether a host name has an address.
	resolves func(ctx context.Context, host string) bool
}

// Run runs the command line args, of which the first is the program's name, and returns the exit status. It reads the
// environment (NETMASTER, INSECURE, NETCTL_TLS_*, HOME) and the login token in ~/.netctl/config.json; login reads standard
// input.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{stdin: os.Stdin, stdout: stdout, stderr: stderr, resolves: func(ctx context.Context, host string) bool {
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		return err == nil && len(found) > 0
	}}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	app := p.app()
	if len(args) > 2 && args[1] == completeCommand && args[2] == "--" {
		if err := p.complete(app, args[3:]); err != nil {
			return exitLocal
		}
		return 0
	}
	if len(args) > 0 {
		args = append(args[:1:1], flagsFirst(app.Commands, app.Flags, helpLast(app.Flags, args[1:]))...)
	}
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	status, message := judge(err)
	p.logger().Error(message)
	return status
}

// logger writes what went wrong as one line with the server's words unchanged.
func (p *program) logger() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(p.stderr)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true, DisableQuote: true})
	return log
}

// failure is an error with the exit status it leads to.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// judge gives the exit status and the words for an error of a command.
func judge(err error) (status int, message string) {
	status = exitServer
	if f := (*failure)(nil); errors.As(err, &f) {
		status = f.status
	} else if exit := cli.ExitCoder(nil); errors.As(err, &exit) {
		status = exitUsage // of the library itself: help for an unknown command
	}
	message = err.Error()
	if transport := (*url.Error)(nil); errors.As(err, &transport) {
		message += "; is netmaster running there? Name another with --netmaster or NETMASTER"
	}
	return status, message
}

// usage shows how the command is used and returns the error that ends the program so.
func (p *program) usage(c *cli.Context, format string, args ...any) error {
	template := cli.SubcommandHelpTemplate
	var subject any = c.Command
	if c.Command.Name == c.App.Name {
		template, subject = cli.AppHelpTemplate, c.App
	}
	cli.HelpPrinter(p.stderr, template, subject)
	return &failure{exitUsage, fmt.Errorf(format, args...)}
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:      "netctl",
		HelpName:  "netctl",
		Usage:     "make and look at Contiv's tenants, networks and groups",
		Writer:    p.stdout,
		ErrWriter: p.stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "netmaster", EnvVars: []string{"NETMASTER"}, Value: defaultURL,
				Usage: "base `URL` of netmaster; without it, " + fallbackURL + " is asked when the host \"netmaster\" has no address"},
			&cli.BoolFlag{Name: "insecure", EnvVars: []string{"INSECURE"}, Usage: "accept any certificate of the server"},
			&cli.StringFlag{Name: "tls-ca", EnvVars: []string{"NETCTL_TLS_CA"}, Usage: "PEM `FILE` of the authority of the server's certificate; the system's without it"},
			&cli.StringFlag{Name: "tls-cert", EnvVars: []string{"NETCTL_TLS_CERT"}, Usage: "PEM `FILE` of netctl's own certificate"},
			&cli.StringFlag{Name: "tls-key", EnvVars: []string{"NETCTL_TLS_KEY"}, Usage: "PEM `FILE` of the key of --tls-cert"},
			&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version of netctl"},
		},
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // the library would end the process
		OnUsageError:              p.badFlags,
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return p.printf("%s\n", version.Get())
			}
			return p.groupAction(c)
		},
		Commands: []*cli.Command{
			p.aciGwCommand(), p.appProfileCommand(), p.bgpCommand(), p.completionCommand(), p.endpointCommand(), p.contractsCommand(),
			p.globalCommand(),
			p.groupCommand(), p.hostCommand(), p.loginCommand(), p.netprofileCommand(), p.networkCommand(), p.policyCommand(), p.serviceCommand(), p.tenantCommand(),
			p.versionCommand(),
		},
	}
	p.prepare(app.Commands)
	return app
}

// prepare gives every command what all have in common.
func (p *program) prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = p.badFlags
		if len(c.Subcommands) == 0 {
			c.HideHelpCommand = true // "help" after it is an argument
			if c.Name != "login" {   // which waits for a person
				c.Action = inTime(c.Action)
			}
			continue
		}
		c.Action = p.groupAction
		p.prepare(c.Subcommands)
	}
}

// inTime bounds an action.
func inTime(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, cancel := context.WithTimeout(c.Context, commandTimeout)
		defer cancel()
		c.Context = ctx
		return action(c)
	}
}

// groupAction runs where a subcommand should be named: help if there is none, an error if it is unknown.
func (p *program) groupAction(c *cli.Context) error {
	if c.Args().Present() {
		return p.usage(c, "unknown command %q", c.Args().First())
	}
	if c.Command.Name == c.App.Name {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

func (p *program) badFlags(c *cli.Context, err error, _ bool) error {
	return p.usage(c, "%w", err)
}

// arguments returns the words of the command line if they are as many as named.
func (p *program) arguments(c *cli.Context, names ...string) ([]string, error) {
	if c.NArg() != len(names) {
		wanted := "no words"
		if len(names) > 0 {
			wanted = strings.Join(names, " and ")
		}
		return nil, p.usage(c, "%q takes %s, got %q", c.Command.HelpName, wanted, c.Args().Slice())
	}
	return c.Args().Slice(), nil
}

func (p *program) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.stdout, format, args...); err != nil {
		return &failure{exitLocal, fmt.Errorf("writing output: %w", err)}
	}
	return nil
}

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the versions of netctl and of netmaster",
		Action: func(c *cli.Context) error {
			if _, err := p.arguments(c); err != nil {
				return err
			}
			if err := p.printf("Client Version:\n%s\n", version.Get()); err != nil {
				return err
			}
			api, err := p.connect(c, anonymous)
			if err != nil {
				return err
			}
			defer api.Close()
			server, err := api.Version(c.Context)
			if err != nil {
				return &failure{exitVersion, err}
			}
			return p.printf("\nServer Version:\n%s\n", version.Info(*server))
		},
	}
}

// api runs an action with a client.
func (p *program) api(action func(c *cli.Context, api *client.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		api, err := p.connect(c, withToken)
		if err != nil {
			return err
		}
		defer api.Close()
		return action(c, api)
	}
}
