package objects

import (
	"context"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// CreateDockerNetwork makes a network for a docker network that a user created with a subnet only. The docker network
// owns it. Repeating it, or asking on another host for the same, answers the network that is there.
func (o *Objects) CreateDockerNetwork(ctx context.Context, request *protocol.CreateNetworkRequest) (*state.Network, int64, error) {
	want := &state.Network{
		TenantName: tenantOf(request.Tenant), NetworkName: request.Network, Encap: request.Encap, PktTag: request.PktTag,
		Subnet: request.Subnet, Gateway: request.Gateway, IPv6Subnet: request.IPv6Subnet, IPv6Gateway: request.IPv6Gateway,
	}
	want.SetDefaults()
	if err := want.Validate(); err != nil {
		return nil, 0, classify("creating network", err)
	}
	if request.Host == "" || request.DockerNetworkID == "" {
		return nil, 0, refuse(Invalid, "network %q for docker: host and docker network must be named", want.Key())
	}
	var existing int64
	revision, err := o.commit(ctx, "creating network "+want.Key(), func(tx *txn) error {
		existing = 0
		if tx.Network(want.Key()) != nil {
			existing = tx.RevisionOf(want.StoreKey())
		}
		return tx.createNetwork(want, &state.DockerOwner{Host: request.Host, NetworkID: request.DockerNetworkID})
	})
	if err != nil {
		return nil, 0, err
	}
	if existing != 0 {
		revision = existing
	}
	return want, revision, nil
}

// DeleteDockerNetwork removes the network that was made for a docker network. If there is none it is no error.
func (o *Objects) DeleteDockerNetwork(ctx context.Context, host, networkID string) (int64, error) {
	return o.commit(ctx, "deleting the network of docker network "+networkID, func(tx *txn) error {
		owned, ok := tx.Any(ledger.NetworksOfDocker(host, networkID)).(*state.NetworkState)
		if !ok {
			return nil
		}
		return tx.deleteNetwork(state.ModelKey(owned.TenantName, owned.NetworkName))
	})
}
