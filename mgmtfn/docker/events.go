package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// eventTimeout bounds what one event causes.
const eventTimeout = 10 * time.Second

// follow listens to the engine's events until ctx ends, over every restart of the engine.
func (p *Plugin) follow(ctx context.Context) {
	retry := newBackOff()
	told := false
	for ctx.Err() == nil {
		err := p.listen(ctx, func() { retry.Reset(); told = false })
		p.connected("")
		if ctx.Err() != nil {
			return
		}
		if !told {
			p.config.Log.WithError(err).Warn("lost the docker engine; waiting for it")
			told = true
		}
		select {
		case <-time.After(retry.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// connected notes whether the engine answers, and with which API version.
func (p *Plugin) connected(version string) {
	p.mu.Lock()
	p.status.EngineConnected, p.status.APIVersion = version != "", version
	p.mu.Unlock()
	if version == "" {
		p.before.lost(time.Now())
		return
	}
	p.before.back(time.Now())
	p.kick()
}

// listen handles events until the stream breaks, and says why.
func (p *Plugin) listen(ctx context.Context, begun func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := p.events.Ping(ctx); err != nil {
		return fmt.Errorf("docker engine %s: %w", p.config.DockerHost, err)
	}
	p.events.NegotiateAPIVersion(ctx)
	messages, errs := p.events.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("type", string(events.NetworkEventType)),
		filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionDie)),
		filters.Arg("event", string(events.ActionCreate)), filters.Arg("event", string(events.ActionDestroy)),
		filters.Arg("event", string(events.ActionConnect)),
	)})
	p.connected(p.events.ClientVersion())
	begun()
	for {
		select {
		case message := <-messages:
			p.heard(ctx, message)
		case err := <-errs:
			return fmt.Errorf("events of docker engine %s: %w", p.config.DockerHost, err)
		}
	}
}

func (p *Plugin) heard(ctx context.Context, message events.Message) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	var err error
	switch {
	case message.Type == events.NetworkEventType && message.Action == events.ActionConnect:
		err = p.people.announce(ctx, p.events, message.Actor.Attributes["container"])
	case message.Type == events.NetworkEventType:
		p.kick()
	case message.Action == events.ActionStart:
		err = p.people.announce(ctx, p.events, message.Actor.ID)
	case message.Action == events.ActionDie:
		err = p.people.died(ctx, message.Actor.ID)
	}
	if err != nil {
		p.config.Log.WithError(err).Warn("netmaster was not told the name of a container; it will be")
	}
}

// containers tells netmaster whose endpoints are whose: the drivers are told endpoint ids only. All methods may be
// called at once.
type containers struct {
	agent Agent

	mu   sync.Mutex
	told map[string]map[string]protocol.EndpointID // by container, by endpoint
	// returns tells of an endpoint whether its container has a restart policy.
	returns map[string]bool
}

func newContainers(agent Agent) *containers {
	return &containers{agent: agent, told: map[string]map[string]protocol.EndpointID{}, returns: map[string]bool{}}
}

// announceAll tells of every running container that netmaster was not told of, and of those that died unheard.
func (c *containers) announceAll(ctx context.Context, engine *client.Client) error {
	c.mu.Lock()
	gone := maps.Clone(c.told)
	c.mu.Unlock()
	running, err := c.tell(ctx, engine, filters.NewArgs())
	if err != nil {
		return err
	}
	for _, one := range running {
		delete(gone, one.ID)
	}
	var errs []error
	for id := range gone {
		errs = append(errs, c.died(ctx, id))
	}
	return errors.Join(errs...)
}

// announce tells of one container.
func (c *containers) announce(ctx context.Context, engine *client.Client, id string) error {
	_, err := c.tell(ctx, engine, filters.NewArgs(filters.Arg("id", id)))
	return err
}

func (c *containers) tell(ctx context.Context, engine *client.Client, which filters.Args) ([]container.Summary, error) {
	// Listing reads the engine's snapshot; inspecting a container could wait for a call of the drivers.
	running, err := engine.ContainerList(ctx, container.ListOptions{Filters: which})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	attached, err := c.agent.Attachments(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing attachments: %w", err)
	}
	ours := map[string]mgmtfn.Attachment{}
	for _, one := range attached {
		if one.Owner == Owner {
			ours[one.ID.ContainerID] = one
		}
	}
	var errs []error
	for _, one := range running {
		if one.NetworkSettings == nil {
			continue
		}
		for _, endpoint := range one.NetworkSettings.Networks {
			if attachment, ok := ours[endpoint.EndpointID]; ok {
				errs = append(errs, c.started(ctx, engine, one, attachment.ID))
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.returns, func(id string, _ bool) bool { _, attached := ours[id]; return !attached })
	return running, errors.Join(errs...)
}

func (c *containers) started(ctx context.Context, engine *client.Client, one container.Summary, endpoint protocol.EndpointID) error {
	c.mu.Lock()
	_, known := c.told[one.ID][endpoint.ContainerID]
	c.mu.Unlock()
	if known {
		return nil
	}
	if details, err := engine.ContainerInspect(ctx, one.ID); err == nil && details.HostConfig != nil { // else it may be either
		c.mu.Lock()
		c.returns[endpoint.ContainerID] = !details.HostConfig.RestartPolicy.IsNone()
		c.mu.Unlock()
	}
	event := protocol.ProviderEvent{Event: "start", ID: endpoint, ContainerName: containerName(one), Labels: one.Labels, RuntimeID: one.ID}
	if err := c.agent.ProviderEvent(ctx, event); err != nil {
		return fmt.Errorf("telling the name of container %s: %w", event.ContainerName, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[one.ID] == nil {
		c.told[one.ID] = map[string]protocol.EndpointID{}
	}
	c.told[one.ID][endpoint.ContainerID] = endpoint
	return nil
}

// mayReturn: the endpoint's container is not known to stay away when its engine restarts.
func (c *containers) mayReturn(endpointID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	returns, known := c.returns[endpointID]
	return returns || !known
}

// died tells that a container's endpoints serve nobody now.
func (c *containers) died(ctx context.Context, id string) error {
	c.mu.Lock()
	endpoints := c.told[id]
	delete(c.told, id)
	c.mu.Unlock()
	var errs []error
	for _, endpoint := range endpoints {
		if err := c.agent.ProviderEvent(ctx, protocol.ProviderEvent{Event: "die", ID: endpoint}); err != nil {
			errs = append(errs, fmt.Errorf("telling that container %s died: %w", short(id), err))
		}
	}
	return errors.Join(errs...)
}

func containerName(one container.Summary) string {
	for _, name := range one.Names {
		// Names of links have a second slash.
		if name = strings.TrimPrefix(name, "/"); name != "" && !strings.Contains(name, "/") {
			return name
		}
	}
	return short(one.ID)
}
