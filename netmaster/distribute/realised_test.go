package distribute

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/netmaster/distribute/index"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/ofnet/protocol/wire"
)

func interested(host, name string, revision int64, interests ...index.Scope) ScopedRecord {
	r := endpointOf(host, name, revision)
	r.Interests = interests
	return r
}

func ruleOf(key string, revision int64, scopes ...index.Scope) ScopedRecord {
	r := scoped(protocol.KindRule, key, revision, 10)
	r.Everyone, r.Scopes = false, scopes
	return r
}

func ruleRef(key string) Ref { return Ref{Kind: protocol.KindRule, Key: key} }

func (c *client) acknowledges(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ack = yes
}

func (c *client) says(method string, message any) {
	c.t.Helper()
	line, err := wire.Notification(method, message)
	if err == nil {
		err = c.str.WriteLine(line)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// wantRealised waits until it is told so: "hosts/of at revision, missing".
func (f *fixture) wantRealised(want string, keys ...string) Realisation {
	f.t.Helper()
	var refs []Ref
	for _, key := range keys {
		refs = append(refs, ruleRef(key))
	}
	var got Realisation
	text := func() string {
		got = f.Realised(refs...)
		return strings.TrimSpace(fmt.Sprintf("%d/%d at %d %s", got.Hosts, got.Of, got.Revision, strings.Join(got.Missing, ",")))
	}
	deadline := time.Now().Add(5 * time.Second)
	for text() != want && time.Now().Before(deadline) {
		f.must(f.Publish(f.index.Position(), nil)) // gives the others a turn
	}
	if text() != want {
		f.t.Fatalf("%v: %s, want %s", keys, text(), want)
	}
	if got.Since.IsZero() != (got.Hosts == 0) {
		f.t.Errorf("%v: %s since %s", keys, want, got.Since)
	}
	return got
}

func TestRealised(t *testing.T) {
	f := start(t, nil)
	f.must(f.Publish(at(2), []ScopedRecord{
		hostOf("h1", 2), hostOf("h2", 2), hostOf("h3", 2), interested("h1", "a", 2, "i1"), interested("h2", "b", 2, "i2"), interested("h3", "c", 2),
	}))
	h1, h2 := f.registered("h1"), f.registered("h2")
	f.wantRealised("0/0 at 0", "none")

	f.must(f.Publish(at(3), []ScopedRecord{ruleOf("r", 3, "i1", "i2"), ruleOf("s", 3, "i2")}))
	first := f.wantRealised("2/2 at 3", "r", "s")
	f.wantRealised("1/1 at 3", "s")

	// A host that lags is missing for what it did not acknowledge, and for nothing else.
	h2.acknowledges(false)
	f.must(f.Publish(at(4), []ScopedRecord{ruleOf("r", 4, "i1", "i2")}))
	if since := f.wantRealised("1/2 at 4 h2", "r").Since; !since.After(first.Since) {
		t.Errorf("since %s, the form before since %s", since, first.Since)
	}
	f.wantRealised("1/1 at 3", "s")
	h2.acknowledges(true)
	h2.says(protocol.MethodAck, protocol.Ack{Position: at(4)})
	f.wantRealised("2/2 at 4", "r")

	// One that could not realise a record is missing for it.
	h1.says(protocol.MethodAck, protocol.Ack{Position: at(4), NotRealised: []protocol.NotRealised{{Kind: protocol.KindRule, Key: "r", Reason: "no"}}})
	f.wantRealised("1/2 at 4 h1", "r")
	f.wantRealised("1/2 at 4 h1", "r", "s")
	f.wantRealised("1/1 at 3", "s")
	var many []protocol.NotRealised
	for i := range maxNotRealised + 1 {
		many = append(many, protocol.NotRealised{Kind: protocol.KindRule, Key: fmt.Sprint(i)})
	}
	h1.says(protocol.MethodAck, protocol.Ack{Position: at(4), NotRealised: many})
	f.wantRealised("1/2 at 4 h1", "r")
	h1.says(protocol.MethodAck, protocol.Ack{Position: at(4)})
	f.wantRealised("2/2 at 4", "r")

	// A host that comes to need an old record has it when it acknowledged that, not before.
	h1.acknowledges(false)
	f.must(f.Publish(at(5), []ScopedRecord{interested("h1", "d", 5, "i2")}))
	f.wantRealised("1/2 at 3 h1", "s")
	h1.says(protocol.MethodAck, protocol.Ack{Position: at(5)})
	h1.acknowledges(true)
	f.wantRealised("2/2 at 3", "s")

	// One whose agent is away is missing.
	f.must(f.Publish(at(6), []ScopedRecord{interested("h3", "c", 6, "i1")}))
	f.wantRealised("2/3 at 4 h3", "r")
	f.registered("h3")
	f.wantRealised("3/3 at 4", "r")
	_ = h2.conn.Close()
	f.wantRealised("2/3 at 4 h2", "r")
}

// TestRealisedWhileChanging asks while records change, hosts acknowledge and sessions end; for the race detector, and at
// the end all must be realised.
func TestRealisedWhileChanging(t *testing.T) {
	f := start(t, nil)
	const hosts = 4
	var records []ScopedRecord
	for i := range hosts {
		name := fmt.Sprint("h", i)
		records = append(records, hostOf(name, 2), interested(name, "a", 2, "i"))
	}
	f.must(f.Publish(at(2), records))
	for i := range hosts {
		f.registered(fmt.Sprint("h", i))
	}
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := f.Realised(ruleRef("r"), ruleRef("s"))
				if got.Hosts+len(got.Missing) != got.Of || got.Of > hosts {
					t.Errorf("%+v", got)
					return
				}
				f.RuleCounters("r")
				f.ServiceCounters("s")
			}
		})
	}
	for revision := int64(3); revision < 200; revision++ {
		f.must(f.Publish(at(revision), []ScopedRecord{ruleOf([]string{"r", "s"}[revision%2], revision, "i")}))
	}
	f.wantRealised("4/4 at 199", "r", "s")
	close(stop)
	asking.Wait()
}

