package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/ofnet/protocol"
)

// portTimeout bounds the making and removing of one port, whatever the caller's context allows.
const portTimeout = 15 * time.Second

// Steps of PreparePort, for tests that make one fail.
const (
	stepLink      = "make link"
	stepHost      = "ready host end"
	stepContainer = "ready container end"
	stepPlug      = "plug into switch"
	stepFlows     = "install flows"
)

// localPort is a port of an endpoint of this host.
type localPort struct {
	attachment drivers.Attachment
	number     int    // OpenFlow number, asked for or given
	seq        uint64 // of the writer's update with its flows
	// making: PreparePort has not succeeded yet; the port is not shown. leaving: its removal has begun.
	making, leaving bool
	// missing: somebody took it from the switch; it has no flows until it is put back.
	missing bool
}

// PreparePort implements drivers.Datapath.
func (d *Driver) PreparePort(ctx context.Context, want drivers.Port) (drivers.Attachment, error) {
	if err := checkPort(&want); err != nil {
		return drivers.Attachment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	unlock, err := d.locks.Acquire(ctx, want.ID)
	if err != nil {
		return drivers.Attachment{}, err
	}
	defer unlock()
	if att, ok := d.attachment(want.ID); ok {
		if samePort(&att.Port, &want) && d.intact(ctx, &att) {
			return d.renote(ctx, att, want)
		}
		if err := d.unplug(ctx, att, false); err != nil {
			return drivers.Attachment{}, fmt.Errorf("replacing the port of endpoint %s: %w", want.ID, err)
		}
	}
	att, err := d.makePort(ctx, want)
	if err != nil {
		return drivers.Attachment{}, fmt.Errorf("making the port of endpoint %s: %w", want.ID, err)
	}
	return att, nil
}

func checkPort(want *drivers.Port) error {
	for _, part := range []string{want.ID.Host, want.ID.ContainerID, want.ID.IfName} {
		if part == "" || strings.Contains(part, "/") {
			return fmt.Errorf("endpoint %s: host, container and interface must not be empty nor hold a slash", want.ID)
		}
	}
	if len(want.ID.IfName) > 15 && want.NetNS != "" {
		return fmt.Errorf("endpoint %s: interface name %q is longer than 15 bytes", want.ID, want.ID.IfName)
	}
	if mac, err := net.ParseMAC(want.MAC); err != nil || len(mac) != 6 {
		return fmt.Errorf("endpoint %s: MAC address %q: want six bytes as in 02:02:0a:01:00:02", want.ID, want.MAC)
	}
	if want.MTU < 68 || want.MTU > 65535 {
		return fmt.Errorf("endpoint %s: MTU %d: want 68..65535", want.ID, want.MTU)
	}
	if want.Encap != protocol.EncapVXLAN {
		return fmt.Errorf("endpoint %s: network %s has encapsulation %q, this switch carries %s only", want.ID, want.Network, want.Encap, protocol.EncapVXLAN)
	}
	return nil
}

// samePort compares what the link was made of; groups, owner and notes are only remembered.
func samePort(a, b *drivers.Port) bool {
	return a.ID == b.ID && a.Tenant == b.Tenant && a.Network == b.Network && a.Encap == b.Encap && strings.EqualFold(a.MAC, b.MAC) &&
		a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6 && a.Gateway == b.Gateway && a.Gateway6 == b.Gateway6 && a.MTU == b.MTU && a.NetNS == b.NetNS
}

// intact tells whether a port is in the switch and both ends of its link are in place.
func (d *Driver) intact(ctx context.Context, att *drivers.Attachment) bool {
	port, err := d.db.Port(ctx, att.HostLink)
	return err == nil && port != nil && d.links.whole(att)
}

// renote answers an existing port, with its owner's notes brought up to date.
func (d *Driver) renote(ctx context.Context, att drivers.Attachment, want drivers.Port) (drivers.Attachment, error) {
	d.mu.Lock()
	if p := d.ports[att.ID]; p != nil {
		p.leaving = false // a removal that failed is not wanted any more
	}
	d.mu.Unlock()
	if att.Owner == want.Owner && maps.Equal(att.Notes, want.Notes) && slices.Equal(att.Groups, want.Groups) {
		return att, nil
	}
	att.Owner, att.Notes, att.Groups = want.Owner, want.Notes, want.Groups
	ids, err := encodeAttachment(&att)
	if err != nil {
		return drivers.Attachment{}, err
	}
	if err := d.db.SetExternalIDs(ctx, att.HostLink, ids); err != nil {
		return drivers.Attachment{}, fmt.Errorf("noting changes of endpoint %s: %w", att.ID, err)
	}
	d.mu.Lock()
	if p := d.ports[att.ID]; p != nil {
		p.attachment = att
	}
	d.mu.Unlock()
	return att, nil
}

// makePort makes link and port of an endpoint that has none. Whatever fails, all of it is undone.
func (d *Driver) makePort(ctx context.Context, want drivers.Port) (att drivers.Attachment, err error) {
	ns := d.links.host
	if want.NetNS != "" {
		if ns, err = openNamespace(want.NetNS); err != nil {
			return att, err
		}
		defer ns.close()
	}
	att = drivers.Attachment{Port: want}
	number, err := d.reservePort(&att)
	if err != nil {
		return att, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.rollBack(ctx, att))
		}
	}()
	if err = d.links.removeLeftOver(att.HostLink); err != nil {
		return att, err
	}
	var host netlink.Link
	if err = d.step(stepLink, func() (err error) { host, err = d.links.create(&att, ns); return err }); err != nil {
		return att, err
	}
	if err = d.step(stepHost, func() error { return d.links.readyHost(&att, host) }); err != nil {
		return att, err
	}
	if err = d.finishPort(ctx, &att, ns, number); err != nil {
		return att, err
	}
	d.mu.Lock()
	if p := d.ports[att.ID]; p != nil {
		p.making = false
	}
	d.mu.Unlock()
	return att, nil
}

