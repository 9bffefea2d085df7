package pipeline

import "github.com/contiv/contiv/ofnet/protocol"

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
	return protocol.KindGlobal, "global"
}

// OwnerOfGroup names the network that a group floods.
func (c *Compiler) OwnerOfGroup(id uint32) (kind protocol.Kind, key string) {
	for key, n := range c.Networks {
		if uint32(n.ID) == id>>12&0xffff {
			return protocol.KindNetwork, key
		}
	}
	return protocol.KindGlobal, "global"
}
