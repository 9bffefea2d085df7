package embedded

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/etcd"
)

// watchOf takes changes where the server makes them. On the way through the client each would wake half a dozen
// goroutines, which costs about as much as the write itself.
func watchOf(server *etcdserver.EtcdServer) etcd.Source {
	return func(ctx context.Context, prefix string, after int64, push func([]*clientv3.Event)) error {
		stream := server.Watchable().NewWatchStream()
		defer stream.Close()
		end := clientv3.GetPrefixRangeEnd(prefix)
		if _, err := stream.Watch(clientv3.AutoWatchID, []byte(prefix), []byte(end), after+1); err != nil {
			return fmt.Errorf("%w: %w", objdb.ErrUnavailable, err)
		}
		if now := stream.Rev(); now < after {
			return fmt.Errorf("the store is only at revision %d: %w", now, objdb.ErrCompacted)
		}
		for {
			select {
			case response := <-stream.Chan():
				if response.CompactRevision != 0 {
					return objdb.ErrCompacted
				}
				if len(response.Events) > 0 {
					push(pointers(response))
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func pointers(response mvcc.WatchResponse) []*clientv3.Event {
	out := make([]*clientv3.Event, len(response.Events))
	for i := range response.Events {
		out[i] = (*clientv3.Event)(&response.Events[i])
	}
	return out
}
