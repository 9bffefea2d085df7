package drivers

import (
	"context"

	"github.com/contiv/contiv/ofnet/protocol"
)

// NameInterceptor is what a datapath offers that can hand over the DNS packets of local endpoints.
type NameInterceptor interface {
	// Intercept hands over, until ctx ends, what local endpoints send to port 53: UDP to any address, TCP to any address
	// that is no endpoint's. Each endpoint is limited to a rate; what is above is dropped. Packets of one endpoint come
	// in order; take must not block and keeps nothing of a packet that it does not copy, but may use Reply and PassOn
	// later and at once from several goroutines. A few seconds after ctx has ended, or the process has died, the packets
	// go where they were sent.
	Intercept(ctx context.Context, take func(DNSPacket)) error
}

// DNSPacket is one that a local endpoint sent.
type DNSPacket struct {
	Endpoint        protocol.EndpointID
	Tenant, Network string
	// IP is the packet from its IPv4 or IPv6 header on. Not more is known of it than that it came from the endpoint.
	IP []byte
	// Reply sends the endpoint an IP packet, as if the one that it sent to had. It returns when the switch was told.
	Reply func(ip []byte) error
	// PassOn lets the packet go where it was sent to, by the rules that hold for it.
	PassOn func() error
}
