package segment

import (
	"encoding/binary"
	"fmt"
)

// field is a column of a record.
type field struct {
	kind uint64 // SQLite's serial type
	size int    // in bytes
	data []byte // shorter than size where the record is incomplete
}

var errRecord = fmt.Errorf("%w: the header of the row", errDamaged)

// parseRecord splits a record of a length into its columns, and checks that it has as many as fields. data may be its
// beginning alone.
func parseRecord(data []byte, length int, fields []field) error {
	header, n := varint(data)
	if n == 0 || header < uint64(n) || header > uint64(len(data)) {
		return errRecord
	}
	kinds := data[n:header]
	at := int(header)
	for i := range fields {
		kind, n := varint(kinds)
		if n == 0 {
			return errRecord
		}
		kinds = kinds[n:]
		size, ok := sizeOf(kind)
		if !ok || size > uint64(length-at) {
			return errRecord
		}
		end := at + int(size)
		fields[i] = field{kind, int(size), data[min(at, len(data)):min(end, len(data))]}
		at = end
	}
	if len(kinds) > 0 || at != length {
		return errRecord
	}
	return nil
}

// sizeOf returns the size of a column of a serial type in bytes.
func sizeOf(kind uint64) (size uint64, ok bool) {
	if kind >= 12 {
		return (kind - 12) / 2, true
	}
	size = [...]uint64{0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0}[kind]
	return size, kind != 10 && kind != 11
}

// blob returns the bytes of a complete BLOB.
func (f field) blob() ([]byte, error) {
	if f.kind < 12 || f.kind%2 != 0 || len(f.data) < f.size {
		return nil, fmt.Errorf("%w: it has no content", errDamaged)
	}
	return f.data, nil
}

// text returns the bytes of a complete TEXT.
func (f field) text() ([]byte, error) {
	if f.kind < 12 || f.kind%2 != 1 || len(f.data) < f.size {
		return nil, fmt.Errorf("%w: it has no text", errDamaged)
	}
	return f.data, nil
}

// number returns an INTEGER that is not negative.
func (f field) number() (int64, error) {
	if f.kind == 8 || f.kind == 9 {
		return int64(f.kind - 8), nil
	}
	if f.kind == 0 || f.kind > 6 || len(f.data) < f.size || f.data[0]&0x80 != 0 {
		return 0, fmt.Errorf("%w: it has no number", errDamaged)
	}
	var b [8]byte
	copy(b[8-f.size:], f.data)
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

// varint decodes SQLite's variable-length integer: groups of seven bits, the highest first, and all eight bits of a
// ninth byte. n is the number of its bytes; 0: there is none.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	if n < 8 || n >= len(b) {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}
