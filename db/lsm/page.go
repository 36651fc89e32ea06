package lsm

import (
	"bytes"
	"sort"
)

// Page is a sorted sequence of entries in memory: the whole of a run in memory, or a block of one in a file. It is
// immutable once it is shared. It holds at most 4 GiB.
type Page struct {
	buf   []byte   // entry after entry, each its key and then its value
	ends  []uint32 // where each entry ends in buf
	klens []uint16 // the length of each key
}

// MaxKey is the longest key that a page takes, in bytes: what its length column holds. A target of 8 KiB with an rkey
// of 512 bytes is far below.
const MaxKey = 1<<16 - 1

// NewPage makes a page with room for so many entries and bytes; it grows past them.
func NewPage(entries, size int) *Page {
	return &Page{buf: make([]byte, 0, size), ends: make([]uint32, 0, entries), klens: make([]uint16, 0, entries)}
}

// Add appends an entry, whose key must be above that of the entry before. It copies both slices.
func (p *Page) Add(key, value []byte) {
	p.buf = append(append(p.buf, key...), value...)
	p.ends = append(p.ends, uint32(len(p.buf)))
	p.klens = append(p.klens, uint16(len(key)))
}

// Reset empties the page and keeps its memory.
func (p *Page) Reset() { p.buf, p.ends, p.klens = p.buf[:0], p.ends[:0], p.klens[:0] }

// Len is the number of entries.
func (p *Page) Len() int { return len(p.ends) }

// Size is the length of all keys and values, in bytes.
func (p *Page) Size() int { return len(p.buf) }

// Memory is what the page takes, in bytes.
func (p *Page) Memory() int { return cap(p.buf) + 4*cap(p.ends) + 2*cap(p.klens) }

func (p *Page) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return p.ends[i-1]
}

// Key is the key of entry i, valid as long as the page; not to be changed.
func (p *Page) Key(i int) []byte {
	s := p.start(i)
	e := s + uint32(p.klens[i])
	return p.buf[s:e:e]
}

// Value is the value of entry i, valid as long as the page; not to be changed.
func (p *Page) Value(i int) []byte {
	s := p.start(i) + uint32(p.klens[i])
	return p.buf[s:p.ends[i]:p.ends[i]]
}

// Search is the first entry whose key is not below key.
func (p *Page) Search(key []byte) int {
	return sort.Search(len(p.ends), func(i int) bool { return bytes.Compare(p.Key(i), key) >= 0 })
}

// Find is the value at exactly key.
func (p *Page) Find(key []byte) ([]byte, bool) {
	if i := p.Search(key); i < len(p.ends) && bytes.Equal(p.Key(i), key) {
		return p.Value(i), true
	}
	return nil, false
}

// Span is the range of entries with from <= key < to; a nil to has no end.
func (p *Page) Span(from, to []byte) (lo, hi int) {
	lo, hi = p.Search(from), len(p.ends)
	if to != nil {
		hi = lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(p.Key(lo+i), to) >= 0 })
	}
	return lo, hi
}
