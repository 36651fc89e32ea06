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
	rows      rowQueue
	o         Options
	summary   *summary
	index     indexWriter
	block     blockWriter
	fixed     fixedWriter
	handle    blockHandle // of the current block
	separator []byte      // before it
	size      int         // of a full block, in bytes
}

// writeRun writes a run with its index, its filter and its sets.
func writeRun(w *fileWriter, z *zstd.Encoder, in Input, path string, o Options) (h runHead, err error) {
	r := &runWriter{file: w, o: o, size: cmp.Or(in.Kind.BlockSize, o.blockSize)}
	r.rows = rowQueue{file: w, z: z, workers: o.workers}
	defer r.rows.close()
	if o.format >= formatFixed {
		r.fixed = fixedWriter{kind: in.Kind.Fixed, room: fixedRoom(o.pageSize)}
	}
	r.index = indexWriter{size: o.nodeSize, write: func(b *blockWriter) (int64, error) {
		return r.rows.addBlock(tableNodes, b)
	}}
	r.summary = newSummary(in.ID, in.Kind, int64(o.ListOver), path+".hashes"+tmpSuffix, r.addSet)
	defer r.summary.close()
	h.First = w.next[tableBlocks]
	if err := r.addAll(in.Entries); err != nil {
		return h, err
	}
	h.Root, h.Height, err = r.index.finish()
	if err != nil {
		return h, err
	}
	if err := r.rows.flush(); err != nil {
		return h, err
	}
	r.summary.info.Blocks = w.next[tableBlocks] - h.First
	h.RunInfo = r.summary.info
	h.ListOver = int64(o.ListOver)
	if r.summary.minutes != nil {
		r.summary.minutes.RunOptimize()
		h.Minutes, err = r.summary.minutes.ToBytes()
		if err != nil {
			return h, err
		}
	}
	h.Filter, err = r.addFilter()
	return h, err
}

func (r *runWriter) addAll(entries Entries) error {
	for {
		more, err := entries.Next()
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		if !more {
			break
		}
		if err := r.add(entries.Key(), entries.Value()); err != nil {
			return err
		}
	}
	if err := r.summary.endList(); err != nil {
		return err
	}
	if r.block.n+r.fixed.n() == 0 {
		return nil
	}
	return r.flush()
}

func (r *runWriter) add(key, value []byte) error {
	before := totals{r.summary.info.Total, r.summary.info.Entries}
	if _, err := r.summary.add(key, value); err != nil {
		return err
	}
	// The form of the first entry decides the form of a block: so no sequence of entries makes many small blocks.
	fixed, number, ok := r.fixed.fixed(key, value)
	if ok && r.block.n == 0 {
		return r.addFixed(key, fixed, number, before)
	}
	if r.fixed.n() > 0 {
		if fixed == nil && r.fixed.addOther(key, value) {
			r.setLast(key)
			return nil
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
	if r.block.n == 0 {
		r.begin(key, before)
	}
	r.block.add(key, value)
	if r.block.isFull(r.size) {
		return r.flush()
	}
	return nil
}

// addFixed adds an entry to the fixed block.
func (r *runWriter) addFixed(key, fixed []byte, number uint64, before totals) error {
	if !r.fixed.fits(fixed, number) {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if r.fixed.n() == 0 {
		r.begin(key, before)
	}
	r.fixed.add(fixed, number)
	r.setLast(key)
	return nil
}

// begin begins a block with its first key.
func (r *runWriter) begin(key []byte, before totals) {
	r.handle = blockHandle{r.rows.nextRow(tableBlocks), before}
	if before.entries > 0 {
		// The shortest key above the last key of the previous block and not above this one.
		r.separator = append(r.separator[:0], key[:common(r.block.last, key)+1]...)
	}
}

// setLast sets the last key, which blockWriter.add sets in other blocks.
func (r *runWriter) setLast(key []byte) { r.block.last = append(r.block.last[:0], key...) }

// flush adds the current block to the file and to the index.
func (r *runWriter) flush() (err error) {
	if r.fixed.n() > 0 {
		err = r.rows.addFixed(&r.fixed)
	} else {
		_, err = r.rows.addBlock(tableBlocks, &r.block)
	}
	if err != nil {
		return err
	}
	return r.index.add(0, r.separator, r.handle)
}

func (r *runWriter) addSet(prefix []byte, set *distinct.Set) error {
	return r.rows.addSet(r.summary.info.ID, prefix, set.Append)
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
