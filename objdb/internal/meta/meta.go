// Package meta is what drivers on a store of others keep in it of their own: the store's id, and the key that tells the
// newest revision.
package meta

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/contiv/contiv/objdb"
)

// Get reads a key as objdb.Store does.
type Get func(ctx context.Context, key string) (objdb.KV, error)

// Commit writes as objdb.Store does.
type Commit func(ctx context.Context, txn objdb.Txn) (int64, error)

// ID reads the store's id and makes it first if there is none. Of several clients that do so at once all get the same.
func ID(ctx context.Context, get Get, commit Commit) (string, error) {
	for {
		kv, err := get(ctx, objdb.IDKey)
		if !errors.Is(err, objdb.ErrNotFound) {
			return string(kv.Value), err
		}
		id := uuid.NewString()
		_, err = commit(ctx, objdb.Txn{
			If:   []objdb.Compare{objdb.Absent(objdb.IDKey)},
			Then: []objdb.Op{objdb.Put(objdb.IDKey, []byte(id))},
		})
		if !errors.Is(err, objdb.ErrConflict) {
			return id, err
		}
	}
}

// Revision reads the revision of the newest Commit, which writes objdb.TickKey every time.
func Revision(ctx context.Context, get Get) (int64, error) {
	kv, err := get(ctx, objdb.TickKey)
	if err != nil {
		return 0, fmt.Errorf("reading the store's revision: %w", err)
	}
	return kv.Revision, nil
}
