package segment

// restartEvery is the number of entries between two restart points. With 32, a search in a block of 400 entries
// compares four keys and then passes 16 entries on average, not 200, and a block takes a sixth more memory.
const restartEvery = 32

// restarts are the restart points of a block: every restartEvery-th entry, but not the first. A search continues from
// the last one that is below its key, in place of the block's first entry. They are not in the file. It is immutable.
type restarts struct {
	points []restart
	keys   []byte // of the entries before the points, one after the other
}

// restart is the state of an iterator at a restart point.
type restart struct {
	shared, rest, lens, keys, values int32
	tails                            [tailLen + 1]int32
	key                              int32 // end of the key of the entry before it, in restarts.keys
	sum                              int64 // of the deltas of all entries before it
}

// restartBytes is the memory of a restart point with its key, in bytes: keys of links have some 30.
const restartBytes = 80 + 32

// restartPoints returns the restart points of a block that is searched for the second time; nil: it has none. Most
// searches find their block in the cache, where it was searched before. A search of a block that is not used again pays
// nothing.
func (c *columns) restartPoints() *restarts {
	r := c.restarts.Load()
	if r != nil || c.n <= restartEvery {
		return r
	}
	if !c.searched.Swap(true) {
		return nil
	}
	r = c.makeRestarts()
	c.restarts.Store(r)
	return r
}

func (c *columns) makeRestarts() *restarts {
	n := (c.n - 1) / restartEvery
	r := &restarts{points: make([]restart, 0, n), keys: make([]byte, 0, n*(c.decoded/c.n+1))}
	it := columnIterator{c: c, reuse: true}
	sum := int64(0)
	for range n {
		for range restartEvery {
			_, _ = it.Next()
			sum += int64(c.keyspace.DeltaOf(it.value))
		}
		r.keys = append(r.keys, it.key...)
		p := restart{shared: int32(it.shared), rest: int32(it.rest), lens: int32(it.lens), keys: int32(it.keys),
			values: int32(it.values), key: int32(len(r.keys)), sum: sum}
		for k, tail := range it.tails {
			p.tails[k] = int32(tail)
		}
		r.points = append(r.points, p)
	}
	return r
}

// keyBefore returns the key of the entry before a point.
func (r *restarts) keyBefore(i int) []byte {
	from := int32(0)
	if i > 0 {
		from = r.points[i-1].key
	}
	return r.keys[from:r.points[i].key]
}

// moveBelow moves an iterator from the first entry to the last point behind entries below key only. It returns the
// number of bytes that the entry before it shares with key.
func (r *restarts) moveBelow(key []byte, it *columnIterator) (shared int) {
	lo, hi := 0, len(r.points) // the entries before points[:lo] are below key
	for lo < hi {
		middle := int(uint(lo+hi) >> 1)
		if string(r.keyBefore(middle)) < string(key) {
			lo = middle + 1
		} else {
			hi = middle
		}
	}
	if lo == 0 {
		return 0
	}
	r.moveTo(lo-1, it)
	return common(it.key, key)
}

// moveTo moves an iterator to a point.
func (r *restarts) moveTo(i int, it *columnIterator) {
	p := &r.points[i]
	it.i = (i + 1) * restartEvery
	it.shared = int(p.shared)
	it.rest = int(p.rest)
	it.lens = int(p.lens)
	it.keys = int(p.keys)
	it.values = int(p.values)
	for k, tail := range p.tails {
		it.tails[k] = int(tail)
	}
	it.key = r.keyBefore(i)
}

// skipTo moves an iterator forward to the last point that is not behind entry i, if that saves a step.
func (c *columns) skipTo(i int, it *columnIterator) {
	r := c.restarts.Load()
	if r == nil {
		return
	}
	point := min(i/restartEvery, len(r.points)) - 1
	if point >= 0 && (point+1)*restartEvery > it.i {
		r.moveTo(point, it)
	}
}

// totals returns the totals of the first n entries.
func (c *columns) totals(n int) totals {
	it := columnIterator{c: c}
	c.skipTo(n, &it)
	if it.i == 0 {
		return it.totals(n)
	}
	before := totals{c.restarts.Load().points[it.i/restartEvery-1].sum, int64(it.i)}
	return before.plus(it.totals(n - it.i))
}
