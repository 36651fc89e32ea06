package segment

import (
	"cmp"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"weft.dev/weft/db/distinct"
)

// runWriter writes the blocks of one run.
type runWriter struct {
	rows      *rows
	z         *zstd.Encoder
	o         Options
	derived   *derived
	tree      tree
	block     block
	start     child  // the block at hand
	separator []byte // before it
	size      int    // at which it is full
}

// writeRun writes a run, its index, its filter and its sets.
func writeRun(w *rows, z *zstd.Encoder, in Input, path string, o Options) (h runHead, err error) {
	r := &runWriter{rows: w, z: z, o: o, size: cmp.Or(in.Kind.Block, o.blockSize)}
	r.tree = tree{size: o.nodeSize, write: func(b *block) (int64, error) {
		return w.add(tableNodes, b.encode(w.row(), z))
	}}
	r.derived = newDerived(in.ID, in.Kind, int64(o.listOver), path+".hashes"+tmpSuffix, r.addSet)
	defer r.derived.close()
	h.First = w.next[tableBlocks]
	for {
		more, err := in.Entries.Next()
		if err != nil {
			return h, fmt.Errorf("read entries: %w", err)
		}
		if !more {
			break
		}
		if err := r.add(in.Entries.Key(), in.Entries.Value()); err != nil {
			return h, err
		}
	}
	if err := r.derived.endList(); err != nil {
		return h, err
	}
	if r.block.n > 0 {
		if err := r.flush(); err != nil {
			return h, err
		}
	}
	if h.Root, h.Height, err = r.tree.finish(); err != nil {
		return h, err
	}
	r.derived.info.Blocks = w.next[tableBlocks] - h.First
	h.RunInfo, h.ListOver = r.derived.info, int64(o.listOver)
	if r.derived.minutes != nil {
		r.derived.minutes.RunOptimize()
		if h.Minutes, err = r.derived.minutes.ToBytes(); err != nil {
			return h, err
		}
	}
	h.Filter, err = r.addFilter()
	return h, err
}

func (r *runWriter) add(key, value []byte) error {
	weight, err := r.derived.add(key, value)
	if err != nil {
		return err
	}
	if r.block.n == 0 {
		before := r.derived.info
		r.start = child{r.rows.next[tableBlocks], sums{before.Total - int64(weight), before.Entries - 1}}
		if r.start.entries > 0 {
			// The shortest key that tells this block from the one before.
			r.separator = append(r.separator[:0], key[:common(r.block.last, key)+1]...)
		}
	}
	r.block.add(key, value)
	if r.block.fills(r.size) {
		return r.flush()
	}
	return nil
}

func (r *runWriter) flush() error {
	if _, err := r.rows.add(tableBlocks, r.block.encode(r.rows.row(), r.z)); err != nil {
		return err
	}
	return r.tree.add(0, r.separator, r.start)
}

func (r *runWriter) addSet(prefix []byte, set *distinct.Set) error {
	row, err := set.Append(r.rows.row())
	if err != nil {
		return err
	}
	return r.rows.addSet(r.derived.info.ID, prefix, row)
}

func (r *runWriter) addFilter() (filterHead, error) {
	blocks := filterBlocks(r.o.pageSize)
	h := filterHead{r.rows.next[tableFilters], filterPages(r.derived.info.Groups, blocks), blocks}
	err := h.build(r.derived.hashes, func(_ int64, page []byte) error {
		_, err := r.rows.add(tableFilters, append(r.rows.row(), page...))
		return err
	})
	return h, err
}
