package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/internal/feed"
)

// Watch implements objdb.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) objdb.Watcher {
	f := feed.New(prefix)
	s.watches.Add(1)
	go func() {
		defer s.watches.Done()
		f.Run(ctx, func(ctx context.Context, push func(objdb.Batch)) error { return s.follow(ctx, prefix, after, push) })
	}()
	return f
}

// follow watches until the context ends, the store is closed or the history is gone. The etcd client survives
// reconnects by itself but gives up on other failures, such as a member that lost its leader: then a new watch takes
// over where the old one stopped.
func (s *Store) follow(ctx context.Context, prefix string, after int64, push func(objdb.Batch)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopped, cancel)()

	wait := &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2, MaxInterval: 2 * time.Second,
	}
	wait.Reset()
	for {
		reached, err := s.watchOnce(ctx, prefix, after, push)
		switch {
		case s.stopped.Err() != nil:
			return fmt.Errorf("watching: store closed: %w", objdb.ErrUnavailable)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, objdb.ErrCompacted):
			return fmt.Errorf("watching after revision %d: %w", reached, err)
		}
		if reached > after {
			wait.Reset()
		}
		after = reached
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// watchOnce runs one watch and returns the revision up to which everything was pushed.
func (s *Store) watchOnce(ctx context.Context, prefix string, after int64, push func(objdb.Batch)) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := s.source(ctx, s.root+prefix, after, func(events []*clientv3.Event) {
		batch := s.batch(events)
		after = batch.Revision
		push(batch)
	})
	return after, err
}

// Source watches the keys with a prefix and pushes what happened to them after a revision, whole revisions in order, at
// least one event at a time, until the context ends or it cannot go on. objdb.ErrCompacted (wrapped): the revision is
// not in the history, because that was compacted, or because it never was.
type Source func(ctx context.Context, prefix string, after int64, push func([]*clientv3.Event)) error

// fromClient is the Source of any etcd.
//
// The revision in the header of a response may be ahead of its events when a watcher catches up, so a batch has that
// of its last event: etcd never puts the changes of one revision into two responses, and the client puts fragments
// together.
func (s *Store) fromClient(ctx context.Context, prefix string, after int64, push func([]*clientv3.Event)) error {
	for resp := range s.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1),
		clientv3.WithFragment(), clientv3.WithCreatedNotify()) {
		if err := resp.Err(); err != nil {
			return classify(err)
		}
		if resp.Created && resp.Header.Revision < after {
			return fmt.Errorf("the store is only at revision %d: %w", resp.Header.Revision, objdb.ErrCompacted)
		}
		if len(resp.Events) > 0 {
			push(resp.Events)
		}
	}
	return objdb.ErrUnavailable
}

func (s *Store) batch(changes []*clientv3.Event) objdb.Batch {
	batch := objdb.Batch{
		Revision: changes[len(changes)-1].Kv.ModRevision,
		Events:   make([]objdb.Event, 0, len(changes)),
	}
	for _, change := range changes {
		event := objdb.Event{KV: s.kv(change.Kv), Deleted: change.Type == clientv3.EventTypeDelete}
		if event.Deleted {
			event.Value = nil
		} else if event.Value == nil {
			event.Value = []byte{}
		}
		batch.Events = append(batch.Events, event)
	}
	return batch
}
