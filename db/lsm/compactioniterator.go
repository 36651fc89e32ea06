package lsm

// CompactionIterator merges several runs into one sequence: the newest entry of each key, or none where two entries
// annihilate each other. It starts before the first entry.
type CompactionIterator struct {
	keyspace   *Keyspace
	bottommost bool
	inputs     mergeInputs
	kept       func(key, value []byte) ([]byte, bool, error)
	gone       int
	key        []byte
	value      []byte
}

// NewCompactionIterator merges runs, oldest first. bottommost says that no older run lies below them, so that
// tombstones can be dropped.
func NewCompactionIterator(keyspace *Keyspace, runs []Run, bottommost bool) (*CompactionIterator, error) {
	c := &CompactionIterator{keyspace: keyspace, bottommost: bottommost}
	for _, r := range runs {
		it, err := r.Iterate(nil, nil, false)
		if err != nil {
			return nil, err
		}
		c.inputs.add(it)
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
	for c.inputs.len() > 0 {
		live, err := c.combine()
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
// It reports whether an entry is left.
func (c *CompactionIterator) combine() (live bool, err error) {
	c.key = c.inputs.first().key
	for c.inputs.isAt(c.key) {
		newer := c.inputs.first().Value()
		if live && c.keyspace.annihilates(c.value, newer) {
			live = false
		} else {
			c.value = newer
			live = true
		}
		err := c.inputs.next()
		if err != nil {
			return false, err
		}
	}
	return live, nil
}
