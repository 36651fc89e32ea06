package lsm

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Keyspace defines the meaning of the keys and values of a tree. Its functions must not keep their arguments.
type Keyspace struct {
	// Prefix returns the length of the leading part of a key that every look-up gives in full. Filters hold the hashes
	// of these prefixes.
	Prefix func(key []byte) int
	// Delta returns the amount that an entry adds to the sum of a range: 1 for an addition, -1 for a removal. Nil:
	// always 1.
	Delta func(value []byte) int
	// Annihilates reports whether a compaction drops both an older and a newer entry of one key. Nil: never.
	Annihilates func(older, newer []byte) bool
	// Tombstone reports whether an entry marks an absent key. The bottommost compaction drops such entries. Nil: never.
	Tombstone func(value []byte) bool
}

// Hash returns the hash of a key's prefix, as filters use it.
func (k *Keyspace) Hash(key []byte) uint64 { return xxhash.Sum64(key[:k.Prefix(key)]) }

// DeltaOf returns the delta of an entry.
func (k *Keyspace) DeltaOf(value []byte) int {
	if k.Delta == nil {
		return 1
	}
	return k.Delta(value)
}

func (k *Keyspace) annihilates(older, newer []byte) bool {
	return k.Annihilates != nil && k.Annihilates(older, newer)
}

func (k *Keyspace) isTombstone(value []byte) bool { return k.Tombstone != nil && k.Tombstone(value) }

// prefixHashes collects the hashes of distinct prefixes. The prefixes must come in key order.
type prefixHashes struct {
	hashes []uint64
	last   []byte
}

func (p *prefixHashes) add(prefix []byte) {
	if len(p.hashes) == 0 || !bytes.Equal(prefix, p.last) {
		p.hashes = append(p.hashes, xxhash.Sum64(prefix))
		p.last = append(p.last[:0], prefix...)
	}
}

// Begin returns the first eight bytes of a key as a number, with zeros for those that it lacks. Where the numbers of
// two keys differ, the keys compare as the numbers do.
func Begin(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var begin [8]byte
	copy(begin[:], key)
	return binary.BigEndian.Uint64(begin[:])
}

// PrefixEnd returns the first key above all keys that begin with prefix; nil when there is none.
func PrefixEnd(prefix []byte) []byte { return AppendPrefixEnd(nil, prefix) }

// AppendPrefixEnd appends PrefixEnd of a prefix to dst; nil when there is none.
func AppendPrefixEnd(dst, prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			dst = append(dst, prefix[:i+1]...)
			dst[len(dst)-1]++
			return dst
		}
	}
	return nil
}
