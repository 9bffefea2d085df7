package openflow

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMatchIsAValue(t *testing.T) {
	a, b := Reg{Index: 5, First: 0, Bits: 16, Name: "A"}, Reg{Index: 5, First: 16, Bits: 16, Name: "B"}
	x := NewMatch(EthType(EtherIPv4), a.Is(1), b.Is(2), IPSrcAddr(netip.MustParseAddr("10.0.0.1")))
	y := NewMatch(b.Is(2), IPSrcAddr(netip.MustParseAddr("10.0.0.1")), EthType(EtherIPv4)).With(a.Is(1))
	if x != y {
		t.Errorf("%v != %v", x, y)
	}
	if want := "ip,reg5=0x20001,nw_src=10.0.0.1"; x.String() != want {
		t.Errorf("%q, want %q", x, want)
	}
	if (Match{}).String() != "" || (&Flow{}).String() != "priority=0 actions=drop" {
		t.Errorf("zero values: %q, %q", Match{}, (&Flow{}).String())
	}
}

func TestImpossibleValuesPanic(t *testing.T) {
	r := Reg{Index: 0, First: 0, Bits: 4, Name: "R"}
	for name, make := range map[string]func(){
		"field twice":       func() { NewMatch(InPort(1), InPort(2)) },
		"overlapping range": func() { NewMatch(r.Is(1), r.Is(1)) },
		"too large":         func() { r.Is(16) },
		"too large load":    func() { r.Load(16) },
		"no address":        func() { IPSrcAddr(netip.Addr{}) },
		"mapped address":    func() { IPSrcAddr(netip.MustParseAddr("::ffff:1.2.3.4")) },
		"v6 in ARP":         func() { ARPSpa(netip.MustParseAddr("fd00::1")) },
		"unequal move":      func() { Move(Whole(FieldEthSrc), Whole(FieldIPSrc)) },
		"bit beyond":        func() { Bits(FieldReg0, 31, 2) },
		"in_port range":     func() { Whole(FieldInPort).Is(1) },
		"load too large":    func() { Bits(FieldCTMark, 4, 1).Load(2) },
		"load too wide":     func() { Whole(FieldCTLabel).Load(2) },
		"no mask":           func() { CTMark(0, 0) },
		"port of ICMP":      func() { DstPorts(ProtoICMP, 1, 1) },
		"value off mask":    func() { DstPorts(ProtoTCP, 3, 2) },
		"no flags":          func() { TCPFlags(0, 0) },
		"DSCP":              func() { IPDSCP(64) },
		"v4 register":       func() { XXReg(1).Load(netip.MustParseAddr("10.0.0.1")) },
		"v4 target":         func() { NDTarget(netip.MustParseAddr("10.0.0.1")) },
		"two zones":         func() { CT{Zone: 1, ZoneFrom: Bits(FieldReg0, 0, 16)}.Action() },
		"short zone":        func() { CT{ZoneFrom: Bits(FieldReg0, 0, 15)}.Action() },
		"exec, no commit":   func() { CT{Exec: Do(Whole(FieldCTMark).Load(1))}.Action() },
		"nat, no commit":    func() { CT{NAT: DNAT(netip.MustParseAddr("10.0.0.1"), 0)}.Action() },
		"port, no address":  func() { CT{Commit: true, NAT: NAT{Kind: NATDst, FirstPort: 3}}.Action() },
		"range backwards": func() {
			NAT{Kind: NATSrc, First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("10.0.0.1")}.check()
		},
		"mixed range": func() {
			NAT{Kind: NATSrc, First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("fd00::1")}.check()
		},
		"nat to nowhere":    func() { CT{Commit: true, NAT: DNAT(netip.IPv4Unspecified(), 0)}.Action() },
		"restore to":        func() { NAT{Kind: NATRestore, FirstPort: 1}.check() },
		"clause 4 of 3":     func() { Conjunction(1, 4, 3) },
		"one clause":        func() { Conjunction(1, 1, 1) },
		"learn unequal":     func() { LearnMatch(Whole(FieldIPSrc), Whole(FieldIP6Src)) },
		"learn too large":   func() { LearnLoadValue(Bits(FieldReg0, 0, 1), 2) },
		"no way":            func() { Multipath{To: Bits(FieldReg0, 0, 2)}.Action() },
		"too many ways":     func() { Multipath{Ways: 5, To: Bits(FieldReg0, 0, 2)}.Action() },
		"delete everything": func() { DeleteCookie(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			make()
		})
	}
}

