package segment

import (
	"bytes"

	"weft.dev/weft/db/lsm"
)

// columnIterator iterates forward over the entries of columns. It starts before the first entry. Keys and values stay
// valid as long as they are referenced; with reuse, a key is valid until the next one.
type columnIterator struct {
	c      *columns
	i      int    // index of the next entry
	to     []byte // upper bound of the keys; nil: open
	passed bool   // a key reached to
	reuse  bool

	shared, rest, lens, keys, values int              // offsets of the next entry in the columns
	tails                            [tailLen + 1]int // likewise

	key, value []byte
	arena      []byte // of keys
}

// seek returns an iterator before the first entry whose key is not below key. exact reports whether that is key itself.
func (c *columns) seek(key []byte) (it columnIterator, exact bool) {
	it.c = c
	shared := 0
	r := c.restartPoints()
	if r != nil {
		shared = r.moveBelow(key, &it)
	}
	exact = it.advance(key, shared)
	return it, exact
}

// find returns the value of a key.
func (c *columns) find(key []byte) (value []byte, ok bool) {
	it, ok := c.seek(key)
	if !ok {
		return nil, false
	}
	n, _ := uvarint(c.lens[it.lens:])
	return c.values[it.values : it.values+n : it.values+n], true
}

// seekOn moves an iterator from seek on, to before the first entry whose key is not below to. from is the key that it
// was made for, and below to.
func (it *columnIterator) seekOn(from, to []byte) {
	// it.key is what the previous key shares with from. Behind that the previous key is below from, so that it shares
	// no more with to than from does.
	it.advance(to, min(len(it.key), common(from, to)))
}

// advance moves forward to before the first entry whose key is not below key. exact reports whether that is key itself.
// The previous key, which is below key, shares l bytes with it.
//
// An entry has only the bytes of its key that it doesn't share with the previous key, and most need no comparison.
// While all keys so far are below key and the last of them shares l bytes with key: an entry that shares more than l
// bytes with its predecessor is below key too, and one that shares fewer is above it.
func (it *columnIterator) advance(key []byte, l int) (exact bool) {
	c := it.c
	var passed [tailLen + 1]int // number of passed entries by tail length
	for k := tailLen; k > 0; k-- {
		passed[k] = it.tails[k]
		if k < tailLen {
			passed[k] -= it.tails[k+1]
		}
	}
	for it.i < c.n {
		if c.narrow {
			it.skip(l, &passed)
			if it.i == c.n {
				break
			}
		}
		s, k := uvarint(c.shared[it.shared:])
		if s < l {
			break
		}
		r, m := uvarint(c.rest[it.rest:])
		tail := min(r, tailLen)
		if s == l {
			n, order := c.compare(key[l:], c.keys[it.keys:it.keys+r-tail], &passed, tail)
			if order >= 0 {
				exact = order == 0
				break
			}
			l += n
		}
		v, b := uvarint(c.lens[it.lens:])
		it.shared += k
		it.rest += m
		it.lens += b
		it.keys += r - tail
		it.values += v
		passed[tail]++
		it.i++
	}
	sum := 0
	for k := tailLen; k > 0; k-- {
		sum += passed[k]
		it.tails[k] = sum
	}
	// The bytes that the next entry shares with the previous key are also shared with key.
	it.key = key[:min(l, len(key))]
	return exact
}

// skip moves over the entries that share more than l bytes with their predecessors. The columns are narrow.
func (it *columnIterator) skip(l int, passed *[tailLen + 1]int) {
	from := it.i
	to := from
	for to < len(it.c.shared) && int(it.c.shared[to]) > l {
		to++
	}
	whole := 0 // entries with a whole tail, as most
	for _, r := range it.c.rest[from:to] {
		if r >= tailLen {
			whole++
			it.keys += int(r) - tailLen
		} else {
			passed[r]++
		}
	}
	passed[tailLen] += whole
	for _, v := range it.c.lens[from:to] {
		it.values += int(v)
	}
	it.i = to
	it.shared = to
	it.rest = to
	it.lens = to
}

