package segment

import (
	"bytes"

	"weft.dev/weft/db/lsm"
)

// columnIterator goes through the entries of columns in order, a lsm.Iterator that stands before the first. What it gives stays
// valid as long as it is referred to; with reuse, a key is valid until the next.
type columnIterator struct {
	c     *columns
	i     int    // the entry to come
	to    []byte // keys end below it; nil: with the block
	past  bool   // to was come to
	reuse bool

	shared, rest, lens, keys, values int              // where the entry to come begins in the columns
	ends                             [tailLen + 1]int // likewise

	key, value []byte
	arena      []byte // of keys
}

// seek is a cursor before the first entry whose key is not below key, and says whether that is the very key.
//
// Of a key only what it doesn't share with the one before is there, and mostly that need not be looked at: while the keys
// so far share l bytes with key and are below it, one that shares more with its predecessor is below it as well, and one
// that shares less is above.
func (c *columns) seek(key []byte) (w columnIterator, exact bool) {
	w.c = c
	var taken [tailLen + 1]int // by the length of what keys don't share: how many there were
	l := 0
	for w.i < c.n {
		s, k := uvarint(c.shared[w.shared:])
		r, m := uvarint(c.rest[w.rest:])
		end := min(r, tailLen)
		if s < l {
			break
		}
		if s == l {
			n, order := c.compare(key[l:], c.keys[w.keys:w.keys+r-end], &taken, end)
			if order >= 0 {
				exact = order == 0
				break
			}
			l += n
		}
		v, b := uvarint(c.lens[w.lens:])
		w.shared, w.rest, w.lens = w.shared+k, w.rest+m, w.lens+b
		w.keys, w.values = w.keys+r-end, w.values+v
		taken[end]++
		w.i++
	}
	sum := 0
	for k := tailLen; k > 0; k-- {
		sum += taken[k]
		w.ends[k] = sum
	}
	// What the entry to come shares with the one before, it shares with key as well.
	w.key = key[:min(l, len(key))]
	return w, exact
}

// compare compares the rest of a key, of which the last bytes lie in the columns of ends, with another: how many bytes
// they share, and how they are ordered.
func (c *columns) compare(key, rest []byte, taken *[tailLen + 1]int, end int) (n, order int) {
	n = common(rest, key)
	switch {
	case n < len(rest) && n < len(key):
		return n, int(rest[n]) - int(key[n])
	case n < len(rest):
		return n, 1
	}
	at := 0
	for k := tailLen; k > end; k-- {
		at += taken[k]
	}
	for k := end; k > 0; k-- {
		at += taken[k]
		if n == len(key) {
			return n, 1
		}
		if b := c.ends[k][at]; b != key[n] {
			return n, int(b) - int(key[n])
		}
		n++
	}
	if n < len(key) {
		return n, -1
	}
	return n, 0
}

// Next goes to the next entry. It never fails.
func (w *columnIterator) Next() (bool, error) {
	c := w.c
	if w.i == c.n {
		return false, nil
	}
	w.i++
	s, k := uvarint(c.shared[w.shared:])
	r, m := uvarint(c.rest[w.rest:])
	v, b := uvarint(c.lens[w.lens:])
	w.shared, w.rest, w.lens = w.shared+k, w.rest+m, w.lens+b
	if w.reuse {
		w.arena = w.arena[:0]
	}
	end, at := min(r, tailLen), len(w.arena)
	arena := append(append(w.arena, w.key[:s]...), c.keys[w.keys:w.keys+r-end]...)
	for k := end; k > 0; k-- {
		arena = append(arena, c.ends[k][w.ends[k]])
		w.ends[k]++
	}
	w.arena, w.key = arena, arena[at:len(arena):len(arena)]
	w.value = c.values[w.values : w.values+v : w.values+v]
	w.keys, w.values = w.keys+r-end, w.values+v
	w.past = w.to != nil && bytes.Compare(w.key, w.to) >= 0
	return !w.past, nil
}

// Key is lsm.Iterator's.
func (w *columnIterator) Key() []byte { return w.key }

// Value is lsm.Iterator's.
func (w *columnIterator) Value() []byte { return w.value }

// sum sums up the entries below to.
func (w *columnIterator) sum(order *lsm.Keyspace, to []byte) (sum totals) {
	w.to, w.reuse = to, true
	for {
		if more, _ := w.Next(); !more {
			return sum
		}
		sum = sum.plus(totals{int64(order.DeltaOf(w.value)), 1})
	}
}
