package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

const (
	servicePoll    = 10 * time.Second
	serviceTimeout = 5 * time.Second
	serviceRetry   = time.Second
)

// life is a learned counter as it was last read. The same counter may go and be learned again; it is told by when it began.
type life struct {
	tally
	began time.Time
}

// same tells whether two readings are of one flow: one that is learned again begins when the other was silent for long.
func (l life) same(other life) bool {
	return l.began.Sub(other.began).Abs() < pipeline.CounterIdle/2
}

// lives adds up what counters counted, also those that are gone. Pure; not safe for concurrent use.
type lives struct {
	over map[pipeline.ServiceFlow]tally
	live map[pipeline.ServiceFlow]life
}

// ended takes the last word of a counter.
func (x *lives) ended(f pipeline.ServiceFlow, last life) {
	x.fold(f, last.tally)
	if now, there := x.live[f]; there && now.same(last) {
		delete(x.live, f)
	}
}

func (x *lives) fold(f pipeline.ServiceFlow, t tally) {
	if x.over == nil {
		x.over = map[pipeline.ServiceFlow]tally{}
	}
	x.over[f] = x.over[f].plus(t)
}

// read takes all counters that there are now. What is not among them, and of whose end nothing was heard, ended as it was
// last seen: the switch was restarted.
func (x *lives) read(now map[pipeline.ServiceFlow]life) {
	for f, before := range x.live {
		if after, there := now[f]; !there || !after.same(before) {
			x.fold(f, before.tally)
		}
	}
	x.live = now
}

// forget drops what keep does not want.
func (x *lives) forget(keep func(pipeline.ServiceFlow) bool) {
	for f := range x.over {
		if !keep(f) {
			delete(x.over, f)
		}
	}
}

func (x *lives) totals() map[pipeline.ServiceFlow]tally {
	out := make(map[pipeline.ServiceFlow]tally, len(x.over)+len(x.live))
	for f, t := range x.over {
		out[f] = t
	}
	for f, l := range x.live {
		out[f] = out[f].plus(l.tally)
	}
	return out
}

// serviceCounter reads the counters that the switch learns for services, in a goroutine of its own, which alone has the
// connection that the ends of counters are told on.
type serviceCounter struct {
	socket string
	log    *logrus.Entry
	asked  chan question
	cancel context.CancelFunc
	done   chan struct{}
}

// question asks for totals of what is worth to be kept.
type question struct {
	keep   func(pipeline.ServiceFlow) bool
	answer chan answer
}

type answer struct {
	totals map[pipeline.ServiceFlow]tally
	err    error
}

func newServiceCounter(socket string, log *logrus.Entry) *serviceCounter {
	ctx, cancel := context.WithCancel(context.Background())
	c := &serviceCounter{socket: socket, log: log, asked: make(chan question), cancel: cancel, done: make(chan struct{})}
	go c.run(ctx)
	return c
}

func (c *serviceCounter) close() {
	c.cancel()
	<-c.done
}

// totals reads the counters now. With an error the totals are those of before. Flows that keep does not want are forgotten.
func (c *serviceCounter) totals(ctx context.Context, keep func(pipeline.ServiceFlow) bool) (map[pipeline.ServiceFlow]tally, error) {
	q := question{keep, make(chan answer, 1)}
	select {
	case c.asked <- q:
	case <-c.done:
		return nil, errors.New("reading the counters of services: the driver is closed")
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the counters of services: %w", ctx.Err())
	}
	select {
	case a := <-q.answer:
		return a.totals, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the counters of services: %w", ctx.Err())
	}
}

// quietID is a controller id under which no flow sends packets.
const quietID = 0xfffe

func (c *serviceCounter) run(ctx context.Context) {
	defer close(c.done)
	var sum lives
	var waits *question
	for {
		dialling, cancel := context.WithTimeout(ctx, serviceTimeout)
		conn, err := openflow.Dial(dialling, c.socket, openflow.Options{ControllerID: quietID, Packets: 1, Log: c.log})
		cancel()
		switch {
		case err == nil:
			c.serve(ctx, conn, &sum, waits)
			_ = conn.Close()
		case waits != nil:
			waits.answer <- answer{sum.totals(), fmt.Errorf("reading the counters of services: %w", err)}
		}
		waits = nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(serviceRetry):
		case q := <-c.asked:
			waits = &q
		}
	}
}

