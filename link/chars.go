package link

import (
	"unicode"
	"unicode/utf8"
)

// The character classes of RFC 3986, sections 2 and 3. A byte may be in several.
const (
	unreserved uint16 = 1 << iota // ALPHA / DIGIT / "-" / "." / "_" / "~"
	subDelim                      // "!" / "$" / "&" / "'" / "(" / ")" / "*" / "+" / "," / ";" / "="
	colon                         // ":"
	at                            // "@"
	slash                         // "/"
	question                      // "?"
	inScheme                      // ALPHA / DIGIT / "+" / "-" / "."
	lax                           // printable, left out by RFC 3986, but common in what people paste from a browser
	iri                           // stands for all beyond ASCII; no byte is in it
)

// The classes that each part of a URI may have unescaped.
const (
	inHost     = unreserved | subDelim | iri
	inUserinfo = unreserved | subDelim | colon | iri
	inPath     = unreserved | subDelim | colon | at | slash
	inQuery    = inPath | question // and in a fragment
)

// class holds the classes of each byte. Bytes from 0x80 have none.
var class = func() (t [256]uint16) {
	set := func(bits uint16, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bits
		}
	}
	for c := range 256 {
		if c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80 || c >= '0' && c <= '9' {
			t[c] = unreserved | inScheme
		}
	}
	set(unreserved, "-._~")
	set(subDelim, "!$&'()*+,;=")
	set(colon, ":")
	set(at, "@")
	set(slash, "/")
	set(question, "?")
	set(inScheme, "+-.")
	// Without the backslash: browsers read it as a slash, other software doesn't, so no spelling is right for both.
	set(lax, "\"<>[]^`{|}")
	return t
}()

const upperHex = "0123456789ABCDEF"

// appendPart appends one part of a URI in normal form. Bytes of the allowed classes stay. Escapes of unreserved
// characters are decoded; other escapes become upper case. If allowed has iri, non-ASCII characters become escapes of
// their UTF-8 bytes (RFC 3987, section 3.1). If allowed has lax, bytes of that class become escapes. It returns false
// for anything else: spaces and control characters of any script, broken escapes, invalid UTF-8.
func appendPart(dst []byte, s string, allowed uint16) ([]byte, bool) {
	plain := allowed &^ lax
	for i := 0; ; {
		j := i
		for j < len(s) && class[s[j]]&plain != 0 {
			j++
		}
		dst = append(dst, s[i:j]...)
		if j == len(s) {
			return dst, true
		}
		switch c := s[j]; {
		case c == '%':
			if j+2 >= len(s) {
				return dst, false
			}
			hi, lo := unhex(s[j+1]), unhex(s[j+2])
			if hi > 15 || lo > 15 {
				return dst, false
			}
			c = hi<<4 | lo
			if class[c]&unreserved != 0 {
				dst = append(dst, c)
			} else {
				dst = appendEscape(dst, c)
			}
			i = j + 3
		case c < utf8.RuneSelf:
			if class[c]&allowed == 0 {
				return dst, false
			}
			dst = appendEscape(dst, c)
			i = j + 1
		default:
			r, n := utf8.DecodeRuneInString(s[j:])
			if allowed&iri == 0 || r == utf8.RuneError && n == 1 || unicode.IsSpace(r) || unicode.IsControl(r) {
				return dst, false
			}
			for i = j; i < j+n; i++ {
				dst = appendEscape(dst, s[i])
			}
		}
	}
}

func appendEscape(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// unhex returns the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	default:
		return 255
	}
}

// lower converts ASCII capitals in b to lower case, except in escapes, whose normal form is upper case.
func lower(b []byte) {
	for i := 0; i < len(b); i++ {
		if c := b[i]; c == '%' {
			i += 2
		} else if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}
