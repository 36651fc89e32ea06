package lsm

// Stack is an immutable stack of runs of one order, oldest first. The zero Stack of an order is empty.
type Stack struct {
	Order *Order
	Runs  []Source
	// Fixed is how many runs at the bottom are not merged by Push: those in files, and those on their way there.
	Fixed int
}

// fanOut is how many runs of like size are merged into one. A higher figure rewrites entries less often and makes
// look-ups visit more runs; with 4, an entry of a million is copied about six times after batches of a few hundred.
const fanOut = 4

// Push returns a stack with r on top, its newest runs merged in memory where fanOut of them have come to a like size.
func (s Stack) Push(r *Run) (Stack, error) {
	if r.Len() == 0 {
		return s, nil
	}
	s.Runs = append(s.Runs[:len(s.Runs):len(s.Runs)], r)
	for {
		// The runs at the top that are no larger than the class of the topmost.
		top := len(s.Runs) - 1
		c, i := class(s.Runs[top]), top
		for i > s.Fixed && class(s.Runs[i-1]) <= c {
			i--
		}
		if top-i+1 < fanOut {
			return s, nil
		}
		m, err := mergeInMemory(s.Order, s.Runs[i:], i == 0)
		if err != nil {
			return s, err
		}
		s.Runs = s.Runs[:i:i]
		if m.Len() > 0 {
			s.Runs = append(s.Runs, m)
		}
		if len(s.Runs) == s.Fixed {
			return s, nil
		}
	}
}

// class is the logarithm of a run's length to the base fanOut, rounded down.
func class(r Source) int {
	c := 0
	for n := r.Len(); n >= fanOut; n /= fanOut {
		c++
	}
	return c
}

func mergeInMemory(order *Order, sources []Source, bottom bool) (*Run, error) {
	entries, size := 0, 0
	for _, s := range sources {
		entries += s.Len()
		if r, ok := s.(*Run); ok {
			size += r.page.Size()
		}
	}
	m, err := NewMerge(order, sources, bottom)
	if err != nil {
		return nil, err
	}
	b := NewBuilder(order, entries, size)
	for {
		more, err := m.Next()
		if err != nil {
			return nil, err
		}
		if !more {
			return b.Finish(), nil
		}
		b.Add(m.Key(), m.Value())
	}
}

// Find is the newest value at exactly key.
func (s Stack) Find(key []byte) (value []byte, ok bool, err error) {
	h := s.Order.Hash(key)
	for i := len(s.Runs) - 1; i >= 0; i-- {
		if r := s.Runs[i]; r.May(h, key) {
			if value, ok, err = r.Find(key); ok || err != nil {
				return value, ok, err
			}
		}
	}
	return nil, false, nil
}

// Weigh sums the weights of all entries whose key begins with prefix; the prefix must hold a whole group.
func (s Stack) Weigh(prefix []byte) (int64, error) {
	h, to := s.Order.Hash(prefix), After(prefix)
	var sum int64
	for _, r := range s.Runs {
		if !r.May(h, prefix) {
			continue
		}
		w, err := r.Weigh(prefix, to)
		if err != nil {
			return 0, err
		}
		sum += w
	}
	return sum, nil
}

// Len is the number of entries in all runs, the removed and their removals among them.
func (s Stack) Len() int { return sum(s.Runs, Source.Len) }

// Groups sums the distinct groups of each run.
func (s Stack) Groups() int { return sum(s.Runs, Source.Groups) }

// Memory is what the stack's runs take in memory, in bytes.
func (s Stack) Memory() int { return sum(s.Runs, Source.Memory) }

// Total sums the weights of all entries.
func (s Stack) Total() int64 { return sum(s.Runs, Source.Total) }

func sum[T int | int64](runs []Source, of func(Source) T) (n T) {
	for _, r := range runs {
		n += of(r)
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
