// Package switchdb keeps what the driver must remember in the host's OVSDB: the bridge, its ports with their external
// ids, and notes (external ids of the bridge). It knows nothing of endpoints and flows.
//
// Edge package: it talks to ovsdb-server over a unix socket. Reads ask the server, never a cache, so that what is
// answered is never older than the call; only changes of ports are followed by a monitor.
package switchdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Errors that callers tell apart.
var (
	ErrNoBridge = errors.New("bridge does not exist")
	ErrExists   = errors.New("port exists already")
	ErrNoPort   = errors.New("port does not exist")
)

const (
	reconnectEvery = 20 * time.Millisecond // the pause between attempts to reach an ovsdb-server that is away
	connectTimeout = 10 * time.Second      // of one attempt
	awayTimeout    = 3 * time.Second       // how long a call waits for an ovsdb-server that is away
	answerTimeout  = 5 * time.Second       // and for the answer of one that is there
)

// Port is a port of a bridge with its one interface.
type Port struct {
	Name        string
	Type        string // "" for a network device
	Request     int    // wanted OpenFlow number
	Options     map[string]string
	ExternalIDs map[string]string

	// Number is the OpenFlow number that the switch gave: 0 not yet, -1 the device cannot be opened, see Error.
	Number int
	Error  string
	// Gone: the port was taken away; the rest is as it was last.
	Gone bool
}

// DB is a connection to ovsdb-server for one bridge. It reconnects by itself; calls wait for that, a few seconds at
// most, but a call that is under way when the connection ends fails. Safe for concurrent use.
type DB struct {
	socket  string
	bridge  string
	changed func(Port)
	end     context.CancelFunc
	owned   sync.WaitGroup

	mu      sync.Mutex
	client  client.Client          // nil while there is no connection
	renewed chan struct{}          // closed and made anew when client changes
	waiters map[string][]chan Port // by interface name
}

// Dial connects to the ovsdb-server behind a unix socket; it waits for it until the context ends. changed, if not nil, is
// called, one call at a time, for each interface (of any bridge) that appears, changes or goes, with Options left out;
// what goes while there is no connection is not told. Close must be called.
func Dial(ctx context.Context, socket, bridge string, changed func(Port)) (*DB, error) {
	life, end := context.WithCancel(context.Background())
	db := &DB{socket: socket, bridge: bridge, changed: changed, end: end, renewed: make(chan struct{}), waiters: map[string][]chan Port{}}
	first, err := db.connect(ctx)
	for err != nil {
		select {
		case <-ctx.Done():
			end()
			return nil, fmt.Errorf("connecting to ovsdb-server %s (is Open vSwitch running?): %w (%w)", socket, err, ctx.Err())
		case <-time.After(reconnectEvery):
			first, err = db.connect(ctx)
		}
	}
	db.use(first)
	db.owned.Add(1)
	go func() {
		defer db.owned.Done()
		db.keep(life, first)
	}()
	return db, nil
}

// Close ends the connection. The database stays as it is.
func (db *DB) Close() {
	db.end()
	db.owned.Wait()
}

// connect makes a connection and follows the Interface table on it. libovsdb could reconnect by itself, but then nothing
// would stop it.
func (db *DB) connect(ctx context.Context) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{"Interface": &ifaceRow{}})
	if err != nil {
		return nil, fmt.Errorf("describing the Interface table: %w", err)
	}
	silent := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint("unix:"+db.socket), client.WithLogger(&silent))
	if err != nil {
		return nil, fmt.Errorf("preparing a connection: %w", err)
	}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	if err := db.monitor(ctx, c); err != nil {
		c.Close()
		return nil, fmt.Errorf("following the Interface table: %w", err)
	}
	return c, nil
}

