// Package lsm implements a log-structured merge tree of sorted runs. A run is an immutable sequence of entries (key,
// value) in byte order of the keys. A tree is a list of runs, oldest first; a reader sees the newest entry of each
// key. Size-tiered compaction keeps the number of runs in memory small. MemRun is a run in memory; db/segment has runs
// in files.
package lsm

import "sync/atomic"

// lastRun is the ID of the run that was made or opened last in this process.
var lastRun atomic.Uint64

// NewRunID returns an ID for a run.
func NewRunID() uint64 { return lastRun.Add(1) }

// Run is an immutable sorted run. It is safe for concurrent use. Returned slices must not be changed; they stay valid
// as long as they are referenced.
type Run interface {
	// ID identifies the run in this process. No two runs have the same ID.
	ID() uint64
	// Len returns the number of entries.
	Len() int
	// Prefixes returns the number of distinct prefixes among the keys.
	Prefixes() int
	// Total returns the sum of the deltas of all entries.
	Total() int64
	// Memory returns the memory that the run itself takes, in bytes.
	Memory() int
	// Excludes reports whether what is in memory shows that the run has no key with the same prefix as key; hash is the
	// hash of that prefix. It reads no file.
	Excludes(hash uint64, key []byte) bool
	// MayContain returns false only if the run has no key with the same prefix as key. It may read a file, and finds that
	// out more often than Excludes.
	MayContain(hash uint64, key []byte) bool
	// Find returns the value of key.
	Find(key []byte, hint Hint) (value []byte, ok bool, err error)
	// Sum returns the sum of the deltas of the entries with from <= key < to. Nil bounds are open.
	Sum(from, to []byte) (int64, error)
	// PrefixSums calls add with each prefix of the keys with from <= key < to, in their order, and with the sum of the
	// deltas of its entries in the range. Before each, it calls prefixLen, which returns the length of a key's prefix; all
	// keys that begin with a prefix must have it. Nil bounds are open. The first error of a call ends it. add must not
	// keep the prefix. A prefix costs a search, however many entries it has.
	PrefixSums(from, to []byte, prefixLen func(key []byte) (int, error), add func(prefix []byte, sum int64) error) error
	// Iterate returns an iterator at the first entry with from <= key < to, in key order or in reverse; nil when there
	// is none. Nil bounds are open.
	Iterate(from, to []byte, reverse bool) (Iterator, error)
	// Below returns the number of entries whose key is below key.
	Below(key []byte) (int64, error)
	// EntryReader returns a reader of single entries.
	EntryReader() EntryReader
}

// Hint is what a caller of Find knows of a key. It changes what is read and cached, and no answer.
type Hint uint8

const (
	// Likely says that the tree probably has the key. In the oldest run that may have it, Find doesn't ask the filter,
	// which would mostly agree: that saves one of the three pages that a look-up in a file reads.
	Likely Hint = 1 << iota
	// Once says that the key is unlikely to be asked for again soon. Its block is cached only if the run's look-up before,
	// of this kind, read it too: then its neighbours are asked for one after the other.
	Once
)

// EntryReader reads entries of a run by their number, which is the number of entries before them. It is fastest for
// ascending numbers. It is not safe for concurrent use.
type EntryReader interface {
	// Key returns the key of entry i. It stays valid as long as it is referenced.
	Key(i int64) ([]byte, error)
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
