package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Hold opens the file with SQLite too, so that Verify can read it once its name is removed. A file that is not there is
// fs.ErrNotExist.
func (s *Segment) Hold() error {
	db, err := openReadOnly(s.path)
	if err != nil {
		return fmt.Errorf("segment: open %s: %w", s.path, err)
	}
	db.SetMaxOpenConns(1)
	err = db.Ping()
	if err != nil {
		_ = db.Close()
		_, gone := os.Stat(s.path)
		if errors.Is(gone, fs.ErrNotExist) { // SQLite says only that it is unable to open the file
			err = gone
		}
		return fmt.Errorf("segment: open %s: %w", s.path, err)
	}
	s.sqlite = db
	return nil
}

// Verify reads the whole file and derives the sums, prefixes, index, filter, minutes and sets from the entries again.
// It returns the first difference. Like Write it takes bounded memory, and up to 8 bytes per prefix in a temporary
// file. FileChecksum is faster where the checksum of the file is known.
func (s *Segment) Verify(ctx context.Context) error {
	if err := s.verify(ctx); err != nil {
		return fmt.Errorf("segment: verify %s: %w", s.path, err)
	}
	return nil
}

func (s *Segment) verify(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weft-verify-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// First SQLite's own pages, as it reads them: weft reads rows by itself.
	db := s.sqlite
	if db == nil {
		db, err = openReadOnly(s.path)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
	}
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, result)
	}
	rows := map[string]int64{}
	for _, h := range s.head.Runs {
		nodes, err := s.runs[h.ID].verify(ctx, filepath.Join(dir, "hashes"))
		if err != nil {
			return fmt.Errorf("run %d: %w", h.ID, err)
		}
		rows["blocks"] += h.Blocks
		rows["nodes"] += nodes
		rows["filters"] += h.Filter.Pages
		rows["sets"] += h.Sets
	}
	for t, want := range rows {
		var n int64
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM "+t).Scan(&n); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%w: %d rows in %s, not %d", errDamaged, n, t, want)
		}
	}
	return nil
}

// verify returns the number of the run's index blocks.
func (r *Run) verify(ctx context.Context, spill string) (nodes int64, err error) {
	s := newSummary(r.head.ID, r.kind, r.head.ListOver, spill, r.verifySet)
	defer s.close()
	index := &indexIterator{run: r}
	if err := index.open(r.head.Root, r.head.Height); err != nil {
		return 0, err
	}
	for id := r.head.First; id < r.head.First+r.head.Blocks; id++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := r.verifyBlock(id, index, s); err != nil {
			return 0, err
		}
	}
	if len(index.path) > 0 {
		return 0, fmt.Errorf("%w: the index has more blocks than the run", errDamaged)
	}
	if err := s.endList(); err != nil {
		return 0, err
	}
	if s.info != r.head.RunInfo {
		return 0, fmt.Errorf("%w: the run is %+v, and its head has %+v", errDamaged, s.info, r.head.RunInfo)
	}
	if r.minutes != nil && !r.minutes.Equals(s.minutes) {
		return 0, fmt.Errorf("%w: the minutes are not those of the keys", errDamaged)
	}
	return index.opened, r.verifyFilter(s.hashes)
}

// verifyBlock compares a data block with its entry in the index and adds its entries to s.
func (r *Run) verifyBlock(id int64, index *indexIterator, s *summary) error {
	block, err := r.readBlock(tableBlocks, id)
	if err != nil {
		return err
	}
	separator, h, err := index.next()
	if err != nil {
		return err
	}
	if (h != blockHandle{id, totals{s.info.Total, s.info.Entries}}) || bytes.Compare(separator, block.Key(0)) > 0 ||
		s.info.Entries > 0 && bytes.Compare(separator, s.key) <= 0 {
		return fmt.Errorf("%w: the index has block %d at %x, %+v", errDamaged, id, separator, h)
	}
	for i := range block.Len() {
		if _, err := s.add(block.Key(i), block.Value(i)); err != nil {
			return fmt.Errorf("%w: block %d: %w", errDamaged, id, err)
		}
	}
	s.info.Blocks++
	return nil
}

// verifySet compares the set of a list with the derived one.
func (r *Run) verifySet(prefix []byte, want *distinct.Set) error {
	set, err := r.readSet(prefix)
	if err != nil {
		return fmt.Errorf("read set of %x: %w", prefix, err)
	}
	if set == nil || !set.Equal(want) {
		return fmt.Errorf("%w: the set of %x is not that of its list", errDamaged, prefix)
	}
	return nil
}

func (r *Run) verifyFilter(hashes *hashes) error {
	if want := filterPages(r.head.Prefixes, max(r.head.Filter.Blocks, 1)); r.head.Filter.Pages != want {
		return fmt.Errorf("%w: a filter of %d pages, not %d", errDamaged, r.head.Filter.Pages, want)
	}
	return r.head.Filter.build(hashes, func(n int64, want []byte) error {
		return r.readRow(tableFilters, r.head.Filter.First+n, func(data []byte) error {
			if !bytes.Equal(data, want) {
				return fmt.Errorf("%w: it is not that of the prefixes", errDamaged)
			}
			return nil
		})
	})
}

// indexIterator iterates over the lowest index level of a run.
type indexIterator struct {
	run    *Run
	path   []indexPosition // from the topmost block down
	opened int64           // number of index blocks
}

type indexPosition struct {
	block *lsm.Block
	at    int
	level int // of the block; 1 is above the data blocks
}

var errIndex = errors.New("the index has fewer blocks than the run")

func (it *indexIterator) open(id int64, level int) error {
	if level == 0 {
		return nil
	}
	block, err := it.run.readBlock(tableNodes, id)
	if err != nil {
		return err
	}
	it.opened++
	it.path = append(it.path, indexPosition{block: block, level: level})
	return nil
}

// next returns the handle of the next data block and the separator before it.
func (it *indexIterator) next() (separator []byte, h blockHandle, err error) {
	for len(it.path) > 0 {
		top := &it.path[len(it.path)-1]
		separator = top.block.Key(top.at)
		h, err = parseHandle(top.block.Value(top.at))
		if err != nil {
			return nil, h, err
		}
		if top.level == 1 {
			it.advance()
			return separator, h, nil
		}
		if err := it.down(top, separator, h); err != nil {
			return nil, h, err
		}
	}
	return nil, h, fmt.Errorf("%w: %w", errDamaged, errIndex)
}

// down opens an index block of the next lower level, whose first entry must match its handle in the block above.
func (it *indexIterator) down(above *indexPosition, separator []byte, h blockHandle) error {
	if err := it.open(h.id, above.level-1); err != nil {
		return err
	}
	block := it.path[len(it.path)-1].block
	first, err := parseHandle(block.Value(0))
	if err != nil {
		return err
	}
	if !bytes.Equal(block.Key(0), separator) || first.totals != h.totals {
		return fmt.Errorf("%w: index block %d does not match the level above", errDamaged, h.id)
	}
	return nil
}

// advance moves to the next child, and up a level at the end of a block.
func (it *indexIterator) advance() {
	for len(it.path) > 0 {
		top := &it.path[len(it.path)-1]
		top.at++
		if top.at < top.block.Len() {
			return
		}
		it.path = it.path[:len(it.path)-1]
	}
}
