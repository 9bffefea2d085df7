package distribute

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

func TestRegisterRefusals(t *testing.T) {
	f := start(t, nil)
	for name, test := range map[string]struct {
		change func(*protocol.RegisterRequest)
		code   int
		text   string
	}{
		"no version":         {func(r *protocol.RegisterRequest) { r.Version = "" }, protocol.CodeRefused, "not of the form"},
		"other major":        {func(r *protocol.RegisterRequest) { r.Version = "2.0" }, protocol.CodeRefused, "at most one minor"},
		"two minors":         {func(r *protocol.RegisterRequest) { r.Version = "1.3" }, protocol.CodeRefused, "at most one minor"},
		"no host":            {func(r *protocol.RegisterRequest) { r.Host = "" }, protocol.CodeInvalid, "host name"},
		"slash":              {func(r *protocol.RegisterRequest) { r.Host = "a/b" }, protocol.CodeInvalid, "host name"},
		"long name":          {func(r *protocol.RegisterRequest) { r.Host = strings.Repeat("a", 10_000) }, protocol.CodeInvalid, "host name"},
		"few digests":        {func(r *protocol.RegisterRequest) { r.Digests = []uint64{1} }, protocol.CodeInvalid, "digests"},
		"foreign attachment": {func(r *protocol.RegisterRequest) { r.Attachments = []protocol.Attachment{{}} }, protocol.CodeRefused, "own host"},
		"foreign removal": {func(r *protocol.RegisterRequest) {
			r.Removed = []protocol.EndpointID{{Host: "other", ContainerID: "c", IfName: "e"}}
		}, protocol.CodeRefused, "own host"},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(nil)
			r := request("h1")
			test.change(&r)
			wantCode(t, c.call(protocol.MethodRegister, r, nil), test.code, test.text)
			// The same connection may do better.
			f.must(c.call(protocol.MethodRegister, request(strings.ReplaceAll(name, " ", "-")), nil))
			wantCode(t, c.call(protocol.MethodRegister, request("again"), nil), protocol.CodeRefused, "already")
		})
	}
	f.registered("next", func(r *protocol.RegisterRequest) { r.Version = "1.1" })
}

func TestNotLeader(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	f.SetLeader(false, "192.0.2.7:9001")
	f.gone(c)
	err := f.dial(nil).call(protocol.MethodRegister, request("h1"), nil)
	if leader := wantCode(t, err, protocol.CodeNotLeader, "does not lead"); leader != "192.0.2.7:9001" {
		t.Errorf("leader is %q", leader)
	}
	f.SetLeader(true, f.address)
	f.registered("h1")
}

func TestSecondAgent(t *testing.T) {
	f := start(t, nil)
	first := f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "one" })
	second := request("h1")
	wantCode(t, f.dial(nil).call(protocol.MethodRegister, second, nil), protocol.CodeRefused, "another agent")
	second.Instance = "two"
	wantCode(t, f.dial(nil).call(protocol.MethodRegister, second, nil), protocol.CodeRefused, "another agent")
	f.must(first.call(protocol.MethodPing, struct{}{}, nil))

	again := f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "one" })
	f.gone(first)
	f.must(again.call(protocol.MethodPing, struct{}{}, nil))
	_ = again.conn.Close()
	f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
	f.registered("h1", func(r *protocol.RegisterRequest) { r.Instance = "two" })
}

