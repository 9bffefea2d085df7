package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"github.com/contiv/contiv/mgmtfn"
)

const (
	// engineTimeout bounds one pass over the engine's networks.
	engineTimeout = 60 * time.Second
	// retryFirst and retryMost bound the wait between attempts to reach the engine.
	retryFirst = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

func newBackOff() *backoff.ExponentialBackOff {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = retryFirst, retryMost
	return wait
}

// reconcile compares whenever the catalog or the engine's networks change, and now and then without cause.
func (p *Plugin) reconcile(ctx context.Context) {
	retry, told := newBackOff(), ""
	for ctx.Err() == nil {
		catalog, changed := p.config.Agent.Catalog()
		pause := p.config.Resync
		if err := p.pass(ctx, catalog); err != nil {
			pause = min(pause, retry.NextBackOff())
			if told != err.Error() && p.Status().EngineConnected {
				told = err.Error()
				p.config.Log.WithError(err).Info("not everything is right with the docker engine yet; trying again")
			}
		} else {
			told = ""
			retry.Reset()
		}
		timer := time.NewTimer(pause)
		select {
		case <-changed:
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// pass makes the engine's networks right once. Problems of single networks do not keep it from the others.
func (p *Plugin) pass(ctx context.Context, catalog mgmtfn.Catalog) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	all, err := p.client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing docker networks: %w", err)
	}
	p.learn(all, catalog)
	todo := compare(all, catalog)
	for _, one := range todo.remove {
		if err := p.client.NetworkRemove(ctx, one.ID); err != nil && !errdefs.IsNotFound(err) {
			todo.problems[one.Name] = "cannot be removed: " + err.Error()
			delete(todo.create, one.Name)
			continue
		}
		p.config.Log.WithField("network", one.Name).Info("removed docker network")
	}
	for name, options := range todo.create {
		if err := p.create(ctx, name, options, catalog); err != nil {
			todo.problems[name] = "cannot be created: " + err.Error()
		}
	}
	p.report(todo.problems)
	err = errors.Join(p.collectNetworks(ctx, catalog, all), p.collectEndpoints(ctx), p.people.announceAll(ctx, p.client))
	if len(todo.problems) > 0 {
		err = errors.Join(err, fmt.Errorf("%d docker networks have problems", len(todo.problems)))
	}
	return err
}

// learn what the engine's networks stand for.
func (p *Plugin) learn(all []network.Inspect, catalog mgmtfn.Catalog) {
	now, listed := time.Now(), map[string]binding{}
	for _, one := range all {
		if isOurs(one.Driver) {
			listed[one.ID] = bind(one, catalog, now)
		}
	}
	p.bound.list(listed, now.Add(-p.config.Grace))
}

func (p *Plugin) create(ctx context.Context, name string, options network.CreateOptions, catalog mgmtfn.Catalog) error {
	made, err := p.client.NetworkCreate(ctx, name, options)
	if err != nil {
		return err
	}
	asListed := network.Inspect{ID: made.ID, Options: options.Options, IPAM: *options.IPAM}
	p.bound.set(made.ID, bind(asListed, catalog, time.Now()))
	p.config.Log.WithField("network", name).Info("created docker network")
	return nil
}

// report keeps problems for Status and logs those that are new.
func (p *Plugin) report(problems map[string]string) {
	p.mu.Lock()
	old := p.status.Problems
	p.status.Problems = problems
	p.mu.Unlock()
	for name, problem := range problems {
		if old[name] != problem {
			p.config.Log.WithField("network", name).Warn("docker network: " + problem)
		}
	}
}

// collectNetworks removes Contiv networks whose docker network is gone without the driver having been told, as when
// the engine crashed in the middle of making it.
func (p *Plugin) collectNetworks(ctx context.Context, catalog mgmtfn.Catalog, all []network.Inspect) error {
	var errs []error
	gone := leaked(catalog, p.config.Host, all)
	for _, id := range p.missed("network/", gone) {
		if err := p.config.Agent.DeleteNetwork(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("deleting the network of the lost docker network %s: %w", short(id), err))
			continue
		}
		p.config.Log.WithField("dockerNetwork", short(id)).Info("deleted the network of a lost docker network")
	}
	return errors.Join(errs...)
}

// collectEndpoints unplugs what the engine has no endpoint for.
func (p *Plugin) collectEndpoints(ctx context.Context) error {
	attached, err := p.config.Agent.Attachments(ctx)
	if err != nil {
		return fmt.Errorf("listing attachments: %w", err)
	}
	byNetwork := map[string][]string{}
	for _, one := range attached {
		if one.Owner == Owner {
			byNetwork[one.Notes[noteNetwork]] = append(byNetwork[one.Notes[noteNetwork]], one.ID.ContainerID)
		}
	}
	var gone []string
	var errs []error
	for network, ids := range byNetwork {
		known, err := p.endpoints(ctx, network)
		if err != nil {
			errs = append(errs, err) // what the engine does not tell of may be there
			continue
		}
		gone = append(gone, slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(known, id) })...)
	}
	for _, id := range p.missed("endpoint/", gone) {
		if err := p.config.Agent.Detach(ctx, id, ifName); err != nil {
			errs = append(errs, fmt.Errorf("detaching the lost endpoint %s: %w", short(id), err))
			continue
		}
		p.config.Log.WithField("endpoint", short(id)).Info("detached an endpoint that the docker engine no longer has")
	}
	return errors.Join(errs...)
}

// endpoints of a docker network; none if there is no such network.
func (p *Plugin) endpoints(ctx context.Context, networkID string) ([]string, error) {
	if networkID == "" {
		return nil, nil
	}
	one, err := p.client.NetworkInspect(ctx, networkID, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspecting docker network %s: %w", short(networkID), err)
	}
	var ids []string
	for _, endpoint := range one.Containers {
		ids = append(ids, endpoint.EndpointID)
	}
	return ids, nil
}

// missed answers those of ids that have been missing for longer than the grace time, and remembers the others.
func (p *Plugin) missed(kind string, ids []string) []string {
	now := time.Now()
	var long []string
	still := map[string]time.Time{}
	for _, id := range ids {
		since, known := p.missing[kind+id]
		if !known {
			since = now
		}
		still[kind+id] = since
		if now.Sub(since) >= p.config.Grace {
			long = append(long, id)
		}
	}
	for key, since := range p.missing {
		if len(key) < len(kind) || key[:len(kind)] != kind {
			still[key] = since
		}
	}
	p.missing = still
	return long
}
