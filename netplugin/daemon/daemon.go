// Package daemon is the program netplugin: it reads the command line, opens the switch, and runs the agent with its
// front ends (CNI, docker) and its REST server until it is told to stop. Stopping changes nothing for what is attached.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs"
	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/mgmtfn/cni"
	"github.com/contiv/contiv/mgmtfn/docker"
	"github.com/contiv/contiv/netplugin/agent"
	"github.com/contiv/contiv/netplugin/hostaccess"
	"github.com/contiv/contiv/netplugin/metrics"
	"github.com/contiv/contiv/netplugin/nameserver"
)

// Exit statuses.
const (
	exitFailure = 1
	exitConfig  = 22 // as the original's
)

// switchTimeout is how long the start waits for Open vSwitch, which may be starting too.
const switchTimeout = 60 * time.Second

// Main runs netplugin with a command line (args[0] is the program) and returns the exit status. It ends on SIGTERM and
// SIGINT.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return run(ctx, args, stdout, stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name: "netplugin", Usage: "the agent of Contiv", HideVersion: true, HideHelpCommand: true,
		Flags: flags(), CustomAppHelpTemplate: helpTemplate, Writer: stdout, ErrWriter: stderr,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return &configError{err} },
		ExitErrHandler: func(*cli.Context, error) {}, // the status is returned below
		Action: func(c *cli.Context) error {
			if c.Bool(flagVersion) {
				fmt.Fprintln(stdout, version.Get())
				return nil
			}
			return start(c.Context, c, stderr)
		},
	}
	err := app.RunContext(ctx, args)
	var wrong *configError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "netplugin: %v\nnetplugin --help explains the flags\n", err)
		return exitConfig
	default:
		fmt.Fprintf(stderr, "netplugin: %v\n", err)
		return exitFailure
	}
}

func start(ctx context.Context, c *cli.Context, stderr io.Writer) error {
	conf, err := newConfig(c)
	if err != nil {
		return err
	}
	log, err := newLog(conf, stderr)
	if err != nil {
		return err
	}
	for _, warning := range conf.warnings {
		log.Warn(warning)
	}
	if conf.inspectAddress != "" && conf.tls == nil && exposed(conf.inspectAddress) {
		log.Warnf("--%s %s can be reached from other hosts without TLS", flagInspect, conf.inspectAddress)
	}
	dp, err := openSwitch(ctx, conf, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while waiting for the switch
		}
		return err
	}
	defer func() {
		if err := dp.Close(); err != nil {
			log.WithError(err).Warn("closing the connection to the switch")
		}
	}()
	return serve(ctx, conf, dp, log)
}

func openSwitch(ctx context.Context, conf *config, log *logrus.Entry) (drivers.Datapath, error) {
	ctx, cancel := context.WithTimeout(ctx, switchTimeout)
	defer cancel()
	database := filepath.Join(conf.ovsRunDir, "db.sock")
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", database); err != nil {
		log.WithError(err).Warnf("Open vSwitch does not answer at %s; waiting up to %v for it "+
			"(is the package openvswitch-switch installed and its service started? --%s names another directory)", database, switchTimeout, flagOVSRunDir)
	} else {
		_ = conn.Close()
	}
	dp, err := ovs.New(ctx, ovs.Config{
		Host: conf.host, RunDir: conf.ovsRunDir, DatapathType: conf.datapathType, VXLANPort: conf.vxlanPort, Log: log,
		NoHostAccess: !conf.hostAccess,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the switch: %w", err)
	}
	return dp, nil
}

// serve runs everything on top of a datapath until ctx ends or a part fails. All sockets are open before any serves,
// so that a second netplugin by mistake changes nothing.
func serve(ctx context.Context, conf *config, dp drivers.Datapath, log *logrus.Entry) error {
	measured := metrics.New()
	names := nameserver.New(nameserver.Config{Domain: conf.dnsDomain, Servers: conf.dnsServers, Log: log})
	measured.FollowNames(names, nameserver.Outcomes())
	inner, err := agent.New(agent.Config{
		Host: conf.host, VTEP: conf.vtep, VTEP6: conf.vtep6, VXLANPort: conf.vxlanPort, Uplinks: conf.uplinks,
		MTU: conf.mtu, DatapathType: conf.datapathType, Catalog: conf.mode == modeDocker, Build: version.Get().Version,
		Masters: conf.masters, ControlIP: conf.controlIP, TLS: conf.tls, Datapath: measured.Datapath(names.Follow(dp)), Log: log,
		Observe: measured.Call, REST: restURL(conf.inspectAddress, conf.tls != nil),
	})
	if err != nil {
		return err
	}
	host := &observed{inner, measured}
	measured.Follow(inner)
	var engine *docker.Plugin
	if conf.mode == modeDocker {
		if engine, err = newDocker(conf, host, log); err != nil {
			return err
		}
	}
	plugins, err := cni.Listen(conf.cniSocket)
	if err != nil {
		return err
	}
	defer func() { _ = plugins.Close() }() // Serve did, unless something else failed before
	group, ctx := errgroup.WithContext(ctx)
	if conf.inspectAddress != "" {
		listener, err := listenREST(conf.inspectAddress, conf.tls)
		if err != nil {
			return err
		}
		handler := withOperations(withNames(restHandler(host, engine), names), measured.Handler(), conf.pprof)
		group.Go(func() error { return serveREST(ctx, listener, handler) })
	}
	if engine != nil {
		group.Go(func() error { return serveDocker(ctx, engine) })
	}
	group.Go(func() error { return cni.New(host, log).Serve(ctx, plugins) })
	group.Go(func() error { return host.Run(ctx) })
	group.Go(func() error { return hostaccess.Run(ctx, host, log) })
	if interceptor, can := dp.(drivers.NameInterceptor); can {
		group.Go(func() error { return names.Run(ctx, interceptor) })
	}
	log.WithFields(logrus.Fields{
		"netmaster": conf.masters, "vtep": conf.vtep, "datapath": conf.datapathType, "mode": conf.mode,
	}).Infof("netplugin %s started", version.Get().Version)
	err = group.Wait()
	log.Info("netplugin stopped; what is attached stays forwarded")
	return err
}
