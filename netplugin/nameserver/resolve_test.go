package nameserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

// town is a state with two tenants that have the same addresses.
func town() map[drivers.Ref]protocol.Body {
	set := map[drivers.Ref]protocol.Body{}
	add := func(tenant, network, name, v4, v6 string, groups ...string) {
		e := &protocol.Endpoint{
			ID: protocol.EndpointID{Host: "h1", ContainerID: tenant + network + name, IfName: "eth0"}, Tenant: tenant, Network: network, Name: name, Groups: groups,
			IPv4: netip.MustParseAddr(v4),
		}
		if v6 != "" {
			e.IPv6 = netip.MustParseAddr(v6)
		}
		set[drivers.Ref{Kind: protocol.KindEndpoint, Key: e.ID.String()}] = e
	}
	add("blue", "net", "/web", "10.1.0.1", "fd00::1", "front")
	add("blue", "net", "DB", "10.1.0.2", "", "front", "back")
	add("blue", "other", "web", "10.2.0.1", "")
	add("blue", "net", "", "10.1.0.9", "")
	add("red", "net", "web", "10.1.0.1", "")
	add("blue", "net", "front", "10.1.0.7", "") // hidden by the group
	add("blue", "net", "a.b", "10.1.0.8", "")
	s := &protocol.Service{Tenant: "blue", Network: "net", Name: "back", VIP: netip.MustParseAddr("10.1.0.100"), VIP6: netip.MustParseAddr("fd00::100")}
	set[drivers.Ref{Kind: protocol.KindService, Key: s.Key()}] = s
	set[drivers.Ref{Kind: protocol.KindGroup, Key: "blue:empty"}] = &protocol.Group{Tenant: "blue", Name: "empty"}
	return set
}

func townResolver() *resolver {
	tables := NewTables()
	tables.Apply(drivers.Update{Replace: true, Set: town()})
	return &resolver{tables, "contiv"}
}

func texts(records []dns.RR) []string {
	out := []string{}
	for _, record := range records {
		out = append(out, strings.TrimPrefix(record.String(), record.Header().String()))
	}
	return out
}

func TestResolve(t *testing.T) {
	r := townResolver()
	for _, test := range []struct {
		tenant, name string
		kind         uint16
		want         string // sorted; "?" for unknown
	}{
		{"blue", "db", dns.TypeA, "10.1.0.2"},
		{"blue", "dB", dns.TypeA, "10.1.0.2"},
		{"blue", "db.blue", dns.TypeA, "10.1.0.2"},
		{"blue", "db.BLUE.Contiv", dns.TypeA, "10.1.0.2"},
		{"blue", "db.contiv", dns.TypeA, "10.1.0.2"},
		{"blue", "db.red", dns.TypeA, "?"},
		{"blue", "db.blue.example", dns.TypeA, "?"},
		{"red", "db", dns.TypeA, "?"},
		{"green", "db", dns.TypeA, "?"},
		{"blue", "db", dns.TypeAAAA, ""},
		{"blue", "db", dns.TypeMX, ""},
		{"blue", "a.b", dns.TypeA, "10.1.0.8"},
		{"blue", "web", dns.TypeA, "10.1.0.1 10.2.0.1"},
		{"blue", "web", dns.TypeAAAA, "fd00::1"},
		{"blue", "web", dns.TypeANY, "10.1.0.1 10.2.0.1 fd00::1"},
		{"red", "web", dns.TypeA, "10.1.0.1"},
		{"blue", "front", dns.TypeA, "10.1.0.1 10.1.0.2"},
		{"blue", "back", dns.TypeA, "10.1.0.100"},
		{"blue", "back", dns.TypeAAAA, "fd00::100"},
		{"blue", "empty", dns.TypeA, "?"},
		{"blue", "/web", dns.TypeA, "?"},
		{"blue", ".", dns.TypeNS, "?"},
		{"blue", "contiv", dns.TypeA, "?"},
		{"blue", "1.0.1.10.in-addr.arpa", dns.TypePTR, "web.blue.contiv."},
		{"red", "1.0.1.10.IN-addr.arpa", dns.TypePTR, "web.red.contiv."},
		{"red", "2.0.1.10.in-addr.arpa", dns.TypePTR, "?"},
		{"blue", "100.0.1.10.in-addr.arpa", dns.TypePTR, "back.blue.contiv."},
		{"blue", "9.0.1.10.in-addr.arpa", dns.TypePTR, "?"},
		{"blue", "0.1.10.in-addr.arpa", dns.TypePTR, "?"},
		{"blue", "1.0.1.010.in-addr.arpa", dns.TypePTR, "?"},
		{"blue", "1." + strings.Repeat("0.", 27) + "0.0.d.f.ip6.arpa", dns.TypePTR, "web.blue.contiv."},
		{"blue", "x." + strings.Repeat("0.", 27) + "0.0.d.f.ip6.arpa", dns.TypePTR, "?"},
	} {
		query := new(dns.Msg).SetQuestion(dns.Fqdn(test.name), test.kind)
		reply, found := r.resolve(Asker{test.tenant, "net"}, query)
		got := "?"
		if found {
			list := texts(reply.Answer)
			slices.Sort(list)
			got = strings.Join(list, " ")
			if reply.Id != query.Id || !reply.Response || !reply.Authoritative || !reply.RecursionAvailable || reply.Rcode != dns.RcodeSuccess ||
				len(reply.Question) != 1 || reply.Question[0] != query.Question[0] {
				t.Errorf("%s: the head of the reply: %v", test.name, reply)
			}
			for _, record := range reply.Answer {
				if head := record.Header(); head.Ttl != recordTTL || head.Name != query.Question[0].Name {
					t.Errorf("%s: %v", test.name, record)
				}
			}
		}
		if got != test.want {
			t.Errorf("tenant %s, %s %s: %q, want %q", test.tenant, test.name, dns.TypeToString[test.kind], got, test.want)
		}
	}
}

