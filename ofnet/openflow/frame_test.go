package openflow_test

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	. "github.com/contiv/contiv/ofnet/openflow"
)

// packet makes an Ethernet frame with an IP packet, its checksums right: conntrack drops others.
func packet(proto uint8, src, dst netip.AddrPort) []byte {
	be := binary.BigEndian
	body := make([]byte, 20)
	sum := -1 // where the checksum is
	switch proto {
	case ProtoTCP:
		body[12], body[13], body[14], sum = 5<<4, 2, 0x10, 16
	case ProtoUDP:
		be.PutUint16(body[4:], uint16(len(body)))
		sum = 6
	case ProtoICMP:
		body[0], body[5], sum = 8, 9, 2
	case ProtoICMPv6:
		body[0], body[5], sum = 128, 9, 2
	case ProtoSCTP:
		body = append(body, make([]byte, 12)...)
		copy(body[12:], []byte{1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 4, 0, 0, 1, 0, 1, 0, 0, 0, 1})
		be.PutUint32(body[4:], 0)
	}
	if proto != ProtoICMP && proto != ProtoICMPv6 {
		be.PutUint16(body, src.Port())
		be.PutUint16(body[2:], dst.Port())
	}
	if proto == ProtoSCTP {
		binary.LittleEndian.PutUint32(body[8:], crc32c(body))
	}
	frame := append([]byte{2, 2, 10, 1, 0, 2, 2, 2, 10, 1, 0, 1}, 0x08, 0)
	var pseudo []byte
	if src.Addr().Is4() {
		head := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
		be.PutUint16(head[2:], uint16(20+len(body)))
		head = append(append(head, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		be.PutUint16(head[10:], checksum(head))
		frame = append(frame, head...)
	} else {
		frame[12], frame[13] = 0x86, 0xdd
		head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), proto, 64}
		frame = append(append(append(frame, head...), src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	}
	if proto != ProtoICMP {
		pseudo = append(append(pseudo, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		pseudo = append(pseudo, 0, proto, 0, byte(len(body)))
	}
	if sum >= 0 {
		be.PutUint16(body[sum:], checksum(append(pseudo, body...)))
	}
	return append(frame, body...)
}

func checksum(data []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func crc32c(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }
