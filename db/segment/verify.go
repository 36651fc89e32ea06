package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Verify reads all of the file and derives again what follows from its entries: sums, groups, the index, the filter,
// the minutes and the sets. It gives the first fault. Like Write it takes bounded memory, and a file of 8 bytes for each
// group in the directory for temporary files. FileChecksum is faster where the checksum was noted down.
func (s *Segment) Verify(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weft-verify-")
	if err != nil {
		return fmt.Errorf("segment: verify %s: %w", s.path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// SQLite's own pages first: a fault there can spare one way to a row and cut off another.
	var fault string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&fault); err != nil {
		return fmt.Errorf("segment: verify %s: %w", s.path, err)
	}
	if fault != "ok" {
		return fmt.Errorf("segment: verify %s: %w: %s", s.path, errDamaged, fault)
	}
	rows := map[string]int64{}
	for _, h := range s.head.Runs {
		nodes, err := s.runs[h.ID].verify(ctx, filepath.Join(dir, "hashes"))
		if err != nil {
			return fmt.Errorf("segment: verify run %d of %s: %w", h.ID, s.path, err)
		}
		rows["blocks"] += h.Blocks
		rows["nodes"] += nodes
		rows["filters"] += h.Filter.Pages
		rows["sets"] += h.Sets
	}
	for t, want := range rows {
		var n int64
		if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM "+t).Scan(&n); err != nil {
			return fmt.Errorf("segment: verify %s: %w", s.path, err)
		}
		if n != want {
			return fmt.Errorf("segment: verify %s: %w: %d rows in %s, not %d", s.path, errDamaged, n, t, want)
		}
	}
	return nil
}

// verify gives the number of the run's index blocks.
func (r *Run) verify(ctx context.Context, spill string) (nodes int64, err error) {
	d := newSummary(r.head.ID, r.kind, r.head.ListOver, spill, r.verifySet)
	defer d.close()
	index := &indexIterator{run: r}
	if err := index.open(r.head.Root, r.head.Height); err != nil {
		return 0, err
	}
	for id := r.head.First; id < r.head.First+r.head.Blocks; id++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		page, err := r.readBlock(tableBlocks, id)
		if err != nil {
			return 0, err
		}
		separator, c, err := index.next()
		if err != nil {
			return 0, err
		}
		if (c != blockHandle{id, totals{d.info.Total, d.info.Entries}}) || bytes.Compare(separator, page.Key(0)) > 0 ||
			d.info.Entries > 0 && bytes.Compare(separator, d.key) <= 0 {
			return 0, fmt.Errorf("%w: the index has block %d at %x, %+v", errDamaged, id, separator, c)
		}
		for i := range page.Len() {
			if _, err := d.add(page.Key(i), page.Value(i)); err != nil {
				return 0, fmt.Errorf("%w: block %d: %w", errDamaged, id, err)
			}
		}
		d.info.Blocks++
	}
	if len(index.path) > 0 {
		return 0, fmt.Errorf("%w: the index has more blocks than the run", errDamaged)
	}
	if err := d.endList(); err != nil {
		return 0, err
	}
	if d.info != r.head.RunInfo {
		return 0, fmt.Errorf("%w: the run is %+v, and its head says %+v", errDamaged, d.info, r.head.RunInfo)
	}
	if r.minutes != nil && !r.minutes.Equals(d.minutes) {
		return 0, fmt.Errorf("%w: the minutes are not those of the keys", errDamaged)
	}
	return index.opened, r.verifyFilter(d.hashes)
}

// verifySet holds the set of a list against one that was derived.
func (r *Run) verifySet(prefix []byte, want *distinct.Set) error {
	set, err := r.readSet(prefix)
	if err != nil {
		return err
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
				return fmt.Errorf("%w: it is not that of the groups", errDamaged)
			}
			return nil
		})
	})
}

// indexIterator goes through the lowest level of an index from the front.
type indexIterator struct {
	run    *Run
	path   []indexPosition // from the topmost block
	opened int64           // blocks
}

type indexPosition struct {
	page   *lsm.Block
	at     int
	height int // of the block: 1 is above data blocks
}

var errIndex = errors.New("the index has fewer blocks than the run")

func (w *indexIterator) open(id int64, height int) error {
	if height == 0 {
		return nil
	}
	page, err := w.run.readBlock(tableNodes, id)
	if err != nil {
		return err
	}
	w.opened++
	w.path = append(w.path, indexPosition{page: page, height: height})
	return nil
}

// next gives the next data block and the separator before it.
func (w *indexIterator) next() (separator []byte, c blockHandle, err error) {
	for len(w.path) > 0 {
		top := &w.path[len(w.path)-1]
		separator = top.page.Key(top.at)
		if c, err = parseHandle(top.page.Value(top.at)); err != nil {
			return nil, c, err
		}
		if top.height > 1 {
			if err := w.down(top, separator, c); err != nil {
				return nil, c, err
			}
			continue
		}
		w.advance()
		return separator, c, nil
	}
	return nil, c, fmt.Errorf("%w: %w", errDamaged, errIndex)
}

// down goes to an index block below, which must begin as the one above says.
func (w *indexIterator) down(above *indexPosition, separator []byte, c blockHandle) error {
	if err := w.open(c.id, above.height-1); err != nil {
		return err
	}
	first := w.path[len(w.path)-1].page
	below, err := parseHandle(first.Value(0))
	if err != nil {
		return err
	}
	if !bytes.Equal(first.Key(0), separator) || below.sum != c.sum || below.entries != c.entries {
		return fmt.Errorf("%w: index block %d does not begin as the one above says", errDamaged, c.id)
	}
	return nil
}

// advance goes to the next child, upwards where a block ends.
func (w *indexIterator) advance() {
	for len(w.path) > 0 {
		top := &w.path[len(w.path)-1]
		if top.at++; top.at < top.page.Len() {
			return
		}
		w.path = w.path[:len(w.path)-1]
	}
}
