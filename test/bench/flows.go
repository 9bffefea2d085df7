package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/ofnet/openflow"
)

const (
	flowCount  = 10000
	bundleSize = 4000 // as the agent's writer
	flowBridge = "bench-flows"
)

// installFlows compares the time to install 10 000 flows over our connection, from values in memory to the last
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
	flows := someFlows()
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

// Registers of the flows, where the pipeline has the bridge domain and the destination's identity.
var (
	benchBD       = openflow.Reg{Index: 5, First: 16, Bits: 16, Name: "BD"}
	benchIdentity = openflow.Reg{Index: 1, First: 16, Bits: 16, Name: "DST_IDENTITY"}
)

// someFlows are like those of remote endpoints: a register and an address to match, a register to load.
func someFlows() []openflow.Flow {
	flows := make([]openflow.Flow, flowCount)
	for i := range flows {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		flows[i] = openflow.Flow{
			Table: 40, Priority: 100, Cookie: uint64(i),
			Match:   openflow.NewMatch(openflow.EthType(0x0800), benchBD.Is(uint32(i%50+1)), openflow.IPDstAddr(addr)),
			Actions: openflow.Do(benchIdentity.Load(uint32(i%1000 + 1))),
			Goto:    50,
		}
	}
	return flows
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
