package run

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Scan walks the newest entries of a range of keys, in order or backwards.
//
//	for sc := stack.Scan(from, to, false); sc.Next(); {
//		use(sc.Key(), sc.Value())
//	}
type Scan struct {
	order   *Order
	heads   []scanHead // oldest run first
	reverse bool
	key     []byte
	value   []byte
}

type scanHead struct {
	r      *Run
	lo, hi int // what is left of the run
	key    []byte
}

// Scan walks the entries with from <= key < to (a nil to has no end), those that stand for absence left out.
func (s Stack) Scan(from, to []byte, reverse bool) *Scan {
	return s.scan(s.runs, from, to, reverse)
}

// ScanPrefix walks the entries with from <= key < to that begin with prefix, which must hold a whole group: the runs
// whose filters deny the group are passed over.
func (s Stack) ScanPrefix(prefix, from, to []byte, reverse bool) *Scan {
	h := xxhash.Sum64(prefix[:s.Order.Group(prefix)])
	runs := make([]*Run, 0, len(s.runs))
	for _, r := range s.runs {
		if r.filter.may(h) {
			runs = append(runs, r)
		}
	}
	return s.scan(runs, from, to, reverse)
}

func (s Stack) scan(runs []*Run, from, to []byte, reverse bool) *Scan {
	sc := &Scan{order: s.Order, reverse: reverse, heads: make([]scanHead, 0, len(runs))}
	for _, r := range runs {
		if lo, hi := r.span(from, to); lo < hi {
			h := scanHead{r: r, lo: lo, hi: hi}
			h.read(reverse)
			sc.heads = append(sc.heads, h)
		}
	}
	return sc
}

func (h *scanHead) read(reverse bool) {
	if reverse {
		h.key = h.r.Key(h.hi - 1)
	} else {
		h.key = h.r.Key(h.lo)
	}
}

// step drops the head's entry and says whether another is left.
func (h *scanHead) step(reverse bool) bool {
	if reverse {
		h.hi--
	} else {
		h.lo++
	}
	if h.lo == h.hi {
		return false
	}
	h.read(reverse)
	return true
}

func (h *scanHead) value(reverse bool) []byte {
	if reverse {
		return h.r.Value(h.hi - 1)
	}
	return h.r.Value(h.lo)
}

// Next goes to the next entry and says whether there is one.
func (sc *Scan) Next() bool {
	for len(sc.heads) > 0 {
		first := 0
		for i := 1; i < len(sc.heads); i++ {
			if c := bytes.Compare(sc.heads[i].key, sc.heads[first].key); c < 0 != sc.reverse && c != 0 {
				first = i
			}
		}
		sc.key = sc.heads[first].key
		for i := first; i < len(sc.heads); {
			h := &sc.heads[i]
			if !bytes.Equal(h.key, sc.key) {
				i++
				continue
			}
			sc.value = h.value(sc.reverse) // the newest is read last
			if !h.step(sc.reverse) {
				sc.heads = append(sc.heads[:i], sc.heads[i+1:]...)
				continue
			}
			i++
		}
		if sc.order.Dead == nil || !sc.order.Dead(sc.value) {
			return true
		}
	}
	return false
}

// Key is the key of the entry; valid for ever; not to be changed.
func (sc *Scan) Key() []byte { return sc.key }

// Value is the value of the entry; valid for ever; not to be changed.
func (sc *Scan) Value() []byte { return sc.value }
