package consul

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

// maxOps is what Consul does in one transaction.
const maxOps = 128

// steps is a transaction in Consul's terms. Consul does them one after the other, so compares come first.
type steps struct {
	ops   api.TxnOps
	roles []role
	plain map[string]bool // keys that are put without a lease

	markers []string // their keys
}

// role tells what it means when an operation fails.
type role int

const (
	roleWrite   role = iota
	roleCompare      // the store changed meanwhile
	roleLease        // the session is gone
)

func (st *steps) add(op *api.TxnOp, r role) {
	st.ops = append(st.ops, op)
	st.roles = append(st.roles, r)
}

// steps translates a transaction. A compare of a key that is put becomes one operation together with the put; not so
// for a delete, as Consul's "delete-cas" holds for a key that does not exist.
func (s *Store) steps(txn objdb.Txn, held map[string]bool) (steps, error) {
	st := steps{plain: make(map[string]bool)}
	for _, op := range txn.Then {
		if !op.Delete && op.Lease == nil {
			st.plain[op.Key] = true
		}
	}
	swap := make(map[string]*objdb.Compare) // compares that go with their put
	for i, c := range txn.If {
		if st.plain[c.Key] && !held[c.Key] && swap[c.Key] == nil {
			swap[c.Key] = &txn.If[i]
			continue
		}
		check := s.op(api.KVCheckNotExists, c.Key)
		if c.Revision != 0 {
			check = s.op(api.KVCheckIndex, c.Key)
			check.KV.Index = uint64(c.Revision) //nolint:gosec // a Raft index
		}
		st.add(check, roleCompare)
	}
	markers := make(map[*lease][]objdb.Op)
	for _, op := range txn.Then {
		if op.Delete || op.Lease != nil || held[op.Key] {
			// A key that another session holds must go before it can be taken or be free.
			st.add(s.op(api.KVDelete, op.Key), roleWrite)
		}
		if op.Delete {
			continue
		}
		put := s.put(op.Key, op.Value)
		switch c := swap[op.Key]; {
		case op.Lease != nil:
			l, ok := op.Lease.(*lease)
			if !ok || l.store != s || l.over() {
				return steps{}, fmt.Errorf("lease of %q is over or of another store: %w", op.Key, objdb.ErrLeaseLost)
			}
			put.KV.Verb, put.KV.Session = api.KVLock, l.session
			st.add(put, roleLease)
			markers[l] = append(markers[l], op)
		case c != nil:
			put.KV.Verb, put.KV.Index = api.KVCAS, uint64(c.Revision) //nolint:gosec // a Raft index
			st.add(put, roleCompare)
		default:
			st.add(put, roleWrite)
		}
	}
	for l, ops := range markers {
		marker := s.marker(l, ops)
		st.add(marker, roleLease)
		st.markers = append(st.markers, strings.TrimPrefix(marker.KV.Key, s.root))
	}
	return st, nil
}

// marker names leased keys and vanishes with them. Its own key depends on theirs, so that transactions of other keys
// do not overwrite it, and those of the same keys need no new one.
func (s *Store) marker(l *lease, ops []objdb.Op) *api.TxnOp {
	r := newRecord(ops, nil)
	hash := fnv.New64a()
	for _, key := range r.Keys {
		_, _ = hash.Write([]byte(key + "\x00")) // never fails
	}
	op := s.put(fmt.Sprintf("%s%s-%x", markerPrefix, l.session, hash.Sum64()), r.encode(0))
	op.KV.Verb, op.KV.Session = api.KVLock, l.session
	return op
}

// addRecord adds what every transaction writes for the driver itself.
func (st *steps) addRecord(s *Store, r record, now, log place) {
	st.add(s.put(objdb.TickKey, nil), roleWrite)
	st.add(s.put(now.key, r.encode(now.holds)), roleWrite)
	st.add(s.put(log.key, r.encode(log.holds)), roleWrite)
}

// put writes a key. The flags make every write differ from what is there: Consul takes one that does not for no change
// and leaves the revision as it was.
func (s *Store) put(key string, value []byte) *api.TxnOp {
	op := s.op(api.KVSet, key)
	op.KV.Value, op.KV.Flags = value, s.flags.Add(1)
	return op
}

// failure tells why nothing was written.
func (st steps) failure(failed api.TxnErrors) error {
	for _, one := range failed {
		if one.OpIndex >= len(st.roles) || says(errors.New(one.What), "Permission denied") {
			continue
		}
		switch st.roles[one.OpIndex] {
		case roleCompare:
			return fmt.Errorf("%w: %s", objdb.ErrConflict, one.What)
		case roleLease:
			return fmt.Errorf("%w: %s", objdb.ErrLeaseLost, one.What)
		}
	}
	return errors.New(reasons(failed))
}