// TestGroupSizes tells how many buckets fit into one group, which is what those that split larger sets go by.
func TestGroupSizes(t *testing.T) {
	zone, svc := Bits(FieldReg0, 16, 16), Bits(FieldCTMark, 4, 1)
	backend := func(a string) Actions {
		return Do(CT{Commit: true, Table: 31, ZoneFrom: zone, NAT: DNAT(netip.MustParseAddr(a), 8080), Exec: Do(svc.Load(1),
			Move(Bits(FieldReg0+4, 16, 16), Bits(FieldCTMark, 16, 16)), Bits(FieldCTLabel, 32, 32).Load(7), Bits(FieldCTLabel, 64, 48).Load(9))}.Action())
	}
	for name, test := range map[string]struct {
		actions Actions
		most    int
	}{
		"flood to a v4 peer":      {Do(SetTunID(7), SetTunDst(netip.MustParseAddr("10.0.0.1")), Output(10)), 511},
		"flood to a v6 peer":      {Do(SetTunID(7), SetTunDst(netip.MustParseAddr("fd00::1")), Output(10)), 454},
		"flood to a port":         {Do(Output(10)), 1023},
		"backend of a service":    {backend("10.0.0.1"), 204},
		"backend of a v6 service": {backend("fd00::1"), 186},
		"backend with affinity":   {Do(Reg{Index: 3, Bits: 32}.Load(7), Resubmit(29)), 584},
		"another group":           {Do(ToGroup(7)), 1364},
	} {
		g := Group{ID: 1, Type: GroupSelect}
		for g.Size() <= MaxGroupBytes {
			g.Buckets = append(g.Buckets, Bucket{Weight: 1, Actions: test.actions})
		}
		if most := len(g.Buckets) - 1; most != test.most {
			t.Errorf("%s: %d buckets fit, want %d", name, most, test.most)
		}
		mod := SetGroup(g)
		if _, err := mod.append(nil, 1); !errors.Is(err, ErrGroupTooLong) {
			t.Errorf("%s: error %v", name, err)
		}
		g.Buckets = g.Buckets[1:]
		mod = SetGroup(g)
		if data, err := mod.append(nil, 1); err != nil || len(data) != g.Size() {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(data), g.Size(), err)
		}
	}
}

func TestBucketsThatWouldBeCut(t *testing.T) {
	for name, g := range map[string]Group{
		"punt":         {Buckets: []Bucket{{Actions: Do(Punt{ID: 3}.Action())}}},
		"learn":        {Buckets: []Bucket{{Actions: Do(Learn{Table: 3}.Action())}}},
		"output twice": {Buckets: []Bucket{{Actions: Do(Output(1), Output(2))}}},
		"ct, output":   {Buckets: []Bucket{{}, {Actions: Do(CT{Commit: true}.Action(), Output(2))}}},
		"by register":  {Buckets: []Bucket{{Actions: Do(OutputReg(Reg{Bits: 32}))}}},
		"indirect":     {Type: GroupIndirect},
	} {
		mod := SetGroup(g)
		if _, err := mod.append(nil, 1); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// deaf accepts a connection and shakes hands, then says no more.
func deaf(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		answered := 0
		for {
			kind, xid, _, err := readMessage(conn)
			if err != nil {
				return
			}
			if reply, ok := map[uint8]uint8{5: 6, 20: 21}[kind]; ok && answered < 2 {
				answered++
				msg, _ := finish(append(begin(nil, reply, xid), make([]byte, 24)...), 0)
				_, _ = conn.Write(msg)
			}
		}
	}()
	return path
}

func TestSilentSwitchIsNoticed(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, deaf(t), Options{Echo: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Barrier(ctx); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("barrier: %v", err)
	}
	if err := c.Err(); err == nil {
		t.Error("connection is still there")
	}
}

func TestDeadlineOfARequest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, deaf(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if err := c.Commit(short, []Mod{AddFlow(Flow{Goto: 3})}); err == nil {
		t.Error("commit on a deaf switch succeeded")
	}
	if c.Err() != nil {
		t.Errorf("a slow answer ended the connection: %v", c.Err())
	}
	if err := c.Close(); err != nil || !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("close: %v, %v", err, c.Err())
	}
}

func TestTermsOfNoBitMatchNothingMore(t *testing.T) {
	m := NewMatch(EthType(EtherIPv4), IPDst(netip.MustParsePrefix("0.0.0.0/0")))
	if m != NewMatch(EthType(EtherIPv4)) {
		t.Errorf("%v", m)
	}
}
