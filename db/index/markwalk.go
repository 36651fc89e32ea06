package index

import (
	"bytes"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// markWalk iterates over marked links, newest first.
type markWalk struct {
	prefix int // length of the list's prefix
	heads  []markHead
}

// markHead is the next marked entry of a part.
type markHead struct {
	markedEntry
	start   int64
	reader  lsm.EntryReader
	numbers roaring.IntPeekable
}

// walk iterates over the marked links behind a position; nil: over all.
func (m *firstMarks) walk(l List, after []byte) (*markWalk, error) {
	return m.walkParts(l, len(m.parts), after)
}

// walkParts is walk over the first n parts.
func (m *firstMarks) walkParts(l List, n int, after []byte) (*markWalk, error) {
	w := &markWalk{prefix: len(l.Prefix)}
	for part, p := range m.parts[:n] {
		if p.first.IsEmpty() {
			continue
		}
		h := markHead{markedEntry: markedEntry{part: part}, start: p.start, reader: p.run.EntryReader()}
		h.numbers = p.first.Iterator()
		if after != nil {
			// No key lies between a key and the same with a zero.
			i, err := p.run.Below(slices.Concat(l.Prefix, after, []byte{0}))
			if err != nil {
				return nil, err
			}
			h.numbers.AdvanceIfNeeded(uint32(max(i-p.start, 0)))
		}
		more, err := h.next(w.prefix)
		if err != nil {
			return nil, err
		}
		if more {
			w.heads = append(w.heads, h)
		}
	}
	return w, nil
}

// next moves to the next marked entry.
func (h *markHead) next(prefix int) (more bool, err error) {
	if !h.numbers.HasNext() {
		return false, nil
	}
	h.number = h.numbers.Next()
	key, err := h.reader.Key(h.start + int64(h.number))
	if err != nil {
		return false, err
	}
	h.at = key[prefix:]
	_, h.account, _ = codec.ListMember(key)
	return true, nil
}

// next returns the next marked link.
func (w *markWalk) next() (e markedEntry, more bool, err error) {
	if len(w.heads) == 0 {
		return e, false, nil
	}
	first := 0
	for i := range w.heads {
		if bytes.Compare(w.heads[i].at, w.heads[first].at) < 0 {
			first = i
		}
	}
	e = w.heads[first].markedEntry
	more, err = w.heads[first].next(w.prefix)
	if !more {
		w.heads = slices.Delete(w.heads, first, first+1)
	}
	return e, true, err
}