func TestCalls(t *testing.T) {
	f := start(t, nil)
	c := f.dial(nil)
	own := protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}
	wantCode(t, c.call(protocol.MethodDeleteEndpoint, protocol.DeleteEndpointRequest{ID: own}, nil), protocol.CodeRefused, "before host.register")
	f.must(c.call(protocol.MethodRegister, request("h1"), nil))
	foreign := own
	foreign.Host = "h2"
	for method, requests := range map[string][2]any{
		protocol.MethodCreateEndpoint: {protocol.CreateEndpointRequest{ID: own}, protocol.CreateEndpointRequest{ID: foreign}},
		protocol.MethodSettleEndpoint: {protocol.SettleRequest{ID: own}, protocol.SettleRequest{ID: foreign}},
		protocol.MethodDeleteEndpoint: {protocol.DeleteEndpointRequest{ID: own}, protocol.DeleteEndpointRequest{ID: foreign}},
		protocol.MethodCreateNetwork:  {protocol.CreateNetworkRequest{Host: "h1"}, protocol.CreateNetworkRequest{Host: "h2"}},
		protocol.MethodDeleteNetwork:  {protocol.DeleteNetworkRequest{Host: "h1"}, protocol.DeleteNetworkRequest{Host: "h2"}},
		protocol.MethodProviderEvent:  {protocol.ProviderEvent{ID: own}, protocol.ProviderEvent{ID: foreign}},
	} {
		f.must(c.call(method, requests[0], nil))
		wantCode(t, c.call(method, requests[1], nil), protocol.CodeRefused, "own host")
	}
	f.must(c.call(protocol.MethodReserveAddress, protocol.ReserveAddressRequest{}, nil))
	f.must(c.call(protocol.MethodReleaseAddress, protocol.ReleaseAddressRequest{}, nil))
	for _, what := range f.operations.reached {
		if strings.Contains(what, "h2") {
			t.Errorf("%q reached the operations", what)
		}
	}
	wantCode(t, c.call(protocol.MethodCreateEndpoint, protocol.CreateEndpointRequest{ID: own, Network: "full"}, nil), protocol.CodeExhausted, "no address")
	wantCode(t, c.call("no.such", struct{}{}, nil), jsonrpc2.CodeMethodNotFound, "no.such")
	wantCode(t, c.call(protocol.MethodCreateEndpoint, nil, nil), protocol.CodeInvalid, "object")
	wantCode(t, c.call(protocol.MethodCreateEndpoint, map[string]int{"id": 5}, nil), protocol.CodeInvalid, "id")
}

// TestResume counts what is sent to a host that comes back: nothing when nothing changed, else only what did.
func TestResume(t *testing.T) {
	f := start(t, nil)
	var all []ScopedRecord
	for i := range 2000 {
		all = append(all, scoped("thing", fmt.Sprint(i), int64(i+1), 20))
	}
	f.must(f.Replace(at(2000), all))
	c := f.registered("h1")
	if c.count() != 2000 {
		t.Fatalf("%d records, want 2000", c.count())
	}
	var digests protocol.Digests
	for _, r := range c.records {
		digests.Toggle(r.Kind, r.Key, r.Revision)
	}
	resume := func(position protocol.Position) int {
		t.Helper()
		f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
		c := f.registered("h1", func(r *protocol.RegisterRequest) { r.Position, r.Digests = position, digests[:] })
		defer func() { _ = c.conn.Close() }()
		f.eventually("the position", func() bool { return c.at() == f.reached() })
		return c.count()
	}
	_ = c.conn.Close()
	if n := resume(at(2000)); n != 0 {
		t.Errorf("%d records after nothing changed", n)
	}
	f.must(f.Publish(at(2001), []ScopedRecord{scoped("thing", "7", 2001, 20)}))
	if n := resume(at(2000)); n == 0 || n > 40 {
		t.Errorf("%d records after one changed, want those of its bucket", n)
	}
	f.must(f.Publish(at(2002), []ScopedRecord{{Record: protocol.Record{Kind: "thing", Key: "8", Revision: 2002}}}))
	if n := resume(at(2000)); n == 0 || n > 80 {
		t.Errorf("%d records after another went, want those of two buckets", n)
	}
	if n := resume(protocol.Position{Store: "other", Revision: 2000}); n != 1999 {
		t.Errorf("%d records from another store, want all", n)
	}
	if n := resume(at(9999)); n != 1999 {
		t.Errorf("%d records from the future, want all", n)
	}
}

func TestAnotherStoreClosesSessions(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	f.must(f.Replace(protocol.Position{Store: "other", Revision: 1}, nil))
	f.gone(c)
	c = f.registered("h1")
	f.must(f.Replace(protocol.Position{Store: "other", Revision: 1}, nil))
	f.must(c.call(protocol.MethodPing, struct{}{}, nil))
}