// finishPort does all that can be done at once when the veth pair exists: the switch needs some milliseconds to open
// its end, in which the other is readied and the endpoint's flows, if its record came before, go to the switch. The host
// end must be ready (readyHost) before: the switch reads and then writes the flags of what it opens, and would take back a change of
// ours in between, "up" among them.
func (d *Driver) finishPort(ctx context.Context, att *drivers.Attachment, ns *namespace, number int) error {
	ids, err := encodeAttachment(att)
	if err != nil {
		return err
	}
	given := number
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return d.step(stepPlug, func() (err error) {
			port := switchdb.Port{Name: att.HostLink, Request: number, ExternalIDs: ids}
			given, err = d.db.AddPort(ctx, port, map[string]string{keyLastNumber: strconv.Itoa(number)}, removedKey(att.ID))
			return err
		})
	})
	g.Go(func() error { return d.step(stepContainer, func() error { return d.links.readyContainer(att, ns) }) })
	g.Go(func() error { return d.step(stepFlows, func() error { return d.flushPort(ctx, att.ID) }) })
	if err := g.Wait(); err != nil {
		return err
	}
	if given != number {
		d.renumber(att.ID, given)
		return d.flushPort(ctx, att.ID)
	}
	return nil
}

// reservePort chooses link names and port number and counts the port among the local ones.
func (d *Driver) reservePort(att *drivers.Attachment) (int, error) {
	for try := 0; ; try++ {
		att.HostLink, att.ContainerLink = linkNames(att.ID, try)
		if !d.links.foreign(att.HostLink) && !d.linkTaken(att.HostLink) {
			break
		}
	}
	if att.NetNS != "" {
		att.ContainerLink = att.ID.IfName
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	number, err := d.numbers.take()
	if err != nil {
		return 0, err
	}
	d.ports[att.ID] = &localPort{attachment: *att, number: number, making: true}
	d.portChanged(att.ID)
	return number, nil
}

// linkTaken tells whether another endpoint's link has that name.
func (d *Driver) linkTaken(hostLink string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.ports {
		if p.attachment.HostLink == hostLink {
			return true
		}
	}
	return false
}

// rollBack undoes makePort, also when its context has ended.
func (d *Driver) rollBack(ctx context.Context, att drivers.Attachment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), portTimeout)
	defer cancel()
	if err := d.unplug(ctx, att, false); err != nil {
		return fmt.Errorf("and undoing it: %w", err)
	}
	return nil
}

