package ovs

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/pipeline"
)

const (
	// gateHold is for how long, in seconds, the switch hands over DNS packets after the agent was last heard of: less than
	// the 5 s after which resolvers ask again, so that the second attempt finds either an agent or the server it was
	// sent to. The switch looks at its clock once a second.
	gateHold = 3
	// gateRenew is how often the agent is heard of. Each time the switch looks anew at the flows it has cached.
	gateRenew = time.Second
	// gateTimeout bounds one renewal.
	gateTimeout = 5 * time.Second
	// interceptRetry is the first wait after the switch went away, interceptRetryMax the longest.
	interceptRetry    = 100 * time.Millisecond
	interceptRetryMax = 2 * time.Second
	// waitingPackets is how many packets may wait for the agent; the oldest are dropped.
	waitingPackets = 1024
)

var _ drivers.NameInterceptor = (*Driver)(nil)

// Intercept implements drivers.NameInterceptor, on a connection of its own.
func (d *Driver) Intercept(ctx context.Context, take func(drivers.DNSPacket)) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = interceptRetry, interceptRetryMax
	for {
		began := time.Now()
		err := d.interceptOnce(ctx, take)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > interceptRetryMax {
			pause.Reset()
		}
		d.log.WithError(err).Debug("DNS packets are not handed over; trying again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// interceptOnce hands over packets as long as one connection lives.
func (d *Driver) interceptOnce(ctx context.Context, take func(drivers.DNSPacket)) error {
	conn, err := openflow.Dial(ctx, d.control.socket, openflow.Options{
		Log: d.log, Packets: waitingPackets, Removed: 1, ControllerID: pipeline.NameController,
	})
	if err != nil {
		return fmt.Errorf("connecting to the switch for DNS packets: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is awaited from it
	renewed := make(chan error, 1)
	renewing, stop := context.WithCancel(ctx)
	go func() { renewed <- renewGate(renewing, conn) }()
	defer func() { stop(); <-renewed }()
	in := &interception{driver: d, conn: conn, take: take, ports: map[uint32]*localPort{}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-conn.Done():
			return conn.Err()
		case err := <-renewed:
			renewed <- err
			return err
		case packet := <-conn.Packets():
			in.packet(ctx, &packet)
		}
	}
}

// renewGate tells the switch that the agent lives. A switch that has lost its flows has no meters either, so that the
// gate leads nowhere until the writer was there.
func renewGate(ctx context.Context, conn *openflow.Conn) error {
	var mods []openflow.Mod
	for _, flow := range pipeline.NameGate(gateHold) {
		mods = append(mods, openflow.AddFlow(flow))
	}
	tick := time.NewTicker(gateRenew)
	defer tick.Stop()
	for {
		bound, cancel := context.WithTimeout(ctx, gateTimeout)
		err := conn.Commit(bound, mods)
		cancel()
		if err != nil {
			return fmt.Errorf("having DNS packets handed over: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// interception is one connection's worth of DNS packets. Its methods run in one goroutine.
type interception struct {
	driver *Driver
	conn   *openflow.Conn
	take   func(drivers.DNSPacket)
	ports  map[uint32]*localPort // as they were when last looked up
}

// Sizes of Ethernet.
const (
	ethernetBytes = 14
	macBytes      = 6
)

func (in *interception) packet(ctx context.Context, p *openflow.PacketIn) {
	if len(p.Frame) < ethernetBytes {
		return
	}
	if kind := binary.BigEndian.Uint16(p.Frame[2*macBytes:]); kind != openflow.EtherIPv4 && kind != openflow.EtherIPv6 {
		return
	}
	out := drivers.DNSPacket{IP: p.Frame[ethernetBytes:]}
	if !in.whose(p.InPort, &out) {
		return
	}
	frame, port := p.Frame, p.InPort
	out.Reply = func(ip []byte) error {
		// Not as coming in through the endpoint's port: the switch sends nothing back there.
		return in.conn.PacketOut(ctx, openflow.PortController, openflow.Do(openflow.Output(port)), answerFrame(frame, ip))
	}
	out.PassOn = func() error { return in.conn.PacketOut(ctx, port, pipeline.BackIntoPipeline(), frame) }
	in.take(out)
}

// whose tells which endpoint is on a port.
func (in *interception) whose(number uint32, out *drivers.DNSPacket) bool {
	d := in.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	p := in.ports[number]
	if p == nil || p.number != int(number) || d.ports[p.attachment.ID] != p {
		clear(in.ports)
		for _, each := range d.ports {
			in.ports[uint32(each.number)] = each //nolint:gosec // numbers of ports are below 0xff00
		}
		if p = in.ports[number]; p == nil {
			return false
		}
	}
	out.Endpoint, out.Tenant, out.Network = p.attachment.ID, p.attachment.Tenant, p.attachment.Network
	return true
}

// answerFrame puts an IP packet into a frame from whom a frame was sent to.
func answerFrame(frame, ip []byte) []byte {
	kind := uint16(openflow.EtherIPv4)
	if len(ip) > 0 && ip[0]>>4 == 6 {
		kind = openflow.EtherIPv6
	}
	out := make([]byte, 0, ethernetBytes+len(ip))
	out = append(out, frame[macBytes:2*macBytes]...)
	out = append(out, frame[:macBytes]...)
	out = binary.BigEndian.AppendUint16(out, kind)
	return append(out, ip...)
}
