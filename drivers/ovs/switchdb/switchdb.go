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

// reconnectEvery is the pause between attempts to reach an ovsdb-server that went away.
const reconnectEvery = 100 * time.Millisecond

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
}

// DB is a connection to ovsdb-server for one bridge. It reconnects by itself; calls wait for that until their context
// ends. Safe for concurrent use.
type DB struct {
	client  client.Client
	bridge  string
	changed func(Port)

	mu      sync.Mutex
	waiters map[string][]chan Port // by interface name
}

// Dial connects to the ovsdb-server behind a unix socket. changed, if not nil, is called, one call at a time, for each
// interface (of any bridge) that appears or changes, with Options left out.
func Dial(ctx context.Context, socket, bridge string, changed func(Port)) (*DB, error) {
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{"Interface": &ifaceRow{}})
	if err != nil {
		return nil, fmt.Errorf("describing the Interface table: %w", err)
	}
	silent := logr.Discard()
	c, err := client.NewOVSDBClient(schema, client.WithEndpoint("unix:"+socket), client.WithLogger(&silent),
		client.WithReconnect(2*time.Second, steady{}))
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to ovsdb-server %s: %w", socket, err)
	}
	db := &DB{client: c, bridge: bridge, changed: changed, waiters: map[string][]chan Port{}}
	if err := db.connect(ctx); err != nil {
		return nil, fmt.Errorf("connecting to ovsdb-server %s (is Open vSwitch running?): %w", socket, err)
	}
	if err := db.monitor(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("following ovsdb-server %s: %w", socket, err)
	}
	return db, nil
}

// connect tries until the context ends: at boot the agent may be up before Open vSwitch is.
func (db *DB) connect(ctx context.Context) error {
	for {
		err := db.client.Connect(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-time.After(reconnectEvery):
		}
	}
}

// monitor names the columns it follows: with all of them, one column that the model lacks makes libovsdb drop the
// whole update.
func (db *DB) monitor(ctx context.Context) error {
	db.client.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(_ string, m model.Model) { db.notify(m) },
		UpdateFunc: func(_ string, _, m model.Model) { db.notify(m) },
	})
	row := &ifaceRow{}
	_, err := db.client.Monitor(ctx, db.client.NewMonitor(client.WithTable(row,
		&row.Name, &row.Type, &row.OFPort, &row.OFPortRequest, &row.Error, &row.ExternalIDs)))
	return err
}

// Close ends the connection. The database stays as it is.
func (db *DB) Close() { db.client.Close() }

// Connected tells whether ovsdb-server is reachable now.
func (db *DB) Connected() bool { return db.client.Connected() }

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

func (db *DB) notify(m model.Model) {
	row, ok := m.(*ifaceRow)
	if !ok {
		return
	}
	port := row.port()
	db.mu.Lock()
	for _, w := range db.waiters[port.Name] {
		select {
		case <-w: // only the newest matters
		default:
		}
		w <- port
	}
	db.mu.Unlock()
	if db.changed != nil {
		db.changed(port)
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
	results, err := db.client.Transact(ctx, ops...)
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

// steady is a backoff that never ends: libovsdb panics when its backoff gives up.
type steady struct{}

// NextBackOff is the pause before the next attempt.
func (steady) NextBackOff() time.Duration { return reconnectEvery }

// Reset does nothing: there is nothing to start again.
func (steady) Reset() {}
