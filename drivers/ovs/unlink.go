package ovs

import (
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// removalGroup is the group of links (ip link set group) that links are put into to be removed at once. Nothing else
// may be in it; the number spells "cont".
const removalGroup = 0x636f6e74

// unlinker gathers removals of links. The kernel takes some 15 ms for a removal, during which nothing else is done to links, by the
// switch neither; but it takes no longer for many in one request. So requests that come while one is under way wait for
// it and then go together. The zero value is ready. Safe for concurrent use.
type unlinker struct {
	mu      sync.Mutex
	busy    bool
	waiting []*removal
}

type removal struct {
	link netlink.Link
	done chan error
	lead chan struct{} // told to take the next batch
}

// remove has a link removed by a call of do, with others perhaps, and answers what do made of it. do is the same for all
// and is not called twice at once.
func (u *unlinker) remove(link netlink.Link, do func([]*removal)) error {
	own := &removal{link, make(chan error, 1), make(chan struct{}, 1)}
	u.mu.Lock()
	u.waiting = append(u.waiting, own)
	if u.busy {
		u.mu.Unlock()
		select {
		case err := <-own.done:
			return err
		case <-own.lead:
		}
		u.mu.Lock()
	}
	u.busy = true
	batch := u.waiting
	u.waiting = nil
	u.mu.Unlock()

	do(batch)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy = len(u.waiting) > 0; u.busy {
		u.waiting[0].lead <- struct{}{}
	}
	return <-own.done
}

// removeLinks deletes links of a namespace, and with them their peers. One that is gone already is no error.
func removeLinks(ns *namespace, batch []*removal) {
	if len(batch) > 1 && removeTogether(ns, batch) == nil {
		for _, r := range batch {
			r.done <- nil
		}
		return
	}
	for _, r := range batch {
		err := ns.links.LinkDel(r.link)
		if err != nil && !errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("removing %s: %w", r.link.Attrs().Name, err)
		} else {
			err = nil
		}
		r.done <- err
	}
}

// removeTogether deletes links in one request. After an error any of them may be there still.
func removeTogether(ns *namespace, batch []*removal) error {
	for _, r := range batch {
		if err := ns.links.LinkSetGroup(r.link, removalGroup); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return ns.do(func() error {
		request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
		request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(removalGroup)))
		_, err := request.Execute(unix.NETLINK_ROUTE, 0)
		if errors.Is(err, unix.ENODEV) { // all of them went before
			return nil
		}
		return err
	})
}
