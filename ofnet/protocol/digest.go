package protocol

import (
	"encoding/binary"
	"hash/fnv"
)

// Buckets is how many digests a host's records are summed up in.
const Buckets = 256

// Digests sums up a set of records: each record is counted in the bucket of its key by the XOR of a hash of kind, key
// and revision. Adding a record twice removes it, so that a set is kept up to date with one call per change.
type Digests [Buckets]uint64

// Toggle adds a record to the set or takes it out.
func (d *Digests) Toggle(kind Kind, key string, revision int64) {
	d[BucketOf(kind, key)] ^= recordHash(kind, key, revision)
}

// BucketOf tells the bucket of a record.
func BucketOf(kind Kind, key string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	sum := mix(h.Sum64())
	return int(sum % Buckets)
}

func recordHash(kind Kind, key string, revision int64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	var rev [8]byte
	binary.BigEndian.PutUint64(rev[:], uint64(revision))
	_, _ = h.Write(rev[:])
	return mix(h.Sum64())
}

// mix is the finaliser of MurmurHash3: FNV alone leaves the high bits of short inputs poorly mixed for XOR sums.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
