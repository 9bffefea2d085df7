package index

import "slices"

// bag is a set of entries, found by bucket.
type bag map[uint8][]*Entry

func (b *bag) add(entry *Entry) {
	if *b == nil {
		*b = bag{}
	}
	(*b)[entry.bucket] = append((*b)[entry.bucket], entry)
}

func (b *bag) remove(entry *Entry) {
	list := (*b)[entry.bucket]
	i := slices.Index(list, entry)
	if i < 0 {
		return
	}
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	if last == 0 {
		delete(*b, entry.bucket)
		return
	}
	(*b)[entry.bucket] = list[:last]
}

func (b bag) eachOf(bucket uint8, f func(*Entry)) {
	for _, entry := range b[bucket] {
		f(entry)
	}
}

func (b bag) each(f func(*Entry)) {
	for _, list := range b {
		for _, entry := range list {
			f(entry)
		}
	}
}
