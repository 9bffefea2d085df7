// Package daemon is the netmaster process: it opens the store, stands for election, serves REST and the agents, and
// stops all of it cleanly. An edge package; what netmaster means is in the packages it puts together.
//
// A netmaster that does not lead serves reads, passes writes on to the leader and tells agents where the leader is. If
// the store goes away, or is not there yet at the start, the process stays: requests fail with 503 until it is back.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/aci"
	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/distribute/operations"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/metrics"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/consul"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/objdb/etcd"
)

const (
	// openTime is how long one attempt to open an external store may take, maxStorePause the longest wait between two.
	openTime      = 5 * time.Second
	maxStorePause = 5 * time.Second
	// leaderPatience is how long REST waits for a first leader before it answers that there is none.
	leaderPatience = 2 * time.Second
	// drainTime is what requests under way get when the process stops.
	drainTime = 300 * time.Millisecond
)

// Run is the process from start to clean stop, which takes less than a second after the context ends and gives nil.
// The configuration was checked. A *ConfigError is a setting that turned out to be of no use.
func Run(ctx context.Context, cfg Config, log *logrus.Entry) error {
	d, err := open(cfg, log)
	if err != nil {
		return err
	}
	defer d.close()
	return d.run(ctx)
}

// daemon is an open netmaster.
type daemon struct {
	cfg Config
	log *logrus.Entry

	store     objdb.Store
	ledger    *ledger.Ledger
	objects   *objects.Objects
	fabric    *aci.Reconciler
	agents    *distribute.Server
	election  *objdb.Election
	reign     *reign
	roster    *roster
	metrics   *metrics.Metrics
	front     *front
	listeners listeners
	forward   *http.Transport
	storeTLS  *tls.Config // for an external store, nil without
	tooOld    sync.Once   // to tell that this version must not lead
	closers   []func()    // run in reverse order
}

// listeners are open sockets. internal is nil if external takes its connections too; agents is what rpc is on.
type listeners struct {
	external, internal, rpc net.Listener
	agents                  net.Listener
}

// open does what shows at once whether the configuration can be used: it opens the sockets and reads the files.
func open(cfg Config, log *logrus.Entry) (*daemon, error) {
	d := &daemon{cfg: cfg, log: log, roster: newRoster(), metrics: metrics.New()}
	d.front = newFront(d)
	for _, step := range []func() error{d.listen, d.readStoreTLS, d.writePID} {
		if err := step(); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

func (d *daemon) onClose(f func()) { d.closers = append(d.closers, f) }

func (d *daemon) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
	d.closers = nil
}

func (d *daemon) writePID() error {
	if err := os.MkdirAll(d.cfg.RunDir, 0o755); err != nil { //nolint:gosec // other users may read process ids
		return badConfig("--run-dir: %v; name a directory that this user may write", err)
	}
	path := filepath.Join(d.cfg.RunDir, "netmaster.pid")
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil { //nolint:gosec // likewise
		return badConfig("--run-dir: %v; name a directory that this user may write", err)
	}
	d.onClose(func() { _ = os.Remove(path) })
	return nil
}

// listen opens all sockets, before anything that takes time, so that a taken port is told at once. In the addresses of
// the configuration it replaces port 0 by the real one.
func (d *daemon) listen() error {
	rest, agents, err := serverTLS(d.cfg.TLS)
	if err != nil {
		return err
	}
	if d.forward, err = forwardTransport(d.cfg.TLS); err != nil {
		return err
	}
	d.onClose(d.forward.CloseIdleConnections)
	if d.listeners.external, err = d.bind("--external-address", d.cfg.External, rest); err != nil {
		return err
	}
	if d.listeners.agents, err = d.bind("--rpc-address", d.cfg.RPC, nil); err != nil {
		return err
	}
	d.listeners.rpc = secured(d.listeners.agents, agents)
	d.cfg.Internal = withPort(d.cfg.Internal, d.listeners.external)
	host, port, err := net.SplitHostPort(d.cfg.External)
	if err != nil {
		return fmt.Errorf("external address: %w", err)
	}
	internalHost, internalPort, err := net.SplitHostPort(d.cfg.Internal)
	if err != nil {
		return fmt.Errorf("internal address: %w", err)
	}
	samePort := port == internalPort || port == "0"
	if samePort && (isAny(host) || host == internalHost) {
		return nil
	}
	d.listeners.internal, err = d.bind("--internal-address", d.cfg.Internal, rest)
	return err
}

func (d *daemon) bind(flag, address string, secure *tls.Config) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s %s: %w", flag, address, err)
	}
	d.onClose(func() { _ = listener.Close() }) // mostly closed already by its server
	return secured(listener, secure), nil
}

