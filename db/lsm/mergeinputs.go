package lsm

import "bytes"

// mergeInputs are the iterators of a merge in the order of their current keys, and of equal keys that of the older run
// first. The order is kept, and not looked for: an input whose next key is still the first takes one comparison, and
// another one a binary search.
//
// A run may be added by a bound of its keys. It is opened when the bound is the first key: a merge that ends before
// reads nothing of the run.
type mergeInputs struct {
	inputs  []mergeInput
	added   int // runs
	reverse bool
	open    func(Run) (Iterator, error) // opens a run that was added by a bound
}

// mergeInput is an iterator of a merge.
type mergeInput struct {
	Iterator        // nil: not opened
	run      Run    // to be opened
	key      []byte // the current one, or the bound: the iterator is asked once
	begin    uint64 // Begin of it, which mostly decides a comparison of a compaction
	age      int    // the number of inputs of older runs
}

func (in *mergeInput) setKey(key []byte) {
	in.key = key
	in.begin = Begin(key)
}

// add adds the iterator of a run that is newer than all others; nil: it has no entry.
func (m *mergeInputs) add(it Iterator) {
	if it == nil {
		return
	}
	in := mergeInput{Iterator: it}
	in.setKey(it.Key())
	m.insert(in)
}

// addBounded adds a run that is newer than all others, of whose keys none comes before bound. bound is not a key.
func (m *mergeInputs) addBounded(r Run, bound []byte) {
	in := mergeInput{run: r}
	in.setKey(bound)
	m.insert(in)
}

func (m *mergeInputs) insert(in mergeInput) {
	in.age = m.added
	m.added++
	at := m.place(&in, m.inputs)
	m.inputs = append(m.inputs, in)
	copy(m.inputs[at+1:], m.inputs[at:])
	m.inputs[at] = in
}

// openFirst opens the first input, and further ones until the first is open. It reports whether there is one.
func (m *mergeInputs) openFirst() (ok bool, err error) {
	for len(m.inputs) > 0 && m.inputs[0].Iterator == nil {
		it, err := m.open(m.inputs[0].run)
		if err != nil {
			return false, err
		}
		if it == nil {
			m.drop()
			continue
		}
		m.inputs[0].Iterator = it
		m.reorder(it.Key())
	}
	return len(m.inputs) > 0, nil
}

// drop removes the first input, and what it holds in memory.
func (m *mergeInputs) drop() {
	m.inputs[0] = mergeInput{}
	m.inputs = m.inputs[1:]
}

// len returns the number of inputs that are not at their end.
func (m *mergeInputs) len() int { return len(m.inputs) }

// first returns the input with the first key. There must be one.
func (m *mergeInputs) first() *mergeInput { return &m.inputs[0] }

// isAt reports whether the first key is key.
func (m *mergeInputs) isAt(key []byte) bool {
	return len(m.inputs) > 0 && bytes.Equal(m.inputs[0].key, key)
}

// next moves the first input to its next entry.
func (m *mergeInputs) next() error {
	in := &m.inputs[0]
	more, err := in.Next()
	if err != nil {
		return err
	}
	if !more {
		m.drop()
		return nil
	}
	m.reorder(in.Key())
	return nil
}

// reorder gives the first input a key, and moves it to its place.
func (m *mergeInputs) reorder(key []byte) {
	in := &m.inputs[0]
	others := m.inputs[1:]
	in.setKey(key)
	if len(others) == 0 || m.isBefore(in, &others[0]) {
		return
	}
	moved := *in
	at := 1 + m.place(&moved, others[1:])
	copy(m.inputs, others[:at])
	m.inputs[at] = moved
}

// place returns the number of inputs before in.
func (m *mergeInputs) place(in *mergeInput, inputs []mergeInput) int {
	lo, hi := 0, len(inputs)
	for lo < hi {
		middle := (lo + hi) / 2
		if m.isBefore(in, &inputs[middle]) {
			hi = middle
		} else {
			lo = middle + 1
		}
	}
	return lo
}

func (m *mergeInputs) isBefore(a, b *mergeInput) bool {
	if a.begin != b.begin {
		return a.begin < b.begin != m.reverse
	}
	c := bytes.Compare(a.key, b.key)
	if c == 0 {
		return a.age < b.age
	}
	return c < 0 != m.reverse
}