// TestOwnNetworkFirst: addresses that the asker surely reaches come first, in an order that changes.
func TestOwnNetworkFirst(t *testing.T) {
	r := townResolver()
	for network, want := range map[string]string{"net": "10.1.0.1", "other": "10.2.0.1"} {
		reply, _ := r.resolve(Asker{"blue", network}, new(dns.Msg).SetQuestion("web.", dns.TypeA))
		if got := texts(reply.Answer); got[0] != want {
			t.Errorf("from network %s: %v", network, got)
		}
	}
	firsts := map[string]bool{}
	for range 200 {
		reply, _ := r.resolve(Asker{"blue", "net"}, new(dns.Msg).SetQuestion("front.", dns.TypeA))
		firsts[texts(reply.Answer)[0]] = true
	}
	if len(firsts) != 2 {
		t.Errorf("the first address of a group is always %v", firsts)
	}
}

func TestNotForUs(t *testing.T) {
	r := townResolver()
	chaos := new(dns.Msg).SetQuestion("db.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	signed := new(dns.Msg).SetQuestion("db.", dns.TypeA).SetTsig("k.", dns.HmacSHA256, 300, 1)
	for name, query := range map[string]*dns.Msg{"class": chaos, "signed": signed} {
		if reply, found := r.resolve(Asker{"blue", "net"}, query); found {
			t.Errorf("%s: %v", name, reply)
		}
	}
}

func TestReadQuery(t *testing.T) {
	pack := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion("db.", dns.TypeA)
		change(m)
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	whole := pack(func(*dns.Msg) {})
	for name, test := range map[string]struct {
		raw  []byte
		want string
	}{
		"query":        {whole, "query"},
		"nothing":      {nil, "nothing"},
		"short":        {whole[:7], "nothing"},
		"cut":          {whole[:14], dns.RcodeToString[dns.RcodeFormatError]},
		"response":     {pack(func(m *dns.Msg) { m.Response = true }), "nothing"},
		"update":       {pack(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeToString[dns.RcodeNotImplemented]},
		"no question":  {pack(func(m *dns.Msg) { m.Question = nil }), dns.RcodeToString[dns.RcodeFormatError]},
		"two question": {pack(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeToString[dns.RcodeFormatError]},
	} {
		query, refusal := readQuery(test.raw)
		got := "nothing"
		if query != nil {
			got = "query"
		} else if refusal != nil {
			got = dns.RcodeToString[refusal.Rcode]
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestSizes(t *testing.T) {
	tables := NewTables()
	set := map[drivers.Ref]protocol.Body{}
	for i := range 300 {
		e := &protocol.Endpoint{Tenant: "blue", Groups: []string{"many"}, IPv4: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}
		set[drivers.Ref{Kind: protocol.KindEndpoint, Key: fmt.Sprint("h/", i)}] = e
	}
	tables.Apply(drivers.Update{Replace: true, Set: set})
	r := &resolver{tables: tables}
	for _, test := range []struct {
		edns      uint16
		limit     int
		truncated bool
	}{{0, 512, true}, {100, 512, true}, {1232, 1232, true}, {4096, 1232, true}} {
		query := new(dns.Msg).SetQuestion("many.", dns.TypeA)
		if test.edns != 0 {
			query.SetEdns0(test.edns, true)
		}
		reply, _ := r.resolve(Asker{Tenant: "blue"}, query)
		if len(reply.Answer) != maxAddresses {
			t.Errorf("%d addresses, want %d", len(reply.Answer), maxAddresses)
		}
		raw, err := packUDP(reply, query)
		if err != nil || len(raw) > test.limit || len(raw) < test.limit-30 || reply.Truncated != test.truncated {
			t.Errorf("EDNS %d: %d bytes, truncated %v, %v; want nearly %d", test.edns, len(raw), reply.Truncated, err, test.limit)
		}
		if o := reply.IsEdns0(); (o != nil) != (test.edns != 0) || o != nil && (!o.Do() || o.UDPSize() != ednsBytes) {
			t.Errorf("EDNS %d: the reply has %v", test.edns, o)
		}
	}
	query := new(dns.Msg).SetQuestion("many.", dns.TypeA).SetEdns0(1232, false)
	query.IsEdns0().SetVersion(1)
	reply, _ := r.resolve(Asker{Tenant: "blue"}, query)
	if reply.Rcode != dns.RcodeBadVers || len(reply.Answer) != 0 {
		t.Errorf("EDNS version 1: %v", reply)
	}
}

// TestChanges: after random changes the tables are those of the state itself.
func TestChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	changing, state := NewTables(), map[drivers.Ref]protocol.Body{}
	for step := range 3000 {
		ref := drivers.Ref{Kind: protocol.KindEndpoint, Key: fmt.Sprint("h/", random.IntN(30))}
		var body protocol.Body = &protocol.Endpoint{
			Tenant: pick("red", "blue"), Network: pick("m", "n"), Name: pick("", "a", "b", "C"), Groups: []string{pick("a", "g"), "all"}[:random.IntN(3)],
			IPv4: netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(8))}),
		}
		if random.IntN(4) == 0 {
			ref = drivers.Ref{Kind: protocol.KindService, Key: fmt.Sprint("t:", random.IntN(5))}
			body = &protocol.Service{Tenant: pick("red", "blue"), Name: pick("a", "s"), VIP: netip.AddrFrom4([4]byte{10, 0, 1, byte(random.IntN(3))})}
		}
		update := drivers.Update{Set: map[drivers.Ref]protocol.Body{ref: body}}
		if random.IntN(3) == 0 {
			update = drivers.Update{Gone: []drivers.Ref{ref}}
			delete(state, ref)
		} else {
			state[ref] = body
		}
		changing.Apply(update)
		if step%50 != 0 {
			continue
		}
		fresh := NewTables()
		fresh.Apply(drivers.Update{Replace: true, Set: state})
		if diff := cmp.Diff(dump(t, fresh), dump(t, changing)); diff != "" {
			t.Fatalf("step %d (-fresh +changed):\n%s", step, diff)
		}
	}
	changing.Apply(drivers.Update{Gone: slices.Collect(maps.Keys(state))})
	if len(changing.facts)+len(changing.tenants) != 0 {
		t.Errorf("left over: %v", changing.all())
	}
}

func dump(t *testing.T, tables *Tables) string {
	t.Helper()
	out, err := json.MarshalIndent(tables.all(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// FuzzTake hands bytes over as packets, and as queries: nothing panics, and every reply can be read.
func FuzzTake(f *testing.F) {
	plain, _ := new(dns.Msg).SetQuestion("db.", dns.TypeA).SetEdns0(100, true).Pack()
	f.Add(plain)
	for _, src := range []string{"10.1.0.1:5", "[fd00::1]:5"} {
		d := datagram{netip.MustParseAddrPort(src), netip.MustParseAddrPort(strings.Replace(src, ":5", ":53", 1)), plain}
		packet, err := d.packet()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	r := townResolver()
	f.Fuzz(func(t *testing.T, data []byte) {
		d, _, err := readIP(data)
		if err != nil {
			d.payload = data
		}
		query, refusal := readQuery(d.payload)
		reply := refusal
		if query != nil {
			if found, ok := r.resolve(Asker{"blue", "net"}, query); ok {
				reply = found
			} else {
				reply = tailored(failed(query, dns.RcodeNameError), query, 3)
				_ = keepFor(query)
			}
		} else {
			query = refusal
		}
		if reply == nil {
			return
		}
		raw, err := packUDP(reply, query)
		if err != nil {
			return // a name that cannot be said again; the server answers that it failed
		}
		if len(raw) > max(dns.MinMsgSize, ednsBytes) {
			t.Errorf("a reply of %d bytes", len(raw))
		}
		if err := new(dns.Msg).Unpack(raw); err != nil {
			t.Errorf("a reply that cannot be read: %v", err)
		}
	})
}
