package mgmtfn

import "github.com/contiv/contiv/ofnet/protocol"

// Catalog is every network and group of the cluster, for front ends that mirror them to their orchestrator. The agent
// has one only if it registered with protocol.RegisterRequest.Catalog.
type Catalog struct {
	Networks []protocol.Network // sorted by key
	Groups   []protocol.Group   // sorted by key
	// Complete: netmaster has told everything since the agent started. Until then something that is missing here may
	// exist all the same: nothing may be removed because of it.
	Complete bool
}
