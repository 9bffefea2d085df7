package docker

import (
	"context"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Agent is what the drivers need of netplugin. Its parts may be called at once; errors say what was being
// done and to what, and are those of package mgmtfn and *protocol.Error.
type Agent interface {
	Plugger
	Cluster
	Cataloger
}

// Plugger plugs interfaces in and out on this host. It works for what is plugged in also while netmaster is away.
type Plugger interface {
	// Attach is idempotent for a container id and interface name.
	Attach(ctx context.Context, req mgmtfn.AttachRequest) (mgmtfn.Attachment, error)
	// Detach of something that is not attached is no error.
	Detach(ctx context.Context, containerID, ifName string) error
	// Attachments are all of this host, of every front end, as remembered by the switch.
	Attachments(ctx context.Context) ([]mgmtfn.Attachment, error)
}

// Cluster is what only netmaster can do. The agent fills in its host's name.
type Cluster interface {
	// ReserveAddress takes an address for some 60 s; an endpoint that names the token keeps it.
	ReserveAddress(ctx context.Context, req protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error)
	// ReleaseAddress of an unknown token is no error.
	ReleaseAddress(ctx context.Context, token string) error
	// CreateNetwork is idempotent for a docker network id.
	CreateNetwork(ctx context.Context, req protocol.CreateNetworkRequest) (protocol.Network, error)
	// DeleteNetwork removes what CreateNetwork made for a docker network; anything else is left alone without error.
	DeleteNetwork(ctx context.Context, dockerNetworkID string) error
	// ProviderEvent tells of a started or died container.
	ProviderEvent(ctx context.Context, event protocol.ProviderEvent) error
}

// Cataloger knows the networks and groups of the cluster.
type Cataloger interface {
	// Catalog does not block. The channel is closed when the catalog is no longer this one.
	Catalog() (mgmtfn.Catalog, <-chan struct{})
}
