package nameserver

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// authority is a DNS server that answers each query by a function, nil for never.
func authority(t *testing.T, answer func(*dns.Msg) *dns.Msg) (address string, asked *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		if reply := answer(q); reply != nil {
			_ = out.WriteMsg(reply)
		}
	})}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return conn.LocalAddr().String(), asked
}

func says(records ...string) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		reply := new(dns.Msg).SetReply(q)
		for _, text := range records {
			record, _ := dns.NewRR(text)
			if record.Header().Rrtype == dns.TypeSOA {
				reply.Rcode, reply.Ns = dns.RcodeNameError, append(reply.Ns, record)
			} else {
				reply.Answer = append(reply.Answer, record)
			}
		}
		return reply
	}
}

func fails(code int) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
}

func TestForwarder(t *testing.T) {
	query := func(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }
	const soa = "example. 60 IN SOA a. b. 1 2 3 4 7"
	for name, test := range map[string]struct {
		servers []func(*dns.Msg) *dns.Msg
		code    int
		kept    time.Duration // 0: asked again each time
	}{
		"an answer":         {[]func(*dns.Msg) *dns.Msg{says("www.example. 60 IN A 203.0.113.7")}, dns.RcodeSuccess, time.Minute},
		"the least time":    {[]func(*dns.Msg) *dns.Msg{says("www.example. 60 IN A 203.0.113.7", "www.example. 9 IN A 203.0.113.8")}, dns.RcodeSuccess, 9 * time.Second},
		"at most":           {[]func(*dns.Msg) *dns.Msg{says("www.example. 86400 IN A 203.0.113.7")}, dns.RcodeSuccess, cacheTime},
		"no such name":      {[]func(*dns.Msg) *dns.Msg{says(soa)}, dns.RcodeNameError, 7 * time.Second},
		"for no time known": {[]func(*dns.Msg) *dns.Msg{fails(dns.RcodeNameError)}, dns.RcodeNameError, 0},
		"the second":        {[]func(*dns.Msg) *dns.Msg{fails(dns.RcodeRefused), says("www.example. 60 IN A 203.0.113.7")}, dns.RcodeSuccess, time.Minute},
		"nobody":            {[]func(*dns.Msg) *dns.Msg{fails(dns.RcodeServerFailure), fails(dns.RcodeRefused)}, -1, 0},
		"no servers":        {nil, -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var servers []string
			var last *atomic.Int64
			for _, answer := range test.servers {
				address, asked := authority(t, answer)
				servers, last = append(servers, address), asked
			}
			f := newForwarder(FixedServers(servers...))
			for _, spelling := range []string{"www.example.", "WWW.example."} {
				q := query(spelling)
				reply, err := f.ask(t.Context(), q)
				if err != nil {
					if test.code != -1 {
						t.Fatal(err)
					}
					continue
				}
				if reply.Rcode != test.code || reply.Id != q.Id || reply.Question[0].Name != spelling {
					t.Errorf("the reply: %v", reply)
				}
			}
			want := int64(2)
			if test.kept != 0 {
				want = 1
				value, _ := f.cache.Get(keyOf(query("www.example.")))
				if entry := value.(*kept); entry.end.Sub(entry.since) != test.kept {
					t.Errorf("kept for %v, want %v", entry.end.Sub(entry.since), test.kept)
				}
			}
			if last != nil && last.Load() != want {
				t.Errorf("asked %d times, want %d", last.Load(), want)
			}
		})
	}
}

func TestTailoredAge(t *testing.T) {
	q := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	reply := tailored(says("www.example. 60 IN A 203.0.113.7", "www.example. 5 IN A 203.0.113.8")(q), q, 10)
	if got := []uint32{reply.Answer[0].Header().Ttl, reply.Answer[1].Header().Ttl}; !slices.Equal(got, []uint32{50, 0}) {
		t.Errorf("after 10 s: %v", got)
	}
}

func TestHostServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got := HostServers(path)(); got != nil {
		t.Errorf("without a file: %v", got)
	}
	if err := os.WriteFile(path, []byte("search x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := HostServers(path)(), []string{"192.0.2.1:53", "[2001:db8::1]:53"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1:53", "2001:db8::1": "[2001:db8::1]:53", "192.0.2.1:5353": "192.0.2.1:5353", "x": "", "192.0.2.1:0": "", "": ""} {
		if got, err := ParseServer(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestSilentResolver: an endpoint that asks for what nobody answers takes up its own room only.
func TestSilentResolver(t *testing.T) {
	address, asked := authority(t, func(q *dns.Msg) *dns.Msg {
		if strings.HasPrefix(q.Question[0].Name, "good.") {
			return says("good.example. 60 IN A 203.0.113.7")(q)
		}
		return nil
	})
	s := New(Config{Servers: FixedServers(address), Log: logrus.NewEntry(logrus.New())})
	replies := make(chan string, 2*maxWaiting)
	send := func(who, name string) {
		raw, _ := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		d := datagram{netip.MustParseAddrPort("10.1.0.1:5"), netip.MustParseAddrPort("169.254.254.53:53"), raw}
		packet, err := d.packet()
		if err != nil {
			t.Fatal(err)
		}
		s.Take(drivers.DNSPacket{
			Endpoint: protocol.EndpointID{ContainerID: who}, Tenant: "blue", IP: packet,
			Reply: func([]byte) error { replies <- who; return nil }, PassOn: func() error { t.Error("passed on"); return nil },
		})
	}
	for i := range 200 {
		send("noisy", dns.Fqdn("n"+string(rune('a'+i%26))+strings.Repeat("x", i/26)+".bad"))
	}
	if got := s.Counts()[OutcomeDropped]; got != 200-maxWaitingPerEndpoint {
		t.Errorf("%d queries were dropped, want %d", got, 200-maxWaitingPerEndpoint)
	}
	began := time.Now()
	send("quiet", "good.example.")
	if who := <-replies; who != "quiet" || time.Since(began) > time.Second {
		t.Errorf("first answered is %s after %v", who, time.Since(began))
	}
	for range maxWaitingPerEndpoint {
		<-replies
	}
	if got := s.Counts(); got[OutcomeFailed] != maxWaitingPerEndpoint || got[OutcomeForwarded] != 1 {
		t.Errorf("counted: %v; the resolver was asked %d times", got, asked.Load())
	}
}
