// Package cli is the command line of contiv-sandbox.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/install/version"
	"github.com/urfave/cli/v2"
)

// Run runs the command line and returns its exit status: 0, 1 for a failure, or that of the command which exec or
// host ran. Messages go to stderr.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp()
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
	err := app.RunContext(ctx, args)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "contiv-sandbox: interrupted; \"contiv-sandbox down\" removes what is left")
		return 1
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode() // the command has said why
	default:
		fmt.Fprintf(stderr, "contiv-sandbox: %v\n", err)
		return 1
	}
}

func newApp() *cli.App {
	app := &cli.App{
		Name:            "contiv-sandbox",
		Usage:           "a whole Contiv cluster on this machine, in network namespaces",
		Version:         version.Version,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("unknown command %q; contiv-sandbox --help lists them", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Flags: []cli.Flag{&cli.StringFlag{Name: "sandbox", EnvVars: []string{"CONTIV_SANDBOX"}, Value: "contiv",
			Usage: "`NAME` of the sandbox, to have several"}},
		Commands: []*cli.Command{
			upCommand(), downCommand(), statusCommand(), envCommand(),
			runCommand(), execCommand(), removeCommand(), psCommand(), hostCommand(),
			componentCommand("stop", "end a component cleanly", func(_ context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Stop(c, n)
			}),
			componentCommand("start", "start a component that was stopped or killed", func(ctx context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Start(ctx, c, n)
			}),
			componentCommand("kill", "kill -9 a component", func(_ context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Kill(c, n)
			}),
			componentCommand("restart", "stop a component and start it again", func(ctx context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Restart(ctx, c, n)
			}),
			componentCommand("pause", "freeze a component (SIGSTOP)", func(_ context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Pause(c, n)
			}),
			componentCommand("resume", "let a paused component go on", func(_ context.Context, s *sandbox.Sandbox, c sandbox.Component, n int) error {
				return s.Resume(c, n)
			}),
			linkCommand(), partitionCommand(), healCommand(),
		},
	}
	for _, command := range app.Commands {
		refuseArguments(command)
	}
	return app
}

// refuseArguments has commands that take no words say so when they get some.
func refuseArguments(command *cli.Command) {
	for _, below := range command.Subcommands {
		refuseArguments(below)
	}
	if command.ArgsUsage != "" || len(command.Subcommands) > 0 {
		return
	}
	do := command.Action
	command.Action = func(c *cli.Context) error {
		if c.NArg() > 0 {
			return fmt.Errorf("%s takes flags only, not %q; see contiv-sandbox %s --help", c.Command.Name, c.Args().First(), c.Command.Name)
		}
		return do(c)
	}
}

func open(c *cli.Context) (*sandbox.Sandbox, error) { return sandbox.Open(c.String("sandbox")) }

func upCommand() *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "build a cluster",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "hosts", Value: 3, Usage: "`NUMBER` of hosts"},
			&cli.IntFlag{Name: "netmasters", Value: 1, Usage: "`NUMBER` of netmasters (more than one needs an external store)"},
			&cli.StringFlag{Name: "fwd-mode", Value: "bridge", Usage: "`MODE` of forwarding: bridge or routing"},
			&cli.StringFlag{Name: "store", Value: sandbox.StoreEmbedded, Usage: "`STORE`: embedded, etcd or consul"},
			&cli.StringFlag{Name: "fabric", Value: "vxlan", Usage: "`FABRIC`: vxlan, vlan or bgp"},
			&cli.StringFlag{Name: "router", Usage: "`ROUTER` of fabric bgp: frr or bird"},
			&cli.BoolFlag{Name: "docker", Usage: "start a Docker Engine on every host"},
			&cli.BoolFlag{Name: "live-restore", Usage: "with --docker: containers outlive their engine"},
		},
		Action: func(c *cli.Context) error {
			if c.IsSet("router") {
				return &sandbox.NotYetError{What: "router " + c.String("router")}
			}
			if c.Int("hosts") < 1 || c.Int("netmasters") < 1 {
				return errors.New("a cluster has at least one host and one netmaster")
			}
			begin := time.Now()
			s, err := sandbox.Up(c.Context, sandbox.Config{
				Name: c.String("sandbox"), Hosts: c.Int("hosts"), Netmasters: c.Int("netmasters"), FwdMode: c.String("fwd-mode"),
				Store: c.String("store"), Fabric: c.String("fabric"), Docker: c.Bool("docker"), LiveRestore: c.Bool("live-restore"),
			}, c.App.Writer)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "%d hosts are ready after %.1f s; netmaster: %s\n", s.Hosts(), time.Since(begin).Seconds(), s.URL())
			return err
		},
	}
}

