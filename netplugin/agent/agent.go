// Package agent is the heart of netplugin: it keeps the datapath of one host as netmaster wants it, and attaches and
// detaches containers for the orchestrators' front ends (mgmtfn). An edge package: it calls the datapath and the
// session with netmaster, owns the goroutines started by Run, and has no state of its own that matters: attachments
// are remembered by the datapath, desired state by the session.
//
// # Locks
//
// An endpoint's lock is held during everything that makes, removes or reports that endpoint. Inside it the agent's
// mutex may be taken, which guards memory only and is never held over I/O. Nothing takes an endpoint's lock while it
// holds another one or the mutex.
package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/endpointlock"
	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/netplugin/session"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Config of an agent.
type Config struct {
	// Host is this host's name in the cluster. VTEP, VTEP6, VXLANPort and Uplinks describe its place in the fabric;
	// DatapathType is only reported.
	Host         string
	VTEP, VTEP6  netip.Addr
	VXLANPort    int
	Uplinks      []string
	DatapathType string
	// REST is the URL of this host's REST server, with the address it listens on; empty if it has none.
	REST string
	// MTU answers that of the underlay, in bytes. It is asked at each registration, since it may change.
	MTU func() int
	// Catalog: every network and group of the cluster is wanted, not only those with endpoints here (docker).
	Catalog bool
	// Build is the version of the binary, for people.
	Build string

	// Masters are host:port of netmasters, ControlIP the address to call them from (zero: any), TLS the way to them
	// (nil: plain TCP). SessionTiming is for tests.
	Masters       []string
	ControlIP     netip.Addr
	TLS           *tls.Config
	SessionTiming session.Timing
	// Observe, if not nil, is told of every call to netmaster; see session.Config.
	Observe func(method string, took time.Duration, err error)

	// Datapath is used, and not closed, by the agent.
	Datapath drivers.Datapath
	Timing   Timing
	Log      *logrus.Entry
}

// Timing bounds what the agent waits for; zero values mean the defaults.
type Timing struct {
	Attach  time.Duration // for a whole attach; default 20 s
	Connect time.Duration // of it, for a netmaster to be there; default 5 s
	Switch  time.Duration // of it, for the switch to be there; default 2 s
	Settle  time.Duration // of it, for other hosts to know the endpoint; default 100 ms
	Tell    time.Duration // for netmaster to hear of a removal, and for an undo; default 3 s
	Retry   time.Duration // between attempts to tell of removals; default 5 s
	Watch   time.Duration // between looks at what changes by itself; default 15 s
}

func (t Timing) withDefaults() Timing {
	for _, one := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Attach, 20 * time.Second},
		{&t.Connect, 5 * time.Second},
		{&t.Switch, 2 * time.Second},
		{&t.Settle, 100 * time.Millisecond},
		{&t.Tell, 3 * time.Second},
		{&t.Retry, 5 * time.Second},
		{&t.Watch, 15 * time.Second},
	} {
		if *one.value == 0 {
			*one.value = one.standard
		}
	}
	return t
}

// Agent serves one host. All methods may be called at once. Errors of netmaster are *protocol.Error (errors.As), with
// CodeUnavailable also when no netmaster can be reached.
type Agent struct {
	config  Config
	timing  Timing
	dp      drivers.Datapath
	session *session.Session
	log     *logrus.Entry

	endpoints endpointlock.Set
	tell      chan struct{} // wakes the reporter

	mu      sync.Mutex
	pending map[protocol.EndpointID]protocol.Attachment // being attached: recorded by netmaster, perhaps no port yet
	catalog chan struct{}                               // closed when networks or groups change
}

// New makes an agent; Run starts it.
func New(config Config) (*Agent, error) {
	if config.Host == "" || config.Datapath == nil || config.Log == nil || config.MTU == nil {
		return nil, errors.New("an agent needs a host name, a datapath, an MTU and a logger")
	}
	a := &Agent{
		config:  config,
		timing:  config.Timing.withDefaults(),
		dp:      config.Datapath,
		log:     config.Log,
		tell:    make(chan struct{}, 1),
		pending: make(map[protocol.EndpointID]protocol.Attachment),
		catalog: make(chan struct{}),
	}
	var err error
	a.session, err = session.New(session.Config{
		Masters: config.Masters,
		TLS:     config.TLS,
		Agent:   side{a},
		Log:     config.Log,
		Timing:  config.SessionTiming,
		Dial:    dialer(config.ControlIP),
		Observe: config.Observe,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the session with netmaster: %w", err)
	}
	return a, nil
}

// dialer calls from an address; nil for any.
func dialer(from netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	if !from.IsValid() {
		return nil
	}
	return (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}).DialContext
}

