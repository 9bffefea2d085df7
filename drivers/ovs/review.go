package ovs

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/unixctl"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/policy"
)

// A change of the rules reaches a connection with its next packet in the direction of the first one. Of a connection
// whose packets all go the other way (a stream over UDP, say) there is none: the reviewer sends one in its place, which
// ends inside the switch. TCP acknowledges, and echo requests are the first direction, so they need no help.

// reviewDelay gathers changes that follow each other closely.
const (
	reviewDelay   = 50 * time.Millisecond
	reviewTimeout = 20 * time.Second
	reviewRetry   = time.Second
)

// reviewer has the tracked connections judged again after changes, in a goroutine of its own.
type reviewer struct {
	review func(context.Context) error
	log    *logrus.Entry
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

func newReviewer(review func(context.Context) error, log *logrus.Entry) *reviewer {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reviewer{review: review, log: log, wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go r.run(ctx)
	return r
}

// poke has the connections reviewed soon. It does not wait.
func (r *reviewer) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reviewer) close() {
	r.cancel()
	<-r.done
}

func (r *reviewer) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		wait := reviewDelay
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			err := r.review(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			r.log.WithError(err).Warn("connections that only answer may go on by the rules of before; trying again")
			wait = reviewRetry
		}
	}
}

// domain is what shares a zone of conntrack: a network, or all networks of a tenant.
type domain struct{ tenant, network string }

// site is an address of a tenant.
type site struct {
	tenant string
	addr   netip.Addr
}

// probe is a connection that must be judged again.
type probe struct {
	unixctl.Connection
	network     string
	srcIdentity uint16
}

// judge finds the connections that no longer are as the rules say, of the protocols that need a probe.
func judge(connections []unixctl.Connection, zones map[uint16]domain, identities map[site]uint16, rules *policy.Table) []probe {
	var out []probe
	for _, k := range connections {
		where, ours := zones[k.Zone]
		if !ours || k.Protocol == policy.TCP || k.Protocol == policy.SCTP || policy.IsICMP(k.Protocol) {
			continue
		}
		// Rules are about who really answers: the provider of a service, not its address.
		p := policy.Packet{
			Src: k.Orig.Src.Addr(), Dst: k.Reply.Src.Addr(), SrcIdentity: identities[site{where.tenant, k.Orig.Src.Addr()}],
			DstIdentity: identities[site{where.tenant, k.Reply.Src.Addr()}],
			Protocol:    k.Protocol, SrcPort: k.Orig.Src.Port(), DstPort: k.Reply.Src.Port(),
		}
		if rules.Decide(p).Allow == pipeline.Blocked(k.Mark) {
			out = append(out, probe{k, where.network, p.SrcIdentity})
		}
	}
	return out
}

// frame is a packet of the connection in the direction of its first one.
func (p *probe) frame() ([]byte, error) {
	eth := &layers.Ethernet{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4,
	}
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	if src, dst := p.Orig.Src.Addr(), p.Orig.Dst.Addr(); src.Is4() {
		ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocol(p.Protocol), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(p.Protocol), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	parts := []gopacket.SerializableLayer{eth, ip}
	if p.Protocol == policy.UDP {
		udp := &layers.UDP{SrcPort: layers.UDPPort(p.Orig.Src.Port()), DstPort: layers.UDPPort(p.Orig.Dst.Port())}
		if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
			return nil, fmt.Errorf("a packet of %v: %w", p.Connection, err)
		}
		parts = append(parts, udp)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		return nil, fmt.Errorf("a packet of %v: %w", p.Connection, err)
	}
	return buf.Bytes(), nil
}

// review has connections judged again that no longer are as the rules say. It waits until the switch has the rules.
func (d *Driver) review(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	d.mu.Lock()
	seq := d.ruleSeq
	d.mu.Unlock()
	if err := d.writer.Wait(ctx, seq); err != nil {
		return err
	}
	if d.cfg.DatapathType == DatapathNetdev {
		d.forgetDecisions(ctx)
	}
	connections, err := d.control.connections(ctx, d.cfg.DatapathType)
	if err != nil {
		return fmt.Errorf("reading connections: %w", err)
	}
	d.mu.Lock()
	probes := judge(connections, d.zoneOwners(), d.identities(), &d.policy)
	actions := make([]openflow.Actions, len(probes))
	for i := range probes {
		actions[i], _ = d.compiler.Probe(probes[i].network, probes[i].srcIdentity)
	}
	d.mu.Unlock()
	if len(probes) == 0 {
		return nil
	}
	conn, err := d.control.openflow(ctx)
	if err != nil {
		return err
	}
	for i := range probes {
		frame, err := probes[i].frame()
		if err != nil {
			return err
		}
		if err := conn.PacketOut(ctx, openflow.PortController, actions[i], frame); err != nil {
			return fmt.Errorf("judging %v again: %w", probes[i].Connection, err)
		}
	}
	d.log.WithField("connections", len(probes)).Debug("connections were judged again")
	return nil
}

// zoneOwners tells whose the zones of conntrack are. Callers hold mu.
func (d *Driver) zoneOwners() map[uint16]domain {
	out := make(map[uint16]domain, len(d.compiler.Networks))
	for key, n := range d.compiler.Networks {
		if zone, ok := d.compiler.Zone(key); ok {
			out[zone] = domain{n.Tenant, key}
		}
	}
	return out
}

// identities are those of all addresses that are known here. Callers hold mu.
func (d *Driver) identities() map[site]uint16 {
	out := make(map[site]uint16, len(d.compiler.Endpoints))
	for _, e := range d.compiler.Endpoints {
		for _, addr := range []netip.Addr{e.IPv4, e.IPv6} {
			if addr.IsValid() {
				out[site{e.Tenant, addr}] = e.Identity
			}
		}
	}
	return out
}

// rulesChanged notes rules for the reviewer. Callers hold mu.
func (d *Driver) rulesChanged(c *pipeline.Changes) bool {
	for key, r := range c.Rules {
		if r == nil {
			d.policy.Remove(key)
		} else {
			d.policy.Set(key, r)
		}
	}
	moved := false
	for id, e := range c.Endpoints {
		old, had := d.compiler.Endpoints[id]
		moved = moved || had && e != nil && e.Identity != old.Identity
	}
	return len(c.Rules) > 0 || moved
}
