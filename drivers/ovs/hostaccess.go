package ovs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

// HostLink is the host's end of the way out of containers, in forward mode routing. It is a veth, not an internal port:
// those of a userspace datapath go when the switch is restarted, with addresses and routes.
const HostLink = "contivh0"

const (
	hostPort       = "vvcontivh0" // the switch's end
	hostPortNumber = 2            // the OpenFlow number it asks for
	hostMTU        = 1450         // until netmaster tells that of containers

	hostAccessRetry = 2 * time.Second
	// hostAccessLook is how often everything is looked at: another program may have flushed all rules.
	hostAccessLook = 30 * time.Second
)

// hostAccess keeps the host's side of host access as the desired state wants it: link, addresses, port, forwarding and
// rules. It works in a goroutine of its own: nothing waits for it.
type hostAccess struct {
	realise func(context.Context, *pipeline.HostAccess) error // nil: there is to be none
	log     *logrus.Entry
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	known   bool // what is wanted
	want    *pipeline.HostAccess
	problem string
}

func newHostAccess(realise func(context.Context, *pipeline.HostAccess) error, log *logrus.Entry) *hostAccess {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hostAccess{realise: realise, log: log, wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go h.run(ctx)
	return h
}

func (h *hostAccess) close() {
	h.cancel()
	<-h.done
}

// set tells what is wanted; nil for none. It does not wait.
func (h *hostAccess) set(want *pipeline.HostAccess) {
	h.mu.Lock()
	same := h.known && (h.want == nil) == (want == nil) && (want == nil || *want == *h.want)
	h.known, h.want = true, want
	h.mu.Unlock()
	if !same {
		h.poke()
	}
}

func (h *hostAccess) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// state is what Status tells: the address, or what is wrong.
func (h *hostAccess) state() (told, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.want == nil || h.problem != "" {
		return "", h.problem
	}
	return HostLink + " " + h.want.Addr.String(), ""
}

func (h *hostAccess) run(ctx context.Context) {
	defer close(h.done)
	for {
		var again <-chan time.Time
		h.mu.Lock()
		known, want := h.known, h.want
		h.mu.Unlock()
		if known {
			pause := h.once(ctx, want)
			if pause > 0 {
				again = time.After(pause)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-again:
		}
	}
}

// once makes it so, and tells when to look again; 0: not before something changes.
func (h *hostAccess) once(ctx context.Context, want *pipeline.HostAccess) time.Duration {
	bounded, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	err := h.realise(bounded, want)
	if ctx.Err() != nil {
		return 0
	}
	h.mu.Lock()
	before := h.problem
	h.problem = ""
	if err != nil {
		h.problem = err.Error()
	}
	now := h.problem
	h.mu.Unlock()
	switch {
	case err != nil && now != before:
		h.log.WithError(err).Error("containers do not get out through this host; trying again")
	case err == nil && before != "":
		h.log.Info("containers get out through this host again")
	}
	switch {
	case err != nil:
		return hostAccessRetry
	case want != nil:
		return hostAccessLook
	}
	return 0
}

// wantHostAccess tells what the desired state asks for. Callers hold mu.
func (d *Driver) wantHostAccess() {
	want, ok := d.compiler.HostAccess()
	if !ok || d.cfg.NoHostAccess {
		d.hostAccess.set(nil)
		return
	}
	d.hostAccess.set(&want)
}

// realiseHostAccess makes what is missing, or takes all of it away. The rules come first, so that nothing is forwarded
// that they would not let.
func (d *Driver) realiseHostAccess(ctx context.Context, want *pipeline.HostAccess) error {
	if want == nil {
		return d.removeHostAccess(ctx)
	}
	if err := d.links.host.do(func() error { return ensureRules(want) }); err != nil {
		return err
	}
	if err := d.ensureHostLink(ctx, want); err != nil {
		return err
	}
	number, err := d.ensureHostPort(ctx)
	if err != nil {
		return err
	}
	d.setHostPort(number)
	changed, err := d.links.host.forward(want.IPv6)
	for _, what := range changed {
		d.log.Infof("turned on %s in the kernel: containers get out through this host", what)
	}
	return err
}

func (d *Driver) removeHostAccess(ctx context.Context) error {
	d.setHostPort(0)
	if _, err := d.db.RemovePort(ctx, hostPort, nil); err != nil {
		return err
	}
	link, err := d.links.find(hostPort)
	if err == nil && link != nil && d.links.ours(link) {
		err = d.links.unlink(link)
	}
	return errors.Join(err, d.links.host.do(removeRules))
}

// hostAttachment describes the link as one of an endpoint, which linkMaker knows how to make.
func (d *Driver) hostAttachment(want *pipeline.HostAccess) *drivers.Attachment {
	mtu := want.MTU
	if mtu == 0 {
		mtu = hostMTU
	}
	return &drivers.Attachment{
		Port: drivers.Port{
			ID: protocol.EndpointID{Host: d.cfg.Host, ContainerID: "host", IfName: HostLink}, MAC: want.MAC.String(), MTU: mtu,
		},
		HostLink: hostPort, ContainerLink: HostLink,
	}
}

// ensureHostLink makes the pair, or the one there is as wanted.
func (d *Driver) ensureHostLink(ctx context.Context, want *pipeline.HostAccess) error {
	att := d.hostAttachment(want)
	near, err := d.links.find(HostLink)
	if err != nil {
		return err
	}
	far, err := d.links.find(hostPort)
	if err != nil {
		return err
	}
	if near == nil || far == nil || !paired(far, near, att.MAC) {
		if near != nil && (far == nil || !d.links.ours(far) || near.Attrs().ParentIndex != far.Attrs().Index) {
			return fmt.Errorf("a link %s exists that Contiv did not make: rename or remove it, or start with --host-access=false", HostLink)
		}
		d.setHostPort(0)
		if err := d.unplugHost(ctx); err != nil {
			return err
		}
		if err := d.links.removeLeftOver(hostPort); err != nil {
			return err
		}
		if far, err = d.links.create(att, d.links.host); err != nil {
			return err
		}
	}
	if err := d.links.readyHost(att, far); err != nil {
		return err
	}
	if err := d.links.readyContainer(att, d.links.host); err != nil {
		return err
	}
	return d.links.readyOut(att, want)
}

// readyOut gives the host's end its addresses and brings it up. Addresses of before are taken away.
func (m *linkMaker) readyOut(att *drivers.Attachment, want *pipeline.HostAccess) error {
	for _, name := range []string{HostLink, hostPort} {
		link, err := m.host.links.LinkByName(name)
		if err != nil {
			return fmt.Errorf("finding %s: %w", name, err)
		}
		if link.Attrs().MTU != att.MTU {
			if err := m.host.links.LinkSetMTU(link, att.MTU); err != nil {
				return fmt.Errorf("setting the MTU of %s: %w", name, err)
			}
		}
	}
	prefixes := []netip.Prefix{netip.PrefixFrom(want.Addr, want.Subnet.Bits())}
	if m.host.hasIPv6() {
		for name, value := range map[string]string{"disable_ipv6": "0", "accept_ra": "0"} {
			if err := m.host.setSysctl("ipv6", HostLink, name, value); err != nil {
				return err
			}
		}
		prefixes = append(prefixes, netip.PrefixFrom(want.Addr6, want.Subnet6.Bits()))
	}
	link, err := m.host.links.LinkByName(HostLink)
	if err != nil {
		return fmt.Errorf("finding %s: %w", HostLink, err)
	}
	if err := m.host.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s: %w", HostLink, err)
	}
	return m.setAddresses(link, prefixes)
}

// setAddresses makes these the addresses of a link, link-local ones apart.
func (m *linkMaker) setAddresses(link netlink.Link, want []netip.Prefix) error {
	missing := map[netip.Prefix]bool{}
	for _, p := range want {
		missing[p] = true
	}
	have, err := m.host.links.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("reading the addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, one := range have {
		addr, _ := netip.AddrFromSlice(one.IP)
		bits, _ := one.Mask.Size()
		p := netip.PrefixFrom(addr.Unmap(), bits)
		if addr.IsLinkLocalUnicast() || missing[p] {
			delete(missing, p)
			continue
		}
		if err := m.host.links.AddrDel(link, &one); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("removing address %s from %s: %w", p, link.Attrs().Name, err)
		}
	}
	for _, p := range want {
		if missing[p] {
			if err := addAddress(m.host, link, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// unplugHost takes the port from the switch and returns when it is gone, so that one of its name can be added.
func (d *Driver) unplugHost(ctx context.Context) error {
	removed, err := d.db.RemovePort(ctx, hostPort, nil)
	if err != nil || !removed {
		return err
	}
	return d.db.Settle(ctx)
}

// ensureHostPort plugs the link into the switch and answers its number.
func (d *Driver) ensureHostPort(ctx context.Context) (int, error) {
	port, err := d.db.Port(ctx, hostPort)
	switch {
	case err != nil:
		return 0, err
	case port == nil:
		return d.db.AddPort(ctx, switchdb.Port{Name: hostPort, Request: hostPortNumber}, nil)
	case port.Number <= 0: // the device was away; the switch opens a port that is added
		if err := d.unplugHost(ctx); err != nil {
			return 0, err
		}
		return d.db.AddPort(ctx, switchdb.Port{Name: hostPort, Request: hostPortNumber}, nil)
	}
	return port.Number, nil
}

// setHostPort tells the pipeline the number of the port to the host, 0 for none.
func (d *Driver) setHostPort(number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hostPortIs(number)
}

// hostPortIs is setHostPort for callers that hold mu.
func (d *Driver) hostPortIs(number int) {
	port := uint32(max(number, 0)) //nolint:gosec // OpenFlow numbers fit
	if d.host == port {
		return
	}
	if d.host != 0 {
		d.numbers.release(int(d.host))
	}
	if port != 0 {
		d.numbers.claim(number)
	}
	d.host = port
	c := newChanges()
	c.HostPort = &port
	d.change(c)
}