// RemovePort implements drivers.Datapath.
func (d *Driver) RemovePort(ctx context.Context, id protocol.EndpointID) error {
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	unlock, err := d.locks.Acquire(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	att, ok := d.attachment(id)
	if !ok {
		return nil
	}
	if err := d.unplug(ctx, att, true); err != nil {
		return fmt.Errorf("removing the port of endpoint %s: %w", id, err)
	}
	return nil
}

// unplug removes port, flows and link, and remembers the endpoint as removed if told. It may be repeated after an error.
func (d *Driver) unplug(ctx context.Context, att drivers.Attachment, remember bool) error {
	d.mu.Lock()
	if p := d.ports[att.ID]; p != nil {
		p.leaving = true
	}
	d.mu.Unlock()
	var notes map[string]string
	if remember {
		notes = map[string]string{removedKey(att.ID): time.Now().UTC().Format(time.RFC3339)}
	}
	removed, err := d.db.RemovePort(ctx, att.HostLink, notes)
	if err == nil && !removed && remember { // somebody else took the port away; netmaster is to hear of it all the same
		err = d.db.SetNotes(ctx, notes)
	}
	if err != nil {
		return err
	}
	d.forgetFlows(att.ID)
	if err := d.links.remove(att.HostLink); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.ports[att.ID]; p != nil {
		d.numbers.release(p.number)
		delete(d.ports, att.ID)
	}
	return nil
}

// attachment is the port of an endpoint as the driver knows it.
func (d *Driver) attachment(id protocol.EndpointID) (drivers.Attachment, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ports[id]
	if p == nil {
		return drivers.Attachment{}, false
	}
	return p.attachment, true
}

// Attachments implements drivers.Datapath.
func (d *Driver) Attachments(ctx context.Context) ([]drivers.Attachment, error) {
	ports, err := d.db.Ports(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []drivers.Attachment{}
	for _, port := range ports {
		att, ours, err := decodeAttachment(port.Name, port.ExternalIDs)
		if err != nil {
			return nil, err
		}
		if p := d.ports[att.ID]; ours && (p == nil || !p.making) {
			list = append(list, att)
		}
	}
	slices.SortFunc(list, func(a, b drivers.Attachment) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}

// Removed implements drivers.Datapath.
func (d *Driver) Removed(ctx context.Context) ([]protocol.EndpointID, error) {
	notes, err := d.db.Notes(ctx)
	if err != nil {
		return nil, err
	}
	ids := []protocol.EndpointID{}
	for key := range notes {
		if id, ok := parseRemovedKey(key); ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids, nil
}

// Forget implements drivers.Datapath.
func (d *Driver) Forget(ctx context.Context, ids ...protocol.EndpointID) error {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = removedKey(id)
	}
	return d.db.SetNotes(ctx, nil, keys...)
}

// portCounters are of what passes the links; the kernel counts, whatever the switch does with it. What the host end sends
// the container receives.
func (d *Driver) portCounters() ([]protocol.EndpointCounters, error) {
	counted, err := d.links.counters()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []protocol.EndpointCounters{}
	for id, p := range d.ports {
		if c, there := counted[p.attachment.HostLink]; there && !p.making {
			list = append(list, protocol.EndpointCounters{
				ID: id, RxPackets: c.TxPackets, RxBytes: c.TxBytes, TxPackets: c.RxPackets, TxBytes: c.RxBytes,
			})
		}
	}
	slices.SortFunc(list, func(a, b protocol.EndpointCounters) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}

func compareIDs(a, b protocol.EndpointID) int { return strings.Compare(a.String(), b.String()) }

// step runs one step of PreparePort; tests make steps fail.
func (d *Driver) step(name string, fn func() error) error {
	if d.fail != nil {
		if err := d.fail(name); err != nil {
			return err
		}
	}
	return fn()
}
