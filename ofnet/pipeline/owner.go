package pipeline

import (
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/protocol"
)

// OwnerOfCookie names a record whose flows carry this cookie, round bits left out. It looks through all records: it is for
// the rare flow that a switch refuses.
func (c *Compiler) OwnerOfCookie(value uint64) (kind protocol.Kind, key string) {
	for id := range c.Endpoints {
		if endpointCookie(id) == value {
			return protocol.KindEndpoint, id.String()
		}
	}
	for key, r := range c.Rules {
		if cookie(categoryPolicy, r.ID) == value {
			return protocol.KindRule, key
		}
	}
	for key, n := range c.Networks {
		if cookie(categoryNetwork, uint32(n.ID)) == value {
			return protocol.KindNetwork, key
		}
	}
	for key, s := range c.Services {
		if cookie(categoryService, uint32(s.ID)) == value {
			return protocol.KindService, key
		}
	}
	return protocol.KindGlobal, "global"
}

// OwnerOfGroup names the network that a group floods, or the service that it spreads.
func (c *Compiler) OwnerOfGroup(id uint32) (kind protocol.Kind, key string) {
	if k := id >> 28; k == groupService || k == groupService6 {
		for key, s := range c.Services {
			if uint32(s.ID) == id>>12&0xffff {
				return protocol.KindService, key
			}
		}
	}
	for key, n := range c.Networks {
		if uint32(n.ID) == id>>12&0xffff {
			return protocol.KindNetwork, key
		}
	}
	return protocol.KindGlobal, "global"
}

// Probe is what to do to a packet made up by the agent, in the direction of a connection's first packet, to have that
// connection judged again: the packet itself ends on the way. False for a network that is not realised.
func (c *Compiler) Probe(network string, srcIdentity uint16) (openflow.Actions, bool) {
	n, why := c.network(network)
	if why != "" {
		return openflow.Actions{}, false
	}
	return openflow.Do(
		regSrcClass.Load(classLocal), regProbe.Load(1), regCTZone.Load(c.zone(n)), regVRF.Load(uint32(n.VRF)),
		regBD.Load(uint32(n.ID)), regSrcIdentity.Load(uint32(srcIdentity)), openflow.Resubmit(tableCTIn),
	), true
}

// Blocked tells from the mark of a connection whether a rule denies it since it was made.
func Blocked(mark uint32) bool { return mark&(1<<7) != 0 }

// Zone is where conntrack keeps the connections of a network. False for a network that is not realised.
func (c *Compiler) Zone(network string) (uint16, bool) {
	n, why := c.network(network)
	if why != "" {
		return 0, false
	}
	return uint16(c.zone(n)), true //nolint:gosec // 16 bits
}
