// Package objdb is the cluster store of Contiv behind one small interface: consistent reads, transactions with
// compares, a coalescing watch, and keys that live as long as a lease. Leadership (Election), the service registry
// (Register) and a receiver that follows a prefix (Follow) are built on that interface alone, so that they behave
// alike on every store.
//
// Drivers live in sub-packages: etcd, embedded (an etcd server in this process) and memory (tests). Every driver
// passes the suite in objdb/conformance. Nothing here knows what Contiv stores.
//
// Keys are relative, without a leading slash ("state/nets/default:web"); a driver puts them below its root, by
// default "/contiv.io/". Values are opaque and at most MaxValueBytes; a transaction has at most MaxTxnOps operations.
package objdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits that hold on every store, so that what one accepts another does not refuse.
const (
	MaxValueBytes = 64 << 10
	MaxTxnOps     = 64        // compares and operations are counted apart
	MaxTxnSteps   = 125       // and together, see Txn.Steps
	MaxTxnBytes   = 256 << 10 // keys and values of all operations of one transaction
	DefaultRoot   = "/contiv.io/"
)

// Classes of failure. Drivers wrap them with what was being done; test with errors.Is.
var (
	// ErrNotFound: the key does not exist.
	ErrNotFound = errors.New("key not found")
	// ErrConflict: a compare of the transaction did not hold; nothing was written.
	ErrConflict = errors.New("store changed meanwhile")
	// ErrCompacted: the changes after the wanted revision are gone; list again.
	ErrCompacted = errors.New("revision compacted")
	// ErrUnavailable: the store could not be reached or did not answer in time. A Commit that fails so may or may
	// not have been done.
	ErrUnavailable = errors.New("store unavailable")
	// ErrFull: the store refuses writes because its disk quota is used up; ErrUnavailable comes with it.
	ErrFull = errors.New("its disk quota is used up")
	// ErrTooLarge: a value or transaction is over the limits above; nothing was written.
	ErrTooLarge = errors.New("over the limit of the store")
	// ErrLeaseLost: the lease ended (not renewed in time, or closed); its keys are gone or going.
	ErrLeaseLost = errors.New("lease lost")
)

// KV is a key with its newest value.
type KV struct {
	Key      string
	Value    []byte
	Revision int64 // store revision of the transaction that last wrote the key
}

// Compare is a condition of a transaction; make it with Absent or Unchanged.
type Compare struct {
	Key string
	// Revision the key must have been last written at; 0 means that the key must not exist.
	Revision int64
}

// Absent holds while the key does not exist.
func Absent(key string) Compare { return Compare{Key: key} }

// Unchanged holds while the key exists and was last written at the given revision.
func Unchanged(key string, revision int64) Compare { return Compare{Key: key, Revision: revision} }

// Op is one write of a transaction; make it with Put, PutLeased or Delete.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  Lease // nil: the key stays until it is deleted
}

// Put writes a key.
func Put(key string, value []byte) Op { return Op{Key: key, Value: value} }

// PutLeased writes a key that vanishes when the lease ends.
func PutLeased(key string, value []byte, lease Lease) Op {
	return Op{Key: key, Value: value, Lease: lease}
}

// Delete removes a key; a key that does not exist is no error.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Txn is written as a whole, if and only if every compare holds at that moment.
// A key may appear once among the operations.
type Txn struct {
	If   []Compare
	Then []Op
}

// Check reports what no store accepts: ErrTooLarge, wrapped with the limit and the offending key or count, or an error
// without class for misuse (no key, a key twice, a reserved key). Drivers call it before they send anything.
func (t Txn) Check() error {
	if len(t.If) > MaxTxnOps || len(t.Then) > MaxTxnOps {
		return fmt.Errorf("transaction of %d compares and %d writes, at most %d of each: %w",
			len(t.If), len(t.Then), MaxTxnOps, ErrTooLarge)
	}
	if steps := t.Steps(); steps > MaxTxnSteps {
		return fmt.Errorf("transaction of %d compares and %d writes takes %d steps, at most %d: %w",
			len(t.If), len(t.Then), steps, MaxTxnSteps, ErrTooLarge)
	}
	total := 0
	seen := make(map[string]bool, len(t.Then))
	for _, op := range t.Then {
		switch {
		case op.Key == "" || strings.HasPrefix(op.Key, "/"):
			return fmt.Errorf("key %q of a write is empty or begins with a slash", op.Key)
		case IsReserved(op.Key):
			return fmt.Errorf("key %q is below %q, which belongs to the store itself", op.Key, ReservedPrefix)
		case seen[op.Key]:
			return fmt.Errorf("key %q is written twice in one transaction", op.Key)
		case len(op.Value) > MaxValueBytes:
			return fmt.Errorf("value of %q has %d bytes, at most %d: %w", op.Key, len(op.Value), MaxValueBytes, ErrTooLarge)
		}
		seen[op.Key] = true
		total += len(op.Key) + len(op.Value)
	}
	if total > MaxTxnBytes {
		return fmt.Errorf("transaction writes %d bytes, at most %d: %w", total, MaxTxnBytes, ErrTooLarge)
	}
	return nil
}

