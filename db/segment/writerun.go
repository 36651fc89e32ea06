package segment

import (
	"cmp"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"weft.dev/weft/db/distinct"
)

// runWriter writes the blocks of one run.
type runWriter struct {
	file      *fileWriter
	z         *zstd.Encoder
	o         Options
	summary   *summary
	index     indexWriter
	block     blockWriter
	start     blockHandle // the block at hand
	separator []byte      // before it
	size      int         // at which it is full
}

// writeRun writes a run, its index, its filter and its sets.
func writeRun(w *fileWriter, z *zstd.Encoder, in Input, path string, o Options) (h runHead, err error) {
	r := &runWriter{file: w, z: z, o: o, size: cmp.Or(in.Kind.BlockSize, o.blockSize)}
	r.index = indexWriter{size: o.nodeSize, write: func(b *blockWriter) (int64, error) {
		return w.add(tableNodes, b.encode(w.row(), z))
	}}
	r.summary = newSummary(in.ID, in.Kind, int64(o.listOver), path+".hashes"+tmpSuffix, r.addSet)
	defer r.summary.close()
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
	if err := r.summary.endList(); err != nil {
		return h, err
	}
	if r.block.n > 0 {
		if err := r.flush(); err != nil {
			return h, err
		}
	}
	if h.Root, h.Height, err = r.index.finish(); err != nil {
		return h, err
	}
	r.summary.info.Blocks = w.next[tableBlocks] - h.First
	h.RunInfo, h.ListOver = r.summary.info, int64(o.listOver)
	if r.summary.minutes != nil {
		r.summary.minutes.RunOptimize()
		if h.Minutes, err = r.summary.minutes.ToBytes(); err != nil {
			return h, err
		}
	}
	h.Filter, err = r.addFilter()
	return h, err
}

func (r *runWriter) add(key, value []byte) error {
	weight, err := r.summary.add(key, value)
	if err != nil {
		return err
	}
	if r.block.n == 0 {
		before := r.summary.info
		r.start = blockHandle{r.file.next[tableBlocks], totals{before.Total - int64(weight), before.Entries - 1}}
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
	if _, err := r.file.add(tableBlocks, r.block.encode(r.file.row(), r.z)); err != nil {
		return err
	}
	return r.index.add(0, r.separator, r.start)
}

func (r *runWriter) addSet(prefix []byte, set *distinct.Set) error {
	row, err := set.Append(r.file.row())
	if err != nil {
		return err
	}
	return r.file.addSet(r.summary.info.ID, prefix, row)
}

func (r *runWriter) addFilter() (filterHead, error) {
	blocks := filterBlocks(r.o.pageSize)
	h := filterHead{r.file.next[tableFilters], filterPages(r.summary.info.Prefixes, blocks), blocks}
	err := h.build(r.summary.hashes, func(_ int64, page []byte) error {
		_, err := r.file.add(tableFilters, append(r.file.row(), page...))
		return err
	})
	return h, err
}
