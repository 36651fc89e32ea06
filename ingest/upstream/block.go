package upstream

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"unsafe"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/klauspost/compress/zstd"
)

// A block of a segment is a zstd frame of columns: the number of rows, their fixed fields and lengths, the text of all
// rows, and the records of all rows. The official decoder holds all of it at once, up to a gigabyte of zeros from a few
// kilobytes. This decoder checks the lengths against the size first, and returns one row after the other.

const (
	// Sizes in bytes of an entry of a segment's block index, of the segment's header, and of the length before each
	// frame.
	blockIndexEntry = 52
	segmentHeader   = 256
	blockPrefix     = 8
	// maxBlocks bounds a segment's index: real ones have some thousand blocks.
	maxBlocks = 1 << 18
	// maxFrameBytes bounds a stored frame. A segment of the network has 279 MB in some thousand blocks.
	maxFrameBytes = 256 << 20

	// rowBytes is the size of a row without its text and its record.
	rowBytes = 8 + 8 + 8 + 1 + 1 + 2 + 1 + 1 + 4
	// maxRows and maxBlockBytes are the official decoder's bounds. Blocks have 4,096 rows and about 2 MB.
	maxRows       = 1 << 18
	maxBlockBytes = 1 << 30
	// maxRowText bounds the text of a block's rows: 64 MiB are 16 kB for each of 4,096, whose DIDs, collections, record
	// keys and revisions have a hundred bytes.
	maxRowText = 64 << 20
	// maxPayload bounds a record, in CBOR. Repositories allow 1 MB. A longer record counts as unreadable.
	maxPayload = 8 << 20
	// wholeBlock bounds a block that is decompressed at once. A larger block is decompressed twice: to check it, and
	// row by row.
	wholeBlock = 16 << 20
)

// Block is a block of a segment, as the segment's index describes it.
type Block struct {
	segment      string
	index        int    // -1: the whole segment, whose index is malformed
	offset       uint64 // of the frame, after its length
	size         uint32
	Events       uint32
	Min, Max     uint64 // sequence numbers
	FromUS, ToUS int64

	Err    error // the block can't be fetched, or its index is malformed
	Broken error // Decode has failed; set when Each has returned

	frame []byte
	cost  int64 // released of fetchBytes after the block is delivered
}

// parseIndex reads a segment's index, of blockIndexEntry bytes for each block. Blocks must be in order, both by offset
// and by sequence number. footer is the offset of their end.
func parseIndex(name string, index []byte, footer uint64) ([]*Block, error) {
	out := make([]*Block, len(index)/blockIndexEntry)
	le := binary.LittleEndian
	end := uint64(segmentHeader)
	last := uint64(0)
	for i := range out {
		e := index[i*blockIndexEntry:]
		b := &Block{
			segment: name,
			index:   i,
			offset:  le.Uint64(e),
			size:    le.Uint32(e[8:]),
			Events:  le.Uint32(e[16:]),
			Min:     le.Uint64(e[20:]),
			Max:     le.Uint64(e[28:]),
			FromUS:  int64(le.Uint64(e[36:])),
			ToUS:    int64(le.Uint64(e[44:])),
		}
		switch {
		case b.offset < end, b.offset > footer, footer-b.offset < blockPrefix+uint64(b.size), b.size > maxFrameBytes:
			return nil, fmt.Errorf("block %d is at %d, %d bytes, after one that ends at %d", i, b.offset, b.size, end)
		case b.Events > maxRows || b.Events > 0 && (b.Max < b.Min || b.Min <= last):
			return nil, fmt.Errorf("block %d has %d events, %d to %d, after one that ends with %d",
				i, b.Events, b.Min, b.Max, last)
		}
		b.offset += blockPrefix
		end = b.offset + uint64(b.size)
		if b.Events > 0 {
			last = b.Max
		}
		out[i] = b
	}
	return out, nil
}

// Name returns the name of the block for the log.
func (b *Block) Name() string {
	if b.index < 0 {
		return "segment " + b.segment
	}
	return fmt.Sprintf("block %d of %s", b.index, b.segment)
}

// end returns the offset after the frame.
func (b *Block) end() uint64 { return b.offset + uint64(b.size) }

// Rows calls do with the block's rows, in order. A row is valid until do returns. Rows returns do's error, or an error
// if the block can't be read. In the second case it has not called do.
func (b *Block) Rows(do func(*segment.Event) error) error {
	body, c, done, err := openBlock(b.frame)
	if err != nil {
		return err
	}
	defer done()
	if c.n != int(b.Events) {
		return fmt.Errorf("it has %d rows, but the index says %d", c.n, b.Events)
	}
	for i := range c.n {
		if seq := c.u64(columnSeq, i); seq < b.Min || seq > b.Max {
			return fmt.Errorf("row %d is event %d, but the index says %d to %d", i, seq, b.Min, b.Max)
		}
	}
	return c.each(body, do)
}

var errBlock = errors.New("truncated or malformed block")

// Decoders of blocks. DecodeAll allocates the size that a frame states, up to the decoder's bound.
var (
	wholeDecoders  = decoders(zstd.WithDecoderMaxMemory(wholeBlock))
	streamDecoders = decoders(zstd.WithDecoderMaxWindow(wholeBlock))
	blockBuffers   = sync.Pool{New: func() any { return new([]byte) }}
)

func decoders(bound zstd.DOption) *sync.Pool {
	return &sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, bound, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic(err) // only the options can fail
		}
		return d
	}}
}

// openBlock decompresses a frame, checks everything except the records, and returns its columns and a reader of the
// records. The caller must call done after reading them.
func openBlock(frame []byte) (records io.Reader, c *columns, done func(), err error) {
	records, c, done, err = openAtOnce(frame)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		records, c, done, err = openTwice(frame)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("decompress: %w", err)
	}
	return records, c, done, nil
}

