package linear

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/contiv/contiv/objdb/etcd/etcdtest"
)

// lag is a way to a server on which answers take their time. It gives its URL.
func lag(t *testing.T, url string, delay time.Duration) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		running.Wait()
	})
	carry := func(from, to net.Conn, delay time.Duration) {
		defer func() { _ = to.Close() }()
		buffer := make([]byte, 1<<16)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			wait(ctx, delay)
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				_ = near.Close()
				continue
			}
			running.Go(func() { carry(near, far, 0) })
			running.Go(func() { carry(far, near, delay) })
			context.AfterFunc(ctx, func() { closeAll(near, far) })
		}
	})
	return "http://" + listener.Addr().String()
}

func closeAll(all ...io.Closer) {
	for _, c := range all {
		_ = c.Close()
	}
}

// lagging is two netmasters of which the follower hears late of what happens.
func lagging(t *testing.T) *run {
	t.Helper()
	server := etcdtest.New(t)
	c := newCluster(t, 1, "--etcd", server.URL)
	c.masters = append(c.masters, newMaster(t, "--etcd", lag(t, server.URL, 50*time.Millisecond)))
	c.settle()
	return newRun(t, c)
}

// TestStaleReadsAreNoticed: reads that are allowed to be stale, of a follower that hears late, make a history that is
// rejected. So the other runs would notice if reads were not fresh.
func TestStaleReadsAreNoticed(t *testing.T) {
	r := lagging(t)
	r.stale = true
	r.during(func(ctx context.Context) { wait(ctx, 2*time.Second) })
	model := rules{}.model()
	for _, part := range model.Partition(r.history.ops) {
		if porcupine.CheckOperationsTimeout(model, part, 10*time.Second) == porcupine.Illegal {
			return
		}
	}
	t.Error("nothing is wrong with stale reads: the test tests little")
}

// TestLaggingFollower: the same follower, asked for reads that are fresh, waits until it has heard.
func TestLaggingFollower(t *testing.T) {
	r := lagging(t)
	r.during(func(ctx context.Context) { wait(ctx, 2*time.Second) })
	r.history.check(t, rules{})
}
