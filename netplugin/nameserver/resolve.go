package nameserver

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// recordTTL is for how long, in seconds, an answer may be kept: less than the time for which a freed address rests.
	recordTTL = 30
	// maxAddresses is how many addresses an answer holds at most; of more it holds a random choice.
	maxAddresses = 128
	// ednsBytes is the largest UDP message that is sent and asked for, which passes every overlay in one packet.
	ednsBytes = 1232
)

// resolver answers from tables.
type resolver struct {
	tables *Tables
	domain string // of the cluster, folded, without dots at its ends; empty for none
}

// resolve answers a query whose names are known: found is false if it is not for this resolver. The query has one
// question.
func (r *resolver) resolve(who Asker, query *dns.Msg) (reply *dns.Msg, found bool) {
	q := query.Question[0]
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY || len(query.Ns) > 0 || query.IsTsig() != nil {
		return nil, false
	}
	if q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY {
		if records := r.reverse(who, q.Name); len(records) > 0 {
			return answered(query, records), true
		}
	}
	got, known := r.lookup(who, q.Name)
	if !known {
		return nil, false
	}
	return answered(query, addressRecords(&q, got)), true
}

// lookup finds a name as a query has it.
func (r *resolver) lookup(who Asker, name string) (answer, bool) {
	for _, form := range r.forms(who.Tenant, name) {
		if got, known := r.tables.find(who, form); known {
			return got, true
		}
	}
	return answer{}, false
}

// forms are what a name may mean: the whole of it, or without the domain of the cluster, its tenant, or both.
func (r *resolver) forms(tenant, name string) []string {
	name = strings.TrimSuffix(fold(name), ".")
	out := []string{name}
	if r.domain != "" {
		if short, ok := strings.CutSuffix(name, "."+r.domain); ok {
			out = append(out, short)
		}
	}
	for _, form := range out {
		if short, ok := strings.CutSuffix(form, "."+fold(tenant)); ok {
			out = append(out, short)
		}
	}
	return out
}

func (r *resolver) reverse(who Asker, name string) (records []dns.RR) {
	addr, ok := reverseAddr(fold(name))
	if !ok {
		return nil
	}
	names, _ := r.tables.namesOf(who.Tenant, addr)
	for _, one := range names {
		full := one + "." + who.Tenant
		if r.domain != "" {
			full += "." + r.domain
		}
		if _, sound := dns.IsDomainName(full); sound {
			records = append(records, &dns.PTR{Hdr: recordHeader(name, dns.TypePTR), Ptr: dns.Fqdn(full)})
		}
	}
	return records
}

// Zones of reverse lookups.
const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// reverseAddr is the address that a folded reverse name is of.
func reverseAddr(name string) (netip.Addr, bool) {
	if text, ok := strings.CutSuffix(name, reverse4); ok {
		parts := strings.Split(text, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return addr, err == nil && addr.Is4()
	}
	text, ok := strings.CutSuffix(name, reverse6)
	if !ok || len(text) != 63 {
		return netip.Addr{}, false
	}
	var digits [32]byte
	for i := range digits {
		if digits[31-i] = text[2*i]; i < 31 && text[2*i+1] != '.' {
			return netip.Addr{}, false
		}
	}
	raw, err := hex.DecodeString(string(digits[:]))
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(raw)
}

func recordHeader(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: recordTTL}
}

// addressRecords are those of the type asked for: those of the asker's network first, otherwise in random order.
func addressRecords(q *dns.Question, got answer) (records []dns.RR) {
	for _, list := range [][]netip.Addr{got.near, got.far} {
		for _, i := range rand.Perm(len(list)) {
			a := list[i]
			switch {
			case len(records) == maxAddresses:
				return records
			case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
				records = append(records, &dns.A{Hdr: recordHeader(q.Name, dns.TypeA), A: a.AsSlice()})
			case a.Is6() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
				records = append(records, &dns.AAAA{Hdr: recordHeader(q.Name, dns.TypeAAAA), AAAA: a.AsSlice()})
			}
		}
	}
	return records
}

func answered(query *dns.Msg, records []dns.RR) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.Authoritative, reply.RecursionAvailable = true, true
	reply.Answer = records
	return withOptions(reply, query)
}

// failed is a reply with nothing but a code.
func failed(query *dns.Msg, code int) *dns.Msg {
	reply := new(dns.Msg).SetRcode(query, code)
	reply.RecursionAvailable = true
	return withOptions(reply, query)
}

// withOptions gives a reply the EDNS record that one to this query has.
func withOptions(reply, query *dns.Msg) *dns.Msg {
	asked := query.IsEdns0()
	if asked == nil {
		return reply
	}
	reply.SetEdns0(ednsBytes, asked.Do())
	if asked.Version() != 0 {
		reply.Answer, reply.Rcode = nil, dns.RcodeBadVers
	}
	return reply
}

// packUDP encodes a reply for UDP: what the client or the overlay has no room for is left out, and the reply says so.
func packUDP(reply, query *dns.Msg) ([]byte, error) {
	size := dns.MinMsgSize
	if asked := query.IsEdns0(); asked != nil {
		size = min(max(size, int(asked.UDPSize())), ednsBytes)
	}
	reply.Truncate(size)
	return reply.Pack()
}

// query reads a message that is a plain query; the reply, if any, is for one that can only be refused. Both are nil for
// what is no query at all.
func readQuery(raw []byte) (query, refusal *dns.Msg) {
	query = new(dns.Msg)
	err := query.Unpack(raw)
	switch {
	case err != nil && (len(raw) < 12 || query.Response):
		return nil, nil
	case err != nil:
		return nil, &dns.Msg{MsgHdr: dns.MsgHdr{Id: query.Id, Opcode: query.Opcode, Response: true, Rcode: dns.RcodeFormatError}}
	case query.Response:
		return nil, nil
	case query.Opcode != dns.OpcodeQuery:
		return nil, failed(query, dns.RcodeNotImplemented)
	case len(query.Question) != 1:
		return nil, failed(query, dns.RcodeFormatError)
	}
	return query, nil
}