// monitor names the columns it follows: with all of them, one column that the model lacks makes libovsdb drop the
// whole update.
func (db *DB) monitor(ctx context.Context, c client.Client) error {
	c.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(_ string, m model.Model) { db.notify(m, false) },
		UpdateFunc: func(_ string, _, m model.Model) { db.notify(m, false) },
		DeleteFunc: func(_ string, m model.Model) { db.notify(m, true) },
	})
	row := &ifaceRow{}
	_, err := c.Monitor(ctx, c.NewMonitor(client.WithTable(row,
		&row.Name, &row.Type, &row.OFPort, &row.OFPortRequest, &row.Error, &row.ExternalIDs)))
	return err
}

// keep holds a connection until the end of life.
func (db *DB) keep(life context.Context, c client.Client) {
	for {
		db.untilGone(life, c)
		db.use(nil)
		c.Close()
		for {
			if life.Err() != nil {
				return
			}
			next, err := db.connect(life)
			if err == nil {
				c = next
				break
			}
			select {
			case <-life.Done():
			case <-time.After(reconnectEvery):
			}
		}
		db.use(c)
	}
}

// untilGone waits for the end of a connection. libovsdb tells it only to who listens in that very moment, hence the look
// now and then.
func (db *DB) untilGone(life context.Context, c client.Client) {
	tick := time.NewTicker(reconnectEvery)
	defer tick.Stop()
	for c.CurrentEndpoint() != "" {
		select {
		case <-life.Done():
			return
		case <-c.DisconnectNotify():
			return
		case <-tick.C:
		}
	}
}

func (db *DB) use(c client.Client) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.client = c
	close(db.renewed)
	db.renewed = make(chan struct{})
}

// connection answers the current connection, or waits for one.
func (db *DB) connection(ctx context.Context) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, awayTimeout)
	defer cancel()
	for {
		db.mu.Lock()
		c, renewed := db.client, db.renewed
		db.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return nil, fmt.Errorf("no connection to ovsdb-server %s (is Open vSwitch running?): %w", db.socket, ctx.Err())
		}
	}
}

type ifaceRow struct {
	UUID          string            `ovsdb:"_uuid"`
	Name          string            `ovsdb:"name"`
	Type          string            `ovsdb:"type"`
	OFPort        *int              `ovsdb:"ofport"`
	OFPortRequest *int              `ovsdb:"ofport_request"`
	Error         *string           `ovsdb:"error"`
	ExternalIDs   map[string]string `ovsdb:"external_ids"`
}

func (r *ifaceRow) port() Port {
	p := Port{Name: r.Name, Type: r.Type, ExternalIDs: r.ExternalIDs}
	if r.OFPort != nil {
		p.Number = *r.OFPort
	}
	if r.OFPortRequest != nil {
		p.Request = *r.OFPortRequest
	}
	if r.Error != nil {
		p.Error = *r.Error
	}
	return p
}

func (db *DB) notify(m model.Model, gone bool) {
	row, ok := m.(*ifaceRow)
	if !ok {
		return
	}
	port := row.port()
	port.Gone = gone
	if !gone { // it may be an earlier port of the name: nobody waits for the end of one
		db.tellWaiters(port)
	}
	if db.changed != nil {
		db.changed(port)
	}
}

func (db *DB) tellWaiters(port Port) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, w := range db.waiters[port.Name] {
		select {
		case <-w: // only the newest matters
		default:
		}
		w <- port
	}
}

// watch makes a channel with the newest state of an interface; stop must be called.
func (db *DB) watch(name string) (updates <-chan Port, stop func()) {
	w := make(chan Port, 1)
	db.mu.Lock()
	db.waiters[name] = append(db.waiters[name], w)
	db.mu.Unlock()
	return w, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		list := db.waiters[name]
		for i := range list {
			if list[i] == w {
				list = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(list) == 0 {
			delete(db.waiters, name)
			return
		}
		db.waiters[name] = list
	}
}

// transact runs operations as one transaction and turns any failed operation into an error.
func (db *DB) transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	c, err := db.connection(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	results, err := c.Transact(ctx, ops...)
	if err != nil {
		return nil, err
	}
	failed, err := ovsdb.CheckOperationResults(results, ops)
	if len(failed) > 0 {
		return nil, failed[0]
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}
