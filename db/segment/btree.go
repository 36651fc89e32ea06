package segment

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"sync/atomic"
)

// btree is the B-tree of a table whose rows are numbered from 1 without gaps, so that the number of a row and the first
// number of its leaf page give the place of the row in the page.
type btree struct {
	file  *sqliteFile
	root  uint32 // page
	known atomic.Pointer[leaves]
}

// leaves are the leaf pages of a B-tree, in order. They take 8 bytes a page. They come from the interior pages, which
// are read once.
type leaves struct {
	pages  []uint32
	before []uint32 // the number of the row before the first row of each page
}

const (
	interiorPage byte = 0x05
	leafPage     byte = 0x0d

	interiorHeader = 12 // bytes
	leafHeader     = 8  // bytes

	// maxHeight is the maximum number of levels of a B-tree; SQLite has the same limit.
	maxHeight = 20
)

var errMissing = fmt.Errorf("%w: it is missing", errDamaged)

// header returns the offset of the header of a page: page 1 begins with the file's.
func header(page uint32) int {
	if page == 1 {
		return fileHeader
	}
	return 0
}

// leaves returns the leaf pages. It reads the interior pages at the first call.
func (t *btree) leaves(r *reader) (*leaves, error) {
	if l := t.known.Load(); l != nil {
		return l, nil
	}
	l := &leaves{pages: []uint32{t.root}, before: []uint32{0}}
	for range maxHeight {
		at, err := t.file.offset(l.pages[0])
		if err != nil {
			return nil, err
		}
		kind, err := r.bytes(at+int64(header(l.pages[0])), 1, 0)
		if err != nil {
			return nil, err
		}
		if kind[0] == leafPage { // all leaves are at one level
			t.known.Store(l)
			return l, nil
		}
		l, err = t.below(r, l)
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: a B-tree of more than %d levels", errDamaged, maxHeight)
}

// below returns the children of the interior pages of a level.
func (t *btree) below(r *reader, level *leaves) (*leaves, error) {
	children := &leaves{}
	add := func(page uint32, before uint64) error {
		n := len(children.pages)
		if before > math.MaxUint32 || n > 0 && before <= uint64(children.before[n-1]) || n >= int(t.file.pages) {
			return fmt.Errorf("%w: the rows of an interior page are out of order", errDamaged)
		}
		children.pages = append(children.pages, page)
		children.before = append(children.before, uint32(before))
		return nil
	}
	for i, page := range level.pages {
		data, cells, err := t.interior(r, page)
		if err != nil {
			return nil, err
		}
		before := uint64(level.before[i])
		for c := range cells {
			at := int(binary.BigEndian.Uint16(data[header(page)+interiorHeader+2*c:]))
			if at+4 > t.file.usable {
				return nil, fmt.Errorf("%w: cell %d of interior page %d", errDamaged, c, page)
			}
			if err := add(binary.BigEndian.Uint32(data[at:]), before); err != nil {
				return nil, err
			}
			var n int
			before, n = varint(data[at+4 : t.file.usable])
			if n == 0 {
				return nil, fmt.Errorf("%w: cell %d of interior page %d", errDamaged, c, page)
			}
		}
		if err := add(binary.BigEndian.Uint32(data[header(page)+8:]), before); err != nil {
			return nil, err
		}
	}
	return children, nil
}

// interior returns an interior page and the number of its cells.
func (t *btree) interior(r *reader, page uint32) (data []byte, cells int, err error) {
	at, err := t.file.offset(page)
	if err != nil {
		return nil, 0, err
	}
	data, err = r.bytes(at, t.file.pageSize, 0)
	if err != nil {
		return nil, 0, err
	}
	h := data[header(page):]
	cells = int(binary.BigEndian.Uint16(h[3:]))
	if h[0] != interiorPage || header(page)+interiorHeader+2*cells > t.file.usable {
		return nil, 0, fmt.Errorf("%w: interior page %d", errDamaged, page)
	}
	return data, cells, nil
}

// cell locates a row in a leaf page. The page holds either the whole record of a row, or its beginning and the number
// of the first overflow page.
type cell struct {
	at     int64 // offset of the record in the file
	length int   // of the record, in bytes
	local  int   // bytes of it in the leaf page
}

// row returns the record of a row, or its first limit bytes if it is longer. length is that of all of it. The bytes are
// valid until the next call.
func (t *btree) row(r *reader, id int64, limit int) (record []byte, length int, err error) {
	c, err := t.find(r, id, limit)
	if err != nil {
		return nil, 0, err
	}
	n := min(c.length, limit)
	if n <= c.local {
		record, err = r.bytes(c.at, n, 0)
		return record, c.length, err
	}
	data, err := r.bytes(c.at, c.local+4, 0)
	if err != nil {
		return nil, 0, err
	}
	r.payload = append(r.payload[:0], data[:c.local]...)
	next := binary.BigEndian.Uint32(data[c.local:])
	for len(r.payload) < n {
		at, err := t.file.offset(next)
		if err != nil {
			return nil, 0, err
		}
		// Each overflow page begins with the number of the next. They mostly follow one another in the file, so that
		// one read gets all of them.
		part := min(n-len(r.payload), t.file.usable-4)
		ahead := (n - len(r.payload) + t.file.usable - 5) / (t.file.usable - 4) * t.file.pageSize
		data, err := r.bytes(at, 4+part, min(ahead, maxPooled))
		if err != nil {
			return nil, 0, err
		}
		next = binary.BigEndian.Uint32(data)
		r.payload = append(r.payload, data[4:4+part]...)
	}
	return r.payload, c.length, nil
}

// read reads the columns of a row. They are valid until the next call.
func (t *btree) read(r *reader, id int64, columns []field) error {
	return t.readSome(r, id, math.MaxInt, columns)
}

// readSome reads the columns of the first limit bytes of a row. They are valid until the next call.
func (t *btree) readSome(r *reader, id int64, limit int, columns []field) error {
	record, length, err := t.row(r, id, limit)
	if err != nil {
		return err
	}
	return parseRecord(record, length, columns)
}

// wholePage is the size up to which a page is read whole in place of its header and then a row, in bytes.
const wholePage = 4096

// find locates a row. It reads up to limit bytes of it.
func (t *btree) find(r *reader, id int64, limit int) (c cell, err error) {
	l, err := t.leaves(r)
	if err != nil {
		return c, err
	}
	n := sort.Search(len(l.before), func(i int) bool { return int64(l.before[i]) >= id }) - 1
	if n < 0 {
		return c, errMissing
	}
	page := l.pages[n]
	i := id - int64(l.before[n]) - 1
	if i >= int64(t.file.usable/2) {
		return c, errMissing
	}
	begin, end, err := t.extent(r, page, int(i))
	if err != nil {
		return c, err
	}
	at, err := t.file.offset(page)
	if err != nil {
		return c, err
	}
	// Two numbers of up to nine bytes precede the record.
	data, err := r.bytes(at+int64(begin), min(end-begin, 18), min(end-begin, limit))
	if err != nil {
		return c, err
	}
	length, k := varint(data)
	got, m := varint(data[k:])
	if k == 0 || m == 0 || length > uint64(t.file.size) {
		return c, fmt.Errorf("%w: cell %d of page %d", errDamaged, i, page)
	}
	if got != uint64(id) {
		return c, fmt.Errorf("%w: row %d is in its place", errDamaged, got)
	}
	c = cell{at: at + int64(begin+k+m), length: int(length), local: t.file.local(int(length))}
	if stored := c.local; begin+k+m+stored > t.file.usable || stored < c.length && begin+k+m+stored+4 > t.file.usable {
		return c, fmt.Errorf("%w: cell %d of page %d", errDamaged, i, page)
	}
	return c, nil
}

// extent returns where cell i of a leaf page begins, and where it ends unless it overlaps the cell before it.
func (t *btree) extent(r *reader, page uint32, i int) (begin, end int, err error) {
	h := header(page)
	if h+leafHeader+2*(i+1) > t.file.usable {
		return 0, 0, errMissing
	}
	at, err := t.file.offset(page)
	if err != nil {
		return 0, 0, err
	}
	ahead := 0
	if t.file.pageSize <= wholePage {
		ahead = t.file.pageSize
	}
	data, err := r.bytes(at, h+leafHeader+2*(i+1), ahead)
	if err != nil {
		return 0, 0, err
	}
	if data[h] != leafPage {
		return 0, 0, fmt.Errorf("%w: page %d is no leaf", errDamaged, page)
	}
	if i >= int(binary.BigEndian.Uint16(data[h+3:])) {
		return 0, 0, errMissing
	}
	begin = int(binary.BigEndian.Uint16(data[h+leafHeader+2*i:]))
	end = t.file.usable
	if i > 0 { // SQLite fills a page from its end
		before := int(binary.BigEndian.Uint16(data[h+leafHeader+2*(i-1):]))
		if before > begin {
			end = before
		}
	}
	if begin >= end {
		return 0, 0, fmt.Errorf("%w: cell %d of page %d", errDamaged, i, page)
	}
	return begin, end, nil
}

// local returns how many bytes of a record of a length its leaf page holds; overflow pages hold the others.
func (f *sqliteFile) local(length int) int {
	if length <= f.usable-35 {
		return length
	}
	least := (f.usable-12)*32/255 - 23
	n := least + (length-least)%(f.usable-4)
	if n <= f.usable-35 {
		return n
	}
	return least
}
