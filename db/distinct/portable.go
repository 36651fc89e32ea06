package distinct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// The portable format of Roaring, https://github.com/RoaringBitmap/RoaringFormatSpec: little-endian throughout.
const (
	cookiePlain = 12346 // then the number of containers in 4 bytes
	cookieRuns  = 12347 // in 2 bytes, then the number of containers less 1 in 2, then a bit for each that holds runs
	noOffsets   = 4     // with cookieRuns, fewer containers than this have no table of offsets

	maxArray    = 4096 // members; a container of more is a bitmap
	bitmapBytes = 8192
)

var errMalformed = errors.New("malformed set")

// ParseBitmap decodes a bitmap in the portable format of Roaring, which must be all of data. Whether it is well formed
// is checked here: the library's reader trusts its input, and its own check takes a square of the number of runs and
// lets repeated members pass, which then end the process.
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

func wellFormed(data []byte) bool {
	ok := true
	// take cuts n bytes off; once there are too few, it gives none any more.
	take := func(n int) []byte {
		if ok = ok && n <= len(data); !ok {
			return nil
		}
		head := data[:n]
		data = data[n:]
		return head
	}
	cookie := take(4)
	if !ok {
		return false
	}
	var size int
	var runs []byte // a bit for each container
	switch c := binary.LittleEndian.Uint32(cookie); {
	case c&0xffff == cookieRuns:
		size = int(c>>16) + 1
		runs = take((size + 7) / 8)
	case c == cookiePlain:
		if b := take(4); ok {
			size = int(min(binary.LittleEndian.Uint32(b), 1<<16+1))
		}
	default:
		return false
	}
	if size > 1<<16 {
		return false
	}
	header := take(4 * size)
	if runs == nil || size >= noOffsets {
		take(4 * size) // where containers begin; readers in order need none
	}
	for i := 0; i < size && ok; i++ {
		if i > 0 && u16(header, 2*i) <= u16(header, 2*i-2) {
			return false
		}
		card := u16(header, 2*i+1) + 1
		switch {
		case runs != nil && runs[i/8]&(1<<(i%8)) != 0:
			n := take(2)
			if !ok {
				return false
			}
			ok = runsOf(take(4*u16(n, 0)), card)
		case card > maxArray:
			ok = bitmapOf(take(bitmapBytes), card)
		default:
			ok = ascending(take(2 * card))
		}
	}
	return ok && len(data) == 0
}

// u16 is number i of a row of numbers.
func u16(b []byte, i int) int { return int(binary.LittleEndian.Uint16(b[2*i:])) }

// runsOf says that runs, each a start and a length less 1, ascend, don't touch, and hold so many members.
func runsOf(b []byte, card int) bool {
	next := 0
	for i := 0; i < len(b)/2; i += 2 {
		start, length := u16(b, i), u16(b, i+1)+1
		if start < next || start+length > 1<<16 {
			return false
		}
		next = start + length + 1
		card -= length
	}
	return card == 0
}

func bitmapOf(b []byte, card int) bool {
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
