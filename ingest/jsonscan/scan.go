// Package jsonscan reads JSON text value by value, without a copy and without an allocation: a text gives offsets, and
// the caller takes the bytes between them. It checks the syntax of RFC 8259, but not that strings are UTF-8.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Scanner reads Text. The zero Scanner is ready. Its methods take the offset where they begin, and return the offset
// where they end. Their errors are a *SyntaxError.
type Scanner struct {
	Text []byte
	nest nesting
}

// maxKept is the largest stack of nesting that is kept for the next text, in words of 64 levels: 64 kB.
const maxKept = 8192

// Reset begins another text.
func (s *Scanner) Reset(text []byte) {
	s.Text = text
	if cap(s.nest.bits) > maxKept {
		s.nest.bits = nil
	}
	s.nest.bits = s.nest.bits[:0]
}

// SyntaxError is the error of a text that isn't JSON.
type SyntaxError struct {
	Reason string // a fixed text, with no part of the JSON in it
	Offset int    // in bytes
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("jsonscan: %s at byte %d", e.Reason, e.Offset)
}

// At returns the byte at pos, or 0 at the end of the text. JSON never contains 0.
func (s *Scanner) At(pos int) byte {
	if pos < len(s.Text) {
		return s.Text[pos]
	}
	return 0
}

// Space returns the offset of the first byte from pos on that isn't white space.
func (s *Scanner) Space(pos int) int {
	for pos < len(s.Text) {
		switch s.Text[pos] {
		case ' ', '\t', '\n', '\r':
			pos++
		default:
			return pos
		}
	}
	return pos
}

func (s *Scanner) Unexpected(pos int) error {
	if pos >= len(s.Text) {
		return &SyntaxError{"truncated", len(s.Text)}
	}
	return &SyntaxError{"unexpected character", pos}
}

// Scalar reads a value that is neither an object nor an array.
func (s *Scanner) Scalar(pos int) (int, error) {
	word := ""
	switch c := s.At(pos); {
	case c == '"':
		end, _, err := s.String(pos)
		return end, err
	case c == '-' || c >= '0' && c <= '9':
		return s.number(pos)
	case c == 't':
		word = "true"
	case c == 'f':
		word = "false"
	case c == 'n':
		word = "null"
	default:
		return 0, s.Unexpected(pos)
	}
	if !bytes.HasPrefix(s.Text[pos:], []byte(word)) {
		return 0, &SyntaxError{"unknown word", pos}
	}
	return pos + len(word), nil
}

// number reads a number of any size and precision.
func (s *Scanner) number(pos int) (int, error) {
	if s.At(pos) == '-' {
		pos++
	}
	// Only a fraction or an exponent may follow a leading zero.
	var err error
	if s.At(pos) == '0' {
		pos++
	} else {
		pos, err = s.digits(pos)
		if err != nil {
			return 0, err
		}
	}
	if s.At(pos) == '.' {
		pos, err = s.digits(pos + 1)
		if err != nil {
			return 0, err
		}
	}
	if s.At(pos)|0x20 == 'e' {
		pos++
		if c := s.At(pos); c == '+' || c == '-' {
			pos++
		}
		return s.digits(pos)
	}
	return pos, nil
}

// digits reads one digit or more.
func (s *Scanner) digits(pos int) (int, error) {
	start := pos
	for c := s.At(pos); c >= '0' && c <= '9'; c = s.At(pos) {
		pos++
	}
	if pos == start {
		return 0, s.Unexpected(pos)
	}
	return pos, nil
}

// String reads the string that begins at pos, quotes included. It checks its escapes, and reports whether there are
// any. It doesn't check that the text is UTF-8.
func (s *Scanner) String(pos int) (end int, escaped bool, err error) {
	if s.At(pos) != '"' {
		return 0, false, s.Unexpected(pos)
	}
	for pos++; ; {
		pos += plainPrefix(s.Text[pos:])
		switch c := s.At(pos); {
		case c == '"':
			return pos + 1, escaped, nil
		case c != '\\':
			return 0, false, s.Unexpected(pos)
		}
		escaped = true
		switch s.At(pos + 1) {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			pos += 2
		case 'u':
			if _, ok := hex4(s.Text[pos+2:]); !ok {
				return 0, false, &SyntaxError{"bad escape", pos}
			}
			pos += 6
		default:
			return 0, false, &SyntaxError{"bad escape", pos}
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

// AppendUnescaped appends the text of a string that String has checked. If half a surrogate pair stands alone, it
// appends U+FFFD in its place and returns false.
func AppendUnescaped(dst, s []byte) ([]byte, bool) {
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
