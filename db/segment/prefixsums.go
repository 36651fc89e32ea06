package segment

import (
	"bytes"

	"weft.dev/weft/db/lsm"
)

// PrefixSums implements lsm.Run. Within a block it passes over the entries of a prefix by their lengths alone, without
// building keys. Many blocks bypass the cache, as in an iteration.
func (r *Run) PrefixSums(from, to []byte, prefixLen func(key []byte) (int, error),
	add func(prefix []byte, sum int64) error) error {
	if r.head.Entries == 0 || to != nil && bytes.Compare(from, to) >= 0 {
		return nil
	}
	s := &prefixSums{run: r, to: to, prefixLen: prefixLen, add: add}
	h, err := r.findBlock(from)
	if err != nil {
		return err
	}
	id := h.id
	s.ahead = r.readahead(id, 1, false)
	for visited := 1; ; visited++ {
		c, err := s.block(id, visited)
		if err != nil {
			return err
		}
		from, err = s.sumBlock(c, from, id == s.lastBlock())
		if err != nil || s.done || id == s.lastBlock() {
			return err
		}
		id++
		if from != nil {
			h, err := r.findBlock(from)
			if err != nil {
				return err
			}
			id = max(id, h.id) // a key behind the last one of a block can still be in its range
		}
	}
}

// prefixSums is a call of Run.PrefixSums.
type prefixSums struct {
	run       *Run
	to        []byte
	prefixLen func(key []byte) (int, error)
	add       func(prefix []byte, sum int64) error
	end       []byte // of the prefix at hand
	done      bool   // no prefix is left
	ahead     readahead
}

func (s *prefixSums) lastBlock() int64 { return s.run.head.First + s.run.head.Blocks - 1 }

// block returns a data block. visited is the number of blocks so far with this one.
func (s *prefixSums) block(id int64, visited int) (*columns, error) {
	isShort := visited <= longScan
	if isShort {
		if c, ok := s.run.cachedBlock(id); ok {
			return c, nil
		}
	}
	s.ahead.next(id)
	if isShort {
		return s.run.loadBlock(id)
	}
	return s.run.readColumns(id, new([]byte))
}

// sumBlock adds the prefixes in a block from a key on. A prefix that reaches the end of a block can go on in further
// ones: then it returns the key from which to continue; nil means the next block's first.
func (s *prefixSums) sumBlock(c *columns, from []byte, last bool) (next []byte, err error) {
	it, _ := c.seek(from)
	it.to = s.to
	it.reuse = true
	for {
		ok, _ := it.Next()
		if !ok {
			s.done = it.passed
			return nil, nil
		}
		key := it.key
		n, err := s.prefixLen(key)
		if err != nil {
			return nil, err
		}
		s.end = lsm.AppendPrefixEnd(s.end[:0], key[:n])
		end := s.end
		if end == nil || s.to != nil && bytes.Compare(s.to, end) < 0 {
			end = s.to
		}
		sum := it.sumTo(end)
		if it.i == c.n && !last {
			sum, err = s.run.Sum(key, end)
			next = end
			s.done = end == nil || bytes.Equal(end, s.to)
		}
		if err == nil {
			err = s.add(key[:n], sum)
		}
		if err != nil || next != nil || s.done {
			return next, err
		}
	}
}

// sumTo moves to before the first entry whose key is not below to, which is above the current key, or behind the last
// entry; nil is above all keys. It returns the sum of the deltas from the current entry on.
func (it *columnIterator) sumTo(to []byte) int64 {
	sum := int64(it.c.keyspace.DeltaOf(it.value))
	i, lens, values := it.i, it.lens, it.values
	if to == nil {
		it.i = it.c.n
	} else {
		it.advance(to, common(it.key, to))
	}
	return sum + it.c.totalsFrom(lens, values, it.i-i).sum
}
