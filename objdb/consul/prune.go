package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

// prune removes what clients of the past left in the rings: records that tell nobody anything any more, and of the
// others the oldest if there are many. It is no commit, and if somebody else does the same, one of them fails; then
// the next store that is opened does it.
func (s *Store) prune(ctx context.Context) error {
	for prefix, keep := range map[string]int{nowPrefix: 2 * nowSlots, logPrefix: 4 * logSlots} {
		seen, err := s.list(ctx, prefix, 0)
		if err != nil {
			return err
		}
		if err := s.pruneRing(ctx, prefix, seen.kvs, keep); err != nil {
			return fmt.Errorf("pruning %q: %w", prefix, err)
		}
	}
	return nil
}

func (s *Store) pruneRing(ctx context.Context, prefix string, kvs []objdb.KV, keep int) error {
	t := readTrail(kvs)
	forgotten := t.forgotten
	if excess := len(t.changes) - keep; excess > 0 {
		forgotten = max(forgotten, t.changes[excess-1].revision)
	}
	var doomed []*api.TxnOp
	for _, kv := range kvs {
		_, marker := t.markers[kv.Key]
		if kv.Revision <= forgotten && !marker && !isFloor(kv.Key) && kv.Revision != t.newest() {
			op := s.op(api.KVDeleteCAS, kv.Key)
			op.KV.Index = uint64(kv.Revision) //nolint:gosec // a Raft index
			doomed = append(doomed, op)
		}
	}
	if len(doomed) > 0 && forgotten > t.forgotten {
		if err := s.cut(ctx, prefix, forgotten); err != nil {
			return err
		}
	}
	for len(doomed) > 0 {
		some := doomed[:min(len(doomed), maxOps)]
		doomed = doomed[len(some):]
		if _, err := s.transact(ctx, steps{ops: some}); err != nil {
			return err
		}
	}
	return nil
}

// cut says in a ring that everything up to a revision is forgotten, if it does not say more already.
func (s *Store) cut(ctx context.Context, prefix string, revision int64) error {
	key := prefix + floorName
	old, err := s.Get(ctx, key)
	var before record
	switch {
	case errors.Is(err, objdb.ErrNotFound):
	case err != nil:
		return err
	case json.Unmarshal(old.Value, &before) == nil && before.Forgets >= revision:
		return nil
	}
	op := s.put(key, record{}.encode(revision))
	op.KV.Verb, op.KV.Index = api.KVCAS, uint64(old.Revision) //nolint:gosec // a Raft index
	_, err = s.transact(ctx, steps{ops: api.TxnOps{op}})
	return err
}
