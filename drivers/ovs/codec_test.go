package ovs

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/drivers"
	"github.com/contiv/contiv/ofnet/protocol"
)

func TestAttachmentCodec(t *testing.T) {
	bare := drivers.Port{ID: protocol.EndpointID{Host: "h", ContainerID: "c", IfName: "eth0"}, MAC: "02:02:0a:01:00:01", MTU: 1450}
	for name, port := range map[string]drivers.Port{"full": testPort("h1", 7, "/run/netns/x"), "bare": bare} {
		att := drivers.Attachment{Port: port, HostLink: "vvportabcdefghi", ContainerLink: "eth0"}
		ids, err := encodeAttachment(&att)
		if err != nil {
			t.Fatal(err)
		}
		if ids["endpoint-id"] != port.ID.String() {
			t.Errorf("%s: external ids %v", name, ids)
		}
		got, ours, err := decodeAttachment(att.HostLink, ids)
		if err != nil || !ours || !cmp.Equal(att, got, addrs) {
			t.Errorf("%s: %v, %v, %s", name, ours, err, cmp.Diff(att, got, addrs))
		}
	}
	if _, ours, err := decodeAttachment("eth1", map[string]string{"iface-id": "x"}); ours || err != nil {
		t.Errorf("a port of others: %v, %v", ours, err)
	}
}

// What OVSDB holds is fixed: an upgraded agent must read it.
func TestAttachmentCodecIsStable(t *testing.T) {
	stored := map[string]string{keyAttachment: `{"id":{"host":"h","containerID":"c","ifName":"eth0"},"tenant":"blue","network":"net",
		"groups":["web"],"encap":"vxlan","mac":"02:02:0a:01:00:01","ipv4":"10.1.0.1/16","ipv6":"fd01::1/64","gateway":"10.1.255.254",
		"gateway6":"fd01::ffff","mtu":1450,"netns":"/run/netns/x","owner":"cni","notes":{"pod":"x"},"containerLink":"eth0","later":1}`}
	want := drivers.Attachment{Port: testPort("h", 1, "/run/netns/x"), HostLink: "vv", ContainerLink: "eth0"}
	want.ID.ContainerID = "c"
	got, ours, err := decodeAttachment("vv", stored)
	if err != nil || !ours || !cmp.Equal(want, got, addrs) {
		t.Errorf("%v, %v, %s", ours, err, cmp.Diff(want, got, addrs))
	}
}

func FuzzDecodeAttachment(f *testing.F) {
	f.Add(`{"id":{"host":"h","containerID":"c","ifName":"eth0"},"ipv4":"10.1.0.1/16"}`)
	f.Add(`{"id":{}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		att, ours, err := decodeAttachment("vv", map[string]string{keyAttachment: text})
		if !ours || err != nil {
			return
		}
		ids, err := encodeAttachment(&att)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := decodeAttachment("vv", ids)
		if err != nil || again.ID != att.ID || again.IPv4 != att.IPv4 {
			t.Fatalf("%v is read back as %v, %v", att, again, err)
		}
	})
}

func TestRemovedKey(t *testing.T) {
	id := protocol.EndpointID{Host: "h1", ContainerID: "c:1", IfName: "eth0"}
	if got, ok := parseRemovedKey(removedKey(id)); !ok || got != id {
		t.Errorf("%v, %v", got, ok)
	}
	for _, other := range []string{keyRound, keyRemoved, keyRemoved + "a/b", keyRemoved + "a/b/c/d"} {
		if id, ok := parseRemovedKey(other); ok {
			t.Errorf("%q is read as %v", other, id)
		}
	}
}

func TestLinkNames(t *testing.T) {
	seen := map[string]bool{}
	for n := range 20000 {
		id := protocol.EndpointID{Host: "h1", ContainerID: fmt.Sprint(n / 2), IfName: fmt.Sprintf("eth%d", n%2)}
		host, container := linkNames(id, 0)
		if len(host) > 15 || len(container) > 15 || strings.ContainsAny(host, "/: ") || seen[host] || seen[container] {
			t.Fatalf("%v: %q and %q", id, host, container)
		}
		if again, _ := linkNames(id, 0); again != host {
			t.Fatalf("%v: %q, then %q", id, host, again)
		}
		if other, _ := linkNames(id, 1); other == host {
			t.Fatalf("%v: a second try gives %q again", id, other)
		}
		seen[host], seen[container] = true, true
	}
}

func TestNumbers(t *testing.T) {
	var n numbers
	n.claim(tunnelNumber)
	n.claim(firstNumber + 1)
	held := map[int]bool{tunnelNumber: true, firstNumber + 1: true}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		if random.IntN(3) == 0 {
			for number := range held {
				if number != tunnelNumber {
					n.release(number)
					delete(held, number)
				}
				break
			}
			continue
		}
		number, err := n.take()
		if err != nil || held[number] || number < firstNumber || number > lastNumber {
			t.Fatalf("number %d, %v; in use: %v", number, err, held[number])
		}
		held[number] = true
	}
	for number := firstNumber; number <= lastNumber; number++ {
		n.claim(number)
	}
	if number, err := n.take(); err == nil {
		t.Errorf("number %d though all are in use", number)
	}
	n.release(300)
	if number, err := n.take(); err != nil || number != 300 {
		t.Errorf("number %d, %v; want the only free one", number, err)
	}
}
