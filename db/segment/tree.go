package segment

import (
	"encoding/binary"
	"fmt"
	"sort"

	"weft.dev/weft/db/lsm"
)

// child is a block as the index block above it knows it. The keys of an index block are separators: each is above all
// keys before the child and not above the first key of the child, and the first one of a run is empty.
//
//	value = uvarint row, varint weight, uvarint entries
type child struct {
	id int64
	sums
}

// sums is what entries weigh together, and how many they are: of a child, all entries of the run before it.
type sums struct{ weight, entries int64 }

func (s sums) plus(t sums) sums { return sums{s.weight + t.weight, s.entries + t.entries} }

func (c child) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.id))
	dst = binary.AppendVarint(dst, c.weight)
	return binary.AppendUvarint(dst, uint64(c.entries))
}

func parseChild(value []byte) (c child, err error) {
	id, n := binary.Uvarint(value)
	weight, m := binary.Varint(value[max(n, 0):])
	entries, k := binary.Uvarint(value[max(n, 0)+max(m, 0):])
	if n <= 0 || m <= 0 || k <= 0 || n+m+k != len(value) {
		return c, fmt.Errorf("%w: a reference to a block", errDamaged)
	}
	return child{int64(id), sums{weight, int64(entries)}}, nil
}

// childAt finds the child of an index block where key lies, or would lie.
func childAt(index *lsm.Page, key []byte) (i int, c child, err error) {
	i = sort.Search(index.Len(), func(i int) bool { return string(index.Key(i)) > string(key) }) - 1
	if i < 0 {
		return 0, c, fmt.Errorf("%w: an index block begins above %x", errDamaged, key)
	}
	c, err = parseChild(index.Value(i))
	return i, c, err
}

// tree writes the index blocks of one run, from its data blocks upwards.
type tree struct {
	levels []*level
	size   int // when an index block is full, in bytes
	write  func(*block) (id int64, err error)
}

type level struct {
	block
	first   child  // of the block at hand
	key     []byte // the separator before first
	written int
}

// add enters a block on the level below l.
func (t *tree) add(l int, separator []byte, c child) error {
	if l == len(t.levels) {
		t.levels = append(t.levels, &level{})
	}
	at := t.levels[l]
	if at.n == 0 {
		at.first, at.key = c, append(at.key[:0], separator...)
	}
	at.block.add(separator, c.append(nil))
	// Two at least, so that the levels come to an end however long the separators are.
	if !at.fills(t.size) || at.n < 2 {
		return nil
	}
	return t.flush(l)
}

func (t *tree) flush(l int) error {
	at := t.levels[l]
	id, err := t.write(&at.block)
	if err != nil {
		return err
	}
	at.written++
	c := at.first
	c.id = id
	return t.add(l+1, at.key, c)
}

// finish ends the tree and gives the topmost block and the number of levels; 0 when there is none.
func (t *tree) finish() (root int64, height int, err error) {
	for l := 0; l < len(t.levels); l++ {
		at := t.levels[l]
		if l == len(t.levels)-1 && at.written == 0 && at.n > 0 {
			root, err = t.write(&at.block)
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
