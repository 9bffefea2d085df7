package docker

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

// TestNameRoutes: the interfaces of one container never have the same route, and each leads to the name server.
func TestNameRoutes(t *testing.T) {
	var r nameRoutes
	for sandbox := range 20 {
		seen := map[netip.Prefix]bool{}
		for endpoint := range longestNameRoute - shortestNameRoute + 1 {
			route := r.choose(fmt.Sprint(sandbox), fmt.Sprint(sandbox, "-", endpoint))
			if seen[route] || !route.Contains(protocol.NameServer) || route != route.Masked() {
				t.Errorf("sandbox %d endpoint %d: %v", sandbox, endpoint, route)
			}
			seen[route] = true
		}
	}
	again := r.choose("0", "0-3")
	if r.choose("0", "0-3") != again {
		t.Error("another route the second time")
	}
	for sandbox := range 20 {
		for endpoint := range 8 {
			r.release(fmt.Sprint(sandbox, "-", endpoint))
		}
	}
	if len(r.used) != 0 {
		t.Errorf("left: %v", r.used)
	}
}
