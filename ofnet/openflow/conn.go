package openflow

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
	"github.com/sirupsen/logrus"
)

// ErrClosed is the error of a connection that Close closed.
var ErrClosed = errors.New("OpenFlow connection closed")

// Options of a connection. The zero value is fine.
type Options struct {
	Log *logrus.Entry // default: none
	// Echo is how often the switch is asked for a sign of life; after three such times of silence the connection
	// ends. Default 5 s.
	Echo time.Duration
	// Packets is how many packet-ins wait for their reader, Removed how many removed flows; the oldest are dropped.
	// Default 256 and 4096.
	Packets, Removed int
	// ControllerID is the id under which punts are sent to this connection. Those of another id are not; those
	// without one have id 0.
	ControllerID uint16
	// Quiet has the switch send neither packet-ins nor removed flows.
	Quiet bool
}

// Conn is a connection to one bridge. Its methods may be called at once; bundles wait for each other. It does not
// connect again: when Done closes, dial anew, and expect the switch to have lost its flows.
type Conn struct {
	conn     net.Conn
	log      *logrus.Entry
	echo     time.Duration
	features Features

	write   sync.Mutex // held while a message or a bundle's messages are written
	scratch []byte     // of the writer

	mu      sync.Mutex
	xid     uint32 // last used
	pending map[uint32]*call
	watches map[*watch]struct{}

	bundle   chan struct{} // holds one token: bundles one after another
	bundleID atomic.Uint32

	packets queue[PacketIn]
	removed queue[FlowRemoved]
	heard   atomic.Bool // something came since the last tick
	echoes  chan echoRequest
	end     sync.Once
	done    chan struct{}
	err     error // set before done closes
	owned   sync.WaitGroup
}

// silences is how many times of Options.Echo a switch may say nothing.
const silences = 3

type echoRequest struct {
	xid     uint32
	payload []byte
}

// call waits for the reply with one transaction number.
type call struct {
	parts [][]byte // of a multipart reply so far
	reply chan reply
}

type reply struct {
	parts [][]byte
	err   error
}

// watch collects errors about a range of transaction numbers.
type watch struct {
	first, last uint32
	errs        []watchedError
}

type watchedError struct {
	xid uint32
	err *SwitchError
}

// Dial connects to the management socket of a bridge (RUNDIR/BRIDGE.mgmt) and shakes hands.
func Dial(ctx context.Context, socket string, opts Options) (*Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connecting to switch: %w", err)
	}
	c := newConn(raw, opts)
	c.owned.Add(2)
	go c.read()
	go c.keepAlive()
	if err := c.shakeHands(ctx, opts); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("shaking hands with switch at %s: %w", socket, err)
	}
	return c, nil
}

func newConn(raw net.Conn, opts Options) *Conn {
	if opts.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		opts.Log = logrus.NewEntry(quiet)
	}
	if opts.Echo <= 0 {
		opts.Echo = 5 * time.Second
	}
	if opts.Packets <= 0 {
		opts.Packets = 256
	}
	if opts.Removed <= 0 {
		opts.Removed = 4096
	}
	c := &Conn{
		conn: raw, log: opts.Log, echo: opts.Echo,
		pending: make(map[uint32]*call), watches: make(map[*watch]struct{}),
		bundle:  make(chan struct{}, 1),
		packets: queue[PacketIn]{waiting: make(chan PacketIn, opts.Packets)},
		removed: queue[FlowRemoved]{waiting: make(chan FlowRemoved, opts.Removed)},
		echoes:  make(chan echoRequest, 8), done: make(chan struct{}),
	}
	c.bundle <- struct{}{}
	return c
}

// badVersion is the code of a bad request that is of another version than was agreed on.
const badVersion = 0

func (c *Conn) shakeHands(ctx context.Context, opts Options) error {
	if err := c.send(ctx, hello); err != nil {
		return err
	}
	parts, err := c.ask(ctx, func(buf []byte, xid uint32) ([]byte, error) {
		return finish(begin(buf, of.Type_FeaturesRequest, xid), len(buf))
	})
	if refused := (*SwitchError)(nil); errors.As(err, &refused) && refused.Type == of.ET_BAD_REQUEST && refused.Code == badVersion {
		return fmt.Errorf("the bridge does not speak OpenFlow 1.3 (its protocols column must name OpenFlow13): %w", err)
	}
	if err != nil {
		return err
	}
	if c.features, err = decodeFeatures(parts[0]); err != nil {
		return err
	}
	if opts.Quiet {
		return c.confirm(ctx, configure(false))
	}
	return c.confirm(ctx, configure(true), controllerID(opts.ControllerID))
}

// Features are what the switch told of itself.
func (c *Conn) Features() Features { return c.features }

// Done closes when the connection is gone; Err then tells why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection is gone, nil while it is there.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection and waits for its goroutines. The switch goes on as it is.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.owned.Wait()
	return nil
}

// fail ends the connection once, with the first reason.
func (c *Conn) fail(err error) {
	c.end.Do(func() {
		c.err = err
		_ = c.conn.Close()
		close(c.done)
	})
}

