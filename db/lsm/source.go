package lsm

// Source is a run, wherever it lies. It is safe for concurrent use, and what it returns is not to be changed and stays
// valid as long as it is referred to.
type Source interface {
	// Len is the number of entries.
	Len() int
	// Groups is the number of distinct groups among the keys.
	Groups() int
	// Total sums the weights of all entries.
	Total() int64
	// Memory is what the run takes in memory for itself, in bytes.
	Memory() int
	// May is false when the run holds no key of the group that key begins with; hash is the hash of that group.
	May(hash uint64, key []byte) bool
	// Find is the value at exactly key.
	Find(key []byte) (value []byte, ok bool, err error)
	// Weigh sums the weights of the entries with from <= key < to; a nil from has no begin, and a nil to no end.
	Weigh(from, to []byte) (int64, error)
	// Walk goes through the entries with from <= key < to, in order or backwards. Nil when there are none.
	Walk(from, to []byte, reverse bool) (Walker, error)
}

// Walker goes through entries. It stands at the first when it is made.
type Walker interface {
	// Key is the key of the entry at hand.
	Key() []byte
	// Value is its value.
	Value() []byte
	// Next goes to the next entry; false means that there is none, or that it can't be read.
	Next() (bool, error)
}

// Find is Source's.
func (r *Run) Find(key []byte) (value []byte, ok bool, err error) {
	value, ok = r.page.Find(key)
	return value, ok, nil
}

// May is Source's.
func (r *Run) May(hash uint64, _ []byte) bool { return r.filter.May(hash) }

// Weigh is Source's.
func (r *Run) Weigh(from, to []byte) (int64, error) {
	lo, hi := r.page.Span(from, to)
	return r.weigh(lo, hi), nil
}

// Total is Source's.
func (r *Run) Total() int64 { return r.weigh(0, r.Len()) }

// Walk is Source's.
func (r *Run) Walk(from, to []byte, reverse bool) (Walker, error) {
	if w := NewPageWalker(&r.page, from, to, reverse); w != nil {
		return w, nil
	}
	return nil, nil
}

// PageWalker goes through a page.
type PageWalker struct {
	page     *Page
	at, stop int // stop is behind the last entry, in the direction of step
	step     int
	key      []byte
}

// NewPageWalker walks the entries of a page with from <= key < to; nil when there are none.
func NewPageWalker(p *Page, from, to []byte, reverse bool) *PageWalker {
	lo, hi := p.Span(from, to)
	if lo >= hi {
		return nil
	}
	w := &PageWalker{page: p, at: lo, stop: hi, step: 1}
	if reverse {
		w.at, w.stop, w.step = hi-1, lo-1, -1
	}
	w.key = p.Key(w.at)
	return w
}

// Key is Walker's.
func (w *PageWalker) Key() []byte { return w.key }

// Value is Walker's.
func (w *PageWalker) Value() []byte { return w.page.Value(w.at) }

// Next is Walker's.
func (w *PageWalker) Next() (bool, error) {
	if w.at += w.step; w.at == w.stop {
		return false, nil
	}
	w.key = w.page.Key(w.at)
	return true, nil
}
