package ledger

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// TestChangesNameTheirRequests: whoever follows the ledger learns which requests led to a change, for records written and
// deleted, whether the ledger hears of its own write from the store or from itself first; what others wrote has none.
func TestChangesNameTheirRequests(t *testing.T) {
	for _, slow := range []bool{false, true} {
		b := newBed(t)
		var (
			mu   sync.Mutex
			got  = map[string][]string{}
			seen = make(chan struct{}, 100)
		)
		defer b.Subscribe(func(_ *Model, c Change) {
			mu.Lock()
			defer mu.Unlock()
			for _, d := range c.Records {
				got[d.Key] = append(got[d.Key], c.Requests...)
				seen <- struct{}{}
			}
		})()
		if slow { // The store's own word of a write comes before its answer.
			b.store.onCommit(func(do func() (int64, error)) (int64, error) {
				revision, err := do()
				if err == nil {
					err = b.waitFor(t.Context(), revision)
				}
				return revision, err
			})
		}
		commit := func(id string, plan func(*Tx) error) {
			t.Helper()
			if _, err := b.Commit(requestid.With(t.Context(), id), plan); err != nil {
				t.Fatal(err)
			}
		}
		commit("first", func(tx *Tx) error { tx.Put(tenant("a")); return nil })
		commit("second", func(tx *Tx) error { tx.Put(tenant("b")); return nil })
		commit("third", func(tx *Tx) error { tx.Delete(tenant("a")); return nil })
		refused := errors.New("refused")
		if _, err := b.Commit(requestid.With(t.Context(), "fourth"), func(*Tx) error { return refused }); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		b.raw(objdb.Delete(tenant("b").StoreKey()))
		for range 4 {
			<-seen
		}
		mu.Lock()
		want := map[string][]string{tenant("a").StoreKey(): {"first", "third"}, tenant("b").StoreKey(): {"second"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("slow %v (-want +got):\n%s", slow, diff)
		}
		mu.Unlock()
	}
}