// TestSlowAgent has one agent that reads nothing: the other gets every change at once, and what is kept for the slow
// one is bounded.
func TestSlowAgent(t *testing.T) {
	f := start(t, nil, func(c *Config) { c.Silence, c.Write = 30*time.Second, 30*time.Second })
	slow, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = slow.Close() })
	f.must(slow.(*net.TCPConn).SetReadBuffer(1 << 10))
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("slow")})
	f.must(err)
	_, err = slow.Write(append(line, '\n'))
	f.must(err)
	f.eventually("the slow agent", func() bool { return f.Connected("slow") })
	quick := f.registered("quick")
	revision := int64(1)
	for round := range 40 {
		var changes []ScopedRecord
		revision++
		for i := range 1000 {
			changes = append(changes, scoped("thing", fmt.Sprintf("%d-%d", round, i), revision, 200))
			if round > 0 {
				changes = append(changes, ScopedRecord{Record: protocol.Record{Kind: "thing", Key: fmt.Sprintf("%d-%d", round-1, i)}})
			}
		}
		f.must(f.Publish(at(revision), changes))
		f.eventually("the change", func() bool { return quick.at() == revision })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.sessions["slow"].pending
	if len(kept.dirty) > maxDirty || !kept.anyAgain && len(kept.dirty) == 0 {
		t.Errorf("kept for the slow agent: %d names, whole buckets %v; want at most %d names and something", len(kept.dirty), kept.anyAgain, maxDirty)
	}
}

// TestAgentThatNeverReadsIsDropped: its session ends after the time for one write.
func TestAgentThatNeverReadsIsDropped(t *testing.T) {
	f := start(t, nil, func(c *Config) { c.Write = 100 * time.Millisecond })
	slow, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = slow.Close() })
	f.must(slow.(*net.TCPConn).SetReadBuffer(1 << 10))
	line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("slow")})
	_, err = slow.Write(append(line, '\n'))
	f.must(err)
	f.eventually("the slow agent", func() bool { return f.Connected("slow") })
	revision := int64(1)
	f.eventually("the end of the slow agent", func() bool {
		revision++
		f.must(f.Publish(at(revision), []ScopedRecord{scoped("thing", fmt.Sprint(revision), revision, 60_000)}))
		return !f.Connected("slow")
	})
}

// TestOverflowSendsBuckets: a host for which too much changed at once gets whole buckets, and ends up right.
func TestOverflowSendsBuckets(t *testing.T) {
	f := start(t, nil)
	c := f.registered("h1")
	var changes []ScopedRecord
	for i := range 3 * maxDirty {
		changes = append(changes, scoped("thing", fmt.Sprint(i), 2, 1))
	}
	f.must(f.Publish(at(2), changes))
	f.eventually("everything", func() bool { return c.at() == 2 })
	have := map[string]bool{}
	for _, r := range c.records {
		have[r.Key] = true
	}
	if len(have) != len(changes) || c.snapshots != 2 {
		t.Errorf("%d records in %d snapshots, want %d in 2", len(have), c.snapshots, len(changes))
	}
}

// TestLargeMessages: chunks and split changes stay within their limits, and a peer's message must too.
func TestLargeMessages(t *testing.T) {
	f := start(t, nil)
	var all []ScopedRecord
	for i := range 100 {
		all = append(all, scoped("thing", fmt.Sprint(i), 2, 50_000))
	}
	f.must(f.Publish(at(2), all))
	conn, err := net.Dial("tcp", f.address)
	f.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": protocol.MethodRegister, "params": request("h1")})
	_, err = conn.Write(append(line, '\n'))
	f.must(err)
	reader := bufio.NewReaderSize(conn, 1<<20)
	revision, seen := int64(0), 0
	for seen < 200 || revision < 3 {
		if seen == 100 && revision == 2 {
			for i := range all {
				all[i].Revision = 3
			}
			f.must(f.Publish(at(3), all))
		}
		f.must(conn.SetReadDeadline(time.Now().Add(patience)))
		line, err := reader.ReadBytes('\n')
		f.must(err)
		if len(line) > protocol.MaxChunkBytes {
			t.Fatalf("a message has %d bytes", len(line))
		}
		var message struct {
			Method string
			Params protocol.Snapshot
		}
		f.must(json.Unmarshal(line, &message))
		seen += len(message.Params.Records)
		if message.Method == protocol.MethodChange && seen < 200 && message.Params.Position.Revision != 2 {
			t.Errorf("a part of a change claims revision %d", message.Params.Position.Revision)
		}
		if message.Params.Last || message.Method == protocol.MethodChange {
			revision = message.Params.Position.Revision
		}
	}
	// A message without end is dropped before it fills the memory.
	sent := 0
	block := bytes.Repeat([]byte("x"), 64<<10)
	for err == nil && sent < 4*protocol.MaxMessageBytes {
		var n int
		n, err = conn.Write(block)
		sent += n
	}
	f.eventually("the end of the session", func() bool { return !f.Connected("h1") })
}

