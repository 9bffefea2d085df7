package pipeline

import (
	"net/netip"
	"time"

	of "github.com/contiv/contiv/ofnet/openflow"
)

// Traffic of services is counted by flows that the switch learns, one for each client, service, provider and direction.
// They go by themselves when nothing was counted for a while; their end is told, so that the counts can be kept.
//
// The first packet of a connection has the flows learned before it is counted. A connection that was silent until they
// were gone has them learned again by its next packet, which itself is not counted.

// learned is set in cookies of flows that the switch learns. It is above the bits of rounds of writing.
const learned = uint64(1) << 63

const (
	// counterIdle is after how many seconds without traffic a counter goes.
	counterIdle = 600
	// maxLearned is how many flows may be learned with one cookie, so that clients cannot fill the switch's memory.
	maxLearned = 50000
)

// counted is the direction of a packet of a service's connection, as the packet that teaches its counter shows it.
type counted int

const (
	fromClient  counted = iota
	toClient            // by an answer
	backToAsker         // by a packet from the client, for the answers
)

// count has the switch learn a counter.
func count(version of.Term, what counted) of.Action {
	src, dst, etherType := of.Whole(of.FieldIPSrc), of.Whole(of.FieldIPDst), uint64(of.EtherIPv4)
	if version == isIP6 {
		src, dst, etherType = of.Whole(of.FieldIP6Src), of.Whole(of.FieldIP6Dst), of.EtherIPv6
	}
	table, client := uint8(tableStatsRev), of.LearnMatchSame(dst)
	switch what {
	case fromClient:
		table, client = tableStatsFwd, of.LearnMatchSame(src)
	case backToAsker:
		client = of.LearnMatch(dst, src)
	}
	return of.Learn{
		Table: table, Priority: 100, IdleTimeout: counterIdle, SendFlowRem: true, Limit: maxLearned, Cookie: learned | cookie(categoryBase, 0),
		Specs: []of.LearnSpec{
			of.LearnMatchValue(of.Whole(of.FieldEthType), etherType), client, of.LearnMatchSame(markID), of.LearnMatchSame(labelBackend),
		},
	}.Action()
}

// CounterIdle is after how long without traffic a counter goes.
const CounterIdle = counterIdle * time.Second

// CounterTables are where counters of services are learned.
func CounterTables() []uint8 { return []uint8{tableStatsFwd, tableStatsRev} }

// ServiceFlow is whose packets a learned flow counts.
type ServiceFlow struct {
	Service uint16     // its id
	Backend uint32     // the provider's number on this host
	Client  netip.Addr // in the tenant of the service
	Answers bool       // from provider to client
}

// ServiceFlowOf tells what the flow with a match counts; false for a flow that is no counter.
func ServiceFlowOf(table uint8, match of.Match) (f ServiceFlow, ok bool) {
	service, known := match.Number(markID)
	backend, known2 := match.Number(labelBackend)
	if !known || !known2 || table != tableStatsFwd && table != tableStatsRev {
		return f, false
	}
	f = ServiceFlow{Service: uint16(service), Backend: uint32(backend), Answers: table == tableStatsRev} //nolint:gosec // the ranges' bits
	fields := []of.Field{of.FieldIPSrc, of.FieldIP6Src}
	if f.Answers {
		fields = []of.Field{of.FieldIPDst, of.FieldIP6Dst}
	}
	for _, field := range fields {
		if a, ok := match.Addr(field); ok {
			f.Client = a
			return f, true
		}
	}
	return f, false
}

// Key is that of the flow that counts f, which ServiceFlowOf reads.
func (f ServiceFlow) Key() of.Key {
	etherType, address := uint16(of.EtherIPv4), of.IPSrcAddr
	if f.Client.Is6() {
		etherType = of.EtherIPv6
	}
	table := uint8(tableStatsFwd)
	if f.Answers {
		table, address = tableStatsRev, of.IPDstAddr
	}
	return of.Key{Table: table, Priority: 100, Match: of.NewMatch(of.EthType(etherType), address(f.Client), markID.Is(uint64(f.Service)), labelBackend.Is(uint64(f.Backend)))}
}
