package index

import (
	"slices"
	"sort"
)

// bag is a set of entries: a list that is quick to walk, sorted by bucket so that an entry is found.
type bag []*Entry

func (b *bag) add(entry *Entry) {
	*b = slices.Insert(*b, b.from(int(entry.bucket)+1), entry)
}

func (b *bag) remove(entry *Entry) {
	first := b.from(int(entry.bucket))
	if i := slices.Index((*b)[first:], entry); i >= 0 {
		*b = slices.Delete(*b, first+i, first+i+1)
	}
}

// from is the place of the first entry of a bucket, or of those after it.
func (b bag) from(bucket int) int {
	return sort.Search(len(b), func(i int) bool { return int(b[i].bucket) >= bucket })
}
