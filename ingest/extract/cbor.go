package extract

import "encoding/binary"

// The major types of CBOR (RFC 8949, section 3.1).
const (
	cborUint   = 0
	cborNegInt = 1
	cborBytes  = 2
	cborText   = 3
	cborArray  = 4
	cborMap    = 5
	cborTag    = 6
	cborOther  = 7
)

// cborCID is the tag of a CID link, the only one of DAG-CBOR.
const cborCID = 42

// head is the beginning of a CBOR item.
type head struct {
	major byte
	arg   uint64 // the value, length, count or tag
	next  int    // the offset after the head
}

func (x *Extractor) cborRecord() error {
	if len(x.in) == 0 || x.in[0]>>5 != cborMap {
		return &Malformed{"not a map", 0}
	}
	end, err := x.cborValue(0, 1)
	if err == nil && end != len(x.in) {
		err = &Malformed{"more than one value", end}
	}
	return err
}

// cborHead reads the head at pos. It checks lengths and counts against the bytes that follow: an item of an array takes
// at least one byte, a member of a map two.
func (x *Extractor) cborHead(pos int) (head, error) {
	if pos >= len(x.in) {
		return head{}, &Malformed{"truncated", pos}
	}
	h := head{major: x.in[pos] >> 5, next: pos + 1}
	switch info := x.in[pos] & 0x1f; {
	case info < 24:
		h.arg = uint64(info)
	case info <= 27:
		size := 1 << (info - 24)
		if len(x.in)-h.next < size {
			return head{}, &Malformed{"truncated", pos}
		}
		switch arg := x.in[h.next:]; size {
		case 1:
			h.arg = uint64(arg[0])
		case 2:
			h.arg = uint64(binary.BigEndian.Uint16(arg))
		case 4:
			h.arg = uint64(binary.BigEndian.Uint32(arg))
		case 8:
			h.arg = binary.BigEndian.Uint64(arg)
		}
		h.next += size
	case info == 31:
		return head{}, &Malformed{"indefinite length", pos}
	default:
		return head{}, &Malformed{"reserved length", pos}
	}
	left := uint64(len(x.in) - h.next)
	switch h.major {
	case cborBytes, cborText, cborArray:
		if h.arg > left {
			return head{}, &Malformed{"truncated", pos}
		}
	case cborMap:
		if h.arg > left/2 {
			return head{}, &Malformed{"truncated", pos}
		}
	case cborTag:
		if h.arg != cborCID {
			return head{}, &Malformed{"tag other than 42", pos}
		}
		if h.next == len(x.in) || x.in[h.next]>>5 != cborBytes {
			return head{}, &Malformed{"tag 42 on something other than bytes", pos}
		}
	case cborOther:
		// false, true, null, undefined and floats of 16, 32 and 64 bits. DAG-CBOR allows only some of them, and none
		// has a link.
		if info := x.in[pos] & 0x1f; info < 20 || info == 24 {
			return head{}, &Malformed{"unknown simple value", pos}
		}
	}
	return h, nil
}

// cborValue reads the value at pos, and returns the offset after it. depth is its nesting if it is a map or an array.
func (x *Extractor) cborValue(pos, depth int) (int, error) {
	h, err := x.cborHead(pos)
	if err != nil {
		return 0, err
	}
	switch h.major {
	case cborText:
		end := h.next + int(h.arg)
		x.text(x.in[h.next:end])
		return end, nil
	case cborArray, cborMap:
		if depth > x.limits.MaxDepth {
			x.dropped.Deep++
			return x.cborSkip(pos)
		}
		if h.major == cborMap {
			return x.cborMap(h, depth)
		}
		array := x.open(tokArray)
		pos = h.next
		for range h.arg {
			pos, err = x.cborValue(pos, depth+1)
			if err != nil {
				return 0, err
			}
		}
		x.close(array)
		return pos, nil
	case cborTag:
		return x.cborSkip(h.next)
	case cborBytes:
		return h.next + int(h.arg), nil
	default:
		return h.next, nil
	}
}

func (x *Extractor) cborMap(h head, depth int) (int, error) {
	m := member{object: x.open(tokObject), total: int(h.arg)}
	pos := h.next
	for range h.arg {
		k, err := x.cborHead(pos)
		if err != nil {
			return 0, err
		}
		if k.major != cborText {
			return 0, &Malformed{"key other than text", pos}
		}
		pos = k.next + int(k.arg)
		key := x.key(k.next, pos, false)
		n := nameOf(x.in[k.next:pos])
		if n != other {
			v, err := x.cborHead(pos)
			if err != nil {
				return 0, err
			}
			if v.major == cborText {
				x.stringMember(&m, n, v.next, v.next+int(v.arg), false)
			}
		}
		pos, err = x.cborValue(pos, depth+1)
		if err != nil {
			return 0, err
		}
		x.endMember(key)
	}
	x.closeObject(&m)
	return pos, nil
}

// cborSkip returns the offset after the value at pos, without recursion and in constant memory: it counts the remaining
// values, and not their nesting. So it accepts keys that aren't text.
func (x *Extractor) cborSkip(pos int) (int, error) {
	for values := uint64(1); values > 0; values-- {
		h, err := x.cborHead(pos)
		if err != nil {
			return 0, err
		}
		pos = h.next
		switch h.major {
		case cborBytes, cborText:
			pos += int(h.arg)
		case cborArray:
			values += h.arg
		case cborMap:
			values += 2 * h.arg
		case cborTag:
			values++
		}
		// Each value takes at least a byte. So values can't overflow, and a wrong count is found early.
		if values > uint64(len(x.in)-pos)+1 {
			return 0, &Malformed{"truncated", pos}
		}
	}
	return pos, nil
}
