package extract

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// at returns the byte at pos, or 0 at the end of the record. JSON never contains 0.
func (x *Extractor) at(pos int) byte {
	if pos < len(x.in) {
		return x.in[pos]
	}
	return 0
}

// jsonSpace returns the offset of the first byte from pos on that isn't white space.
func (x *Extractor) jsonSpace(pos int) int {
	for pos < len(x.in) {
		switch x.in[pos] {
		case ' ', '\t', '\n', '\r':
			pos++
		default:
			return pos
		}
	}
	return pos
}

func (x *Extractor) jsonUnexpected(pos int) error {
	if pos >= len(x.in) {
		return &Malformed{"truncated", len(x.in)}
	}
	return &Malformed{"unexpected character", pos}
}

// jsonScalar reads a value that is neither an object nor an array.
func (x *Extractor) jsonScalar(pos int) (int, error) {
	word := ""
	switch c := x.at(pos); {
	case c == '"':
		end, _, err := x.jsonString(pos)
		return end, err
	case c == '-' || c >= '0' && c <= '9':
		return x.jsonNumber(pos)
	case c == 't':
		word = "true"
	case c == 'f':
		word = "false"
	case c == 'n':
		word = "null"
	default:
		return 0, x.jsonUnexpected(pos)
	}
	if !bytes.HasPrefix(x.in[pos:], []byte(word)) {
		return 0, &Malformed{"unknown word", pos}
	}
	return pos + len(word), nil
}

// jsonNumber reads a number of any size and precision.
func (x *Extractor) jsonNumber(pos int) (int, error) {
	if x.at(pos) == '-' {
		pos++
	}
	// Only a fraction or an exponent may follow a leading zero.
	var err error
	if x.at(pos) == '0' {
		pos++
	} else {
		pos, err = x.jsonDigits(pos)
		if err != nil {
			return 0, err
		}
	}
	if x.at(pos) == '.' {
		pos, err = x.jsonDigits(pos + 1)
		if err != nil {
			return 0, err
		}
	}
	if x.at(pos)|0x20 == 'e' {
		pos++
		if c := x.at(pos); c == '+' || c == '-' {
			pos++
		}
		return x.jsonDigits(pos)
	}
	return pos, nil
}

// jsonDigits reads one digit or more.
func (x *Extractor) jsonDigits(pos int) (int, error) {
	start := pos
	for c := x.at(pos); c >= '0' && c <= '9'; c = x.at(pos) {
		pos++
	}
	if pos == start {
		return 0, x.jsonUnexpected(pos)
	}
	return pos, nil
}

// jsonString reads the string that begins at pos, quotes included. It checks its escapes, and reports whether there are
// any. It doesn't check that the text is UTF-8.
func (x *Extractor) jsonString(pos int) (end int, escaped bool, err error) {
	if x.at(pos) != '"' {
		return 0, false, x.jsonUnexpected(pos)
	}
	for pos++; ; {
		pos += plainPrefix(x.in[pos:])
		switch c := x.at(pos); {
		case c == '"':
			return pos + 1, escaped, nil
		case c != '\\':
			return 0, false, x.jsonUnexpected(pos)
		}
		escaped = true
		switch x.at(pos + 1) {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			pos += 2
		case 'u':
			if _, ok := hex4(x.in[pos+2:]); !ok {
				return 0, false, &Malformed{"bad escape", pos}
			}
			pos += 6
		default:
			return 0, false, &Malformed{"bad escape", pos}
		}
	}
}

// plainPrefix returns the number of bytes of b before the first quote, backslash or control character. It compares
// eight at a time: for a byte c of a word, (c - n) &^ c has the top bit set if c < n and c < 0x80. Carries make only
// bytes above the lowest match wrong, and only the lowest is used.
func plainPrefix(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ ones*'"'
		backslash := w ^ ones*'\\'
		stop := ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-ones*' ')&^w) & tops
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

// appendUnescaped appends the text of a string that jsonString has checked. If half a surrogate pair stands alone, it
// appends U+FFFD in its place and returns false.
func appendUnescaped(dst, s []byte) ([]byte, bool) {
	ok := true
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), ok
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				high := r
				r = utf8.RuneError
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low, _ := hex4(s[2:])
					r = utf16.DecodeRune(high, low)
				}
				if r == utf8.RuneError {
					ok = false
				} else {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
}

// hex4 returns the number in the first four hexadecimal digits of s.
func hex4(s []byte) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
