package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru"
	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	// cacheEntries is how many replies are kept, cacheTime for how long at most.
	cacheEntries = 4096
	cacheTime    = 5 * time.Minute
	// serverTimeout is how long one server is waited for, serversTried how many are asked. Together they stay below the
	// 5 s after which clients ask again.
	serverTimeout = 2 * time.Second
	serversTried  = 2
	// configAge is how often the file that names the servers is looked at.
	configAge = 2 * time.Second
)

var errNoServers = errors.New("no resolver is known for names that are not of the cluster")

// Servers answers the resolvers to ask, in order, as host:port. It is called for each query that the cache does not
// answer.
type Servers func() []string

// FixedServers are always the same.
func FixedServers(list ...string) Servers { return func() []string { return list } }

// HostServers are those that a file in the form of /etc/resolv.conf names, as it is now. Without the file there are none.
func HostServers(path string) Servers {
	var (
		mu      sync.Mutex
		checked time.Time
		changed time.Time
		servers []string
	)
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(checked) < configAge {
			return servers
		}
		checked = time.Now()
		info, err := os.Stat(path)
		if err != nil {
			servers, changed = nil, time.Time{}
			return nil
		}
		if info.ModTime().Equal(changed) {
			return servers
		}
		config, err := dns.ClientConfigFromFile(path)
		if err != nil {
			return servers
		}
		servers, changed = nil, info.ModTime()
		for _, one := range config.Servers {
			servers = append(servers, net.JoinHostPort(one, config.Port))
		}
		return servers
	}
}

// ParseServer reads ADDRESS or ADDRESS:PORT as a server's host:port.
func ParseServer(text string) (string, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return net.JoinHostPort(addr.String(), "53"), nil
	}
	one, err := netip.ParseAddrPort(text)
	if err != nil || one.Port() == 0 {
		return "", fmt.Errorf("%q is no IP address, with or without a port", text)
	}
	return one.String(), nil
}

// forwarder asks resolvers, and keeps what they said. Safe for concurrent use.
type forwarder struct {
	servers Servers
	flights singleflight.Group
	cache   *lru.Cache // of kept by cacheKey
}

type cacheKey struct {
	name             string
	kind, class      uint16
	recursion, check bool // RD and CD of the query
	secure           bool // its DO
}

func (k cacheKey) String() string {
	return fmt.Sprint(k.kind, k.class, k.recursion, k.check, k.secure, k.name)
}

type kept struct {
	reply      *dns.Msg
	since, end time.Time
}

func newForwarder(servers Servers) *forwarder {
	cache, _ := lru.New(cacheEntries) // fails for a size below 1 only
	return &forwarder{servers: servers, cache: cache}
}

func keyOf(query *dns.Msg) cacheKey {
	q := query.Question[0]
	k := cacheKey{name: fold(q.Name), kind: q.Qtype, class: q.Qclass, recursion: query.RecursionDesired, check: query.CheckingDisabled}
	if o := query.IsEdns0(); o != nil {
		k.secure = o.Do()
	}
	return k
}

// cached answers what is known without asking, nil for nothing.
func (f *forwarder) cached(query *dns.Msg) *dns.Msg {
	value, ok := f.cache.Get(keyOf(query))
	if !ok {
		return nil
	}
	entry, now := value.(*kept), time.Now()
	if now.After(entry.end) {
		f.cache.Remove(keyOf(query))
		return nil
	}
	return tailored(entry.reply, query, uint32(now.Sub(entry.since)/time.Second)) //nolint:gosec // at most cacheTime
}

// ask has resolvers answer. Queries that are alike share one request.
func (f *forwarder) ask(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	if reply := f.cached(query); reply != nil {
		return reply, nil
	}
	key := keyOf(query)
	// The request is not that of the first who asks: the others wait for it as well.
	outcome := f.flights.DoChan(key.String(), func() (any, error) {
		reply, err := f.request(query)
		if err != nil {
			return nil, err
		}
		if keep := keepFor(reply); keep > 0 {
			now := time.Now()
			f.cache.Add(key, &kept{reply, now, now.Add(keep)})
		}
		return reply, nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("asking resolvers for %s: %w", query.Question[0].Name, ctx.Err())
	case got := <-outcome:
		if got.Err != nil {
			return nil, got.Err
		}
		return tailored(got.Val.(*dns.Msg), query, 0), nil
	}
}

func (f *forwarder) request(query *dns.Msg) (*dns.Msg, error) {
	servers := f.servers()
	if len(servers) == 0 {
		return nil, errNoServers
	}
	request := &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), RecursionDesired: query.RecursionDesired, CheckingDisabled: query.CheckingDisabled}}
	request.Question = []dns.Question{query.Question[0]}
	request.SetEdns0(ednsBytes, keyOf(query).secure)
	var failures []error
	for _, server := range servers[:min(len(servers), serversTried)] {
		reply, err := exchange(request, server)
		switch {
		case err != nil:
			failures = append(failures, fmt.Errorf("asking resolver %s: %w", server, err))
		case reply.Rcode == dns.RcodeServerFailure || reply.Rcode == dns.RcodeRefused:
			failures = append(failures, fmt.Errorf("asking resolver %s: it answers %s", server, dns.RcodeToString[reply.Rcode]))
		case reply.Rcode == dns.RcodeFormatError && request.IsEdns0() != nil:
			request.Extra = nil // a server from before EDNS
			if reply, err = exchange(request, server); err == nil {
				return reply, nil
			}
			failures = append(failures, fmt.Errorf("asking resolver %s: %w", server, err))
		default:
			return reply, nil
		}
	}
	return nil, errors.Join(failures...)
}

// exchange asks one server, again over TCP for what is too long.
func exchange(request *dns.Msg, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	udp := &dns.Client{Net: "udp", UDPSize: ednsBytes}
	reply, _, err := udp.ExchangeContext(ctx, request, server)
	if err != nil || !reply.Truncated {
		return reply, err //nolint:wrapcheck // the caller names the server
	}
	tcp := &dns.Client{Net: "tcp"}
	if whole, _, err := tcp.ExchangeContext(ctx, request, server); err == nil {
		return whole, nil
	}
	return reply, nil
}

// keepFor is for how long a reply holds; 0: it is not kept.
func keepFor(reply *dns.Msg) time.Duration {
	if reply.Truncated || reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return 0
	}
	least, any := uint32(cacheTime/time.Second), false
	for _, list := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, record := range list {
			head := record.Header()
			if head.Rrtype == dns.TypeOPT {
				continue
			}
			least, any = min(least, head.Ttl), true
			if soa, ok := record.(*dns.SOA); ok && len(reply.Answer) == 0 {
				least = min(least, soa.Minttl) // how long there is nothing
			}
		}
	}
	if !any {
		return 0
	}
	return time.Duration(least) * time.Second
}

// tailored is a reply of a resolver as the reply to a query, some seconds later.
func tailored(reply, query *dns.Msg, age uint32) *dns.Msg {
	out := reply.Copy()
	out.Id, out.Question = query.Id, query.Question
	out.RecursionDesired, out.Opcode, out.Response, out.Authoritative = query.RecursionDesired, query.Opcode, true, false
	extra := out.Extra[:0]
	for _, list := range [][]dns.RR{out.Answer, out.Ns, out.Extra} {
		for _, record := range list {
			if head := record.Header(); head.Rrtype != dns.TypeOPT {
				head.Ttl -= min(age, head.Ttl)
			}
		}
	}
	for _, record := range out.Extra {
		if record.Header().Rrtype != dns.TypeOPT {
			extra = append(extra, record)
		}
	}
	out.Extra = extra
	return withOptions(out, query)
}
