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

func TestGroupTooLong(t *testing.T) {
	g := Group{ID: 1}
	for g.Size() <= MaxGroupBytes {
		g.Buckets = append(g.Buckets, Bucket{Actions: Do(Output(1))})
	}
	mod := SetGroup(g)
	if _, err := mod.append(nil, 1); err == nil || !strings.Contains(err.Error(), "buckets") {
		t.Errorf("error %v", err)
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