// secured is a listener with TLS, if there is a configuration of it.
func secured(listener net.Listener, config *tls.Config) net.Listener {
	if config == nil {
		return listener
	}
	return tls.NewListener(listener, config)
}

// withPort puts the listener's port in the place of port 0.
func withPort(address string, listener net.Listener) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != "0" {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(portOf(listener)))
}

func portOf(listener net.Listener) int {
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return addr.Port
}

func (d *daemon) readStoreTLS() (err error) {
	d.storeTLS, err = storeTLS(d.cfg.StoreTLS, append(slices.Clone(d.cfg.Etcd), d.cfg.Consul...))
	return err
}

// openStore opens the store of the configuration. An external one that does not answer is waited for until the context
// ends: at boot it may come later, and a netmaster that goes away helps nobody.
func (d *daemon) openStore(ctx context.Context) error {
	if !d.cfg.external() {
		d.front.waitsFor("netmaster is starting: it opens the store in " + d.cfg.DataDir)
		store, err := embedded.Open(ctx, embedded.Config{Dir: d.cfg.DataDir, Log: d.log})
		if unusable := (*fs.PathError)(nil); errors.As(err, &unusable) {
			return badConfig("--data-dir: %v; name a directory that this user may write", err)
		}
		if err != nil {
			return err
		}
		d.useStore(store)
		return nil
	}
	const waiting = "netmaster waits for its store"
	d.front.waitsFor(fmt.Sprintf("%s: %s", waiting, strings.Join(append(slices.Clone(d.cfg.Etcd), d.cfg.Consul...), ", ")))
	stop := turnAway(d.listeners.agents)
	defer stop()
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = maxStorePause
	for told := ""; ; {
		attempt, cancel := context.WithTimeout(ctx, openTime)
		store, err := d.openExternal(attempt, d.storeTLS)
		cancel()
		if err == nil {
			d.useStore(store)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.front.waitsFor(fmt.Sprintf("%s: %v", waiting, err))
		if told != err.Error() {
			told = err.Error()
			d.log.WithError(err).Warn("waiting for the store")
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// turnAway closes the connections of agents until stop is called, so that they go on to a netmaster that can serve them.
func turnAway(listener net.Listener) (stop func()) {
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return func() {
		_ = tcp.SetDeadline(time.Unix(1, 0)) // ends Accept
		<-done
		_ = tcp.SetDeadline(time.Time{})
	}
}

func (d *daemon) openExternal(ctx context.Context, secure *tls.Config) (objdb.Store, error) {
	if len(d.cfg.Consul) > 0 {
		return consul.Open(ctx, consul.Config{Endpoints: d.cfg.Consul, TLS: secure})
	}
	return etcd.Open(ctx, etcd.Config{Endpoints: d.cfg.Etcd, TLS: secure})
}

func (d *daemon) useStore(store objdb.Store) {
	d.store = store
	d.onClose(func() {
		if err := store.Close(); err != nil {
			d.log.WithError(err).Warn("closing the store")
		}
	})
}

// assemble puts the parts of netmaster together on the open store.
func (d *daemon) assemble(ctx context.Context) error {
	build := version.Get()
	d.election = objdb.NewElection(d.store, objdb.ElectionConfig{
		Self: objdb.Leader{
			Holder: hostName(), Address: d.cfg.Internal, RPCAddress: d.rpcAddress(), Version: build.Version,
		},
		MayLead: d.mayLead,
		Alone:   !d.cfg.external(),
	})
	var err error
	d.ledger, err = ledger.Open(ctx, d.metrics.Store(d.store), d.election.Fence, d.log)
	if err != nil {
		return fmt.Errorf("opening the model: %w", err)
	}
	d.onClose(d.ledger.Close)
	d.objects = objects.New(d.ledger, objects.Options{
		AddressRest: d.cfg.AddressRest, HostDeadAfter: d.cfg.HostDeadAfter,
	}, d.log)
	d.agents = distribute.NewServer(distribute.Config{
		Operations: operations.New(d.objects, d.ledger, d.log),
		Masters:    d.roster.rpcAddresses,
		Build:      build.Version,
		Log:        d.log,
	})
	d.objects.SetAgents(d.agents)
	d.fabric = &aci.Reconciler{Model: d.ledger, Notes: d.objects, Gateway: aci.Client{URL: d.cfg.ACIGateway}, Log: d.log}
	d.onClose(operations.Feed(d.ledger, d.agents, d.log))
	d.reign = newReign(d)
	d.metrics.Follow(metrics.Sources{
		Model: d.ledger.ViewCached, Agents: d.agents.Hosts, Traffic: d.agents.Traffic, Orphans: d.objects.Orphans,
		Leads: func() bool { _, leads := d.reign.Leader(); return leads },
	})
	d.front.serve(api.Handler(api.Options{
		Reader: d.ledger, Changes: api.ChangesOf(d.objects), Agents: d.agents, Reports: d.agents, Cluster: d.reign,
		Mode: d.cfg.Mode, Forward: d.forward, Log: d.log, Observe: d.metrics.Request, Fabric: d.fabric.Status,
	}))
	return nil
}

// rpcAddress is where agents reach this netmaster: if it listens on every address, on that of REST.
func (d *daemon) rpcAddress() string {
	host, _, err := net.SplitHostPort(d.cfg.RPC)
	if err != nil || isAny(host) {
		host, _, _ = net.SplitHostPort(d.cfg.Internal) // was checked
	}
	return net.JoinHostPort(host, strconv.Itoa(portOf(d.listeners.rpc)))
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// run serves until the context ends or something that cannot be repaired fails.
func (d *daemon) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { collect(ctx); return nil })
	group.Go(func() error { return d.serveREST(ctx) })
	group.Go(func() error { return d.start(ctx, group) })
	err := group.Wait()
	if err == nil || errors.Is(err, context.Canceled) {
		d.log.Info("netmaster has stopped")
		return nil
	}
	return err
}

// start opens the store and gives the group all that runs on it.
func (d *daemon) start(ctx context.Context, group *errgroup.Group) error {
	if err := d.openStore(ctx); err != nil {
		return err
	}
	if err := d.assemble(ctx); err != nil {
		return err
	}
	d.log.WithFields(logrus.Fields{
		"version": version.Get().Version, "rest": d.listeners.external.Addr().String(), "agents": d.rpcAddress(), "store": d.store.ID(),
	}).Info("netmaster is up")
	group.Go(func() error { return d.election.Run(ctx) })
	group.Go(func() error {
		select {
		case <-d.ledger.SetBack():
			return fmt.Errorf("%w; start netmaster again to go on with that", ledger.ErrSetBack)
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error { return d.reign.run(ctx) })
	group.Go(func() error { return objdb.Follow(ctx, d.store, rosterPrefix, d.roster) })
	for _, registration := range d.reign.registrations {
		group.Go(func() error { return registration.Run(ctx) })
	}
	group.Go(func() error { return d.agents.Serve(ctx, d.listeners.rpc) })
	return nil
}

func (d *daemon) serveREST(ctx context.Context) error {
	server := api.NewServer(d.front)
	group, ctx := errgroup.WithContext(ctx)
	for _, listener := range []net.Listener{d.listeners.external, d.listeners.internal} {
		if listener == nil {
			continue
		}
		group.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving REST: %w", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if server.Shutdown(drain) != nil {
			return server.Close() // who is not done by now is cut off
		}
		return nil
	})
	return group.Wait()
}
