package segment

import (
	"encoding/binary"
	"fmt"
	"sort"

	"weft.dev/weft/db/lsm"
)

// totals are the sum of the deltas and the number of some entries.
type totals struct{ sum, entries int64 }

func (t totals) plus(u totals) totals { return totals{t.sum + u.sum, t.entries + u.entries} }

// blockHandle is an entry of an index block: the row of the child block and the totals of all entries of the run before
// it. The keys of an index block are separators: each is above all keys before the child and not above its first key;
// the first separator of a run is empty.
//
//	value = uvarint row, varint sum, uvarint entries
type blockHandle struct {
	id int64
	totals
}

func (h blockHandle) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(h.id))
	dst = binary.AppendVarint(dst, h.sum)
	return binary.AppendUvarint(dst, uint64(h.entries))
}

func parseHandle(value []byte) (h blockHandle, err error) {
	id, n := binary.Uvarint(value)
	sum, m := binary.Varint(value[max(n, 0):])
	entries, k := binary.Uvarint(value[max(n, 0)+max(m, 0):])
	if n <= 0 || m <= 0 || k <= 0 || n+m+k != len(value) {
		return h, fmt.Errorf("%w: a reference to a block", errDamaged)
	}
	return blockHandle{int64(id), totals{sum, int64(entries)}}, nil
}

// seekIndex returns the child of an index block whose range includes key.
func seekIndex(index *lsm.Block, key []byte) (i int, h blockHandle, err error) {
	i = sort.Search(index.Len(), func(i int) bool { return string(index.Key(i)) > string(key) }) - 1
	if i < 0 {
		return 0, h, fmt.Errorf("%w: an index block begins above %x", errDamaged, key)
	}
	h, err = parseHandle(index.Value(i))
	return i, h, err
}

// indexWriter writes the index blocks of one run, bottom-up.
type indexWriter struct {
	levels []*indexLevel
	size   int // of a full index block, in bytes
	write  func(*blockWriter) (id int64, err error)
}

type indexLevel struct {
	blockWriter
	first     blockHandle // of the current block
	separator []byte      // before first
	written   int         // blocks
}

// add adds a child block to an index level; level 0 is the lowest.
func (w *indexWriter) add(level int, separator []byte, h blockHandle) error {
	if level == len(w.levels) {
		w.levels = append(w.levels, &indexLevel{})
	}
	l := w.levels[level]
	if l.n == 0 {
		l.first = h
		l.separator = append(l.separator[:0], separator...)
	}
	l.blockWriter.add(separator, h.append(nil))
	// At least two children, so that the number of levels is bounded however long the separators are.
	if !l.isFull(w.size) || l.n < 2 {
		return nil
	}
	return w.flush(level)
}

func (w *indexWriter) flush(level int) error {
	l := w.levels[level]
	id, err := w.write(&l.blockWriter)
	if err != nil {
		return err
	}
	l.written++
	return w.add(level+1, l.separator, blockHandle{id, l.first.totals})
}

// finish writes the remaining blocks. It returns the row of the topmost block and the number of levels; both are 0 for
// an empty run.
func (w *indexWriter) finish() (root int64, height int, err error) {
	for level := 0; level < len(w.levels); level++ {
		l := w.levels[level]
		if level == len(w.levels)-1 && l.written == 0 && l.n > 0 {
			root, err = w.write(&l.blockWriter)
			return root, level + 1, err
		}
		if l.n > 0 {
			if err := w.flush(level); err != nil {
				return 0, 0, err
			}
		}
	}
	return 0, 0, nil
}
