// Package lsm implements a log-structured merge tree of sorted runs. A run is an immutable sequence of entries (key,
// value) in byte order of the keys. A tree is a list of runs, oldest first; a reader sees the newest entry of each
// key. Size-tiered compaction keeps the number of runs in memory small. MemRun is a run in memory; db/segment has runs
// in files.
package lsm

// Run is an immutable sorted run. It is safe for concurrent use. Returned slices must not be changed; they stay valid
// as long as they are referenced.
type Run interface {
	// Len returns the number of entries.
	Len() int
	// Prefixes returns the number of distinct prefixes among the keys.
	Prefixes() int
	// Total returns the sum of the deltas of all entries.
	Total() int64
	// Memory returns the memory that the run itself takes, in bytes.
	Memory() int
	// MayContain returns false when the run has no key with the same prefix as key; hash is the hash of that prefix.
	MayContain(hash uint64, key []byte) bool
	// Find returns the value of key.
	Find(key []byte) (value []byte, ok bool, err error)
	// Sum returns the sum of the deltas of the entries with from <= key < to. Nil bounds are open.
	Sum(from, to []byte) (int64, error)
	// Iterate returns an iterator at the first entry with from <= key < to, in key order or in reverse; nil when there
	// is none. Nil bounds are open.
	Iterate(from, to []byte, reverse bool) (Iterator, error)
}

// Iterator iterates over entries. A new iterator is positioned at its first entry.
type Iterator interface {
	// Key returns the key of the current entry.
	Key() []byte
	// Value returns the value of the current entry.
	Value() []byte
	// Next moves to the next entry; false means the end or an error.
	Next() (bool, error)
}
