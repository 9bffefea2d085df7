package ovs

import (
	"context"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/protocol"
)

func (d *Driver) portSeen(switchdb.Port)                               {}
func (d *Driver) setTunnel(int)                                        {}
func (d *Driver) portChanged(protocol.EndpointID)                      {}
func (d *Driver) renumber(protocol.EndpointID, int)                    {}
func (d *Driver) flushPort(context.Context, protocol.EndpointID) error { return nil }
func (d *Driver) forgetFlows(context.Context, protocol.EndpointID)     {}
func (d *Driver) Apply(context.Context, drivers.Update) ([]protocol.NotRealised, error) {
	return nil, nil
}
func (d *Driver) Status() drivers.Status { return drivers.Status{} }
