package logrow

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db/codec"
)

// maxUnpacked bounds the memory of a damaged block. A row with 4,096 links to the longest targets takes less.
const maxUnpacked = 256 << 20

// decoder decodes blocks, on all cores at once.
var decoder = func() *zstd.Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		panic(err) // a constant is wrong
	}
	return z
}()

// BlockError is the error of a damaged block. It wraps ErrDamaged and codec.ErrMalformed.
type BlockError struct {
	First, Last uint64 // its log rows
	why         string
}

// Error returns the rows and what is wrong with their block.
func (e *BlockError) Error() string {
	return fmt.Sprintf("the block of log rows %d to %d is damaged: %s", e.First, e.Last, e.why)
}

// Unwrap returns ErrDamaged and codec.ErrMalformed.
func (e *BlockError) Unwrap() []error { return []error{ErrDamaged, codec.ErrMalformed} }

// blockColumns are the columns of a block beside its rows.
type blockColumns struct {
	first, last uint64
	timeUS      int64
	links       uint64
}

// verify returns an error if the columns contradict the rows.
func (b *blockColumns) verify(rows Rows) error {
	if n := uint64(len(rows.Links)); n != b.links {
		return &BlockError{b.first, b.last, fmt.Sprintf("it has %d links, and not %d", n, b.links)}
	}
	if us := rows.Log[len(rows.Log)-1].TimeUS; us != b.timeUS {
		return &BlockError{b.first, b.last, fmt.Sprintf("it ends at the time %d, and not %d", us, b.timeUS)}
	}
	return nil
}

// decodeBlock returns the rows of a block, whose numbers are from first to last. They share the memory of the unpacked
// block. The error is a BlockError if the block is none of this format, or has other rows.
func decodeBlock(block []byte, first, last uint64) (rows Rows, err error) {
	damaged := func(format string, args ...any) (Rows, error) {
		return Rows{}, &BlockError{first, last, fmt.Sprintf(format, args...)}
	}
	if first > last || last-first >= BlockRows {
		return damaged("it can't have so many rows")
	}
	if len(block) == 0 || block[0] != blockFormat {
		return damaged("its format is not %d", blockFormat)
	}
	raw, err := decoder.DecodeAll(block[1:], nil)
	if err != nil {
		return damaged("%v", err)
	}
	var c columns
	n := c.split(raw)
	if !c.bad && (n == 0 || n != last-first+1 || first == 0 || last > MaxSeq) {
		return damaged("it has %d rows", n)
	}
	if !c.bad {
		rows = c.rows(first, n)
	}
	if c.bad || !c.empty() {
		return damaged("its columns don't fit each other")
	}
	return rows, nil
}

// columns reads the columns of a block. bad reports that a column ended too soon or had a number out of bounds.
type columns struct {
	of  [columnCount][]byte
	bad bool
}

// split finds the columns and returns the number of rows.
func (c *columns) split(raw []byte) (rows uint64) {
	rows, k := binary.Uvarint(raw)
	if k <= 0 {
		c.bad = true
		return 0
	}
	raw = raw[k:]
	for i := range c.of {
		n, k := binary.Uvarint(raw)
		if k <= 0 || n > uint64(len(raw)-k) {
			c.bad = true
			return 0
		}
		c.of[i] = raw[k : k+int(n) : k+int(n)]
		raw = raw[k+int(n):]
	}
	c.bad = len(raw) > 0 || uint64(len(c.of[columnOp])) != rows
	return rows
}

// rows reads n rows from first on, and their links.
func (c *columns) rows(first, n uint64) Rows {
	rows := Rows{make([]Row, n), make([]LinkRow, 0, len(c.of[columnLinkFlags]))}
	timeUS := int64(0)
	for i := range rows.Log {
		r := &rows.Log[i]
		r.Seq = first + uint64(i)
		r.TimeUS = timeUS + c.varint(columnTime)
		timeUS = r.TimeUS
		c.row(r)
		links := c.uvarint(columnLinks)
		c.bad = c.bad || links > MaxRowLinks || links > 0 && r.Rkey == nil
		for k := uint64(0); k < links && !c.bad; k++ {
			rows.Links = append(rows.Links, c.link(r.Seq<<LinkShift+k))
		}
	}
	return rows
}

func (c *columns) empty() bool {
	for i := range c.of {
		if len(c.of[i]) > 0 {
			return false
		}
	}
	return true
}

func (c *columns) row(r *Row) {
	r.Op = Op(c.byte(columnOp))
	r.Status = c.byte(columnStatus)
	flags := c.byte(columnFlags)
	r.Actor = c.id(columnActor)
	r.Collection = c.id(columnCollection)
	if flags&hasRev != 0 {
		r.Rev = revOf(r.TimeUS) + uint64(c.varint(columnRev))
	}
	switch {
	case flags&tidRkey != 0:
		r.Rkey = codec.AppendTIDRkey(make([]byte, 0, 9), r.Rev+uint64(c.varint(columnRkey)))
	case flags&textRkey != 0:
		key, rest, err := codec.DecodeRkey(c.of[columnRkey])
		c.bad = c.bad || err != nil
		r.Rkey = key[:len(key):len(key)]
		c.of[columnRkey] = rest
	}
}

func (c *columns) link(id uint64) LinkRow {
	l := LinkRow{ID: id, Op: codec.Unlinked, Rank: -1}
	flags := c.byte(columnLinkFlags)
	if flags&linked != 0 {
		l.Op = codec.Linked
	}
	if flags&hasRank != 0 {
		l.Rank = int64(c.id(columnRank))
	}
	l.Source = c.id(columnSource)
	l.Target = c.take(columnTargets, c.uvarint(columnTargetLen))
	return l
}

func (c *columns) byte(column int) byte {
	b := c.take(column, 1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (c *columns) take(column int, n uint64) []byte {
	b := c.of[column]
	if n > uint64(len(b)) {
		c.bad = true
		return nil
	}
	c.of[column] = b[n:]
	return b[:n:n]
}

// id reads a number of SQLite's range.
func (c *columns) id(column int) uint64 {
	v := c.uvarint(column)
	c.bad = c.bad || v > math.MaxInt64
	return v
}

func (c *columns) uvarint(column int) uint64 {
	v, k := binary.Uvarint(c.of[column])
	if k <= 0 {
		c.bad = true
		return 0
	}
	c.of[column] = c.of[column][k:]
	return v
}

func (c *columns) varint(column int) int64 {
	v, k := binary.Varint(c.of[column])
	if k <= 0 {
		c.bad = true
		return 0
	}
	c.of[column] = c.of[column][k:]
	return v
}