// serve reads through one connection until it ends, first for who waits.
func (c *serviceCounter) serve(ctx context.Context, conn *openflow.Conn, sum *lives, waits *question) {
	tick := time.NewTicker(servicePoll)
	defer tick.Stop()
	for {
		if waits != nil {
			err := readServiceFlows(ctx, conn, sum)
			sum.forget(waits.keep)
			waits.answer <- answer{sum.totals(), err}
			waits = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-conn.Done():
			return
		case gone := <-conn.Removed():
			if f, last, ok := lastWord(&gone); ok {
				sum.ended(f, last)
			}
		case <-tick.C:
			if err := readServiceFlows(ctx, conn, sum); err != nil {
				c.log.WithError(err).Debug("counters of services are as they were")
			}
		case q := <-c.asked:
			waits = &q
		}
	}
}

// lastWord is what a counter that is gone had counted; false for other flows.
func lastWord(r *openflow.FlowRemoved) (pipeline.ServiceFlow, life, bool) {
	f, ok := pipeline.ServiceFlowOf(r.Table, r.Match)
	return f, life{tally{r.Packets, r.Bytes}, time.Now().Add(-r.Age)}, ok
}

func readServiceFlows(ctx context.Context, conn *openflow.Conn, sum *lives) error {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	now := map[pipeline.ServiceFlow]life{}
	for _, table := range pipeline.CounterTables() {
		flows, err := conn.QueryFlows(ctx, openflow.FlowQuery{Table: table, Matches: true})
		if err != nil {
			return err
		}
		for i := range flows {
			if f, ok := pipeline.ServiceFlowOf(table, flows[i].Match); ok {
				now[f] = life{tally{flows[i].Packets, flows[i].Bytes}, time.Now().Add(-flows[i].Age)}
			}
		}
	}
	for waiting := true; waiting; {
		select {
		case gone := <-conn.Removed(): // before the answer, and then it is not in that, or just after
			if f, last, ok := lastWord(&gone); ok {
				sum.ended(f, last)
				if there, ok := now[f]; ok && there.same(last) {
					delete(now, f)
				}
			}
		default:
			waiting = false
		}
	}
	sum.read(now)
	return nil
}

// serviceCounters are what the clients on this host and providers said to each other, sorted.
func (d *Driver) serviceCounters(ctx context.Context) ([]protocol.ServiceCounters, error) {
	d.mu.Lock()
	names := make(map[uint16]string, len(d.compiler.Services))
	for key, s := range d.compiler.Services {
		if first, claimed := names[s.ID]; !claimed || key < first {
			names[s.ID] = key
		}
	}
	named := d.backends.names()
	d.mu.Unlock()
	totals, err := d.served.totals(ctx, func(f pipeline.ServiceFlow) bool {
		_, known := named[f.Backend]
		return known && names[f.Service] != ""
	})
	type pair struct {
		service          string
		client, provider string
	}
	found := map[pair]*protocol.ServiceCounters{}
	for f, t := range totals {
		provider, known := named[f.Backend]
		service := names[f.Service]
		if !known || service == "" {
			continue
		}
		k := pair{service, f.Client.String(), provider.Addr.String()}
		c := found[k]
		if c == nil {
			c = &protocol.ServiceCounters{Service: service, Client: f.Client, Provider: provider.Addr}
			found[k] = c
		}
		if f.Answers {
			c.PacketsIn, c.BytesIn = c.PacketsIn+t.packets, c.BytesIn+t.bytes
		} else {
			c.PacketsOut, c.BytesOut = c.PacketsOut+t.packets, c.BytesOut+t.bytes
		}
	}
	out := make([]protocol.ServiceCounters, 0, len(found))
	for _, c := range found {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b protocol.ServiceCounters) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), a.Client.Compare(b.Client), a.Provider.Compare(b.Provider))
	})
	return out, err
}
