package lsm

import "bytes"

// mergeInputs are the iterators of a merge in the order of their current keys, and of equal keys that of the older run
// first. The order is kept, and not looked for: an input whose next key is still the lowest takes one comparison, and
// another one a binary search.
type mergeInputs struct {
	inputs  []mergeInput
	reverse bool
}

// mergeInput is an iterator of a merge.
type mergeInput struct {
	Iterator
	key   []byte // the current one: the iterator is asked once
	begin uint64 // Begin of it, which mostly decides a comparison
	age   int    // the number of inputs of older runs
}

// read reads the current key of the iterator.
func (in *mergeInput) read() {
	in.key = in.Key()
	in.begin = Begin(in.key)
}

// add adds the iterator of a run that is newer than all others; nil: it has no entry.
func (m *mergeInputs) add(it Iterator) {
	if it == nil {
		return
	}
	in := mergeInput{Iterator: it, age: len(m.inputs)}
	in.read()
	at := m.place(&in, m.inputs)
	m.inputs = append(m.inputs, in)
	copy(m.inputs[at+1:], m.inputs[at:])
	m.inputs[at] = in
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
	others := m.inputs[1:]
	if !more {
		m.inputs = others
		return nil
	}
	in.read()
	if len(others) == 0 || m.isBefore(in, &others[0]) {
		return nil
	}
	moved := *in
	at := 1 + m.place(&moved, others[1:])
	copy(m.inputs, others[:at])
	m.inputs[at] = moved
	return nil
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
