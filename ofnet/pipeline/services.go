package pipeline

import (
	"reflect"

	"github.com/contiv/contiv/ofnet/protocol"
)

// serviceUnit is what a service contributes.
func (v *view) serviceUnit(string) *unit {
	return &unit{why: "services are not available yet"}
}

// changeServices takes what changes of services and of the numbers of their providers, and marks what to compile again.
func (c *Compiler) changeServices(changes *Changes, d *dirty) {
	for key, s := range changes.Services {
		old, had := c.Services[key]
		if s == nil && !had || s != nil && had && reflect.DeepEqual(*s, old) {
			continue
		}
		if delete(c.Services, key); s != nil {
			c.Services[key] = *s
		}
		d.services[key] = struct{}{}
	}
	for b, number := range changes.Backends {
		if delete(c.Backends, b); number != 0 {
			c.Backends[b] = number
		}
	}
}

func (c *Compiler) compileService(key string, diff *differ) {
	old, now := c.services[key], (*unit)(nil)
	if _, there := c.Services[key]; there {
		now = c.serviceUnit(key)
	}
	diff.unit(old, now)
	c.refuse(record{protocol.KindService, key}, now)
	if delete(c.services, key); now != nil {
		c.services[key] = now
	}
}