func TestAcknowledged(t *testing.T) {
	f := start(t, nil)
	f.must(f.Publish(at(2), []ScopedRecord{hostOf("h1", 2), hostOf("h2", 2), hostOf("h3", 2), endpointOf("h1", "a", 2), endpointOf("h2", "b", 2)}))
	f.wantSilent(2, "h1", "h2", "h3")
	h1, h2 := f.registered("h1"), f.registered("h2")
	f.eventually("acknowledgements", func() bool { return len(f.Acknowledged(2)) == 1 })
	f.wantSilent(2, "h3")
	f.registered("h3")
	f.eventually("acknowledgements", func() bool { return len(f.Acknowledged(2)) == 0 })

	// What is not for a host needs no message to it.
	before := h1.count()
	f.must(f.Publish(at(3), []ScopedRecord{{Record: protocol.Record{Kind: "none", Key: "none"}}}))
	f.wantSilent(3)
	if h1.count() != before {
		t.Error("h1 was sent something")
	}

	h2.mu.Lock()
	h2.ack = false
	h2.mu.Unlock()
	f.must(f.Publish(at(4), []ScopedRecord{endpointOf("h1", "c", 4)}))
	id := protocol.EndpointID{Host: "h1", ContainerID: "c", IfName: "eth0"}
	var reply protocol.SettleReply
	f.must(h1.call(protocol.MethodSettleEndpoint, protocol.SettleRequest{ID: id, Revision: 4, Wait: protocol.Duration(20 * time.Millisecond)}, &reply))
	if fmt.Sprint(reply.Missing) != "[h2]" {
		t.Errorf("missing %v, want h2", reply.Missing)
	}
	f.eventually("h1", func() bool { return fmt.Sprint(f.Acknowledged(4)) == "[h2]" })
	f.must(h2.sendAck(at(99))) // more than it was sent counts for nothing
	f.must(h2.call(protocol.MethodPing, struct{}{}, nil))
	f.wantSilent(4, "h2")
	f.must(h2.sendAck(at(4)))
	f.must(h1.call(protocol.MethodSettleEndpoint, protocol.SettleRequest{ID: id, Revision: 4, Wait: protocol.Duration(time.Second)}, &reply))
	f.wantSilent(4)

	_ = h2.conn.Close()
	f.eventually("the end of h2", func() bool { return !f.Connected("h2") })
	f.wantSilent(1, "h2")
	for _, status := range f.Hosts() {
		if status.Host == "h2" && (status.Connected || status.LastSeen.IsZero() || status.Acknowledged != 4) {
			t.Errorf("h2: %+v", status)
		}
	}
	f.must(f.Publish(at(5), []ScopedRecord{{Record: protocol.Record{Kind: protocol.KindHost, Key: "h2"}}}))
	f.wantSilent(1)
}

func (f *fixture) wantSilent(revision int64, hosts ...string) {
	f.t.Helper()
	if got := f.Acknowledged(revision); strings.Join(got, ",") != strings.Join(hosts, ",") {
		f.t.Errorf("silent at %d: %v, want %v", revision, got, hosts)
	}
}

func TestStatistics(t *testing.T) {
	f := start(t, nil)
	f.must(f.Publish(at(2), []ScopedRecord{hostOf("h1", 2), endpointOf("h1", "a", 2), endpointOf("h2", "b", 2)}))
	c := f.registered("h1")
	mine := protocol.EndpointID{Host: "h1", ContainerID: "a", IfName: "eth0"}
	others := protocol.EndpointID{Host: "h2", ContainerID: "b", IfName: "eth0"}
	line, err := wire.Notification(protocol.MethodStatistics, protocol.Statistics{Endpoints: []protocol.EndpointCounters{
		{ID: mine, RxBytes: 5}, {ID: others, RxBytes: 6}, {ID: protocol.EndpointID{Host: "h1", ContainerID: "no"}},
	}})
	f.must(err)
	f.must(c.str.WriteLine(line))
	f.eventually("the counters", func() bool { got, ok := f.Counters(mine); return ok && got.RxBytes == 5 })
	if _, ok := f.Counters(others); ok {
		t.Error("h1 counted for h2")
	}
}
