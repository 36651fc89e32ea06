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
//
// An entry has only the bytes of its key that it doesn't share with the previous key, and most need no comparison.
// While all keys so far are below key and the last of them shares l bytes with key: an entry that shares more than l
// bytes with its predecessor is below key too, and one that shares fewer is above it.
func (c *columns) seek(key []byte) (it columnIterator, exact bool) {
	it.c = c
	var passed [tailLen + 1]int // number of passed entries by tail length
	l := 0
	for it.i < c.n {
		s, k := uvarint(c.shared[it.shared:])
		r, m := uvarint(c.rest[it.rest:])
		tail := min(r, tailLen)
		if s < l {
			break
		}
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
	return it, exact
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

// totalsTo returns the totals of the remaining entries below to.
func (it *columnIterator) totalsTo(keyspace *lsm.Keyspace, to []byte) (t totals) {
	it.to = to
	it.reuse = true
	for {
		if more, _ := it.Next(); !more {
			return t
		}
		t = t.plus(totals{int64(keyspace.DeltaOf(it.value)), 1})
	}
}
