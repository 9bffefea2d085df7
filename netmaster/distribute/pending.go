package distribute

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// pending is what a session still has to be sent: names of records, whose newest form is looked up when a message is
// put together. Its size has a bound that does not depend on how long the agent lags.
//
// Invariants: len(dirty) <= maxDirty; requests is empty if dirty is; while snapshot is not nil no change is sent; sent never goes back.
type pending struct {
	attached bool // the host has registered; before, nothing is noted
	snapshot *snapshot
	dirty    map[index.Ref]struct{}
	requests []string // ids of the requests behind dirty, at most maxRequests
	// again are buckets to send whole, because too many of their records changed to keep them apart.
	again    [protocol.Buckets]bool
	anyAgain bool
	// sent is the position that the agent is at when it has everything that was sent.
	sent protocol.Position
	// flush is a revision that the agent wants to know it has reached, even when nothing of it was for this host.
	flush int64
}

// snapshot is one on its way: rest is not sent yet. What is in rest and changes meanwhile is dirty, and sent afterwards.
type snapshot struct {
	position protocol.Position
	buckets  []int
	begun    bool // rest is set
	rest     []*index.Entry
}

// attach begins with a snapshot of the buckets, which may be none.
func (p *pending) attach(position protocol.Position, buckets []int) {
	p.attached = true
	p.snapshot = &snapshot{position: position, buckets: buckets}
}

func (p *pending) touch(ref index.Ref, requests []string) {
	if !p.attached {
		return
	}
	if p.anyAgain && p.again[protocol.BucketOf(ref.Kind, ref.Key)] {
		return
	}
	if p.dirty == nil {
		p.dirty = map[index.Ref]struct{}{}
	}
	p.dirty[ref] = struct{}{}
	for _, request := range requests {
		if !slices.Contains(p.requests, request) {
			p.requests = append(p.requests, request)
		}
	}
	if over := len(p.requests) - maxRequests; over > 0 {
		p.requests = slices.Delete(p.requests, 0, over)
	}
	if len(p.dirty) <= maxDirty {
		return
	}
	for ref := range p.dirty {
		p.again[protocol.BucketOf(ref.Kind, ref.Key)] = true
	}
	p.anyAgain = true
	p.dirty, p.requests = nil, nil
}

// owes tells whether there is something to send when the index is at a revision.
func (p *pending) owes(revision int64) bool {
	return p.attached && (p.snapshot != nil || p.anyAgain || len(p.dirty) > 0 || p.flush > p.sent.Revision && revision >= p.flush)
}

// settled tells whether the agent was sent all it needs.
func (p *pending) settled() bool {
	return p.attached && p.snapshot == nil && !p.anyAgain && len(p.dirty) == 0
}

// large tells whether the next messages are a snapshot that has records.
func (p *pending) large() bool {
	return p.anyAgain || p.snapshot != nil && len(p.snapshot.buckets) > 0
}

// next puts the next message into the buffer and tells whether there is one.
func (p *pending) next(x *index.Index, host string, out *bytes.Buffer) bool {
	if !p.owes(x.Position().Revision) {
		return false
	}
	if p.snapshot == nil && p.anyAgain {
		p.startAgain(x.Position())
	}
	if p.snapshot != nil {
		p.nextChunk(x, host, out)
		return true
	}
	p.nextChange(x, host, out)
	return true
}

// startAgain begins a snapshot of the buckets that overflowed.
func (p *pending) startAgain(position protocol.Position) {
	var buckets []int
	for bucket, again := range p.again {
		if again {
			buckets = append(buckets, bucket)
		}
	}
	for ref := range p.dirty {
		if p.again[protocol.BucketOf(ref.Kind, ref.Key)] {
			delete(p.dirty, ref)
		}
	}
	if len(p.dirty) == 0 {
		p.requests = nil
	}
	p.again, p.anyAgain = [protocol.Buckets]bool{}, false
	p.snapshot = &snapshot{position: position, buckets: buckets}
}

func (p *pending) nextChunk(x *index.Index, host string, out *bytes.Buffer) {
	s := p.snapshot
	if !s.begun && len(s.buckets) > 0 {
		s.rest = x.In(host, s.buckets)
	}
	s.begun = true
	message := open(out, protocol.MethodSnapshot)
	for len(s.rest) > 0 && message.room(len(s.rest[0].Encoded), chunkBytes) {
		message.add(s.rest[0].Encoded)
		s.rest = s.rest[1:]
	}
	last := len(s.rest) == 0
	out.WriteString(`],"buckets":[`)
	for i, bucket := range s.buckets {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(strconv.Itoa(bucket))
	}
	out.WriteString(`],"last":`)
	out.WriteString(strconv.FormatBool(last))
	message.close(s.position)
	if last {
		p.sent = s.position
		p.snapshot = nil
	}
}

func (p *pending) nextChange(x *index.Index, host string, out *bytes.Buffer) {
	message := open(out, protocol.MethodChange)
	for ref := range p.dirty {
		encoded := json.RawMessage(nil)
		if entry, ok := x.Needs(host, ref); ok {
			encoded = entry.Encoded
		} else {
			encoded = tombstone(ref, x.Position().Revision)
		}
		if !message.room(len(encoded), protocol.MaxChunkBytes-envelopeBytes) {
			break
		}
		message.add(encoded)
		delete(p.dirty, ref)
	}
	out.WriteByte(']')
	if len(p.requests) > 0 {
		out.WriteString(`,"requests":`)
		out.Write(encodeIDs(p.requests))
	}
	if len(p.dirty) == 0 {
		p.sent, p.requests = x.Position(), nil
	}
	message.close(p.sent)
}

// tombstone tells that the host no longer needs a record, as of a revision.
func tombstone(ref index.Ref, revision int64) json.RawMessage {
	data, err := json.Marshal(protocol.Record{Kind: ref.Kind, Key: ref.Key, Revision: revision})
	if err != nil {
		return nil // two strings and a number always encode
	}
	return data
}

func encodeIDs(ids []string) []byte {
	data, err := json.Marshal(ids)
	if err != nil {
		return []byte("[]") // strings always encode
	}
	return data
}

// envelopeBytes is more than all of a change but its records takes.
const envelopeBytes = 1<<10 + maxRequests*(requestid.MaxBytes+3)

// message is a notification being written: everything up to its records.
type message struct {
	out   *bytes.Buffer
	start int
	any   bool
}

func open(out *bytes.Buffer, method string) *message {
	out.WriteString(`{"jsonrpc":"2.0","method":"` + method + `","params":{"records":[`)
	return &message{out: out, start: out.Len()}
}

// room tells whether a record of some size still fits; the first always does.
func (m *message) room(size, limit int) bool {
	return !m.any || m.out.Len()-m.start+1+size <= limit
}

func (m *message) add(record []byte) {
	if m.any {
		m.out.WriteByte(',')
	}
	m.any = true
	m.out.Write(record)
}

// close ends the message; its records are closed already.
func (m *message) close(position protocol.Position) {
	m.out.WriteString(`,"position":`)
	data, err := json.Marshal(position)
	if err != nil {
		data = []byte("{}") // a string and a number always encode
	}
	m.out.Write(data)
	m.out.WriteString("}}\n")
}