func downCommand() *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "remove the cluster and everything it made, also after a crash",
		Action: func(c *cli.Context) error { return sandbox.Down(c.Context, c.String("sandbox")) },
	}
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "what runs where", Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			s, err := open(c)
			if err != nil {
				return err
			}
			status, err := s.Status()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, status)
			}
			return printStatus(c.App.Writer, status)
		},
	}
}

func printStatus(w io.Writer, status sandbox.Status) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "netmaster: %s\nlogs: %s/log\n\nHost\tManagement\tVTEP\tNamespace", status.NetmasterURL, status.Dir)
	for _, component := range sandbox.Components {
		fmt.Fprintf(table, "\t%s", component)
	}
	fmt.Fprintln(table)
	for _, host := range status.Hosts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s", host.Name, host.Management, host.VTEP, host.NetNS)
		for _, component := range sandbox.Components {
			pid, has := host.PIDs[string(component)]
			text := "-"
			if has {
				text = "down"
				if pid != 0 {
					text = strconv.Itoa(pid)
				}
			}
			fmt.Fprintf(table, "\t%s", text)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

func envCommand() *cli.Command {
	return &cli.Command{
		Name: "env", Usage: "print what netctl needs: eval \"$(contiv-sandbox env)\"",
		Action: func(c *cli.Context) error {
			s, err := open(c)
			if err != nil {
				return err
			}
			for _, variable := range s.Environment(0) {
				name, value, _ := strings.Cut(variable, "=")
				if _, err := fmt.Fprintf(c.App.Writer, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "start a workload: a namespace attached through the CNI plugin", ArgsUsage: "[-- COMMAND...]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Required: true, Usage: "`NAME` of the workload"},
			&cli.IntFlag{Name: "host", Value: 1, Usage: "`NUMBER` of the host"},
			&cli.StringFlag{Name: "tenant", Aliases: []string{"t"}, Usage: "`TENANT` (default: default)"},
			&cli.StringFlag{Name: "network", Aliases: []string{"n"}, Usage: "`NETWORK` (default: the group's, else default-net)"},
			&cli.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "endpoint `GROUP`"},
			&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE`, may be repeated"},
		},
		Action: func(c *cli.Context) error {
			labels, err := parseLabels(c.StringSlice("label"))
			if err != nil {
				return err
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			started, err := s.Run(c.Context, sandbox.Workload{Name: c.String("name"), Host: c.Int("host"), Tenant: c.String("tenant"),
				Network: c.String("network"), Group: c.String("group"), Labels: labels, Command: c.Args().Slice()})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s on host %d: %s\n", started.Name, started.Host, strings.Join(started.Addresses, " "))
			return err
		},
	}
}

func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	labels := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("label %q: write it as KEY=VALUE", text)
		}
		labels[key] = value
	}
	return labels, nil
}

func execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a command inside a workload", ArgsUsage: "WORKLOAD -- COMMAND...",
		Action: func(c *cli.Context) error {
			name, args := c.Args().First(), afterDashes(c.Args().Tail())
			if name == "" || len(args) == 0 {
				return errors.New("usage: contiv-sandbox exec WORKLOAD -- COMMAND...")
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			cmd, err := s.Exec(c.Context, name, args...)
			return runForeground(c, cmd, err)
		},
	}
}

func hostCommand() *cli.Command {
	return &cli.Command{
		Name: "host", Usage: "run a command as a host, with the environment of its tools", ArgsUsage: "NUMBER -- COMMAND...",
		Action: func(c *cli.Context) error {
			host, err := strconv.Atoi(c.Args().First())
			args := afterDashes(c.Args().Tail())
			if err != nil || len(args) == 0 {
				return errors.New("usage: contiv-sandbox host NUMBER -- COMMAND...")
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			cmd, err := s.OnHost(c.Context, host, args...)
			return runForeground(c, cmd, err)
		},
	}
}

// afterDashes drops the "--" that separates a command from ours.
func afterDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

func runForeground(c *cli.Context, cmd *sandbox.Command, err error) error {
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.App.Reader, c.App.Writer, c.App.ErrWriter
	return cmd.Run()
}

func removeCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "end and detach workloads", ArgsUsage: "WORKLOAD...",
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errors.New("usage: contiv-sandbox rm WORKLOAD...")
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			for _, name := range c.Args().Slice() {
				if err := s.Remove(name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func psCommand() *cli.Command {
	return &cli.Command{
		Name: "ps", Usage: "list workloads", Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			s, err := open(c)
			if err != nil {
				return err
			}
			workloads, err := s.List()
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, workloads)
			}
			table := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
			fmt.Fprintln(table, "Name\tHost\tTenant\tNetwork\tGroup\tAddresses\tMAC\tCommand")
			for _, w := range workloads {
				fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", w.Name, w.Host, w.Tenant, w.Network, w.Group,
					strings.Join(w.Addresses, " "), w.MAC, strings.Join(w.Command, " "))
			}
			return table.Flush()
		},
	}
}

// componentCommand makes one of stop, start, kill, restart, pause, resume; the component is a command below it, so
// that --host may follow it.
func componentCommand(name, usage string, do func(context.Context, *sandbox.Sandbox, sandbox.Component, int) error) *cli.Command {
	command := &cli.Command{Name: name, Usage: usage, HideHelpCommand: true}
	for _, component := range sandbox.Components {
		numberFlag := "host"
		if component == sandbox.Netmaster {
			numberFlag = "netmaster"
		}
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name: string(component), Usage: name + " " + string(component),
			Flags: []cli.Flag{&cli.IntFlag{Name: numberFlag, Value: 1, Usage: "`NUMBER`"}},
			Action: func(c *cli.Context) error {
				s, err := open(c)
				if err != nil {
					return err
				}
				return do(c.Context, s, component, c.Int(numberFlag))
			},
		})
	}
	command.Action = func(c *cli.Context) error {
		return fmt.Errorf("usage: contiv-sandbox %s COMPONENT, one of %v", name, sandbox.Components)
	}
	return command
}

func linkCommand() *cli.Command {
	return &cli.Command{
		Name: "link", Usage: "pull or plug a host's underlay cable", ArgsUsage: "NUMBER down|up",
		Action: func(c *cli.Context) error {
			host, err := strconv.Atoi(c.Args().First())
			state := c.Args().Get(1)
			if err != nil || state != "up" && state != "down" {
				return errors.New("usage: contiv-sandbox link NUMBER down|up")
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			return s.Link(host, state == "up")
		},
	}
}

func partitionCommand() *cli.Command {
	return &cli.Command{
		Name: "partition", Usage: "cut the network between groups of hosts, such as 1,2 3", ArgsUsage: "HOST,... HOST,...",
		Action: func(c *cli.Context) error {
			var sides [][]int
			for _, text := range c.Args().Slice() {
				var side []int
				for _, number := range strings.Split(text, ",") {
					host, err := strconv.Atoi(number)
					if err != nil {
						return fmt.Errorf("%q is not a list of host numbers such as 1,2", text)
					}
					side = append(side, host)
				}
				sides = append(sides, side)
			}
			if len(sides) < 2 {
				return errors.New("usage: contiv-sandbox partition 1,2 3")
			}
			s, err := open(c)
			if err != nil {
				return err
			}
			return s.Partition(sides...)
		},
	}
}

func healCommand() *cli.Command {
	return &cli.Command{
		Name: "heal", Usage: "end every partition",
		Action: func(c *cli.Context) error {
			s, err := open(c)
			if err != nil {
				return err
			}
			return s.Heal()
		},
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
