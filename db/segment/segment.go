package segment

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Segment is an open segment file. It is safe for concurrent use.
type Segment struct {
	path       string
	db         *sql.DB
	byID       [tableFilters + 1]*sql.Stmt // one row of a table
	blockRange *sql.Stmt                   // consecutive rows of blocks
	set        *sql.Stmt
	cache      *Cache
	id         uint64 // in the cache
	head       head
	info       Info
	runs       map[int]*Run
}

// lastID is the ID of the segment that was opened last in this process.
var lastID atomic.Uint64

const (
	// connections is the number of concurrent reads of one file. Further readers wait for microseconds, because the
	// cache holds the blocks in use. The connections stay open, so that open files remain readable when the process
	// runs out of file descriptors.
	connections = 2
	// busyWait is how long a reader waits for another's connection when it cannot open one. A connection is in use only
	// for the time of reading 16 blocks.
	busyWait = 2 * time.Second
)

// readParameters: immutable, so that SQLite takes no locks and looks for no journal; 64 KiB of SQLite's own cache,
// which hold the upper pages of its B-trees. No mmap: a disk error would kill the process in place of failing one
// query.
const readParameters = "mode=ro&immutable=1&_pragma=cache_size(-64)&_pragma=mmap_size(0)&_pragma=query_only(1)" +
	"&_pragma=cell_size_check(1)&_pragma=trusted_schema(0)"

// Open opens a segment. kinds describes the runs by ID; a run that is not in kinds is an error, and so is a file that
// is truncated, has a damaged head, or has an unsupported format. A file that is not there, or is removed meanwhile, is
// fs.ErrNotExist. Any number of segments may share a cache.
func Open(path string, kinds map[int]Kind, cache *Cache) (*Segment, error) {
	s := &Segment{path: path, cache: cache, id: lastID.Add(1), runs: map[int]*Run{}}
	if err := s.open(kinds); err != nil {
		_ = s.Close()
		_, gone := os.Stat(path)
		if errors.Is(gone, fs.ErrNotExist) { // SQLite says only that it is unable to open it
			err = gone
		}
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
	s.db, err = sql.Open("sqlite", name)
	if err != nil {
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
			return fmt.Errorf("%w: it has an unknown run %d", errNotSegment, h.ID)
		}
		if err := s.addRun(h, kind); err != nil {
			return err
		}
	}
	return s.prepare()
}

func (s *Segment) addRun(h runHead, kind Kind) (err error) {
	r := &Run{id: lsm.NewRunID(), segment: s, head: h, kind: kind}
	if kind.Minute != nil {
		if h.Minutes == nil {
			return fmt.Errorf("%w: it is format 1 of a development build, without minutes: "+
				"run the weft that wrote it", ErrFormat)
		}
		r.minutes, err = distinct.ParseBitmap(h.Minutes)
		if err != nil {
			return fmt.Errorf("minutes of run %d: %w", h.ID, err)
		}
	}
	s.runs[h.ID] = r
	s.info.Runs = append(s.info.Runs, h.RunInfo)
	return nil
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
		s.byID[t], err = s.db.Prepare("SELECT data FROM " + t.String() + " WHERE id = ?")
		if err != nil {
			return err
		}
	}
	s.blockRange, err = s.db.Prepare("SELECT id, data FROM blocks WHERE id BETWEEN ? AND ? ORDER BY id")
	if err != nil {
		return err
	}
	s.set, err = s.db.Prepare("SELECT data FROM sets WHERE run = ? AND prefix = ?")
	return err
}

// Run returns the run with this ID; nil when the file has none.
func (s *Segment) Run(id int) lsm.Run {
	if r, ok := s.runs[id]; ok {
		return r
	}
	return nil
}

// Meta returns the metadata given to Write. It must not be changed.
func (s *Segment) Meta() map[string]string { return s.head.Meta }

// Info describes the file, without its checksum.
func (s *Segment) Info() Info { return s.info }

// spaceSamples is the number of blocks of a run from which Space estimates the size of all.
const spaceSamples = 256

// Space returns the size of the compressed blocks of each run in bytes, by the run's ID. It is exact for a run of up to
// spaceSamples blocks, and extrapolated from evenly spaced blocks for a larger one. The rest of the file is indexes,
// filters and sets.
func (s *Segment) Space() (map[int]int64, error) {
	space := map[int]int64{}
	for _, h := range s.head.Runs {
		n := min(h.Blocks, spaceSamples)
		sum := int64(0)
		for i := range n {
			id := h.First + i*h.Blocks/n
			var size int64
			if err := s.db.QueryRow("SELECT length(data) FROM blocks WHERE id = ?", id).Scan(&size); err != nil {
				return nil, fmt.Errorf("segment: size of row %d of blocks of %s: %w", id, s.path, err)
			}
			sum += size
		}
		if n > 0 {
			space[h.ID] = sum * h.Blocks / n
		}
	}
	return space, nil
}

// Close closes the file. No reads may be in progress or follow. Results of earlier reads stay valid.
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
