package objects

import (
	"fmt"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// TestSeveralGroups: a set of groups has an identity from its first endpoint to its last, and groups that share nothing
// an endpoint could be in are refused.
func TestSeveralGroups(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	b.network(net4("default:n", "10.1.0.0/24"))
	b.network(net4("default:m", "10.2.0.0/24"))
	b.group(group("default:a", "n", ""))
	b.group(group("default:b", "n", "10.1.0.100-10.1.0.110"))
	b.group(group("default:c", "n", "10.1.0.120-10.1.0.130"))
	b.group(group("default:other", "m", ""))
	b.host("h1")
	in := func(container string, groups ...string) *state.Endpoint {
		t.Helper()
		r := request("h1", container, "", "")
		r.Groups = groups
		return b.endpoint(r)
	}
	single, first, second := in("1", "a"), in("2", "b", "a", "b"), in("3", "a", "b")
	if first.Identity != second.Identity || first.Identity == single.Identity || first.NetworkName != "n" || fmt.Sprint(first.Groups) != "[a b]" {
		t.Errorf("%+v, %+v, alone %+v", first, second, single)
	}
	if first.IPv4.String() != "10.1.0.100" || second.IPv4.String() != "10.1.0.101" {
		t.Errorf("addresses %s, %s are not of the pool of b", first.IPv4, second.IPv4)
	}
	for _, wrong := range []struct {
		groups []string
		kind   Kind
		says   string
	}{
		{[]string{"b", "c"}, Invalid, "address pools of their own"},
		{[]string{"a", "other"}, Invalid, `is of network "m"`},
		{[]string{"a", "none"}, NotFound, `"default:none"`},
		{[]string{"a", ""}, NotFound, `"default:"`},
		{names("g", 17), TooLarge, "16 at most"},
	} {
		r := request("h1", "x", "", "")
		r.Groups = wrong.groups
		_, _, err := b.CreateEndpoint(ctx, r)
		b.refused(err, wrong.kind, wrong.says)
	}
	_, err := b.DeleteEndpointGroup(ctx, "default:b")
	b.refused(err, InUse, "active endpoints")

	sets := func() (n int) {
		b.view(func(m *ledger.Model) { n = m.Count(ledger.AllGroupSets()) })
		return n
	}
	b.remove(first)
	if sets() != 1 {
		t.Error("the set went with its first endpoint")
	}
	b.ack("h1", 0)
	b.remove(second)
	if sets() != 0 {
		t.Error("the set stays without an endpoint")
	}
	// The identity does not serve again before every host knows.
	if again := in("4", "a", "b"); again.Identity == first.Identity {
		t.Errorf("identity %d is given in quarantine", again.Identity)
	}
	b.ack("h1", allAcked)
	b.pass(time.Hour)
	b.sweep()
	if other := in("5", "a", "c"); other.Identity != first.Identity {
		t.Errorf("identity %d, want the free one %d", other.Identity, first.Identity)
	}
}

func names(word string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(word, i))
	}
	return out
}

// TestSetOfManyAtOnce: endpoints of one set that go in one transaction take the set with them.
func TestSetOfManyAtOnce(t *testing.T) {
	b := newBed(t)
	b.network(net4("default:n", "10.1.0.0/24"))
	groups := names("g", maxGroups)
	for _, name := range groups {
		b.group(group("default:"+name, "n", ""))
	}
	b.host("h1")
	for i := range 12 {
		r := request("h1", fmt.Sprint("c", i), "", "")
		r.Groups = groups
		b.endpoint(r)
	}
	b.setConnected("h1", false)
	b.ok(b.ReleaseHost(t.Context(), "h1"))
	b.view(func(m *ledger.Model) {
		if n := m.Count(ledger.AllGroupSets()) + len(m.Endpoints()); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

func TestDefaultOfPolicy(t *testing.T) {
	b := newBed(t)
	put := func(word, want string) {
		t.Helper()
		b.ok(b.PutPolicy(t.Context(), &state.Policy{TenantName: "default", PolicyName: "p", DefaultDeny: word}))
		b.view(func(m *ledger.Model) {
			if got := m.Policy("default:p").DefaultDeny; got != want {
				t.Errorf("after %q it is %q, want %q", word, got, want)
			}
		})
	}
	put("in", "in")
	put("", "in") // as a client repeats it that does not know of defaults
	put("both", "both")
	put("none", "")
	put("", "")
}

func TestServiceIPv6(t *testing.T) {
	b := newBed(t)
	n := net4("default:n", "10.1.0.0/24")
	n.IPv6Subnet, n.IPv6Gateway = "2001:db8::/64", "2001:db8::1"
	b.network(n)
	b.network(net4("default:m", "10.2.0.0/24"))
	first := b.service(service("a", nil))
	if first.VIP6.String() != "2001:db8::2" {
		t.Errorf("%+v", first)
	}
	if moved := b.service(service("a", func(s *state.ServiceLB) { s.NetworkName = "m" })); moved.VIP6.IsValid() || moved.VIP.String() != "10.2.0.1" {
		t.Errorf("%+v", moved)
	}
	if back := b.service(service("a", nil)); back.VIP6.String() != "2001:db8::3" { // the other one rests
		t.Errorf("%+v", back)
	}
}
