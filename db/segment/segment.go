package segment

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cespare/xxhash/v2"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Segment is an open file. It is safe for concurrent use.
type Segment struct {
	path       string
	db         *sql.DB
	byID       [tableFilters + 1]*sql.Stmt
	blockRange *sql.Stmt // consecutive rows of blocks
	set        *sql.Stmt
	cache      *Cache
	id         uint64 // in the cache
	head       head
	info       Info
	runs       map[int]*Run
}

// Run is a run of a segment, a lsm.Run.
type Run struct {
	segment *Segment
	head    runHead
	kind    Kind
	minutes *roaring.Bitmap // nil: keys have none
}

var _ lsm.Run = (*Run)(nil)

// lastID numbers the segments that were opened in this process.
var lastID atomic.Uint64

const (
	// connections is how many readers touch one file at once; others wait for microseconds, for pages in use are in the
	// cache. They stay open: where the process lacks descriptors, what is open still reads.
	connections = 2
	// freeWithin is how long a reader waits for another's connection where none can be opened. None is in use for longer
	// than it takes to read 16 blocks.
	freeWithin = 2 * time.Second
)

// readParameters: immutable, so that SQLite takes no locks and looks for no journal; 64 KiB of SQLite's own cache, which
// hold the upper pages of its b-trees. No mmap: with it a fault of the disk would end the process instead of a query.
const readParameters = "mode=ro&immutable=1&_pragma=cache_size(-64)&_pragma=mmap_size(0)&_pragma=query_only(1)" +
	"&_pragma=cell_size_check(1)&_pragma=trusted_schema(0)"

// Open opens a segment. kinds says of each run in the file what it holds; a run that it doesn't know is an error, and so
// is a file that is cut off, damaged where it begins, or of another format. A cache is shared by any number of segments.
func Open(path string, kinds map[int]Kind, cache *Cache) (*Segment, error) {
	s := &Segment{path: path, cache: cache, id: lastID.Add(1), runs: map[int]*Run{}}
	if err := s.open(kinds); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("segment: open %s: %w", path, err)
	}
	return s, nil
}

func (s *Segment) open(kinds map[int]Kind) error {
	size, err := readHeader(s.path)
	if err != nil {
		return err
	}
	name, err := uri(s.path, readParameters)
	if err != nil {
		return err
	}
	if s.db, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(connections)
	s.db.SetMaxIdleConns(connections)
	if err := s.readHead(); err != nil {
		return err
	}
	s.info.Bytes = size
	for _, h := range s.head.Runs {
		kind, ok := kinds[h.ID]
		if !ok {
			return fmt.Errorf("%w: it holds a run %d", errNotSegment, h.ID)
		}
		r := &Run{segment: s, head: h, kind: kind}
		if kind.Minute != nil {
			if h.Minutes == nil {
				return fmt.Errorf("%w: its format is 1 as development builds wrote it before it was final, without minutes: run the weft that wrote it", ErrFormat)
			}
			if r.minutes, err = distinct.ParseBitmap(h.Minutes); err != nil {
				return fmt.Errorf("minutes of run %d: %w", h.ID, err)
			}
		}
		s.runs[h.ID] = r
		s.info.Runs = append(s.info.Runs, h.RunInfo)
	}
	return s.prepare()
}

func (s *Segment) readHead() error {
	var data, sum []byte
	if err := s.db.QueryRow("SELECT data, sum FROM head WHERE id = 1").Scan(&data, &sum); err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	if len(sum) != sumSize || binary.BigEndian.Uint64(sum) != xxhash.Sum64(data) {
		return fmt.Errorf("%w: the checksum of its head doesn't match", errDamaged)
	}
	if err := json.Unmarshal(data, &s.head); err != nil {
		return fmt.Errorf("%w: its head: %w", errDamaged, err)
	}
	return nil
}

func (s *Segment) prepare() (err error) {
	for _, t := range []table{tableBlocks, tableNodes, tableFilters} {
		if s.byID[t], err = s.db.Prepare("SELECT data FROM " + t.String() + " WHERE id = ?"); err != nil {
			return err
		}
	}
	if s.blockRange, err = s.db.Prepare("SELECT id, data FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id"); err != nil {
		return err
	}
	s.set, err = s.db.Prepare("SELECT data FROM sets WHERE run = ? AND prefix = ?")
	return err
}

// Run gives a run as it lies in a stack; nil when the file holds none of that id.
func (s *Segment) Run(id int) lsm.Run {
	if r, ok := s.runs[id]; ok {
		return r
	}
	return nil
}

// Meta is what Write was given; not to be changed.
func (s *Segment) Meta() map[string]string { return s.head.Meta }

// Info says what the file holds, without its checksum.
func (s *Segment) Info() Info { return s.info }

// Close closes the file, which nobody may read any more. What was read stays valid.
func (s *Segment) Close() error {
	if s.db == nil {
		return nil
	}
	var errs []error
	for _, st := range append(s.byID[:], s.blockRange, s.set) {
		if st != nil {
			errs = append(errs, st.Close())
		}
	}
	if err := errors.Join(append(errs, s.db.Close())...); err != nil {
		return fmt.Errorf("segment: close %s: %w", s.path, err)
	}
	return nil
}