// Steps is what the transaction costs on the store that can do least at once (Consul: 128, some of them for the
// driver): one for a write, three with a lease, and one for each compare unless its key is put without a lease.
func (t Txn) Steps() int {
	put := make(map[string]bool, len(t.Then))
	steps := 0
	for _, op := range t.Then {
		steps++
		if op.Lease != nil {
			steps += 2
		} else if !op.Delete {
			put[op.Key] = true
		}
	}
	for _, c := range t.If {
		if !put[c.Key] {
			steps++
		}
		delete(put, c.Key) // of two compares of one key the second is one more
	}
	return steps
}

// Keys that drivers keep for themselves. They are below the root like any other, but List and Watch do not show them
// and Commit refuses them.
const (
	ReservedPrefix = "meta/store/"
	// IDKey holds what Store.ID returns; created if absent by whoever opens the store first.
	IDKey = ReservedPrefix + "id"
	// TickKey is written by every Commit, so that the revision of its last change is the answer of Store.Revision:
	// exact and cheap to read even if other programs keep their keys in the same store.
	TickKey = ReservedPrefix + "tick"
)

// IsReserved tells whether the key belongs to the store itself.
func IsReserved(key string) bool { return strings.HasPrefix(key, ReservedPrefix) }

// Event is the newest state of one changed key.
type Event struct {
	KV      // Value is nil when Deleted; Revision is that of the change
	Deleted bool
}

// Batch is what a watch delivers: everything up to and including Revision that was not delivered before, the latest
// value per key. Batches come in increasing Revision, and never before everything up to it. Events may be empty: then
// only the revision moved on.
type Batch struct {
	Revision int64
	Events   []Event
}

// Watcher delivers changes until its context ends or it fails.
type Watcher interface {
	// Batches is closed when the watch has ended; Err then says why.
	Batches() <-chan Batch
	// Err is nil while the watch runs, the context's error after it was cancelled, ErrCompacted or ErrUnavailable
	// (wrapped) when it cannot go on. A watcher survives reconnects of the driver by itself.
	Err() error
}

// Lease keeps keys alive while this process renews it, which the driver does by itself.
type Lease interface {
	// Done is closed when the lease ended without Close: its keys are gone or going.
	Done() <-chan struct{}
	// Close ends the lease and removes its keys at once. It may be called twice.
	Close(ctx context.Context) error
}

// Store is one cluster store. All methods may be called at once from any number of goroutines and honour their
// context's deadline; drivers add an upper limit of their own (10 s) to a context that has none.
type Store interface {
	// ID names this store's contents for ever: made once when the store is first opened, kept in it. Two stores never
	// share it, a restored backup keeps it.
	ID() string

	// Revision returns the revision of the newest transaction, linearizable: it is never older than any Commit that
	// was answered before the call began, by any process.
	Revision(ctx context.Context) (int64, error)

	// Get reads one key, linearizable. ErrNotFound if it does not exist.
	Get(ctx context.Context, key string) (KV, error)

	// List reads every key below the prefix, sorted, as they were together at the returned revision. An empty result
	// is no error. Watching after that revision misses nothing.
	List(ctx context.Context, prefix string) ([]KV, int64, error)

	// Commit does the transaction as a whole and returns its revision, or ErrConflict if a compare did not hold.
	// Not idempotent: after ErrUnavailable the caller reads before it tries again.
	Commit(ctx context.Context, txn Txn) (int64, error)

	// Watch delivers changes below the prefix that came after the revision. It ends with the context. Only a watch of
	// everything (prefix "") is sure to be told of revisions in which nothing below the prefix changed.
	Watch(ctx context.Context, prefix string, after int64) Watcher

	// Grant makes a lease that ends about ttl after this process stopped renewing it. A store may round ttl up
	// (Consul: to 10 s).
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)

	// Close releases the client and everything it started; leases end without their keys being removed at once.
	Close() error
}
