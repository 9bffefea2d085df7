package docker

import (
	"hash/fnv"
	"net/netip"
	"sync"

	"github.com/contiv/contiv/ofnet/protocol"
)

// nameRoutes chooses the route to the name server for each interface of a container. Any of the container's networks
// leads there, but the engine refuses a route that the container has already, so that each interface gets a prefix of
// another length; the longest wins. The zero value is ready. Safe for concurrent use.
type nameRoutes struct {
	mu   sync.Mutex
	used map[string]map[string]int // by sandbox of the container and endpoint: length of the prefix
}

// Lengths of the prefixes. The shortest keeps clear of the other addresses that we use in 169.254.254.0/24.
const (
	shortestNameRoute = 25
	longestNameRoute  = 32
)

// choose answers the route of an endpoint in a sandbox. What other endpoints of the sandbox have is not known any more
// after a restart of the agent: to begin at a length that follows from the endpoint's id makes it unlikely that it is
// the same.
func (r *nameRoutes) choose(sandbox, endpoint string) netip.Prefix {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[int]bool{}
	for other, bits := range r.used[sandbox] {
		taken[bits] = other != endpoint
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(endpoint))
	const lengths = longestNameRoute - shortestNameRoute + 1
	bits := shortestNameRoute + int(h.Sum32()%lengths)
	for range lengths {
		if !taken[bits] {
			break
		}
		if bits++; bits > longestNameRoute {
			bits = shortestNameRoute
		}
	}
	if r.used == nil {
		r.used = map[string]map[string]int{}
	}
	if r.used[sandbox] == nil {
		r.used[sandbox] = map[string]int{}
	}
	r.used[sandbox][endpoint] = bits
	return netip.PrefixFrom(protocol.NameServer, bits).Masked()
}

// release forgets an endpoint that left its sandbox.
func (r *nameRoutes) release(endpoint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for sandbox, endpoints := range r.used {
		if delete(endpoints, endpoint); len(endpoints) == 0 {
			delete(r.used, sandbox)
		}
	}
}
