package conntrack

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	dump := `udp,orig=(src=10.1.0.2,dst=10.1.0.9,sport=40000,dport=53),reply=(src=10.1.0.3,dst=10.1.0.2,sport=5353,dport=40000),zone=16385,mark=145,labels=0x1200000003

tcp,orig=(src=fd00::2,dst=fd00::3,sport=1,dport=2),reply=(src=fd00::3,dst=fd00::2,sport=2,dport=1),zone=16386,labels=0x2,protoinfo=(state=ESTABLISHED)
icmp,orig=(src=10.1.0.2,dst=10.1.0.3,id=7,type=8,code=0),reply=(src=10.1.0.3,dst=10.1.0.2,id=7,type=0,code=0),zone=16385,mark=1
47,orig=(src=10.1.0.2,dst=10.1.0.3,sport=0,dport=0),reply=(src=10.1.0.3,dst=10.1.0.2,sport=0,dport=0),mark=1
`
	a := netip.MustParseAddr
	want := []Entry{
		{Protocol: 17, Orig: Tuple{a("10.1.0.2"), a("10.1.0.9"), 40000, 53}, Reply: Tuple{a("10.1.0.3"), a("10.1.0.2"), 5353, 40000}, Zone: 16385, Mark: 145},
		{Protocol: 6, Orig: Tuple{a("fd00::2"), a("fd00::3"), 1, 2}, Reply: Tuple{a("fd00::3"), a("fd00::2"), 2, 1}, Zone: 16386},
		{Protocol: 1, Orig: Tuple{a("10.1.0.2"), a("10.1.0.3"), 0, 0}, Reply: Tuple{a("10.1.0.3"), a("10.1.0.2"), 0, 0}, ICMPType: 8, Zone: 16385, Mark: 1},
		{Protocol: 47, Orig: Tuple{a("10.1.0.2"), a("10.1.0.3"), 0, 0}, Reply: Tuple{a("10.1.0.3"), a("10.1.0.2"), 0, 0}, Mark: 1},
	}
	got, err := Parse(dump)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for _, bad := range []string{"hello", "tcp", "tcp,orig=(src=1,dst=2)", "udp,orig=(src=10.1.0.2,dst=10.1.0.9,sport=70000,dport=53)", "udp,zone=70000", "300,orig=()"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("udp,orig=(src=10.1.0.2,dst=10.1.0.9,sport=4,dport=53),reply=(src=10.1.0.3,dst=10.1.0.2,sport=5,dport=4),zone=1,mark=1")
	f.Add("icmpv6,orig=(src=fe80::1%eth0,dst=::,id=7,type=128,code=0),reply=(,)))((")
	f.Fuzz(func(t *testing.T, dump string) {
		entries, err := Parse(dump)
		if err != nil && entries != nil {
			t.Error("entries beside an error")
		}
	})
}
