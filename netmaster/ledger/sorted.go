package ledger

import (
	"strings"

	"github.com/google/btree"

	"github.com/contiv/contiv/state"
)

// intentPrefix begins the keys of what users ask for, as opposed to what was decided for it.
const intentPrefix = "obj/modeldb/"

// rowTree keeps rows of intent by key, so that a part of them is found without sorting all.
type rowTree = btree.BTreeG[*row]

func newRowTree() *rowTree {
	return btree.NewG(32, func(a, b *row) bool { return a.key < b.key })
}

// Ascend calls visit with the intent records whose store keys begin with the prefix and come after the key given, in
// their order, until it returns false. It costs what it visits.
func (m *Model) Ascend(prefix, after string, visit func(storeKey string, record state.Record, revision int64) bool) {
	from := prefix
	if after >= from {
		from = after + "\x00" // the next key there can be
	}
	m.intent.AscendGreaterOrEqual(&row{key: from}, func(r *row) bool {
		return strings.HasPrefix(r.key, prefix) && visit(r.key, r.record, r.revision)
	})
}