// Packets delivers packet-ins. When nobody reads, the oldest are dropped.
func (c *Conn) Packets() <-chan PacketIn { return c.packets.waiting }

// DroppedPackets counts packet-ins that nobody read in time.
func (c *Conn) DroppedPackets() uint64 { return c.packets.dropped.Load() }

// Removed delivers flows that are gone and had SendFlowRem set. When nobody reads, the oldest are dropped.
func (c *Conn) Removed() <-chan FlowRemoved { return c.removed.waiting }

// DroppedRemoved counts removed flows that nobody read in time.
func (c *Conn) DroppedRemoved() uint64 { return c.removed.dropped.Load() }

// queue holds what the switch told by itself until it is read.
type queue[T any] struct {
	waiting chan T
	dropped atomic.Uint64
}

// put never waits: it drops the oldest.
func (q *queue[T]) put(v T) {
	for {
		select {
		case q.waiting <- v:
			return
		default:
		}
		select {
		case <-q.waiting:
			q.dropped.Add(1)
		default:
		}
	}
}

// read takes messages off the wire, in order, until the connection ends.
func (c *Conn) read() {
	defer c.owned.Done()
	in := bufio.NewReaderSize(c.conn, 64<<10)
	for {
		kind, xid, body, err := readMessage(in)
		if err == nil {
			c.heard.Store(true)
			err = c.take(kind, xid, body)
		}
		if err != nil {
			c.fail(fmt.Errorf("reading from switch: %w", err))
			return
		}
	}
}

// readMessage reads one message into memory of its own.
func readMessage(in io.Reader) (kind uint8, xid uint32, body []byte, err error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if size < headerBytes {
		return 0, 0, nil, fmt.Errorf("message length %d: %w", size, errShort)
	}
	body = make([]byte, size-headerBytes)
	if _, err := io.ReadFull(in, body); err != nil {
		return 0, 0, nil, err
	}
	return head[1], binary.BigEndian.Uint32(head[4:]), body, nil
}

// take handles one message. It never blocks: the switch stops reading when its replies are not read.
func (c *Conn) take(kind uint8, xid uint32, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoding message of type %d: %v", kind, r)
		}
	}()
	switch kind {
	case of.Type_Error:
		return c.takeError(xid, body)
	case of.Type_EchoRequest:
		select {
		case c.echoes <- echoRequest{xid, body}:
		default: // the switch asks again
		}
	case of.Type_PacketIn:
		packet, err := decodePacketIn(body)
		if err != nil {
			return err
		}
		c.packets.put(packet)
	case of.Type_FlowRemoved:
		removed, err := decodeFlowRemoved(body)
		if err != nil {
			return err
		}
		c.removed.put(removed)
	case of.Type_MultiPartReply:
		return c.takePart(xid, body)
	case of.Type_FeaturesReply, of.Type_BarrierReply, of.Type_EchoReply, of.Type_Experimenter:
		c.answer(xid, reply{parts: [][]byte{body}})
	}
	return nil
}

func (c *Conn) takeError(xid uint32, body []byte) error {
	said, err := decodeError(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := false
	for w := range c.watches {
		if w.first <= xid && xid <= w.last {
			w.errs = append(w.errs, watchedError{xid, said})
			known = true
		}
	}
	if call, waits := c.pending[xid]; waits {
		delete(c.pending, xid)
		call.reply <- reply{err: said}
		known = true
	}
	if !known {
		c.log.WithFields(logrus.Fields{"xid": xid, "error": said}).Warn("switch refused a message that nobody waits for")
	}
	return nil
}

func (c *Conn) takePart(xid uint32, body []byte) error {
	if len(body) < 8 {
		return errShort
	}
	more := binary.BigEndian.Uint16(body[2:])&1 != 0
	c.mu.Lock()
	defer c.mu.Unlock()
	call, waits := c.pending[xid]
	if !waits {
		return nil
	}
	call.parts = append(call.parts, body[8:])
	if !more {
		delete(c.pending, xid)
		call.reply <- reply{parts: call.parts}
	}
	return nil
}

func (c *Conn) answer(xid uint32, r reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call, waits := c.pending[xid]; waits {
		delete(c.pending, xid)
		call.reply <- r
	}
}

// keepAlive answers the switch's echo requests and notices when it falls silent.
func (c *Conn) keepAlive() {
	defer c.owned.Done()
	tick := time.NewTicker(c.echo)
	defer tick.Stop()
	silent := 0
	for {
		var err error
		ctx, cancel := context.WithTimeout(context.Background(), c.echo)
		select {
		case <-c.done:
			cancel()
			return
		case request := <-c.echoes:
			err = c.sendAs(ctx, request.xid, echo(of.Type_EchoReply, request.payload))
		case <-tick.C:
			if silent++; c.heard.Swap(false) {
				silent = 0
			}
			if silent >= silences {
				c.fail(fmt.Errorf("switch was silent for %v", silences*c.echo))
			} else if silent > 0 {
				err = c.send(ctx, echo(of.Type_EchoRequest, nil))
			}
		}
		cancel()
		if err != nil {
			c.log.WithError(err).Debug("echo to switch")
		}
	}
}
