package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/pipeline"
	"github.com/contiv/contiv/ofnet/protocol"
)

const (
	flowCount  = 10000
	bundleSize = 4000 // as the agent's writer
	flowBridge = "bench-flows"
)

// installFlows compares the time to install 10 000 flows of endpoints and rules over our connection, from values in memory to the last
// commit, with "ovs-ofctl --bundle add-flows" of the same flows from a file.
func installFlows(ctx context.Context, b *bench) ([]pair, error) {
	s, err := up(ctx, b, sandbox.Config{Hosts: 1})
	if err != nil {
		return nil, err
	}
	defer down(s)
	ovs := filepath.Join(s.Dir(), "h1", "ovs")
	lab := &lab{Sandbox: s}
	if err := lab.onHost(ctx, 1, "ovs-vsctl", "add-br", flowBridge, "--", "set", "bridge", flowBridge, "datapath_type=netdev",
		"fail_mode=secure", "protocols=OpenFlow10,OpenFlow13"); err != nil {
		return nil, err
	}
	flows, err := someFlows()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir(), "flows.txt")
	var text strings.Builder
	for i := range flows {
		fmt.Fprintln(&text, flows[i].String())
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return nil, fmt.Errorf("writing the flows: %w", err)
	}
	socket := filepath.Join(ovs, flowBridge+".mgmt")
	clear := func() error {
		return lab.onHost(ctx, 1, "ovs-ofctl", "-O", "OpenFlow13", "del-flows", "unix:"+socket)
	}
	var pairs []pair
	for range b.pairs {
		if err := clear(); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := lab.onHost(ctx, 1, "ovs-ofctl", "-O", "OpenFlow13", "--bundle", "add-flows", "unix:"+socket, file); err != nil {
			return nil, err
		}
		reference := time.Since(begin)
		if err := clear(); err != nil {
			return nil, err
		}
		begin = time.Now()
		if err := commitAll(ctx, socket, flows); err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{milliseconds(reference), milliseconds(time.Since(begin))})
	}
	return pairs, nil
}

func commitAll(ctx context.Context, socket string, flows []openflow.Flow) error {
	conn, err := openflow.Dial(ctx, socket, openflow.Options{})
	if err != nil {
		return fmt.Errorf("connecting to the switch: %w", err)
	}
	defer conn.Close() //nolint:errcheck // everything was committed or reported
	for len(flows) > 0 {
		n := min(bundleSize, len(flows))
		mods := make([]openflow.Mod, 0, n)
		for i := range flows[:n] {
			mods = append(mods, openflow.AddFlow(flows[i]))
		}
		if err := conn.Commit(ctx, mods); err != nil {
			return fmt.Errorf("installing flows: %w", err)
		}
		flows = flows[n:]
	}
	return nil
}

// What the flows follow from: endpoints on another host, with four flows each, and rules, of which every second asks for
// several identities on both sides and so is a conjunction.
const (
	flowEndpoints = 1500
	flowRules     = 1200
)

// someFlows are those that the pipeline makes of remote endpoints and rules.
func someFlows() ([]openflow.Flow, error) {
	compiled := pipeline.Compile(someState())
	var endpoints, rules []openflow.Flow
	for _, f := range compiled.SortedFlows() {
		switch {
		case f.Table == policyTable && f.Priority > 0:
			rules = append(rules, f)
		case f.Priority == 100 && slices.Contains([]uint8{12, 13, 40, 90}, f.Table): // spoof, ARP, identity and MAC address
			endpoints = append(endpoints, f)
		}
	}
	if len(endpoints)+len(rules) < flowCount || len(rules) < flowCount/3 {
		return nil, fmt.Errorf("the pipeline makes %d flows of endpoints and %d of rules: too few", len(endpoints), len(rules))
	}
	return append(endpoints, rules...)[:flowCount], nil
}

func someState() pipeline.State {
	s := pipeline.State{
		Host: "h1", TunnelPort: 1, Global: &protocol.Global{ForwardMode: protocol.ForwardBridge, ARPMode: protocol.ARPProxy},
		Networks: map[string]protocol.Network{}, Endpoints: map[protocol.EndpointID]protocol.Endpoint{},
		Hosts: map[string]protocol.Host{
			"h1": {Name: "h1", VTEP: netip.MustParseAddr("172.31.0.1")}, "h2": {Name: "h2", VTEP: netip.MustParseAddr("172.31.0.2")},
		},
		Rules: map[string]protocol.Rule{}, Zones: map[string]uint16{},
	}
	n := protocol.Network{Tenant: "t", Name: "n", ID: 1, VRF: 1, Encap: protocol.EncapVXLAN, VNI: 1001, Subnet: netip.MustParsePrefix("10.0.0.0/16")}
	s.Networks[n.Key()], s.Zones[n.Key()] = n, 1
	for i := range flowEndpoints {
		id := protocol.EndpointID{Host: "h2", ContainerID: fmt.Sprint(i), IfName: "eth0"}
		high, low := byte((i+1)>>8), byte(i+1)
		s.Endpoints[id] = protocol.Endpoint{
			ID: id, Tenant: n.Tenant, Network: n.Name, Identity: uint16(i%100 + 1), IPv4: netip.AddrFrom4([4]byte{10, 0, high, low}),
			MAC: fmt.Sprintf("02:02:0a:00:%02x:%02x", high, low),
		}
	}
	for i := range flowRules {
		own, peer := uint16(i%100+1), uint16(i/100+1)
		r := protocol.Rule{
			Tenant: n.Tenant, Policy: "p", Name: fmt.Sprint(i), ID: uint32(i + 1), Priority: uint8(i%100 + 1), Action: protocol.ActionAllow,
			Direction: "in", Protocols: []uint8{openflow.ProtoTCP}, PortFirst: uint16(i + 1), PortLast: uint16(i + 1),
			Src: protocol.Peer{Identities: []uint16{peer}}, Dst: protocol.Peer{Identities: []uint16{own}},
		}
		if i%2 == 1 {
			r.Src.Identities, r.Dst.Identities = []uint16{peer, peer + 20, peer + 40}, []uint16{own, own + 100, own + 200}
		}
		s.Rules[fmt.Sprint("t:p:", i)] = r
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
