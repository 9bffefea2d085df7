package client

import "time"

// Realised tells on how many hosts what an object means is in force. It is absent when nobody leads.
type Realised struct {
	// Hosts, of the Of that need it, have it.
	Hosts int `json:"hosts"`
	Of    int `json:"of"`
	// Revision is the newest of what they need; 0: no host needs anything of the object.
	Revision int64 `json:"revision"`
	// Since is when the last of those hosts said that it has it, as far as the netmaster that leads has been told.
	Since time.Time `json:"since,omitzero"`
	// Missing are the hosts that do not have it yet, cannot have it, or are away.
	Missing []string `json:"missing"`
}

// Traffic is what was counted on all hosts. A packet between two hosts counts on both; a host whose flows were made anew
// counts from zero.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// ServiceTraffic is what the clients of a service and its providers said to each other, In and Out as the clients see it.
type ServiceTraffic struct {
	PacketsIn  uint64 `json:"packetsIn"`
	BytesIn    uint64 `json:"bytesIn"`
	PacketsOut uint64 `json:"packetsOut"`
	BytesOut   uint64 `json:"bytesOut"`
}

// EndpointTraffic is what an endpoint received and sent since its port was made.
type EndpointTraffic struct {
	RxPackets uint64 `json:"rxPackets"`
	RxBytes   uint64 `json:"rxBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxBytes   uint64 `json:"txBytes"`
}

// RuleOper are the figures of a rule; there are none while nobody leads. Hits are the first packets of connections that it decided about.
type RuleOper struct {
	Hits     *Traffic  `json:"hits,omitempty"`
	Realised *Realised `json:"realised,omitempty"`
}

// NetprofileOper are the figures of a network profile; there are none while nobody leads.
type NetprofileOper struct {
	Realised *Realised `json:"realised,omitempty"`
}
