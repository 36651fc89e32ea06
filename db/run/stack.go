package run

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Stack is an immutable stack of runs of one order, oldest first. The zero Stack of an order is empty.
type Stack struct {
	Order *Order
	runs  []*Run
}

// fanOut is how many runs of like size are merged into one. A higher figure rewrites entries less often and makes
// look-ups visit more runs; with 4, an entry of a million is copied about six times after batches of a few hundred.
const fanOut = 4

// Push returns a stack with r on top, its newest runs merged where fanOut of them have come to a like size.
func (s Stack) Push(r *Run) Stack {
	if r.Len() == 0 {
		return s
	}
	runs := append(s.runs[:len(s.runs):len(s.runs)], r)
	for {
		// The runs at the top that are no larger than the class of the topmost.
		c, i := class(runs[len(runs)-1]), len(runs)-1
		for i > 0 && class(runs[i-1]) <= c {
			i--
		}
		if len(runs)-i < fanOut {
			return Stack{s.Order, runs}
		}
		m := merge(s.Order, runs[i:], i == 0)
		runs = runs[:i:i]
		if m.Len() > 0 {
			runs = append(runs, m)
		}
		if len(runs) == 0 {
			return Stack{s.Order, nil}
		}
	}
}

// class is the logarithm of a run's length to the base fanOut, rounded down.
func class(r *Run) int {
	c := 0
	for n := r.Len(); n >= fanOut; n /= fanOut {
		c++
	}
	return c
}

// merge makes one run of several, the oldest first. With bottom, nothing older lies below them.
func merge(order *Order, runs []*Run, bottom bool) *Run {
	type head struct {
		r   *Run
		i   int
		key []byte
	}
	entries, size := 0, 0
	heads := make([]head, 0, len(runs))
	for _, r := range runs {
		entries += r.Len()
		size += len(r.buf)
		heads = append(heads, head{r, 0, r.Key(0)})
	}
	b := NewBuilder(order, entries, size)
	for len(heads) > 0 {
		low := 0
		for i := 1; i < len(heads); i++ {
			if bytes.Compare(heads[i].key, heads[low].key) < 0 {
				low = i
			}
		}
		// All entries of the lowest key, oldest first: each newer one replaces the one before, or cancels it.
		key := heads[low].key
		var value []byte
		held := false
		for i := low; i < len(heads); {
			h := &heads[i]
			if !bytes.Equal(h.key, key) {
				i++
				continue
			}
			newer := h.r.Value(h.i)
			if held && order.Cancels != nil && order.Cancels(value, newer) {
				held = false
			} else {
				value, held = newer, true
			}
			if h.i++; h.i == h.r.Len() {
				heads = append(heads[:i], heads[i+1:]...)
				continue
			}
			h.key = h.r.Key(h.i)
			i++
		}
		if held && !(bottom && order.Dead != nil && order.Dead(value)) {
			b.Add(key, value)
		}
	}
	return b.Finish()
}

// Find is the newest value at exactly key.
func (s Stack) Find(key []byte) ([]byte, bool) {
	h := xxhash.Sum64(key[:s.Order.Group(key)])
	for i := len(s.runs) - 1; i >= 0; i-- {
		if r := s.runs[i]; r.filter.may(h) {
			if v, ok := r.find(key); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// Weigh sums the weights of all entries whose key begins with prefix; the prefix must hold a whole group.
func (s Stack) Weigh(prefix []byte) int64 {
	h, to := xxhash.Sum64(prefix[:s.Order.Group(prefix)]), After(prefix)
	var sum int64
	for _, r := range s.runs {
		if r.filter.may(h) {
			sum += r.weigh(r.span(prefix, to))
		}
	}
	return sum
}

// Len is the number of entries in all runs, the removed and their removals among them.
func (s Stack) Len() int {
	n := 0
	for _, r := range s.runs {
		n += r.Len()
	}
	return n
}

// Total sums the weights of all entries.
func (s Stack) Total() int64 {
	var sum int64
	for _, r := range s.runs {
		sum += r.weigh(0, r.Len())
	}
	return sum
}

// Runs is the number of runs.
func (s Stack) Runs() int { return len(s.runs) }

// Groups sums the distinct groups of each run.
func (s Stack) Groups() int {
	n := 0
	for _, r := range s.runs {
		n += r.Groups()
	}
	return n
}

// Bytes is the memory that the stack's runs take, in bytes.
func (s Stack) Bytes() int {
	n := 0
	for _, r := range s.runs {
		n += r.Bytes()
	}
	return n
}

// After is the first key above all keys that begin with prefix; nil when there is none.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			to := append([]byte(nil), prefix[:i+1]...)
			to[i]++
			return to
		}
	}
	return nil
}
