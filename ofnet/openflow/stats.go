package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// AllTables stands for every table in a FlowQuery.
const AllTables = 0xff

// FlowQuery says which flows are asked for.
type FlowQuery struct {
	Table uint8 // or AllTables
	// Cookie and Mask: flows whose cookie has these bits under the mask. Mask 0 takes all.
	Cookie, Mask uint64
	// Matches asks for FlowStat.Match as well.
	Matches bool
}

// QueryFlows reads statistics of flows.
func (c *Conn) QueryFlows(ctx context.Context, q FlowQuery) ([]FlowStat, error) {
	parts, err := c.ask(ctx, multipart(partFlow, flowStatsBody(q.Table, q.Cookie, q.Mask)))
	if err != nil {
		return nil, fmt.Errorf("reading flow statistics: %w", err)
	}
	return decodeFlowStats(parts, q.Matches)
}

// MeterStat counts what a meter saw. Dropped are the packets above its rate, DroppedBytes their bytes.
type MeterStat struct {
	ID             uint32
	Flows          uint32 // that use it
	Packets, Bytes uint64
	Dropped        uint64
	DroppedBytes   uint64
	Age            time.Duration
}

const allMeters = 0xffffffff

// MeterStats reads the counters of all meters.
func (c *Conn) MeterStats(ctx context.Context) ([]MeterStat, error) {
	body := append(binary.BigEndian.AppendUint32(nil, allMeters), 0, 0, 0, 0)
	parts, err := c.ask(ctx, multipart(partMeter, body))
	if err != nil {
		return nil, fmt.Errorf("reading meter statistics: %w", err)
	}
	return decodeMeterStats(parts)
}

func decodeMeterStats(parts [][]byte) ([]MeterStat, error) {
	const head, band = 40, 16
	be := binary.BigEndian
	var out []MeterStat
	err := entries(parts, head, func(b []byte) int { return int(be.Uint16(b[4:])) }, func(b []byte) {
		m := MeterStat{
			ID: be.Uint32(b), Flows: be.Uint32(b[12:]), Packets: be.Uint64(b[16:]), Bytes: be.Uint64(b[24:]),
			Age: time.Duration(be.Uint32(b[32:]))*time.Second + time.Duration(be.Uint32(b[36:])),
		}
		for bands := b[head:]; len(bands) >= band; bands = bands[band:] {
			m.Dropped += be.Uint64(bands)
			m.DroppedBytes += be.Uint64(bands[8:])
		}
		out = append(out, m)
	})
	return out, err
}

// GroupStat counts what a group and each of its buckets, in order, handed on.
type GroupStat struct {
	ID             uint32
	Flows          uint32 // flows and groups that hand packets to it
	Packets, Bytes uint64
	Buckets        []BucketStat
	Age            time.Duration
}

// BucketStat counts what a bucket handed on.
type BucketStat struct{ Packets, Bytes uint64 }

// GroupStats reads the counters of one group; that there is none is an empty answer.
func (c *Conn) GroupStats(ctx context.Context, id uint32) ([]GroupStat, error) {
	body := append(binary.BigEndian.AppendUint32(nil, id), 0, 0, 0, 0)
	parts, err := c.ask(ctx, multipart(partGroup, body))
	if err != nil {
		return nil, fmt.Errorf("reading statistics of group %d: %w", id, err)
	}
	return decodeGroupStats(parts)
}

func decodeGroupStats(parts [][]byte) ([]GroupStat, error) {
	const head, bucket = 40, 16
	be := binary.BigEndian
	var out []GroupStat
	err := entries(parts, head, func(b []byte) int { return int(be.Uint16(b)) }, func(b []byte) {
		g := GroupStat{
			ID: be.Uint32(b[4:]), Flows: be.Uint32(b[8:]), Packets: be.Uint64(b[16:]), Bytes: be.Uint64(b[24:]),
			Age: time.Duration(be.Uint32(b[32:]))*time.Second + time.Duration(be.Uint32(b[36:])),
		}
		for rest := b[head:]; len(rest) >= bucket; rest = rest[bucket:] {
			g.Buckets = append(g.Buckets, BucketStat{be.Uint64(rest), be.Uint64(rest[8:])})
		}
		out = append(out, g)
	})
	return out, err
}