// Run keeps the host as netmaster wants it until ctx ends. What is attached stays attached and forwarded.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.session.Run(ctx) })
	group.Go(func() error { a.report(ctx); return nil })
	group.Go(func() error { a.watch(ctx); return nil })
	return group.Wait()
}

// Ready is nil, or a *mgmtfn.NotReady that says why nothing can be attached now.
func (a *Agent) Ready(context.Context) error {
	if switched := a.dp.Status(); !switched.Connected {
		return switchAway(switched)
	}
	if talk := a.session.Status(); !talk.Connected {
		return &mgmtfn.NotReady{Reason: "netmaster cannot be reached: " + orUnknown(talk.Problem)}
	}
	return nil
}

func switchAway(status drivers.Status) error {
	return &mgmtfn.NotReady{Impaired: true, Reason: "the switch does not answer (check that Open vSwitch runs): " + orUnknown(status.Problem)}
}

func orUnknown(problem string) string {
	if problem == "" {
		return "not connected yet"
	}
	return problem
}

// Attachments answers everything that is plugged in on this host, of every front end, sorted by ID.
func (a *Agent) Attachments(ctx context.Context) ([]mgmtfn.Attachment, error) {
	ports, err := a.dp.Attachments(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the attachments of this host: %w", err)
	}
	list := make([]mgmtfn.Attachment, 0, len(ports))
	for i := range ports {
		list = append(list, outward(&ports[i]))
	}
	return list, nil
}

// Check answers an attachment if the host still has it, netmaster still knows it, and the switch forwards for it;
// else mgmtfn.ErrNotAttached, mgmtfn.ErrDamaged or *mgmtfn.NotReady. What cannot be known while netmaster is away is
// taken as good.
func (a *Agent) Check(ctx context.Context, containerID, ifName string) (mgmtfn.Attachment, error) {
	id := a.id(containerID, ifName)
	port, err := a.find(ctx, id)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	if port == nil {
		return mgmtfn.Attachment{}, fmt.Errorf("endpoint %s: %w", id, mgmtfn.ErrNotAttached)
	}
	switched := a.dp.Status()
	if !switched.Connected {
		return mgmtfn.Attachment{}, switchAway(switched)
	}
	if reason, missing := notRealised(switched, id); missing {
		return mgmtfn.Attachment{}, fmt.Errorf("endpoint %s: %w: %s", id, mgmtfn.ErrDamaged, reason)
	}
	if a.disowned(id) {
		return mgmtfn.Attachment{}, fmt.Errorf("endpoint %s: %w: netmaster does not know it", id, mgmtfn.ErrDamaged)
	}
	return outward(port), nil
}

// disowned tells whether netmaster has said what this host should have, and an endpoint is not among it.
func (a *Agent) disowned(id protocol.EndpointID) bool {
	// In this order: what arrives in between makes an endpoint known, not unknown.
	synced := a.session.Status().Desired.Store != ""
	_, known := a.session.Record(endpointRef(id))
	return synced && !known
}

// find answers a port of this host, nil if there is none.
func (a *Agent) find(ctx context.Context, id protocol.EndpointID) (*drivers.Attachment, error) {
	ports, err := a.dp.Attachments(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for endpoint %s: %w", id, err)
	}
	for i := range ports {
		if ports[i].ID == id {
			return &ports[i], nil
		}
	}
	return nil, nil
}

// id of an endpoint of this host.
func (a *Agent) id(containerID, ifName string) protocol.EndpointID {
	return protocol.EndpointID{Host: a.config.Host, ContainerID: containerID, IfName: ifName}
}

// notRealised tells why a datapath does not forward for an endpoint, if so.
func notRealised(status drivers.Status, id protocol.EndpointID) (reason string, missing bool) {
	for _, one := range status.NotRealised {
		if one.Kind == protocol.KindEndpoint && one.Key == id.String() {
			return one.Reason, true
		}
	}
	return "", false
}

func endpointRef(id protocol.EndpointID) drivers.Ref {
	return drivers.Ref{Kind: protocol.KindEndpoint, Key: id.String()}
}

func outward(port *drivers.Attachment) mgmtfn.Attachment {
	return mgmtfn.Attachment{
		ID: port.ID, Tenant: port.Tenant, Network: port.Network, Groups: port.Groups, NetNS: port.NetNS,
		MAC: port.MAC, MTU: port.MTU, IPv4: port.IPv4, IPv6: port.IPv6, Gateway: port.Gateway, Gateway6: port.Gateway6,
		HostLink: port.HostLink, ContainerLink: port.ContainerLink, Owner: port.Owner, Notes: port.Notes,
	}
}
