package protocol

// PathInspectBgp is where an agent's REST server answers a BgpInspection to GET.
const PathInspectBgp = "/inspect/bgp"

// BgpInspection is how the BGP speaker of a host stands. Without one both lists are empty.
type BgpInspection struct {
	Peers []BgpPeer `json:"Peers"`
	// Dsts are the routes that were learned, "prefix via next hop".
	Dsts []string `json:"Dsts"`
}

// BgpPeer is the neighbor of a speaker.
type BgpPeer struct {
	Address string `json:"Address"`
	AS      string `json:"AS"`
	// AdminState is "up" or "down", SessionState a state of RFC 4271 in small letters: "established", "idle", ...
	AdminState   string `json:"AdminState"`
	SessionState string `json:"SessionState"`
}
