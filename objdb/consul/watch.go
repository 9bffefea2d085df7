package consul

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/internal/feed"
)

// readAtOnce is how many keys a watch reads in one snapshot, the tick apart.
const readAtOnce = maxOps - 1

// Watch implements objdb.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) objdb.Watcher {
	f := feed.New(prefix)
	s.running.Go(func() {
		f.Run(ctx, func(ctx context.Context, push func(objdb.Batch)) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(s.stopped, cancel)()
			err := s.follow(ctx, prefix, after, push)
			if s.stopped.Err() != nil {
				return fmt.Errorf("watching: store closed: %w", objdb.ErrUnavailable)
			}
			return err
		})
	})
	return f
}

// follow pushes batches until the context ends or the watch cannot go on.
func (s *Store) follow(ctx context.Context, prefix string, after int64, push func(objdb.Batch)) error {
	v, err := s.begin(ctx, after)
	if err != nil {
		return err
	}
	r := reader{store: s, epoch: v.epoch, wanted: func(key string) bool {
		return strings.HasPrefix(key, prefix) && !objdb.IsReserved(key)
	}}
	for {
		v, changed := s.poller.view()
		if v.epoch != r.epoch || after < v.floor {
			return fmt.Errorf("watching after revision %d: %w", after, objdb.ErrCompacted)
		}
		if v.index > after {
			batch, err := r.collect(ctx, v, after)
			if err != nil {
				return err
			}
			push(batch)
			after = batch.Revision
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin waits until the poller knows everything up to the present, and refuses a revision that lies in the future.
func (s *Store) begin(ctx context.Context, after int64) (*view, error) {
	wait := newBackoff()
	for {
		present, err := s.present(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil && after > present:
			return nil, fmt.Errorf("watching after revision %d, the store is only at %d: %w", after, present, objdb.ErrCompacted)
		case err == nil:
			return s.poller.await(ctx, present)
		}
		sleep(ctx, wait.NextBackOff())
	}
}

// present is the index of the short ring. With the separator Consul's answer is one line, whatever the ring holds.
func (s *Store) present(ctx context.Context) (int64, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	var index uint64
	err := s.agents.read(ctx, func(ctx context.Context, client *api.Client) error {
		options := api.QueryOptions{RequireConsistent: true}
		_, meta, err := client.KV().Keys(s.root+strings.TrimSuffix(nowPrefix, "/"), "/", options.WithContext(ctx))
		if err == nil {
			index = meta.LastIndex
		}
		return err //nolint:wrapcheck // wrapped by read
	})
	return int64(index), err //nolint:gosec // a Raft index
}

// reader makes batches for one watch.
type reader struct {
	store  *Store
	epoch  int
	wanted func(key string) bool
}

// collect reads what changed after a revision and makes a batch of it.
//
// Consul reads keys as they are now, not as they were at a revision. So a batch is first meant to reach up to the view,
// and does if no commit has touched the keys between the view and the reading. Else it is meant to reach up to the
// commit that the reading has seen: what was read then is right, what was read before is if it was not touched, and
// what else changed up to there is read next. Only keys that were just touched are read again, so that this ends even
// while others write without pause.
func (r reader) collect(ctx context.Context, v *view, after int64) (objdb.Batch, error) {
	until := v.index
	have := make(map[string]objdb.KV)
	for {
		if v.epoch != r.epoch || after < v.floor {
			return objdb.Batch{}, fmt.Errorf("watching after revision %d: %w", after, objdb.ErrCompacted)
		}
		named := v.named(after, until, r.wanted)
		missing := make([]string, 0, readAtOnce)
		for key := range named {
			if _, ok := have[key]; !ok && len(missing) < readAtOnce {
				missing = append(missing, key)
			}
		}
		if len(missing) == 0 {
			return batch(named, have, after, until), nil
		}
		found, tick, err := r.read(ctx, missing)
		if err != nil {
			return objdb.Batch{}, err
		}
		if v, err = r.store.poller.await(ctx, tick); err != nil {
			return objdb.Batch{}, err
		}
		if v.touched(until, tick, missing) {
			for key := range v.stale(until, tick) {
				delete(have, key)
			}
			until = tick
		}
		for _, kv := range found {
			have[kv.Key] = kv
		}
	}
}

// read reads keys in one snapshot and tells which commit it has seen last. A key that does not exist has revision 0.
// While Consul is away it tries again and again.
func (r reader) read(ctx context.Context, keys []string) ([]objdb.KV, int64, error) {
	ops := []*api.TxnOp{r.store.op(api.KVGet, objdb.TickKey)}
	for _, key := range keys {
		ops = append(ops, r.store.op(api.KVGetOrEmpty, key))
	}
	wait := newBackoff()
	for {
		found, err := r.store.snapshot(ctx, ops...)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		if err == nil && len(found) == len(ops) {
			return found[1:], found[0].Revision, nil
		}
		sleep(ctx, wait.NextBackOff())
	}
}

// batch makes a batch of the keys that were named, with the revision of the change, and what they are now.
func batch(named map[string]int64, have map[string]objdb.KV, after, until int64) objdb.Batch {
	b := objdb.Batch{Revision: until}
	for _, key := range slices.Sorted(maps.Keys(named)) {
		switch kv := have[key]; {
		case kv.Revision == 0:
			b.Events = append(b.Events, objdb.Event{KV: objdb.KV{Key: key, Revision: named[key]}, Deleted: true})
		case kv.Revision > after: // else it was named, but not written
			b.Events = append(b.Events, objdb.Event{KV: kv})
		}
	}
	return b
}
