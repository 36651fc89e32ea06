package segment

import (
	"encoding/binary"
	"fmt"
	"sort"

	"weft.dev/weft/db/lsm"
)

// blockHandle is a block as the index block above it knows it. The keys of an index block are separators: each is above all
// keys before the child and not above the first key of the child, and the first one of a run is empty.
//
//	value = uvarint row, varint weight, uvarint entries
type blockHandle struct {
	id int64
	totals
}

// totals is what entries weigh together, and how many they are: of a child, all entries of the run before it.
type totals struct{ sum, entries int64 }

func (s totals) plus(t totals) totals { return totals{s.sum + t.sum, s.entries + t.entries} }

func (c blockHandle) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.id))
	dst = binary.AppendVarint(dst, c.sum)
	return binary.AppendUvarint(dst, uint64(c.entries))
}

func parseHandle(value []byte) (c blockHandle, err error) {
	id, n := binary.Uvarint(value)
	weight, m := binary.Varint(value[max(n, 0):])
	entries, k := binary.Uvarint(value[max(n, 0)+max(m, 0):])
	if n <= 0 || m <= 0 || k <= 0 || n+m+k != len(value) {
		return c, fmt.Errorf("%w: a reference to a block", errDamaged)
	}
	return blockHandle{int64(id), totals{weight, int64(entries)}}, nil
}

// seekIndex finds the child of an index block where key lies, or would lie.
func seekIndex(index *lsm.Block, key []byte) (i int, c blockHandle, err error) {
	i = sort.Search(index.Len(), func(i int) bool { return string(index.Key(i)) > string(key) }) - 1
	if i < 0 {
		return 0, c, fmt.Errorf("%w: an index block begins above %x", errDamaged, key)
	}
	c, err = parseHandle(index.Value(i))
	return i, c, err
}

// indexWriter writes the index blocks of one run, from its data blocks upwards.
type indexWriter struct {
	levels []*indexLevel
	size   int // when an index block is full, in bytes
	write  func(*blockWriter) (id int64, err error)
}

type indexLevel struct {
	blockWriter
	first   blockHandle // of the block at hand
	key     []byte      // the separator before first
	written int
}

// add enters a block on the level below l.
func (t *indexWriter) add(l int, separator []byte, c blockHandle) error {
	if l == len(t.levels) {
		t.levels = append(t.levels, &indexLevel{})
	}
	at := t.levels[l]
	if at.n == 0 {
		at.first, at.key = c, append(at.key[:0], separator...)
	}
	at.blockWriter.add(separator, c.append(nil))
	// Two at least, so that the levels come to an end however long the separators are.
	if !at.fills(t.size) || at.n < 2 {
		return nil
	}
	return t.flush(l)
}

func (t *indexWriter) flush(l int) error {
	at := t.levels[l]
	id, err := t.write(&at.blockWriter)
	if err != nil {
		return err
	}
	at.written++
	c := at.first
	c.id = id
	return t.add(l+1, at.key, c)
}

// finish ends the tree and gives the topmost block and the number of levels; 0 when there is none.
func (t *indexWriter) finish() (root int64, height int, err error) {
	for l := 0; l < len(t.levels); l++ {
		at := t.levels[l]
		if l == len(t.levels)-1 && at.written == 0 && at.n > 0 {
			root, err = t.write(&at.blockWriter)
			return root, l + 1, err
		}
		if at.n > 0 {
			if err := t.flush(l); err != nil {
				return 0, 0, err
			}
		}
	}
	return 0, 0, nil
}
