// Package segment stores sorted runs in files. A segment is an immutable SQLite file with several runs. A run is a
// sorted sequence of entries (key, value) in prefix-compressed blocks, each block compressed with zstd. Run implements
// lsm.Run.
//
// Each run has a B-tree of blocks above SQLite's own: data blocks hold entries; index blocks hold a separator key for
// each block below them and the totals of all entries before it. The file also has a paged Bloom filter for each run,
// the sets of members of long lists, and one head with the location of everything. Every row has a checksum that covers
// its content and its row number, so that damage gives an error and never a wrong answer.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/lsm"
)

const (
	// applicationID is SQLite's application_id of a segment: "weft".
	applicationID = 0x77656674
	// format is the number of the file format, stored as SQLite's user_version. Format 2 has no fixed blocks. Format 1
	// has the same layout without checksums of the log in its head. Early development builds wrote number 1 with hours in
	// place of minutes; Open refuses those files because they have no minutes.
	format = 3
	// formatFixed is the first format with fixed blocks.
	formatFixed = 3
	// oldestFormat is the oldest readable format.
	oldestFormat = 1
)

// ErrFormat is the error of Open for a segment of an unsupported format. The file itself may be intact.
var ErrFormat = errors.New("a format that this weft doesn't read")

const schema = `
CREATE TABLE head (id INTEGER PRIMARY KEY, data TEXT NOT NULL, sum BLOB NOT NULL);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE nodes (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE filters (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE sets (run INTEGER NOT NULL, prefix BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run, prefix));
`

// table is a table with numbered rows.
type table byte

const (
	tableBlocks  table = 1
	tableNodes   table = 2
	tableFilters table = 3
)

func (t table) String() string { return [...]string{"", "blocks", "nodes", "filters"}[t] }

// Kind describes the entries of a run. The functions must not keep their arguments. Readers must use the same Kind as
// the writer.
type Kind struct {
	Keyspace *lsm.Keyspace
	// Minute returns the minute of a key, counted from any epoch; ok is false for a key without one. A run stores the
	// set of its minutes, so that keys of other minutes are known to be absent without reading the file. Nil: no key
	// has one.
	Minute func(key []byte) (minute int64, ok bool)
	// List returns the length of the leading part of a key that identifies its list, and the member that the entry
	// adds or removes, according to its delta. ok is false for a key outside all lists. Nil: there are no lists.
	List func(key []byte) (prefix int, member uint32, ok bool)
	// BlockSize is the size of a data block before compression, in bytes; 0: 8 KiB. Smaller blocks suit runs with
	// random look-ups of single keys.
	BlockSize int
	// Fixed gives entries a fixed width. Nil: no entry has one.
	Fixed *FixedWidth
	// FilterInMemory is the size of a filter, in pages, up to which its pages stay in memory once they are read, beside
	// the cache. A look-up in a run with fixed blocks doesn't use a larger filter.
	FilterInMemory int64
}

// Info describes a file.
type Info struct {
	Bytes    int64  // size of the file
	Checksum string // SHA-256 of the file in hexadecimal, as sha256sum prints it; only from Write
	Runs     []RunInfo
}

// RunInfo describes a run.
type RunInfo struct {
	ID       int   `json:"id"`
	Entries  int64 `json:"entries"`
	Prefixes int64 `json:"groups"` // distinct prefixes among the keys
	Total    int64 `json:"total"`  // sum of all deltas
	Blocks   int64 `json:"blocks"`
	Raw      int64 `json:"raw"`  // length of all keys and values, in bytes
	Sets     int64 `json:"sets"` // number of lists that have a set of members
}

// head is the JSON content of the only row of table head.
type head struct {
	Meta map[string]string `json:"meta"`
	Runs []runHead         `json:"runs"`
}

type runHead struct {
	RunInfo
	First    int64      `json:"first"`  // row of the first data block; the others follow it
	Root     int64      `json:"root"`   // row of the topmost index block; 0 in an empty run
	Height   int        `json:"height"` // number of index levels above the data blocks
	Filter   filterHead `json:"filter"`
	Minutes  []byte     `json:"minutes,omitempty"` // a bitmap in Roaring's portable format
	ListOver int64      `json:"list_over"`         // lists of more entries have a set
}

var errDamaged = errors.New("damaged")

// sumSize is the length of the checksum at the start of a row, in bytes.
const sumSize = 8

// rowSum returns the checksum of a numbered row. It covers the content, the table and the row number, so that an intact
// row in the wrong place is damage too.
func rowSum(t table, id int64, data []byte) uint64 {
	var place [9]byte
	place[0] = byte(t)
	binary.BigEndian.PutUint64(place[1:], uint64(id))
	return xxhash.Sum64(data) ^ xxhash.Sum64(place[:])
}

// setSum returns the checksum of a row of table sets.
func setSum(run int, prefix, data []byte) uint64 {
	place := binary.BigEndian.AppendUint64(nil, uint64(run))
	return xxhash.Sum64(data) ^ xxhash.Sum64(append(place, prefix...))
}

// stripChecksum verifies the checksum of a row and returns the rest of the row.
func stripChecksum(row []byte, sum func(data []byte) uint64) ([]byte, error) {
	if len(row) < sumSize {
		return nil, fmt.Errorf("%w: %d bytes", errDamaged, len(row))
	}
	data := row[sumSize:]
	if got, want := sum(data), binary.BigEndian.Uint64(row); got != want {
		return nil, fmt.Errorf("%w: its checksum is %016x, not %016x", errDamaged, got, want)
	}
	return data, nil
}
