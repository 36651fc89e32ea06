package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync"
)

// sqliteFile reads the rows of tables of a SQLite file without SQLite. A segment never changes, so that a row is at one
// place in the file, and a read of it needs no lock, no connection and no SQL. The format is described in
// https://www.sqlite.org/fileformat2.html. SQLite writes the files, and Verify reads them with it.
//
// It reads what segments have: tables with an INTEGER PRIMARY KEY, or without a primary key that SQLite would use as a
// row number, whose rows are numbered from 1 without gaps.
type sqliteFile struct {
	file     *os.File
	size     int64
	pageSize int
	usable   int    // bytes of each page
	pages    uint32 // in the file
	format   uint32

	soon func(file *os.File, from, length int64) // adviseSoon
}

// errNotSegment is the error of Open for a file that is not a segment.
var errNotSegment = errors.New("not a segment")

// fileHeader is the length of SQLite's file header in bytes. The header of page 1 follows it.
const fileHeader = 100

// openFile opens a file and checks its header: the application, the format and the full length.
func openFile(path string) (f *sqliteFile, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	adviseRandom(file)
	f = &sqliteFile{file: file, soon: adviseSoon}
	if err := f.readHeader(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return f, nil
}

func (f *sqliteFile) readHeader() error {
	st, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.size = st.Size()
	var h [fileHeader]byte
	_, err = f.file.ReadAt(h[:], 0)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: its header is truncated", errDamaged)
	}
	if err != nil {
		return err
	}
	if string(h[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(h[68:]) != applicationID {
		return fmt.Errorf("%w: it has another application's header", errNotSegment)
	}
	f.format = binary.BigEndian.Uint32(h[60:])
	if f.format < oldestFormat || f.format > format {
		return fmt.Errorf("%w: its format is %d, and this weft reads %d to %d: "+
			"run the weft version that wrote it, or a newer one", ErrFormat, f.format, oldestFormat, format)
	}
	f.pageSize = int(binary.BigEndian.Uint16(h[16:]))
	if f.pageSize == 1 {
		f.pageSize = 65536
	}
	f.usable = f.pageSize - int(h[20])
	f.pages = binary.BigEndian.Uint32(h[28:])
	if want := int64(f.pageSize) * int64(f.pages); f.size != want {
		return fmt.Errorf("%w: it has %d bytes of %d", errDamaged, f.size, want)
	}
	// SQLite's own bounds.
	if f.pageSize < 512 || bits.OnesCount(uint(f.pageSize)) != 1 || f.usable < 480 {
		return fmt.Errorf("%w: it has pages of %d bytes and uses %d of them", errDamaged, f.pageSize, f.usable)
	}
	return nil
}

// offset returns where a page begins in the file.
func (f *sqliteFile) offset(page uint32) (int64, error) {
	if page == 0 || page > f.pages {
		return 0, fmt.Errorf("%w: a reference to page %d of %d", errDamaged, page, f.pages)
	}
	return int64(page-1) * int64(f.pageSize), nil
}

// reader reads ranges of a sqliteFile. It keeps the last one, from which further reads are served.
type reader struct {
	file    *sqliteFile
	buf     []byte
	from    int64  // offset of buf in the file
	payload []byte // of a row that several pages hold
}

// readers reuses the buffers.
var readers = sync.Pool{New: func() any { return new(reader) }}

func (f *sqliteFile) reader() *reader {
	r := readers.Get().(*reader)
	r.file = f
	return r
}

// release ends the use of a reader and of what it returned.
func (r *reader) release() {
	if cap(r.buf) > maxPooled || cap(r.payload) > maxPooled {
		return
	}
	r.file = nil
	r.buf = r.buf[:0]
	readers.Put(r)
}

// bytes returns n bytes at an offset, which are valid until the next call. If it has to read the file, it reads up to
// ahead bytes.
func (r *reader) bytes(at int64, n, ahead int) ([]byte, error) {
	if i := at - r.from; i >= 0 && i+int64(n) <= int64(len(r.buf)) {
		return r.buf[i : i+int64(n)], nil
	}
	if at < 0 || at+int64(n) > r.file.size {
		return nil, fmt.Errorf("%w: a reference beyond the end of the file", errDamaged)
	}
	n64 := min(int64(max(n, ahead)), r.file.size-at)
	if int64(cap(r.buf)) < n64 {
		r.buf = make([]byte, n64)
	}
	r.buf = r.buf[:n64]
	r.from = at
	_, err := r.file.file.ReadAt(r.buf, at)
	if err != nil {
		r.buf = r.buf[:0]
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the file has become shorter", errDamaged)
		}
		return nil, err
	}
	return r.buf[:n], nil
}