func TestTrafficCounters(t *testing.T) {
	f := start(t, nil)
	service := scoped(protocol.KindService, "t:s", 2, 10)
	service.Everyone, service.Scopes = false, []index.Scope{"scope"}
	f.must(f.Publish(at(2), []ScopedRecord{
		hostOf("h1", 2), hostOf("h2", 2), interested("h1", "a", 2, "i"), interested("h2", "b", 2, "i"), ruleOf("r", 2, "i"), ruleOf("other", 2, "j"), service,
	}))
	for i, host := range []string{"h1", "h2"} {
		n := uint64(i + 1)
		f.registered(host).says(protocol.MethodStatistics, protocol.Statistics{
			Rules: []protocol.RuleCounters{{Key: "r", Packets: n, Bytes: 10 * n}, {Key: "other", Packets: 5}, {Key: "none", Packets: 5}},
			Services: []protocol.ServiceCounters{
				{Service: "t:s", PacketsIn: n, BytesIn: 2 * n, PacketsOut: 3 * n, BytesOut: 4 * n}, {Service: "t:none", PacketsIn: 9},
			},
			Drops: []protocol.DropCounter{{Reason: "spoof", Packets: n}, {Reason: strings.Repeat("x", 100)}},
		})
	}
	f.eventually("the counters", func() bool { return f.RuleCounters("r", "other", "none").Packets == 3 })
	if got := f.RuleCounters("r"); got.Bytes != 30 {
		t.Errorf("%+v", got)
	}
	want := protocol.ServiceCounters{Service: "t:s", PacketsIn: 3, BytesIn: 6, PacketsOut: 9, BytesOut: 12}
	if got := f.ServiceCounters("t:s"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if diff := cmp.Diff([]protocol.DropCounter{{Reason: "spoof", Packets: 2}}, f.Drops("h2")); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}
