package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// neighbourRetry is the first wait after an address could not be resolved, for when the underlay comes up with the
	// switch; neighbourRetryMax the longest.
	neighbourRetry    = 50 * time.Millisecond
	neighbourRetryMax = 2 * time.Second
	// neighbourRefresh is how often all are resolved anew; the switch forgets those it did not use for 15 minutes.
	neighbourRefresh = 5 * time.Minute
	// discardPort is where the datagrams go that make the kernel ask for a neighbour (RFC 863).
	discardPort = 9
)

// neighbours makes the userspace datapath know the link address of every tunnel peer before the first packet goes
// there. It resolves them itself only when it has a packet to send, and drops that packet; but it overhears answers
// that the kernel gets (ovs-appctl tnl/neigh/show). So the kernel is made to ask.
type neighbours struct {
	host   *namespace
	log    *logrus.Entry
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	peers map[string]netip.Addr // host -> tunnel address
	due   map[netip.Addr]bool   // to resolve now
}

func watchNeighbours(host *namespace, log *logrus.Entry) *neighbours {
	ctx, cancel := context.WithCancel(context.Background())
	n := &neighbours{host: host, log: log, wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		peers: map[string]netip.Addr{}, due: map[netip.Addr]bool{}}
	go n.run(ctx)
	return n
}

func (n *neighbours) close() {
	n.cancel()
	<-n.done
}

// set notes the tunnel address of a host; an invalid address forgets the host. It does not wait.
func (n *neighbours) set(host string, addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.peers[host] == addr {
		return
	}
	delete(n.due, n.peers[host])
	delete(n.peers, host)
	if addr.IsValid() {
		n.peers[host], n.due[addr] = addr, true
		n.poke()
	}
}

// again resolves all, after a restart of the switch. It does not wait.
func (n *neighbours) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range n.peers {
		n.due[addr] = true
	}
	n.poke()
}

func (n *neighbours) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *neighbours) run(ctx context.Context) {
	defer close(n.done)
	pause := &backoff.ExponentialBackOff{InitialInterval: neighbourRetry, Multiplier: 1.5, MaxInterval: neighbourRetryMax}
	pause.Reset()
	refresh := time.NewTicker(neighbourRefresh)
	defer refresh.Stop()
	for {
		var retry <-chan time.Time
		if n.resolveDue() {
			pause.Reset()
		} else {
			retry = time.After(pause.NextBackOff())
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-retry:
		case <-refresh.C:
			n.again()
		}
	}
}

// resolveDue tries those that are due and tells whether none is left.
func (n *neighbours) resolveDue() bool {
	n.mu.Lock()
	var due []netip.Addr
	for addr := range n.due {
		due = append(due, addr)
	}
	n.mu.Unlock()
	all := true
	for _, addr := range due {
		if err := n.host.askFor(addr); err != nil {
			n.log.WithError(err).WithField("peer", addr).Debug("tunnel peer is not resolved yet")
			all = false
			continue
		}
		n.mu.Lock()
		delete(n.due, addr)
		n.mu.Unlock()
	}
	return all
}

// askFor has the kernel ask on the wire for the neighbour that leads to addr, even if it knows it: what it knows is
// forgotten, then a datagram to the discard port needs it.
func (n *namespace) askFor(addr netip.Addr) error {
	routes, err := n.links.RouteGet(addr.AsSlice())
	if err != nil || len(routes) == 0 {
		return fmt.Errorf("no route to %s: %w", addr, err)
	}
	hop := addr.AsSlice()
	if routes[0].Gw != nil {
		hop = routes[0].Gw
	}
	err = n.links.NeighDel(&netlink.Neigh{LinkIndex: routes[0].LinkIndex, IP: hop})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("forgetting neighbour %s: %w", net.IP(hop), err)
	}
	return n.do(func() error {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, discardPort)))
		if err != nil {
			return fmt.Errorf("asking for %s: %w", addr, err)
		}
		defer conn.Close() //nolint:errcheck // nothing is awaited
		if _, err := conn.Write([]byte{0}); err != nil {
			return fmt.Errorf("asking for %s: %w", addr, err)
		}
		return nil
	})
}
