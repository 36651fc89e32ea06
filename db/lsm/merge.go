package lsm

import "bytes"

// Merge reads several runs as one: of each key the newest entry, or none where two cancel each other.
type Merge struct {
	order  *Order
	bottom bool
	heads  []Walker // oldest first
	key    []byte
	value  []byte
}

// NewMerge merges runs, the oldest first. With bottom, nothing older lies below them, so that entries that stand for
// absence go.
func NewMerge(order *Order, sources []Source, bottom bool) (*Merge, error) {
	m := &Merge{order: order, bottom: bottom, heads: make([]Walker, 0, len(sources))}
	for _, s := range sources {
		w, err := s.Walk(nil, nil, false)
		if err != nil {
			return nil, err
		}
		if w != nil {
			m.heads = append(m.heads, w)
		}
	}
	return m, nil
}

// Key is the key of the entry at hand, valid until the next one.
func (m *Merge) Key() []byte { return m.key }

// Value is its value, valid until the next one.
func (m *Merge) Value() []byte { return m.value }

// Next goes to the next entry; false means that there is none, or that it can't be read.
func (m *Merge) Next() (bool, error) {
	for len(m.heads) > 0 {
		low := 0
		for i := 1; i < len(m.heads); i++ {
			if bytes.Compare(m.heads[i].Key(), m.heads[low].Key()) < 0 {
				low = i
			}
		}
		// All entries of the lowest key, oldest first: each newer one replaces the one before, or cancels it.
		m.key = m.heads[low].Key()
		held := false
		for i := low; i < len(m.heads); {
			h := m.heads[i]
			if !bytes.Equal(h.Key(), m.key) {
				i++
				continue
			}
			newer := h.Value()
			if held && m.order.Cancels != nil && m.order.Cancels(m.value, newer) {
				held = false
			} else {
				m.value, held = newer, true
			}
			more, err := h.Next()
			if err != nil {
				return false, err
			}
			if !more {
				m.heads = append(m.heads[:i], m.heads[i+1:]...)
				continue
			}
			i++
		}
		if held && !(m.bottom && m.order.Dead != nil && m.order.Dead(m.value)) {
			return true, nil
		}
	}
	return false, nil
}
