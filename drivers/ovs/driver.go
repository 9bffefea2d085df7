package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/drivers/endpointlock"
	"github.com/contiv/contiv/drivers/ovs/switchdb"
	"github.com/contiv/contiv/drivers/ovs/writer"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/policy"
	"github.com/contiv/contiv/ofnet/protocol"
)

// Driver is the Datapath of one bridge of one Open vSwitch.
//
// Lock order: an endpoint's lock, then mu. No I/O happens under mu.
type Driver struct {
	cfg    Config
	log    *logrus.Entry
	db     *switchdb.DB
	bridge switchdb.BridgeInfo
	links  *linkMaker
	locks  endpointlock.Set
	fail   func(step string) error // tests only

	writer   *writer.Writer
	healer   *healer
	reviewer *reviewer
	control  *control
	counters counters
	served   *serviceCounter
	// neighbours is nil on the kernel datapath, whose tunnels wait for the neighbour by themselves.
	neighbours *neighbours
	hostAccess *hostAccess

	mu         sync.Mutex
	ports      map[protocol.EndpointID]*localPort
	numbers    numbers
	zones      zones
	backends   backends
	tenants    tenants
	flush      []uint16     // zones that the next change gives to others
	policy     policy.Table // what the compiler has of rules
	ruleSeq    uint64       // the update of the writer that brought their last change
	tunnel     uint32       // OpenFlow number of TunnelPort, 0 until known
	host       uint32       // OpenFlow number of hostPort, 0 without
	compiler   *pipeline.Compiler
	started    bool                   // Apply was given a complete state
	records    map[drivers.Ref]bool   // of the desired state
	unknown    map[drivers.Ref]string // those of them that this version cannot read, and why
	desired    protocol.Position
	realised   protocol.Position
	milestones []milestone // updates that the switch may not have yet, in order
}

var _ drivers.Datapath = (*Driver)(nil)

// New takes over the bridge, or makes it, and reads what OVSDB remembers. It waits for ovsdb-server until the context
// ends. Flows that are there stay untouched until the first Apply with Replace.
//
// *switchdb.WrongDatapathError if the bridge exists with another datapath type.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.DatapathType == DatapathSystem {
		if err := checkKernelDatapath(ctx); err != nil {
			return nil, err
		}
	}
	d := &Driver{
		cfg: cfg, log: cfg.Log, ports: map[protocol.EndpointID]*localPort{}, compiler: pipeline.New(cfg.Host),
		records: map[drivers.Ref]bool{}, unknown: map[drivers.Ref]string{},
	}
	d.writer = writer.New(writer.Config{
		Socket: cfg.RunDir + "/" + cfg.Bridge + ".mgmt", NewRound: d.newRound, Connected: d.reread, Log: cfg.Log,
	})
	d.healer = newHealer(d.heal, cfg.Log)
	d.reviewer = newReviewer(d.review, cfg.Log)
	d.served = newServiceCounter(cfg.RunDir+"/"+cfg.Bridge+".mgmt", cfg.Log)
	d.hostAccess = newHostAccess(d.realiseHostAccess, cfg.Log)
	d.control = &control{socket: cfg.RunDir + "/" + cfg.Bridge + ".mgmt", runDir: cfg.RunDir, controlSocket: cfg.ControlSocket}
	base := d.compiler.Program()
	d.writer.Update(writer.Update{Flows: base.SortedFlows(), Groups: base.SortedGroups()})
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening bridge %s: %w", cfg.Bridge, err), d.Close())
	}
	return d, nil
}

func (d *Driver) open(ctx context.Context) (err error) {
	if d.db, err = switchdb.Dial(ctx, d.cfg.RunDir+"/db.sock", d.cfg.Bridge, d.portSeen); err != nil {
		return err
	}
	spec := switchdb.BridgeSpec{DatapathType: d.cfg.DatapathType, Protocols: []string{"OpenFlow10", "OpenFlow13", "OpenFlow15"}}
	if d.bridge, err = d.db.EnsureBridge(ctx, spec); err != nil {
		return err
	}
	if err := d.openLinks(); err != nil {
		return err
	}
	notes, err := d.db.Notes(ctx)
	if err != nil {
		return err
	}
	if err := d.checkSchema(ctx, notes); err != nil {
		return err
	}
	if err := d.ensureTunnel(ctx); err != nil {
		return err
	}
	if err := d.load(ctx, notes); err != nil {
		return err
	}
	d.writer.Connect()
	return nil
}

