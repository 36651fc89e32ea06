package lsm

import "bytes"

// CompactionIterator merges several runs into one sequence: the newest entry of each key, or none where two entries
// annihilate each other. It starts before the first entry.
type CompactionIterator struct {
	keyspace   *Keyspace
	bottommost bool
	inputs     []Iterator // oldest run first
	kept       func(key, value []byte) ([]byte, bool, error)
	gone       int
	key        []byte
	value      []byte
}

// NewCompactionIterator merges runs, oldest first. bottommost says that no older run lies below them, so that
// tombstones can be dropped.
func NewCompactionIterator(keyspace *Keyspace, runs []Run, bottommost bool) (*CompactionIterator, error) {
	c := &CompactionIterator{keyspace: keyspace, bottommost: bottommost, inputs: make([]Iterator, 0, len(runs))}
	for _, r := range runs {
		it, err := r.Iterate(nil, nil, false)
		if err != nil {
			return nil, err
		}
		if it != nil {
			c.inputs = append(c.inputs, it)
		}
	}
	return c, nil
}

// Keep has each entry pass through kept, which returns the value that stays of it, or false where nothing stays. With
// false, a nil value makes the entry a tombstone, as older runs may have the key; with any other value the entry is
// left out. Nil: all entries stay as they are.
func (c *CompactionIterator) Keep(kept func(key, value []byte) ([]byte, bool, error)) *CompactionIterator {
	c.kept = kept
	return c
}

// Gone returns the number of entries so far that kept has removed whole.
func (c *CompactionIterator) Gone() int { return c.gone }

// Key returns the key of the current entry, valid until the next call of Next.
func (c *CompactionIterator) Key() []byte { return c.key }

// Value returns the value of the current entry, valid until the next call of Next.
func (c *CompactionIterator) Value() []byte { return c.value }

// Next moves to the next entry; false means the end or an error.
func (c *CompactionIterator) Next() (bool, error) {
	for len(c.inputs) > 0 {
		lowest := 0
		for i := 1; i < len(c.inputs); i++ {
			if bytes.Compare(c.inputs[i].Key(), c.inputs[lowest].Key()) < 0 {
				lowest = i
			}
		}
		live, err := c.combine(lowest)
		if err != nil {
			return false, err
		}
		if live && c.kept != nil {
			live, err = c.keep()
			if err != nil {
				return false, err
			}
		}
		if live && !(c.bottommost && c.keyspace.isTombstone(c.value)) {
			return true, nil
		}
	}
	return false, nil
}

// keep has the current entry pass through kept, and reports whether one is left.
func (c *CompactionIterator) keep() (live bool, err error) {
	value, stays, err := c.kept(c.key, c.value)
	if err != nil {
		return false, err
	}
	c.value = value
	if !stays {
		c.gone++
	}
	return stays || value == nil, nil
}

// combine reads all entries of the lowest key, oldest first: each newer one replaces or annihilates the one before.
// It reports whether an entry is left. No input below lowest has that key.
func (c *CompactionIterator) combine(lowest int) (live bool, err error) {
	c.key = c.inputs[lowest].Key()
	for i := lowest; i < len(c.inputs); {
		it := c.inputs[i]
		if !bytes.Equal(it.Key(), c.key) {
			i++
			continue
		}
		newer := it.Value()
		if live && c.keyspace.annihilates(c.value, newer) {
			live = false
		} else {
			c.value = newer
			live = true
		}
		more, err := it.Next()
		if err != nil {
			return false, err
		}
		if more {
			i++
		} else {
			c.inputs = append(c.inputs[:i], c.inputs[i+1:]...)
		}
	}
	return live, nil
}
