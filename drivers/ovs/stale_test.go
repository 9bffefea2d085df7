package ovs

import "testing"

func TestDropsTracked(t *testing.T) {
	const first = "recirc_id(0),in_port(2),packet_type(ns=0,id=0),eth_type(0x0800),ipv4(frag=no), packets:9, bytes:600, used:0.1s, "
	const tracked = "ct_state(+new+trk),recirc_id(0x2),in_port(2),packet_type(ns=0,id=0),eth_type(0x0800),ipv4(frag=no), packets:9, bytes:600, used:0.1s, "
	for flows, want := range map[string]bool{
		"": false,
		first + "actions:drop\n" + tracked + "actions:3\n":                                 false,
		tracked + "actions:ct(commit,zone=16385,mark=0x1/0x8f,label=0xe/0xff),recirc(0x3)": false,
		tracked + "actions:ct(commit,zone=16385,nat(dst=10.1.0.4:80)),recirc(0x3)\n":       false,
		tracked + "actions:ct(commit,zone=16385,mark=0x80/0x80)\n":                         true,
		first + "actions:3\n" + tracked + "actions:drop\n" + first + "actions:drop":        true,
	} {
		if got := dropsTracked(flows); got != want {
			t.Errorf("%v, not %v, of\n%s", got, want, flows)
		}
	}
}
