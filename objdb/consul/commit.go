package consul

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

// Commit implements objdb.Store.
func (s *Store) Commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	if err := txn.Check(); err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	return s.commit(ctx, txn)
}

func (s *Store) commit(ctx context.Context, txn objdb.Txn) (int64, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	done, err := s.send(ctx, txn, nil)
	if err == nil && len(done.held) > 0 {
		done, err = s.free(ctx, txn, done)
	}
	if err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	return done.revision, nil
}

// free writes once more what a transaction put, because some of its keys were put without a lease but are still held
// by an older one's session, which Consul's "set" does not end: they would vanish with that lease. Only who puts such
// a key is slowed by it.
func (s *Store) free(ctx context.Context, txn objdb.Txn, first applied) (applied, error) {
	var again objdb.Txn
	for _, op := range txn.Then {
		if !op.Delete {
			again.If = append(again.If, objdb.Unchanged(op.Key, first.revision))
			again.Then = append(again.Then, op)
		}
	}
	done, err := s.send(ctx, again, first.held)
	if errors.Is(err, objdb.ErrConflict) {
		return first, nil // somebody else has written since
	}
	return done, err
}

// applied is what came of a transaction: its revision, and the keys that were put without a lease and still have one.
type applied struct {
	revision int64
	held     map[string]bool
}

// send does a transaction together with its change records. Held keys are deleted before they are put.
func (s *Store) send(ctx context.Context, txn objdb.Txn, held map[string]bool) (applied, error) {
	steps, err := s.steps(txn, held)
	if err != nil {
		return applied{}, err
	}
	now, log := s.now.take(), s.log.take()
	steps.addRecord(s, newRecord(txn.Then, steps.markers), now, log)
	done, err := s.apply(ctx, steps)
	switch {
	case err == nil:
		s.now.give(now, done.revision)
		s.log.give(log, done.revision)
	case errors.Is(err, objdb.ErrUnavailable) && !errors.Is(err, errRefused) && !notDone(err):
		// It may have been done, or may still be.
		s.now.lose(now)
		s.log.lose(log)
	default:
		s.now.back(now)
		s.log.back(log)
	}
	return done, err
}

func (s *Store) apply(ctx context.Context, steps steps) (applied, error) {
	results, err := s.transact(ctx, steps)
	if err != nil {
		return applied{}, err
	}
	done := s.outcome(results, steps)
	if done.revision == 0 {
		return done, fmt.Errorf("%w: Consul's answer lacks the revision", objdb.ErrUnavailable)
	}
	return done, nil
}

func (s *Store) transact(ctx context.Context, steps steps) (api.TxnResults, error) {
	if len(steps.ops) > maxOps {
		return nil, fmt.Errorf("%d operations for Consul, at most %d: %w", len(steps.ops), maxOps, objdb.ErrTooLarge)
	}
	var results api.TxnResults
	err := s.agents.write(ctx, func(ctx context.Context, client *api.Client) error {
		ok, answer, _, err := client.Txn().Txn(steps.ops, (&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return err //nolint:wrapcheck // wrapped by write
		}
		if !ok {
			return fmt.Errorf("%w: %w", errRefused, steps.failure(answer.Errors))
		}
		results = answer.Results
		return nil
	})
	return results, err
}

func (s *Store) outcome(results api.TxnResults, steps steps) applied {
	done := applied{held: make(map[string]bool)}
	for _, result := range results {
		kv := s.kv(result.KV)
		if kv.Key == objdb.TickKey {
			done.revision = kv.Revision
		}
		if steps.plain[kv.Key] && result.KV.Session != "" {
			done.held[kv.Key] = true
		}
	}
	return done
}
