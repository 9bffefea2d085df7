package openflow

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	of "github.com/contiv/libOpenflow/openflow13"
)

// FuzzMessages feeds the connection's reader with any bytes: it may refuse them, never panic or wait.
func FuzzMessages(f *testing.F) {
	seed := func(kind uint8, body []byte) {
		msg, _ := finish(append(begin(nil, kind, 1), body...), 0)
		f.Add(msg)
	}
	seed(of.Type_Error, []byte{0, 4, 0, 9, 1, 2, 3})
	seed(of.Type_Error, []byte{0xff, 0xff, 9, 0, 0x4f, 0x4e, 0x46, 0})
	seed(of.Type_EchoRequest, []byte("hi"))
	seed(of.Type_BarrierReply, nil)
	seed(of.Type_PacketIn, packetInBody(NewMatch(InPort(5), TunID(7), Reg{Index: 5, Bits: 16, Name: "X"}.Is(3)), []byte("frame")))
	seed(of.Type_FlowRemoved, append(make([]byte, 40), appendMatch(nil, NewMatch(EthType(EtherIPv4), CTMark(3, 7)))...))
	seed(of.Type_MultiPartReply, append([]byte{0, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 96)...))
	f.Fuzz(func(_ *testing.T, data []byte) {
		c := newConn(nil, Options{Packets: 1})
		in := bytes.NewReader(data)
		for {
			c.expect(1)
			kind, xid, body, err := readMessage(in)
			if err != nil || c.take(kind, xid, body) != nil {
				return
			}
		}
	})
}

func packetInBody(m Match, frame []byte) []byte {
	body := make([]byte, 16)
	body[7] = 3
	binary.BigEndian.PutUint64(body[8:], 0x99)
	return append(append(appendMatch(body, m), 0, 0), frame...)
}

func TestDecodePacketIn(t *testing.T) {
	reg := Reg{Index: 5, First: 16, Bits: 16, Name: "X"}
	p, err := decodePacketIn(packetInBody(NewMatch(InPort(5), TunID(7), reg.Is(3)), []byte("frame")))
	if err != nil || p.InPort != 5 || p.TunID != 7 || p.Value(reg) != 3 || p.Cookie != 0x99 || p.Table != 3 || string(p.Frame) != "frame" {
		t.Errorf("%+v, %v", p, err)
	}
}

// FuzzReplies decodes any bytes as each kind of multipart reply.
func FuzzReplies(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0, 48}, 24))
	f.Add(bytes.Repeat([]byte{0, 8}, 4))
	f.Add(make([]byte, 112))
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts := [][]byte{data, data}
		if stats, err := decodeFlowStats(parts, true); err == nil && len(stats)*48 > 2*len(data) {
			t.Errorf("%d flows of %d bytes", len(stats), len(data))
		}
		_, _ = decodeGroupIDs(parts)
		_, _ = decodeMeterStats(parts)
		_, _ = decodeGroupStats(parts)
		if removed, err := decodeFlowRemoved(data); err == nil {
			_ = removed.Match.String()
			_, _ = removed.Match.Number(Bits(FieldCTLabel, 32, 32))
			_, _ = removed.Match.Addr(FieldIPSrc)
		}
		_, _ = decodePortStats(parts)
		_, _ = decodeAggregate(parts[:1])
		_, _ = decodeFeatures(data)
		_, _ = decodeError(data)
		_, _ = decodePacketIn(data)
	})
}

// FuzzText prints any bytes as match and actions, and reads a match back.
func FuzzText(f *testing.F) {
	f.Add(NewMatch(EthType(EtherIPv4), IPSrc(netip.MustParsePrefix("10.0.0.0/8")), VLAN(3), CTState(CTNew, CTEst)).oxm)
	f.Add(Do(PushVLAN(4)...).Then(CTClear(), Controller(4), DecTTL(), ToGroup(4), Resubmit(4), Move(Whole(FieldEthSrc), Whole(FieldNDTll))).wire)
	f.Add(Do(CT{Commit: true, Table: 3, ZoneFrom: Bits(FieldReg0, 16, 16), NAT: NAT{Kind: NATDst, First: netip.MustParseAddr("fd00::1"), FirstPort: 3},
		Exec: Do(Bits(FieldCTMark, 1, 1).Load(1))}.Action(), Punt{Meter: 3}.Action(), Conjunction(3, 1, 2), Note([]byte("x"))).wire)
	f.Add(Do(Learn{Table: 3, Limit: 3, Specs: []LearnSpec{LearnMatchValue(Whole(FieldEthType), EtherIPv4), LearnMatchSame(Whole(FieldIPSrc)),
		LearnLoad(Bits(FieldReg0, 1, 3), Bits(FieldReg0, 4, 3)), LearnLoadValue(Bits(FieldReg0, 1, 3), 1), LearnOutput(Whole(FieldReg0))}}.Action()).wire)
	f.Fuzz(func(t *testing.T, wire string) {
		_ = Actions{wire}.String()
		_ = Match{wire}.String()
		if terms, err := decodeTerms(wire); err == nil && len(terms) == 1 && (!terms[0].masked || terms[0].mask != [16]byte{}) {
			// libOpenflow's names of fields differ for some, so only the fields of our own matches are compared.
			if again := NewMatch(terms...); again.String() != (Match{wire}).String() {
				t.Errorf("%q reads back as %q", Match{wire}, again)
			}
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:02:0a:01:00:02")
	f.Add("02-02:0a:01:00:02")
	f.Fuzz(func(t *testing.T, text string) {
		mac, err := ParseMAC(text)
		if err != nil {
			return
		}
		if again, err := ParseMAC(mac.String()); err != nil || again != mac {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}
