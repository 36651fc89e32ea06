// Package segment keeps sorted runs in files: a segment is an immutable SQLite file with several runs, each a sorted
// sequence of entries (key, value), prefix-compressed in blocks, each block compressed with zstd. A run of a segment is
// a lsm.Run, so that it lies in a lsm.Tree under the runs in memory.
//
// A file is one b-tree of blocks per run above SQLite's own: data blocks hold entries, index blocks hold the first key
// of each block below them, and what comes before it. Beside them lie a Bloom filter in pages, the sets of members of
// long lists, and one head that says where everything begins. Every row has a checksum of its own that is bound to the
// row's place, so that damage is an error and never an answer.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"weft.dev/weft/db/lsm"
)

const (
	// applicationID is "weft" and says in SQLite's header whose file it is.
	applicationID = 0x77656674
	// format is the file format, in SQLite's user_version. Format 1 has the same layout, and says nothing of checksums in
	// its head. Builds before it was final wrote its number too, with hours where minutes are: they are refused by that.
	format = 2
	// oldestFormat is the oldest that is read.
	oldestFormat = 1
)

// ErrFormat is what Open answers for a segment of a format that this program doesn't read. Such a file is whole, as far as
// Open can tell.
var ErrFormat = errors.New("a format that this weft doesn't read")

const schema = `
CREATE TABLE head (id INTEGER PRIMARY KEY, data TEXT NOT NULL, sum BLOB NOT NULL);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE nodes (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE filters (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE sets (run INTEGER NOT NULL, prefix BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, prefix));
`

// table is a table whose rows are numbered.
type table byte

const (
	tableBlocks  table = 1
	tableNodes   table = 2
	tableFilters table = 3
)

func (t table) String() string { return [...]string{"", "blocks", "nodes", "filters"}[t] }

// Kind says what a run holds. The functions must not keep their arguments, and must be the same when a run is read as
// they were when it was written.
type Kind struct {
	Keyspace *lsm.Keyspace
	// Minute gives the minute that a key belongs to, counted from any beginning; ok is false for a key that has none. A run
	// remembers its minutes, so that keys of other minutes are known to be absent without a look at the file. Nil: no key
	// has one.
	Minute func(key []byte) (minute int64, ok bool)
	// List gives the length of the leading part of a key that names its list, and whom the entry adds to the list or
	// takes from it, by its weight. ok is false for a key in no list. Nil: there are none.
	List func(key []byte) (prefix int, member uint32, ok bool)
	// BlockSize is the size of a data block before compression, in bytes; 0: 8 KiB. Smaller ones are for runs in which single
	// keys are looked up all over.
	BlockSize int
}

// Info says what a file holds.
type Info struct {
	Bytes    int64  // the size of the file
	Checksum string // SHA-256 of the file in hexadecimal, as sha256sum prints it. Only Write gives it.
	Runs     []RunInfo
}

// RunInfo says what a run holds.
type RunInfo struct {
	ID       int   `json:"id"`
	Entries  int64 `json:"entries"`
	Prefixes int64 `json:"groups"` // distinct groups among the keys
	Total    int64 `json:"total"`  // the sum of all weights
	Blocks   int64 `json:"blocks"`
	Raw      int64 `json:"raw"`  // the length of all keys and values, in bytes
	Sets     int64 `json:"sets"` // lists that have a set of their members
}

// head is the content of the one row of that name, as JSON.
type head struct {
	Meta map[string]string `json:"meta"`
	Runs []runHead         `json:"runs"`
}

type runHead struct {
	RunInfo
	First    int64      `json:"first"`  // the row of the first data block; the others follow it
	Root     int64      `json:"root"`   // the row of the topmost index block; 0 in an empty run
	Height   int        `json:"height"` // how many index blocks lie on the way to a data block
	Filter   filterHead `json:"filter"`
	Minutes  []byte     `json:"minutes,omitempty"` // a bitmap in the portable format of Roaring
	ListOver int64      `json:"list_over"`         // lists of more entries have a set
}

var errDamaged = errors.New("damaged")

// sumSize is the length of the checksum at the front of a row, in bytes.
const sumSize = 8

// rowSum is the checksum of a numbered row: of its content, and of its place, so that no row passes for another.
func rowSum(t table, id int64, data []byte) uint64 {
	var place [9]byte
	place[0] = byte(t)
	binary.BigEndian.PutUint64(place[1:], uint64(id))
	return xxhash.Sum64(data) ^ xxhash.Sum64(place[:])
}

// setSum is the checksum of a row in sets.
func setSum(run int, prefix, data []byte) uint64 {
	place := binary.BigEndian.AppendUint64(nil, uint64(run))
	return xxhash.Sum64(data) ^ xxhash.Sum64(append(place, prefix...))
}

// stripChecksum takes the checksum off a row, which must match.
func stripChecksum(row []byte, sum func(data []byte) uint64) ([]byte, error) {
	if len(row) < sumSize {
		return nil, fmt.Errorf("%w: %d bytes", errDamaged, len(row))
	}
	data := row[sumSize:]
	if got, want := sum(data), binary.BigEndian.Uint64(row); got != want {
		return nil, fmt.Errorf("%w: its checksum is %016x, and says %016x", errDamaged, got, want)
	}
	return data, nil
}