// compare compares the further bytes of an entry's key with the rest of a key. The entry has body in column keys and
// its last tail bytes in the tail columns. It returns the number of common bytes and the sign of the comparison.
func (c *columns) compare(key, body []byte, passed *[tailLen + 1]int, tail int) (n, order int) {
	n = common(body, key)
	switch {
	case n < len(body) && n < len(key):
		return n, int(body[n]) - int(key[n])
	case n < len(body):
		return n, 1
	}
	at := 0
	for k := tailLen; k > tail; k-- {
		at += passed[k]
	}
	for k := tail; k > 0; k-- {
		at += passed[k]
		if n == len(key) {
			return n, 1
		}
		if b := c.tails[k][at]; b != key[n] {
			return n, int(b) - int(key[n])
		}
		n++
	}
	if n < len(key) {
		return n, -1
	}
	return n, 0
}

// The arena of keys begins with room for a few, and grows by new ones: earlier keys stay where they are. In bytes.
const (
	leastArena = 128
	mostArena  = 2048
)

// Next implements lsm.Iterator. The error is always nil.
func (it *columnIterator) Next() (bool, error) {
	c := it.c
	if it.i == c.n {
		return false, nil
	}
	it.i++
	s, k := uvarint(c.shared[it.shared:])
	r, m := uvarint(c.rest[it.rest:])
	v, b := uvarint(c.lens[it.lens:])
	it.shared += k
	it.rest += m
	it.lens += b
	if it.reuse {
		it.arena = it.arena[:0]
	}
	if cap(it.arena)-len(it.arena) < s+r {
		it.arena = make([]byte, 0, max(s+r, min(max(2*cap(it.arena), leastArena), mostArena)))
	}
	tail := min(r, tailLen)
	at := len(it.arena)
	arena := append(append(it.arena, it.key[:s]...), c.keys[it.keys:it.keys+r-tail]...)
	for k := tail; k > 0; k-- {
		arena = append(arena, c.tails[k][it.tails[k]])
		it.tails[k]++
	}
	it.arena = arena
	it.key = arena[at:len(arena):len(arena)]
	it.value = c.values[it.values : it.values+v : it.values+v]
	it.keys += r - tail
	it.values += v
	it.passed = it.to != nil && bytes.Compare(it.key, it.to) >= 0
	return !it.passed, nil
}

// Key implements lsm.Iterator.
func (it *columnIterator) Key() []byte { return it.key }

// Value implements lsm.Iterator.
func (it *columnIterator) Value() []byte { return it.value }

// totals returns the totals of the next n entries. The iterator stays where it is.
func (it *columnIterator) totals(n int) totals { return it.c.totalsFrom(it.lens, it.values, n) }

// totalsFrom returns the totals of n entries. lenAt and valueAt are the offsets of the first one in lens and in values.
func (c *columns) totalsFrom(lenAt, valueAt, n int) totals {
	delta := c.keyspace.Delta
	if delta == nil {
		return totals{int64(n), int64(n)}
	}
	var sum int64
	lens := c.lens[lenAt:]
	values := c.values[valueAt:]
	for range n {
		v, k := uvarint(lens)
		sum += int64(delta(values[:v]))
		lens = lens[k:]
		values = values[v:]
	}
	return totals{sum, int64(n)}
}

// block copies the next n entries into an lsm.Block. It moves behind them.
func (it *columnIterator) block(n int) *lsm.Block {
	c := it.c
	it.reuse = true
	it.arena = make([]byte, 0, 256)
	block := lsm.NewBlock(n, c.decoded*n/max(c.n, 1)) // most entries are of a length
	for range n {
		_, _ = it.Next()
		block.Add(it.key, it.value)
	}
	return block
}
