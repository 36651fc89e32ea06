package lsm

import (
	"bytes"
	"context"
)

// Scan walks the newest entries of a range of keys, in order or backwards.
//
//	sc := stack.Scan(from, to, false)
//	for sc.Next() {
//		use(sc.Key(), sc.Value())
//	}
//	if err := sc.Err(); err != nil {
type Scan struct {
	order   *Order
	heads   []Walker // oldest run first
	reverse bool
	all     bool // entries that stand for absence are given too
	key     []byte
	value   []byte
	err     error

	ctx   context.Context // ends the scan; nil: nothing does
	steps int
	dead  int // entries in a row that stand for absence
	most  int // so many of them end the scan; 0: any number
}

// Within ends the scan with the error of ctx, which is looked at once in a while.
func (sc *Scan) Within(ctx context.Context) *Scan {
	sc.ctx = ctx
	return sc
}

// StopAfter lets the scan end after so many entries in a row that stand for absence. Stopped reports whether it did.
func (sc *Scan) StopAfter(dead int) *Scan {
	sc.most = dead
	return sc
}

// Stopped reports whether the scan ended because of StopAfter. Key is the entry at which it did.
func (sc *Scan) Stopped() bool { return sc.most > 0 && sc.dead >= sc.most }

// checkEvery is how many entries lie between two looks at the context: each look takes a lock that all requests share.
const checkEvery = 4096

// Scan walks the entries with from <= key < to (a nil to has no end), those that stand for absence left out.
func (s Stack) Scan(from, to []byte, reverse bool) *Scan {
	return s.scan(func(Source) bool { return true }, from, to, reverse)
}

// ScanAll walks the entries with from <= key < to, those that stand for absence too: whoever bounds its work counts them.
func (s Stack) ScanAll(from, to []byte, reverse bool) *Scan {
	sc := s.Scan(from, to, reverse)
	sc.all = true
	return sc
}

// ScanPrefix walks the entries with from <= key < to that begin with prefix, which must hold a whole group: the runs
// whose filters deny the group are passed over.
func (s Stack) ScanPrefix(prefix, from, to []byte, reverse bool) *Scan {
	h := s.Order.Hash(prefix)
	return s.scan(func(r Source) bool { return r.May(h, prefix) }, from, to, reverse)
}

func (s Stack) scan(may func(Source) bool, from, to []byte, reverse bool) *Scan {
	sc := &Scan{order: s.Order, reverse: reverse}
	for _, r := range s.Runs {
		if !may(r) {
			continue
		}
		w, err := r.Walk(from, to, reverse)
		if err != nil {
			sc.err = err
			return sc
		}
		if w != nil {
			sc.heads = append(sc.heads, w)
		}
	}
	return sc
}

// Next goes to the next entry and says whether there is one. After false, Err says whether that was the end.
func (sc *Scan) Next() bool {
	for len(sc.heads) > 0 && sc.err == nil && !sc.Stopped() {
		if sc.steps++; sc.ctx != nil && sc.steps%checkEvery == 0 {
			if sc.err = sc.ctx.Err(); sc.err != nil {
				return false
			}
		}
		first := 0
		for i := 1; i < len(sc.heads); i++ {
			if c := bytes.Compare(sc.heads[i].Key(), sc.heads[first].Key()); c != 0 && c < 0 != sc.reverse {
				first = i
			}
		}
		sc.key = sc.heads[first].Key()
		for i := first; i < len(sc.heads); {
			h := sc.heads[i]
			if !bytes.Equal(h.Key(), sc.key) {
				i++
				continue
			}
			sc.value = h.Value() // the newest is read last
			more, err := h.Next()
			if err != nil {
				sc.err = err
				return false
			}
			if !more {
				sc.heads = append(sc.heads[:i], sc.heads[i+1:]...)
				continue
			}
			i++
		}
		if sc.all || sc.order.Dead == nil || !sc.order.Dead(sc.value) {
			sc.dead = 0
			return true
		}
		sc.dead++
	}
	return false
}

// Key is the key of the entry; not to be changed.
func (sc *Scan) Key() []byte { return sc.key }

// Value is the value of the entry; not to be changed.
func (sc *Scan) Value() []byte { return sc.value }

// Err is why the scan ended early, nil when it did not.
func (sc *Scan) Err() error { return sc.err }
