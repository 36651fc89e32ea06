// Package link parses and normalises links: it decides which strings of a record are links, and gives each link the one
// spelling that the index stores and that queries are converted to.
package link

import (
	"unsafe"

	"golang.org/x/net/idna"
)

// Spelling is the name of the normalisation rules of Parse and Append. An index stores it with its links; package db
// rewrites an index with another name. It includes the Unicode version, because the hosts that UTS 46 maps depend on
// it.
const Spelling = "2 unicode " + idna.UnicodeVersion

// Kind says whether a target is an at-uri, a DID or a URI. The "kind of link" in the API is its source.
type Kind uint8

const (
	None  Kind = iota // not a link
	AtURI             // at://authority[/path][?query][#fragment]
	DID               // did:method:id
	URI               // any other absolute URI
)

// String returns the kind's name in lower case, for logs and test output.
func (k Kind) String() string {
	switch k {
	case AtURI:
		return "at-uri"
	case DID:
		return "did"
	case URI:
		return "uri"
	default:
		return "none"
	}
}

// MaxLen is the maximum length of a link in bytes, before and after normalisation: 8 KiB, atproto's limit for at-uris
// and for the lexicon string format "uri".
const MaxLen = 8 << 10

// minLen is the minimum length of a link in bytes: a scheme of one letter, the colon and one byte.
const minLen = 3

// Parse returns the normalised form and the kind of s, or ("", None) if the whole of s is not a link. It returns s
// itself, without a copy, when s is normal already.
func Parse(s string) (string, Kind) {
	// On the stack; longer links use the heap.
	var buf [512]byte
	out, kind := appendLink(buf[:0], s)
	switch {
	case kind == None:
		return "", None
	case string(out) == s:
		return s, kind
	default:
		return string(out), kind
	}
}

// Append appends the normalised form of s to dst and returns the extended slice and the kind. If the whole of s is not
// a link, it returns dst unchanged and None. s must not overlap the free capacity of dst.
//
// The appended bytes are printable ASCII, at most MaxLen of them, and a fixed point: Append of them gives the same
// bytes and kind. Append allocates only if dst is too small, the host of a web page is not ASCII, or a DID, handle or
// IPv6 address is invalid.
func Append(dst, s []byte) ([]byte, Kind) {
	// No copy: the string is dropped when the call returns, and s does not change during the call.
	return appendLink(dst, unsafe.String(unsafe.SliceData(s), len(s)))
}

func appendLink(dst []byte, s string) ([]byte, Kind) {
	if len(s) < minLen || len(s) > MaxLen {
		return dst, None
	}
	// Most strings of records end here: text has a space, or ends, before any colon.
	colon := schemeEnd(s)
	if colon < 0 || colon == len(s)-1 {
		return dst, None
	}
	from := len(dst)
	var kind Kind
	out := dst
	ok := false
	switch rest := s[colon+1:]; {
	case colon == 2 && s[0]|0x20 == 'a' && s[1]|0x20 == 't' && len(rest) >= 2 && rest[:2] == "//":
		// An invalid at-uri is no generic URI: that would be a second spelling of a record.
		kind = AtURI
		out, ok = appendAtURI(dst, rest[2:])
	case colon == 3 && s[0]|0x20 == 'd' && s[1]|0x20 == 'i' && s[2]|0x20 == 'd':
		// The same for DIDs. Lower-casing "DID:" as a generic scheme would even turn an invalid DID into a valid one.
		kind = DID
		ok = ValidDID(s)
		if ok {
			out = append(dst, s...)
		}
	default:
		kind = URI
		out, ok = appendURI(dst, s[:colon], rest)
	}
	if !ok || len(out)-from > MaxLen {
		return dst, None
	}
	return out, kind
}

// schemeEnd returns the index of the colon after the URI scheme at the start of s, or -1 if there is none.
func schemeEnd(s string) int {
	if s[0]|0x20 < 'a' || s[0]|0x20 > 'z' {
		return -1
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if class[c]&inScheme != 0 {
			continue
		}
		if c == ':' {
			return i
		}
		return -1
	}
	return -1
}