// openAtOnce decompresses a frame of up to wholeBlock into a buffer.
func openAtOnce(frame []byte) (records io.Reader, c *columns, done func(), err error) {
	decoder := wholeDecoders.Get().(*zstd.Decoder)
	buf := blockBuffers.Get().(*[]byte)
	*buf, err = decoder.DecodeAll(frame, (*buf)[:0])
	wholeDecoders.Put(decoder)
	r := bytes.NewReader(*buf)
	if err == nil {
		c, err = readColumns(r)
	}
	if err == nil && c.payloads != int64(r.Len()) {
		err = errBlock
	}
	done = func() { blockBuffers.Put(buf) }
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return r, c, done, nil
}

// openTwice decompresses a larger frame twice: to check it, and up to the records.
func openTwice(frame []byte) (records io.Reader, c *columns, done func(), err error) {
	stream := streamDecoders.Get().(*zstd.Decoder)
	done = func() {
		_ = stream.Reset(nil) // releases the frame
		streamDecoders.Put(stream)
	}
	err = stream.Reset(bytes.NewReader(frame))
	if err == nil {
		c, err = openStream(stream)
	}
	if err == nil {
		err = stream.Reset(bytes.NewReader(frame))
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, stream, 4+int64(len(c.fixed)+len(c.text)))
	}
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return stream, c, done, nil
}

// openStream reads a block to its end, so that zstd checks it, but not beyond the length that its columns state.
func openStream(r io.Reader) (*columns, error) {
	c, err := readColumns(r)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, c.payloads); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return nil, cmp.Or(err, errBlock)
	}
	return c, nil
}

// columns holds a block without its records.
type columns struct {
	n     int
	fixed []byte // rowBytes of each row, column by column
	text  []byte // the collections of all rows, their DIDs, record keys and revisions
	from  [4]int // the offset of each of these

	payloads int64  // the bytes of all records
	payload  []byte // of the current row
}

// Offsets of the columns: the bytes of a row in the columns before.
const (
	columnSeq         = 0
	columnWitnessed   = 8
	columnIndexed     = 16
	columnKind        = 24
	columnCollections = 25 // this and the next columns are lengths
	columnDIDs        = 26
	columnRkeys       = 28
	columnRevs        = 29
	columnPayloads    = 30
)

func (c *columns) u8(column, i int) int { return int(c.fixed[column*c.n+i]) }
func (c *columns) u16(column, i int) int {
	return int(binary.LittleEndian.Uint16(c.fixed[column*c.n+2*i:]))
}
func (c *columns) u32(column, i int) uint32 {
	return binary.LittleEndian.Uint32(c.fixed[column*c.n+4*i:])
}
func (c *columns) u64(column, i int) uint64 {
	return binary.LittleEndian.Uint64(c.fixed[column*c.n+8*i:])
}

// lengths returns the lengths of the collection, the DID, the record key and the revision of a row.
func (c *columns) lengths(i int) [4]int {
	return [4]int{c.u8(columnCollections, i), c.u16(columnDIDs, i), c.u8(columnRkeys, i), c.u8(columnRevs, i)}
}

// readColumns reads a block up to its records.
func readColumns(body io.Reader) (*columns, error) {
	var head [4]byte
	if _, err := io.ReadFull(body, head[:]); err != nil {
		return nil, err
	}
	rows := binary.LittleEndian.Uint32(head[:])
	if rows > maxRows {
		return nil, errBlock
	}
	c := &columns{n: int(rows), fixed: make([]byte, rows*rowBytes)}
	if _, err := io.ReadFull(body, c.fixed); err != nil {
		return nil, err
	}
	var text [4]int
	for i := range c.n {
		if !segment.Kind(c.u8(columnKind, i)).Valid() {
			return nil, errBlock
		}
		for part, n := range c.lengths(i) {
			text[part] += n
		}
		c.payloads += int64(c.u32(columnPayloads, i))
	}
	total := 0
	for part, n := range text {
		c.from[part] = total
		total += n
	}
	if total > maxRowText || c.payloads > maxBlockBytes {
		return nil, errBlock
	}
	c.text = make([]byte, total)
	if _, err := io.ReadFull(body, c.text); err != nil {
		return nil, err
	}
	return c, nil
}

// each calls do with the rows, and reads their records from body.
func (c *columns) each(body io.Reader, do func(*segment.Event) error) error {
	at := c.from
	for i := range c.n {
		var text [4]string
		for part, n := range c.lengths(i) {
			if n > 0 {
				text[part] = unsafe.String(&c.text[at[part]], n)
			}
			at[part] += n
		}
		if err := c.readPayload(body, int64(c.u32(columnPayloads, i))); err != nil {
			return err
		}
		r := segment.Event{
			Seq:         c.u64(columnSeq, i),
			WitnessedAt: int64(c.u64(columnWitnessed, i)),
			IndexedAt:   int64(c.u64(columnIndexed, i)),
			Kind:        segment.Kind(c.u8(columnKind, i)),
			Collection:  text[0],
			DID:         text[1],
			Rkey:        text[2],
			Rev:         text[3],
			Payload:     c.payload,
		}
		if err := do(&r); err != nil {
			return err
		}
	}
	return nil
}

// readPayload reads the next record. It skips a record that is too long.
func (c *columns) readPayload(body io.Reader, size int64) error {
	if size > maxPayload {
		c.payload = c.payload[:0]
		_, err := io.CopyN(io.Discard, body, size)
		return err
	}
	c.payload = slices.Grow(c.payload[:0], int(size))[:size]
	_, err := io.ReadFull(body, c.payload)
	return err
}
