package restore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// ErrDamaged means that a file of the replica differs from the file that was written.
var ErrDamaged = errors.New("it is damaged")

// crcTable is the table of the checksum of an LTX file, over its header, page headers, sizes, pages before compression,
// index and the first half of its trailer.
var crcTable = crc64.MakeTable(crc64.ISO)

// ReadBuffer is the number of bytes of a file that are requested at once: about a hundred compressed pages.
const ReadBuffer = 1 << 20

// ReadLTX reads an LTX file from its start to its end. size is the length of the file in bytes, or ReadBuffer if it is
// unknown: it bounds the buffer. ReadLTX calls begin with the header, and page with each page, in the order of their
// numbers; the page is valid until page returns. The data is verified only when ReadLTX returns nil.
//
// The library's decoder does not fit: it keeps the index of all pages in memory at the end, trusts lengths before the
// checksum is verified, and panics when a file ends early. ReadLTX takes the same memory for any file. It cannot read
// the lz4 frames that Litestream wrote before 0.5.1.
func ReadLTX(r io.Reader, size int64, begin func(ltx.Header) error, page func(number uint32, data []byte) error) error {
	d := ltxReader{r: bufio.NewReaderSize(r, int(min(size, ReadBuffer)))}
	head := make([]byte, ltx.HeaderSize)
	if err := d.read(head); err != nil {
		return err
	}
	var h ltx.Header
	if err := h.UnmarshalBinary(head); err != nil {
		return fmt.Errorf("%w: its header: %w", ErrDamaged, err)
	}
	if err := h.Validate(); err != nil {
		return fmt.Errorf("%w: its header: %w", ErrDamaged, err)
	}
	if err := begin(h); err != nil {
		return err
	}
	d.page = make([]byte, h.PageSize)
	d.packed = make([]byte, lz4.CompressBlockBound(int(h.PageSize)))
	for last := uint32(0); ; {
		number, err := d.next()
		switch {
		case err != nil:
			return err
		case number == 0:
			return d.end()
		case number <= last || number > h.Commit:
			return fmt.Errorf("%w: page %d follows page %d, of %d", ErrDamaged, number, last, h.Commit)
		}
		last = number
		if err := page(number, d.page); err != nil {
			return err
		}
	}
}

type ltxReader struct {
	r            *bufio.Reader
	sum          uint64
	page, packed []byte
	head         [ltx.PageHeaderSize + 4]byte
}

// read reads bytes that enter the checksum unchanged.
func (d *ltxReader) read(b []byte) error {
	if err := d.raw(b); err != nil {
		return err
	}
	d.sum = crc64.Update(d.sum, crcTable, b)
	return nil
}

// raw fills b. A file that ends early is damaged: the stream below continues after a broken connection.
func (d *ltxReader) raw(b []byte) error {
	_, err := io.ReadFull(d.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	return err
}

// next reads a page. It returns the number 0 after the last page.
func (d *ltxReader) next() (number uint32, err error) {
	head := d.head[:ltx.PageHeaderSize]
	size := d.head[ltx.PageHeaderSize:]
	if err := d.read(head); err != nil {
		return 0, err
	}
	var h ltx.PageHeader
	if err := h.UnmarshalBinary(head); err != nil {
		return 0, fmt.Errorf("%w: header of a page: %w", ErrDamaged, err)
	}
	switch {
	case h.IsZero():
		return 0, nil
	case h.Pgno == 0 || h.Flags&^ltx.PageHeaderFlagSize != 0:
		return 0, fmt.Errorf("%w: header of a page", ErrDamaged)
	case h.Flags&ltx.PageHeaderFlagSize == 0:
		return 0, fmt.Errorf("%w, or written by a Litestream before 0.5.1: page %d has no length", ErrDamaged, h.Pgno)
	}
	if err := d.read(size); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > uint32(len(d.packed)) {
		return 0, fmt.Errorf("%w: length of page %d", ErrDamaged, h.Pgno)
	}
	if err := d.raw(d.packed[:n]); err != nil {
		return 0, err
	}
	if n, err := lz4.UncompressBlock(d.packed[:n], d.page); err != nil || n != len(d.page) {
		return 0, fmt.Errorf("%w: page %d", ErrDamaged, h.Pgno)
	}
	d.sum = crc64.Update(d.sum, crcTable, d.page)
	return h.Pgno, nil
}

// end skips the index, and reads the trailer, which ends with the checksum.
func (d *ltxReader) end() error {
	for {
		b, err := d.r.Peek(d.r.Size())
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(b) < ltx.ChecksumSize {
			return fmt.Errorf("%w: it ends early", ErrDamaged)
		}
		n := len(b) - ltx.ChecksumSize
		d.sum = crc64.Update(d.sum, crcTable, b[:n])
		if err == nil {
			_, _ = d.r.Discard(n)
			continue
		}
		if binary.BigEndian.Uint64(b[n:]) != d.sum|uint64(ltx.ChecksumFlag) {
			return fmt.Errorf("%w: its checksum doesn't match", ErrDamaged)
		}
		return nil
	}
}
