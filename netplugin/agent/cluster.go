package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// ReserveAddress takes an address for an endpoint that does not exist yet.
func (a *Agent) ReserveAddress(ctx context.Context, want protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	what := fmt.Sprintf("reserving an address in network %q of tenant %q", want.Network, want.Tenant)
	if err := a.askable(ctx); err != nil {
		return protocol.ReserveAddressReply{}, fmt.Errorf("%s: %w", what, err)
	}
	answer, err := a.session.ReserveAddress(ctx, want)
	return answer, a.asked(what, err)
}

// ReleaseAddress gives up a reservation that no endpoint used; an unknown token is no error.
func (a *Agent) ReleaseAddress(ctx context.Context, token string) error {
	return a.asked("releasing a reserved address", a.session.ReleaseAddress(ctx, token))
}

// CreateNetwork makes a network for a docker network of this host, or answers the one it made before. The agent fills
// in the host.
func (a *Agent) CreateNetwork(ctx context.Context, want protocol.CreateNetworkRequest) (protocol.Network, error) {
	what := fmt.Sprintf("creating network %q of tenant %q", want.Network, want.Tenant)
	if err := a.askable(ctx); err != nil {
		return protocol.Network{}, fmt.Errorf("%s: %w", what, err)
	}
	want.Host = a.config.Host
	answer, err := a.session.CreateNetwork(ctx, want)
	if err != nil {
		return protocol.Network{}, a.asked(what, err)
	}
	for _, record := range answer.Records {
		body, err := record.Decode()
		if err != nil {
			return protocol.Network{}, fmt.Errorf("%s: netmaster's answer: %w", what, err)
		}
		if network, ok := body.(*protocol.Network); ok {
			return *network, nil
		}
	}
	return protocol.Network{}, fmt.Errorf("%s: netmaster's answer holds no network", what)
}

// DeleteNetwork removes a network that CreateNetwork made for this docker network; any other is left alone.
func (a *Agent) DeleteNetwork(ctx context.Context, dockerNetworkID string) error {
	return a.asked("deleting the network of docker network "+dockerNetworkID,
		a.session.DeleteNetwork(ctx, protocol.DeleteNetworkRequest{Host: a.config.Host, DockerNetworkID: dockerNetworkID}))
}

// ProviderEvent tells netmaster what an orchestrator says of a container of this host.
func (a *Agent) ProviderEvent(ctx context.Context, event protocol.ProviderEvent) error {
	event.ID.Host = a.config.Host
	return a.asked("reporting an event of container "+event.ID.ContainerID, a.session.ProviderEvent(ctx, event))
}

// Catalog answers the networks and groups that the host knows: all of the cluster with Config.Catalog. It does not
// block. The channel is closed when the catalog is no longer this one.
func (a *Agent) Catalog() (mgmtfn.Catalog, <-chan struct{}) {
	a.mu.Lock()
	changed := a.catalog
	a.mu.Unlock()
	catalog := mgmtfn.Catalog{Complete: a.session.Status().Desired.Store != ""}
	for _, network := range bodies[*protocol.Network](a, protocol.KindNetwork) {
		catalog.Networks = append(catalog.Networks, *network)
	}
	for _, group := range bodies[*protocol.Group](a, protocol.KindGroup) {
		catalog.Groups = append(catalog.Groups, *group)
	}
	return catalog, changed
}

// Host is this host's name.
func (a *Agent) Host() string { return a.config.Host }

// Status is what GET /inspect/driver shows.
type Status struct {
	Host     string         `json:"host"`
	Session  session.Status `json:"session"`
	Datapath drivers.Status `json:"datapath"`
	// Attachments and Removed (netmaster was not told yet) are what the switch remembers; Problem says why that cannot be
	// read.
	Attachments []protocol.Attachment `json:"attachments"`
	Removed     []protocol.EndpointID `json:"removed"`
	Problem     string                `json:"problem,omitempty"`
}

// Status tells how the host stands, as far as that is known.
func (a *Agent) Status(ctx context.Context) Status {
	status := Status{
		Host: a.config.Host, Session: a.session.Status(), Datapath: a.dp.Status(),
		Attachments: []protocol.Attachment{}, Removed: []protocol.EndpointID{},
	}
	ports, removed, err := a.memory(ctx)
	if err != nil {
		status.Problem = err.Error()
		return status
	}
	status.Removed = append(status.Removed, removed...)
	for i := range ports {
		status.Attachments = append(status.Attachments, announce(&ports[i].Port))
	}
	return status
}

// memory is what the switch remembers of this host.
func (a *Agent) memory(ctx context.Context) ([]drivers.Attachment, []protocol.EndpointID, error) {
	ports, err := a.dp.Attachments(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the attachments of this host: %w", err)
	}
	removed, err := a.dp.Removed(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reading what was removed from this host: %w", err)
	}
	return ports, removed, nil
}

func bodies[B protocol.Body](a *Agent, kind protocol.Kind) []B {
	byKey := a.session.Bodies(kind)
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	list := make([]B, 0, len(keys))
	for _, key := range keys {
		if body, ok := byKey[key].(B); ok {
			list = append(list, body)
		}
	}
	return list
}

func sortAttachments(list []protocol.Attachment) {
	slices.SortFunc(list, func(one, other protocol.Attachment) int {
		return cmp.Compare(one.ID.String(), other.ID.String())
	})
}