func (d *Driver) openLinks() error {
	host, err := openNamespace(d.cfg.NetNS)
	if err != nil {
		return err
	}
	if d.cfg.DatapathType == DatapathNetdev {
		d.neighbours = watchNeighbours(host, d.log)
	}
	d.links = &linkMaker{host: host, owner: "contiv " + d.bridge.UUID[:8] + " ", noChecksum: d.cfg.DatapathType == DatapathNetdev}
	return nil
}

// checkSchema refuses a bridge that a newer version keeps its notes on.
func (d *Driver) checkSchema(ctx context.Context, notes map[string]string) error {
	switch notes[keySchema] {
	case schemaVersion:
		return nil
	case "":
		return d.db.SetNotes(ctx, map[string]string{keySchema: schemaVersion})
	}
	return fmt.Errorf("its notes have schema %q, this version knows %s: use the newer netplugin", notes[keySchema], schemaVersion)
}

// ensureTunnel makes the port to all other hosts, or brings its options up to date.
func (d *Driver) ensureTunnel(ctx context.Context) error {
	want := map[string]string{"remote_ip": "flow", "key": "flow", "tos": "inherit", "dst_port": strconv.Itoa(d.cfg.VXLANPort)}
	port, err := d.db.Port(ctx, TunnelPort)
	if err != nil {
		return err
	}
	if port == nil {
		number, err := d.db.AddPort(ctx, switchdb.Port{Name: TunnelPort, Type: "vxlan", Request: tunnelNumber, Options: want}, nil)
		d.setTunnel(number)
		return err
	}
	if port.Type != "vxlan" {
		return fmt.Errorf("port %s exists with type %q, want vxlan", TunnelPort, port.Type)
	}
	if !maps.Equal(port.Options, want) {
		if err := d.db.SetOptions(ctx, TunnelPort, want); err != nil {
			return err
		}
	}
	d.setTunnel(port.Number)
	return nil
}

// load reads the ports that the switch remembers and removes links that an agent that died half way left.
func (d *Driver) load(ctx context.Context, notes map[string]string) error {
	ports, err := d.db.Ports(ctx)
	if err != nil {
		return err
	}
	links := map[string]bool{}
	d.mu.Lock()
	if last, err := strconv.Atoi(notes[keyLastNumber]); err == nil {
		d.numbers.last = last
	}
	d.zones.load(notes)
	d.backends.load(notes)
	d.tenants.load(notes)
	for _, port := range ports {
		number := port.Number
		if number <= 0 {
			number = port.Request
		}
		d.numbers.claim(number)
		if port.Name == hostPort {
			d.hostPortIs(number)
		}
		att, ours, err := decodeAttachment(port.Name, port.ExternalIDs)
		if err != nil {
			d.log.WithError(err).Error("a port of the bridge is left alone")
		}
		if !ours || err != nil {
			links[port.Name] = true
			continue
		}
		links[port.Name] = true
		d.ports[att.ID] = &localPort{attachment: att, number: number}
		d.portChanged(att.ID)
	}
	d.mu.Unlock()
	stray, err := d.links.leftOvers(links)
	if err != nil {
		return err
	}
	for _, name := range stray {
		d.log.WithField("link", name).Warn("removing a link that an earlier run left")
		if err := d.links.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Close implements drivers.Datapath.
func (d *Driver) Close() error {
	d.hostAccess.close()
	d.reviewer.close()
	d.served.close()
	d.writer.Close()
	d.healer.close()
	d.control.close()
	if d.db != nil {
		d.db.Close()
	}
	if d.neighbours != nil {
		d.neighbours.close()
	}
	if d.links != nil {
		d.links.host.close()
	}
	return nil
}
