package objects

import (
	"context"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// withDefaultGroup is the request with the group that fabric mode aci gives to endpoints without one: the fabric knows
// them by their groups. Infra networks have no groups.
func (tx *txn) withDefaultGroup(request *protocol.CreateEndpointRequest) *protocol.CreateEndpointRequest {
	global := tx.Global()
	if len(request.Groups) > 0 || global == nil || global.NetworkInfraType != fabricACI {
		return request
	}
	network := tx.Network(state.ModelKey(tenantOf(request.Tenant), request.Network))
	if network == nil || network.NwType == state.NetworkInfra {
		return request
	}
	next := *request
	next.Groups = []string{protocol.DefaultGroup}
	return &next
}

// NoteGatewayProfile records that the ACI gateway is about to be told of an application profile. Doing it again changes
// nothing.
func (o *Objects) NoteGatewayProfile(ctx context.Context, tenant, name string) error {
	want := &state.GatewayProfile{TenantName: tenant, AppProfileName: name}
	_, err := o.commit(ctx, "noting app profile "+want.Key()+" for the ACI gateway", func(tx *txn) error {
		if tx.GatewayProfile(want.Key()) == nil {
			tx.Put(want)
		}
		return nil
	})
	return err
}

// ForgetGatewayProfile records that the ACI gateway knows nothing of an application profile any more. Doing it again
// changes nothing.
func (o *Objects) ForgetGatewayProfile(ctx context.Context, tenant, name string) error {
	key := state.ModelKey(tenant, name)
	_, err := o.commit(ctx, "forgetting app profile "+key+" of the ACI gateway", func(tx *txn) error {
		if old := tx.GatewayProfile(key); old != nil {
			tx.Delete(old)
		}
		return nil
	})
	return err
}
