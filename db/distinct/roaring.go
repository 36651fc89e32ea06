package distinct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// Roaring's portable format, https://github.com/RoaringBitmap/RoaringFormatSpec. It is little-endian.
const (
	cookiePlain = 12346 // followed by the number of containers in 4 bytes
	cookieRuns  = 12347 // in 2 bytes, then the number of containers less 1 in 2, then a bit for each that holds runs
	noOffsets   = 4     // with cookieRuns, a bitmap of fewer containers has no table of offsets

	maxArray    = 4096 // members; a larger container is a bitmap
	bitmapBytes = 8192
)

var errMalformed = errors.New("malformed set")

// ParseBitmap decodes a bitmap in Roaring's portable format, which must be all of data. It validates data first,
// because the library trusts its input: its own check is quadratic in the number of runs and accepts repeated members,
// on which the library panics later.
func ParseBitmap(data []byte) (*roaring.Bitmap, error) {
	if !wellFormed(data) {
		return nil, errMalformed
	}
	b := roaring.New()
	if err := b.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return b, nil
}

// reader splits data. Once there are too few bytes, ok is false and take returns nil.
type reader struct {
	data []byte
	ok   bool
}

func (r *reader) take(n int) []byte {
	r.ok = r.ok && n <= len(r.data)
	if !r.ok {
		return nil
	}
	head := r.data[:n]
	r.data = r.data[n:]
	return head
}

func wellFormed(data []byte) bool {
	r := &reader{data: data, ok: true}
	size, runs := readCookie(r)
	if !r.ok || size > 1<<16 {
		return false
	}
	header := r.take(4 * size)
	if runs == nil || size >= noOffsets {
		r.take(4 * size) // the offsets of the containers; sequential readers don't need them
	}
	for i := 0; i < size && r.ok; i++ {
		if i > 0 && u16(header, 2*i) <= u16(header, 2*i-2) {
			return false
		}
		isRuns := runs != nil && runs[i/8]&(1<<(i%8)) != 0
		if !wellFormedContainer(r, isRuns, u16(header, 2*i+1)+1) {
			return false
		}
	}
	return r.ok && len(r.data) == 0
}

// readCookie reads the start of a bitmap: the number of containers, and a bit for each container that holds runs; nil
// when none does.
func readCookie(r *reader) (size int, runs []byte) {
	cookie := r.take(4)
	if !r.ok {
		return 0, nil
	}
	switch c := binary.LittleEndian.Uint32(cookie); {
	case c&0xffff == cookieRuns:
		size = int(c>>16) + 1
		runs = r.take((size + 7) / 8)
	case c == cookiePlain:
		if b := r.take(4); r.ok {
			size = int(min(binary.LittleEndian.Uint32(b), 1<<16+1))
		}
	default:
		r.ok = false
	}
	return size, runs
}

// wellFormedContainer reads a container and reports whether it is valid and has card members.
func wellFormedContainer(r *reader, isRuns bool, card int) bool {
	switch {
	case isRuns:
		n := r.take(2)
		return r.ok && validRuns(r.take(4*u16(n, 0)), card)
	case card > maxArray:
		return validBitmap(r.take(bitmapBytes), card)
	default:
		return ascending(r.take(2 * card))
	}
}

// u16 returns element i of an array of 16-bit numbers.
func u16(b []byte, i int) int { return int(binary.LittleEndian.Uint16(b[2*i:])) }

// validRuns reports whether runs, each a start and a length less 1, ascend, don't touch, and have card members.
func validRuns(b []byte, card int) bool {
	next := 0
	for i := 0; i < len(b)/2; i += 2 {
		start := u16(b, i)
		length := u16(b, i+1) + 1
		if start < next || start+length > 1<<16 {
			return false
		}
		next = start + length + 1
		card -= length
	}
	return card == 0
}

func validBitmap(b []byte, card int) bool {
	for ; len(b) >= 8; b = b[8:] {
		card -= bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	return card == 0
}

func ascending(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	last := u16(b, 0)
	for b = b[2:]; len(b) >= 2; b = b[2:] {
		next := u16(b, 0)
		if next <= last {
			return false
		}
		last = next
	}
	return true
}
