package segment

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Segment is an open segment file. It is safe for concurrent use.
type Segment struct {
	path  string
	file  *sqliteFile
	rows  [tableFilters + 1]*btree // of numbered tables
	sets  *btree
	cache *Cache
	id    uint64 // in the cache
	head  head
	info  Info
	runs  map[int]*Run

	sqlite *sql.DB // of Hold; else nil
}

// lastID is the ID of the segment that was opened last in this process.
var lastID atomic.Uint64

// Open opens a segment. kinds describes the runs by ID; a run that is not in kinds is an error, and so is a file that
// is truncated, has a damaged head, or has an unsupported format. A file that is not there, or is removed meanwhile, is
// fs.ErrNotExist. Any number of segments may share a cache.
func Open(path string, kinds map[int]Kind, cache *Cache) (*Segment, error) {
	s := &Segment{path: path, cache: cache, id: lastID.Add(1), runs: map[int]*Run{}}
	if err := s.open(kinds); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("segment: open %s: %w", path, err)
	}
	return s, nil
}

func (s *Segment) open(kinds map[int]Kind) (err error) {
	s.file, err = openFile(s.path)
	if err != nil {
		return err
	}
	r := s.file.reader()
	defer r.release()
	if err := s.readTables(r); err != nil {
		return err
	}
	s.info.Bytes = s.file.size
	firstSet := int64(1)
	for _, h := range s.head.Runs {
		kind, ok := kinds[h.ID]
		if !ok {
			return fmt.Errorf("%w: it has an unknown run %d", errNotSegment, h.ID)
		}
		if err := s.addRun(h, kind, firstSet); err != nil {
			return err
		}
		firstSet += h.Sets
	}
	return nil
}

func (s *Segment) addRun(h runHead, kind Kind, firstSet int64) (err error) {
	r := &Run{id: lsm.NewRunID(), segment: s, head: h, kind: kind, firstSet: firstSet}
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
	r.hasFixed = kind.Fixed != nil && s.file.format >= formatFixed
	if h.Filter.Pages <= kind.FilterInMemory && h.Filter.Pages > 0 {
		r.pages = make([]atomic.Pointer[[]byte], h.Filter.Pages)
	}
	s.runs[h.ID] = r
	s.info.Runs = append(s.info.Runs, h.RunInfo)
	return nil
}

// readTables reads where the tables are, from SQLite's table of tables on page 1, and the head.
func (s *Segment) readTables(r *reader) error {
	tables := map[string]*btree{"head": nil, "blocks": nil, "nodes": nil, "filters": nil, "sets": nil}
	schema := &btree{file: s.file, root: 1}
	for id, found := int64(1), 0; found < len(tables); id++ {
		var columns [5]field // type, name, tbl_name, rootpage, sql
		if err := schema.read(r, id, columns[:]); err != nil {
			return fmt.Errorf("read its tables: row %d: %w", id, err)
		}
		name, err := columns[1].text()
		if err != nil {
			return fmt.Errorf("read its tables: row %d: %w", id, err)
		}
		if t, ok := tables[string(name)]; !ok || t != nil {
			continue // an index
		}
		root, err := columns[3].number()
		if err != nil || root > int64(s.file.pages) {
			return fmt.Errorf("%w: the place of table %s", errDamaged, name)
		}
		tables[string(name)] = &btree{file: s.file, root: uint32(root)}
		found++
	}
	for _, t := range []table{tableBlocks, tableNodes, tableFilters} {
		s.rows[t] = tables[t.String()]
	}
	s.sets = tables["sets"]
	return s.readHead(r, tables["head"])
}

func (s *Segment) readHead(r *reader, t *btree) error {
	var columns [3]field // id, data, sum
	if err := t.read(r, 1, columns[:]); err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	data, err := columns[1].text()
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	sum, err := columns[2].blob()
	if err != nil {
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
	r := s.file.reader()
	defer r.release()
	space := map[int]int64{}
	for _, h := range s.head.Runs {
		n := min(h.Blocks, spaceSamples)
		sum := int64(0)
		for i := range n {
			id := h.First + i*h.Blocks/n
			var columns [2]field // id, data
			// The header of a row is shorter than 32 bytes.
			if err := s.rows[tableBlocks].readSome(r, id, 32, columns[:]); err != nil {
				return nil, fmt.Errorf("segment: size of row %d of blocks of %s: %w", id, s.path, err)
			}
			sum += int64(columns[1].size)
		}
		if n > 0 {
			space[h.ID] = sum * h.Blocks / n
		}
	}
	return space, nil
}

// Close closes the file. No reads may be in progress or follow. Results of earlier reads stay valid.
func (s *Segment) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.file.Close()
	if s.sqlite != nil {
		err = errors.Join(err, s.sqlite.Close())
	}
	if err != nil {
		return fmt.Errorf("segment: close %s: %w", s.path, err)
	}
	return nil
}
