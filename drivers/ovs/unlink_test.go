package ovs

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// TestUnlinkTogether: removals at once take what they were asked to and nothing else, with links among them that are
// gone already.
func TestUnlinkTogether(t *testing.T) {
	t.Parallel()
	name := newNetNS(t, "u")
	ns, err := openNamespace(nsPath(name))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.close()
	add := func(name string) netlink.Link {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		veth := netlink.NewVeth(attrs)
		veth.PeerName = name + "p"
		if err := ns.links.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		return veth
	}
	add("stays")
	before := links(t, name)
	var (
		all []netlink.Link
		u   unlinker
		g   errgroup.Group
	)
	for i := range 20 {
		all = append(all, add(fmt.Sprintf("goes%d", i)))
	}
	for _, gone := range all[5:8] {
		if err := ns.links.LinkDel(gone); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range all {
		g.Go(func() error { return u.remove(link, func(batch []*removal) { removeLinks(ns, batch) }) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if after := links(t, name); after != before {
		t.Errorf("links are\n%s\nbefore they were\n%s", after, before)
	}
}
