package docker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/client"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

// Names under which the drivers are served: the original's, and the project's.
const (
	PluginName      = "netplugin"
	PluginNameShort = "contiv"
)

// DefaultPluginDir is where engines look for plugin sockets.
const DefaultPluginDir = "/run/docker/plugins"

// Config of a Plugin. Zero values mean the defaults named.
type Config struct {
	Agent Agent  // required
	Host  string // this host's name, required
	// PluginDir holds the sockets (DefaultPluginDir).
	PluginDir string
	// DockerHost is the engine's address, such as unix:///run/docker.sock (client.DefaultDockerHost).
	DockerHost string
	// Resync is how often docker networks and endpoints are compared without cause (30 s).
	Resync time.Duration
	// Grace is how long an endpoint or network must have been missing in the engine until what it has here is taken
	// away (60 s): the engine lists them only after its call of the driver returned.
	Grace time.Duration
	Log   *logrus.Entry // required
}

// Plugin serves one engine.
type Plugin struct {
	config  Config
	client  *client.Client // of the reconciling goroutine
	events  *client.Client // of the listening goroutine
	handler *networkDriver
	ipam    *ipamDriver
	bound   *bindings
	before  *returning
	people  *containers
	wake    chan struct{}

	// Used by the reconciling goroutine only: since when something is missing in the engine, by id.
	missing map[string]time.Time

	mu     sync.Mutex
	status Status
}

// Status is what inspection shows.
type Status struct {
	EngineConnected bool   `json:"engineConnected"`
	APIVersion      string `json:"apiVersion,omitempty"`
	// Networks is how many docker networks of this engine are Contiv's.
	Networks int `json:"networks"`
	// Problems tells, by docker network name, what could not be made right.
	Problems map[string]string `json:"problems,omitempty"`
}

// New makes a plugin; Run starts it. It does not talk to the engine.
func New(config Config) (*Plugin, error) {
	if config.Agent == nil || config.Host == "" || config.Log == nil {
		return nil, errors.New("docker plugin: Agent, Host and Log are required")
	}
	if config.PluginDir == "" {
		config.PluginDir = DefaultPluginDir
	}
	if config.DockerHost == "" {
		config.DockerHost = client.DefaultDockerHost
	}
	if config.Resync == 0 {
		config.Resync = 30 * time.Second
	}
	if config.Grace == 0 {
		config.Grace = time.Minute
	}
	var clients [2]*client.Client // one for each goroutine: a client must not be shared until it has agreed on a version
	for i := range clients {
		var err error
		if clients[i], err = client.NewClientWithOpts(client.WithHost(config.DockerHost), client.WithAPIVersionNegotiation()); err != nil {
			return nil, fmt.Errorf("docker engine %s: %w", config.DockerHost, err)
		}
	}
	p := &Plugin{config: config, client: clients[0], events: clients[1], before: newReturning(), wake: make(chan struct{}, 1), missing: map[string]time.Time{}}
	p.bound = newBindings(p.kick)
	p.people = newContainers(config.Agent)
	asked, reserved := &pools{}, newReservations()
	p.handler = &networkDriver{agent: config.Agent, bound: p.bound, pools: asked, reserved: reserved, before: p.before, people: p.people}
	p.ipam = &ipamDriver{agent: config.Agent, bound: p.bound, pools: asked, reserved: reserved, before: p.before, patience: catalogWait, log: config.Log}
	return p, nil
}

// Run serves the sockets and keeps the engine's networks right until ctx ends, which is no error. It fails if the
// sockets cannot be served; an engine that is away is waited for.
func (p *Plugin) Run(ctx context.Context) error {
	defer func() { _, _ = p.client.Close(), p.events.Close() }() // ends idle connections
	var sockets []*socket
	for _, name := range []string{PluginName, PluginNameShort} {
		listener, err := listen(filepath.Join(p.config.PluginDir, name+".sock"))
		if err != nil {
			for _, open := range sockets {
				err = errors.Join(err, open.Close(), open.remove())
			}
			return err
		}
		sockets = append(sockets, listener)
	}
	p.seed(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, sockets, newHandler(p.handler, p.ipam, p.config.Log)) })
	group.Go(func() error { p.follow(ctx); return nil })
	group.Go(func() error { p.reconcile(ctx); return nil })
	return group.Wait()
}

// Status may be called at any time.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status
	status.Networks = p.bound.count()
	return status
}

// kick asks for a reconciliation soon.
func (p *Plugin) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// seed learns from the attachments what docker networks stand for, until the engine answers.
func (p *Plugin) seed(ctx context.Context) {
	attached, err := p.config.Agent.Attachments(ctx)
	if err != nil {
		p.config.Log.WithError(err).Warn("attachments are not known yet; the docker engine will tell what its networks are")
		return
	}
	for _, one := range attached {
		id := one.Notes[noteNetwork]
		if one.Owner != Owner || id == "" {
			continue
		}
		p.bound.set(id, binding{target: target{one.Tenant, one.Network, one.Notes[noteGroup]}, since: time.Now()})
	}
}

func isOurs(driver string) bool {
	return slices.Contains([]string{PluginName, PluginNameShort}, driver)
}
